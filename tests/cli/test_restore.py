"""Photos in, restored photos out, under the right names."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from gpen.images import Picture, read_picture, write_picture


def test_one_file_to_a_file(restore, album, assert_restored, tmp_path, files_in):
    photo = album.add("a.png")
    run = restore(photo, "-o", tmp_path / "new" / "restored.png")
    assert run.code == 0
    assert run.err == ""
    assert "1 face restored." in run.out
    assert "1 photo: 1 restored; 1 face restored." in run.out
    assert_restored(tmp_path / "new" / "restored.png", photo)
    assert files_in(tmp_path / "new") == ["restored.png"]


def test_passthrough_weights_give_the_photo_back(restore, album, tmp_path):
    photo = album.add("a.png")
    assert restore(photo, "-o", tmp_path / "r.png", model="passthrough").code == 0
    before, after = read_picture(photo, 1).photo, read_picture(tmp_path / "r.png", 1).photo
    assert np.abs(after - before).max() <= 1.01 / 255


def test_a_folder_keeps_its_tree(restore, album, assert_restored, tmp_path, files_in):
    names = ["a.png", "deep/b.png", "deep/er/a.png"]
    for name in names:
        album.add(name)
    (album.folder / "notes.txt").write_text("no picture")
    (album.folder / "._a.png").write_text("what macOS leaves")
    run = restore(album.folder, "-o", tmp_path / "out")
    assert run.code == 0
    assert "3 photos: 3 restored; 3 faces restored." in run.out
    assert files_in(tmp_path / "out") == names
    for name in names:
        assert_restored(tmp_path / "out" / name, album.folder / name)


def test_patterns_keep_the_tree_below_their_fixed_part(restore, album, tmp_path, files_in, monkeypatch):
    for name in ("x1/a.png", "x2/a.png", "x2/deep/b.png", "y/a.png"):
        album.add(name)
    monkeypatch.chdir(album.folder)
    assert restore("x*/*.png", "-o", tmp_path / "one").code == 0
    assert files_in(tmp_path / "one") == ["x1/a.png", "x2/a.png"]
    assert restore(album.folder / "x2" / "**" / "*.png", "-o", tmp_path / "two").code == 0
    assert files_in(tmp_path / "two") == ["a.png", "deep/b.png"]


@pytest.mark.parametrize(
    "name",
    ["with spaces.png", "合影 1927.png", "🙂.png", "100%.png", "%s%d.png", "{0}.png", "[1].png", "-x.png", "a.b.c.PNG"],
)
def test_any_name(restore, album, assert_restored, tmp_path, files_in, name):
    photo = album.add(f"folder of {name}/{name}")
    assert restore(photo, "-o", tmp_path / name / "out", "--save-faces").code == 0
    assert name in files_in(tmp_path / name / "out")
    assert_restored(tmp_path / name / "out" / name, photo)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_a_name_that_is_no_text(restore, album, tmp_path, files_in):
    name = os.fsdecode(b"caf\xe9.png")
    album.add("a.png")
    try:
        (album.folder / "a.png").rename(album.folder / name)
    except OSError:
        pytest.skip("this file system takes only names that are Unicode")
    run = restore(album.folder, "-o", tmp_path / "out", "--report", tmp_path / "report.json")
    assert run.code == 0
    assert files_in(tmp_path / "out") == [name]
    assert "caf" in run.out


def test_formats_that_are_only_read_become_png(restore, album, assert_restored, tmp_path, files_in):
    from PIL import Image

    photo = album.add("a.png")
    Image.open(photo).save(album.folder / "b.bmp")
    photo.unlink()
    album.set_faces("b.bmp", album.faces["a.png"])
    assert restore(album.folder, "-o", tmp_path / "out").code == 0
    assert files_in(tmp_path / "out") == ["b.png"]
    assert_restored(tmp_path / "out" / "b.png", album.folder / "b.bmp")


@pytest.mark.parametrize(("suffix", "coding"), [(".jpg", 14), (".webp", 14), (".tif", 0)])
def test_formats_that_are_written(restore, album, assert_restored, tmp_path, suffix, coding):
    photo = album.add(f"a{suffix}")
    assert restore(photo, "-o", tmp_path / "out").code == 0
    assert_restored(tmp_path / "out" / f"a{suffix}", photo, coding)
    assert read_picture(tmp_path / "out" / f"a{suffix}", 1).format.lower()[:2] in (suffix[1:3], "jp")


def test_quality(restore, album, tmp_path):
    photo = album.add("a.jpg")
    for quality in (30, 95):
        assert restore(photo, "-o", tmp_path / f"{quality}.jpg", "--quality", quality).code == 0
    assert restore(photo, "-o", tmp_path / "default.jpg").code == 0
    assert (tmp_path / "30.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size
    assert (tmp_path / "default.jpg").read_bytes() == (tmp_path / "95.jpg").read_bytes()


def test_upscale(restore, album, tmp_path):
    photo = album.add("a.png", alpha=True)
    assert restore(photo, "-o", tmp_path / "r.png", "--upscale", 1.5).code == 0
    small, large = read_picture(photo, 1), read_picture(tmp_path / "r.png", 1)
    assert (large.width, large.height) == (small.width * 1.5, small.height * 1.5)
    assert large.alpha is not None
    # The middle of the face, inverted, at its new position.
    assert np.abs(large.photo[74, 84] - (1 - small.photo[49, 56])).max() <= 4 / 255


def test_a_photo_without_faces_is_copied_byte_by_byte(restore, album, tmp_path):
    photo = album.add("a.jpg", faces=[])
    run = restore(photo, "-o", tmp_path / "out")
    assert run.code == 0
    assert "No face was found; the photo is unchanged." in run.out
    assert "1 photo: 1 unchanged; 0 faces restored." in run.out
    assert (tmp_path / "out" / "a.jpg").read_bytes() == photo.read_bytes()


def test_a_photo_none_of_whose_faces_is_chosen_is_copied_too(restore, album, tmp_path, one_face):
    photo = album.add("a.jpg", faces=[one_face(10, 10, 30), one_face(60, 40, 30)])
    run = restore(photo, "-o", tmp_path / "out", "--only-faces", "7")
    assert "None of 2 faces was chosen (not among faces 7); the photo is unchanged." in run.out
    assert (tmp_path / "out" / "a.jpg").read_bytes() == photo.read_bytes()
    # Another format cannot be a copy, but shows the same.
    assert restore(photo, "-o", tmp_path / "out" / "a.png", "--only-faces", "7").code == 0
    same = read_picture(tmp_path / "out" / "a.png", 1).photo == read_picture(photo, 1).photo
    assert same.all()


def test_a_results_folder_inside_is_not_restored_again(restore, album, tmp_path, files_in, monkeypatch):
    album.add("a.png")
    album.add("b/c.png")
    out = album.folder / "restored"
    for _ in range(2):
        assert restore(album.folder, "-o", out).code == 0
        assert files_in(out) == ["a.png", "b/c.png"]
    monkeypatch.chdir(album.folder)
    assert "2 photos: 2 already there" in restore("**/*.png", "-o", "restored").out
    assert files_in(out) == ["a.png", "b/c.png"]


def test_a_results_folder_around_hides_nothing(restore, album, tmp_path, files_in, monkeypatch):
    album.add("a.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert restore("photos", "-o", ".").code == 0
    assert files_in(tmp_path) == ["a.png", "faces.json", "photos/a.png"]


def test_a_photo_given_twice_is_restored_once(restore, album, tmp_path):
    photo = album.add("a.png")
    run = restore(photo, album.folder, album.folder / "*.png", "-o", tmp_path / "out")
    assert "1 photo: 1 restored" in run.out


def test_which_faces(restore, album, tmp_path, one_face):
    photo = album.add("a.png", faces=[one_face(70, 50, 30), one_face(5, 5, 40)])
    run = restore(photo, "-o", tmp_path / "r.png", "--only-faces", "1")
    assert "1 face restored, 1 skipped." in run.out
    changed = (read_picture(photo, 1).photo != read_picture(tmp_path / "r.png", 1).photo).any(axis=2)
    # Numbered from left to right, whatever the order in the file.
    assert changed[65, 85]
    assert not changed[25, 25]


def test_the_same_command_gives_the_same_bytes(restore, album, tmp_path):
    photo = album.add("a.png")
    for name in ("1.png", "2.png"):
        restore(photo, "-o", tmp_path / name, "--color-match", "--mask", "box")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    restore(photo, "-o", tmp_path / "3.png", "--no-color-match", "--mask", "box")
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "3.png").read_bytes()


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        (["--color-match"], "lab"),
        (["--color-match", "lab"], "lab"),
        (["--color-match=wavelet"], "wavelet"),
        (["--color-match", "wavelet"], "wavelet"),
        (["--color-match", "--no-color-match"], "none"),
        (["--color-match", "none"], "none"),
        ([], "none"),
    ],
)
def test_matching_colours_needs_no_value(restore, album, tmp_path, flags, method):
    """Without one it is lab, as when it was a switch, even where a photo follows."""
    photo = album.add("a.png")
    restore(*flags, photo, "-o", tmp_path / "a.png")
    restore(photo, "-o", tmp_path / "b.png", *flags)
    restore(photo, "-o", tmp_path / "expected.png", "--color-match", method)
    made = [(tmp_path / f"{name}.png").read_bytes() for name in ("a", "b", "expected")]
    assert made[0] == made[1] == made[2]


def test_an_unknown_way_to_match_colours_is_refused(gpen, album, tmp_path):
    run = gpen("restore", album.add("a.png"), "-o", tmp_path / "r.png", "--color-match=hue")
    assert run.code == 2
    assert "Match colours is 'hue', which is not one of its choices: none, lab, wavelet." in run.err


def test_default_network(gpen, networks, album, tmp_path, assert_restored):
    photo = album.add("a.png")
    shutil.copy(networks / "negative.pth", tmp_path / "GPEN-BFR-512.pth")
    run = gpen("restore", photo, "-o", tmp_path / "r.png", "--models-path", tmp_path, "--faces", album.faces_file)
    assert run.code == 0
    assert "GPEN-BFR-512.pth" in run.out
    assert_restored(tmp_path / "r.png", photo)


def test_a_region_restricts_the_faces_to_its_white(restore, album, tmp_path, one_face):
    photo = album.add("a.png", faces=[one_face(10, 10, 30), one_face(60, 40, 30)])
    white = np.zeros_like(read_picture(photo, 1).photo)
    white[:, 56:] = 1
    write_picture(tmp_path / "right.png", Picture(white))
    run = restore(photo, "-o", tmp_path / "out", "--region", tmp_path / "right.png")
    assert "1 face restored, 1 skipped." in run.out
    before, after = read_picture(photo, 1).photo, read_picture(tmp_path / "out" / "a.png", 1).photo
    assert np.array_equal(before[:, :45], after[:, :45])
    assert not np.array_equal(before, after)

    write_picture(tmp_path / "small.png", Picture(white[:10]))
    run = restore(photo, "-o", tmp_path / "out2", "--region", tmp_path / "small.png")
    assert run.code == 1
    assert "region" in run.err
