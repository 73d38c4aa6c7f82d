"""Folders as people have them: names that collide, pictures that cannot be read, bad links, long names."""

from __future__ import annotations

import os
import shutil

import pytest

PSD = b"8BPS\0\1" + bytes(200)


def test_photos_of_one_name_are_all_restored(restore, album, tmp_path, files_in, assert_restored):
    from PIL import Image

    album.add("a.png")
    album.add("good.jpg")
    album.set_faces("a.bmp", album.faces["a.png"])
    Image.open(album.folder / "good.jpg").save(album.folder / "a.bmp")
    run = restore(album.folder, "-o", tmp_path / "out", "--compare")
    assert run.code == 0, run.err
    expected = ["a.png", "a_bmp.png", "a_bmp_compare.png", "a_compare.png", "good.jpg", "good_compare.png"]
    assert files_in(tmp_path / "out") == expected
    assert_restored(tmp_path / "out/a.png", album.folder / "a.png")
    assert_restored(tmp_path / "out/a_bmp.png", album.folder / "a.bmp")


def test_a_folder_of_which_a_part_can_be_read(restore, album, tmp_path, files_in):
    album.add("IMG_1.jpg")
    for name in ("IMG_2.PSD", "IMG_3.psd", "IMG_4.exr"):
        (album.folder / name).write_bytes(PSD)
    run = restore(album.folder, "-o", tmp_path / "out")
    assert run.code == 0
    assert f"{album.folder}: 3 pictures are of a kind that cannot be read (1 OpenEXR, 2 Photoshop)" in run.err
    assert files_in(tmp_path / "out") == ["IMG_1.jpg"]
    (album.folder / "IMG_1.jpg").unlink()
    run = restore(album.folder, "-o", tmp_path / "none")
    assert run.code == 1
    assert "(1 OpenEXR, 2 Photoshop)" in run.err
    assert not (tmp_path / "none").exists()


def test_a_link_to_itself_is_one_bad_file(restore, gpen, album, tmp_path, files_in):
    good, link = album.add("good.jpg"), album.folder / "self.jpg"
    try:
        link.symlink_to("self.jpg")
    except OSError:
        pytest.skip("links cannot be made here")
    for inputs in ([good, link], [album.folder]):
        out = tmp_path / f"out{len(inputs)}"
        run = restore(*inputs, "-o", out, "--report", tmp_path / "report.json")
        assert run.code == 1
        assert run.err.count("\n") == 1
        assert f"{link} is a link that leads back to itself." in run.err
        assert files_in(out) == ["good.jpg"]
    # Nor does it hurt where a file or folder is compared with others.
    masks = tmp_path / "masks"
    masks.symlink_to("masks")
    for flags in (["--protect", masks], ["--region", link]):
        assert restore(good, "-o", tmp_path / "out", *flags).code == 1
    assert restore(good, "-o", masks).code == 1


def test_the_longest_names(restore, album, tmp_path, files_in, one_face):
    """Of 244 bytes: further files would have longer ones."""
    name = "\u7167" * 80 + ".png"
    try:
        album.add(name, [one_face(36, 28, 40)])
    except Exception:
        pytest.skip("such a name cannot be used here")
    run = restore(album.folder / name, "-o", tmp_path / "out", "--save-faces", "--compare")
    assert run.code == 0, run.err
    names = files_in(tmp_path / "out")
    assert len(names) == 4
    assert name in names
    assert max(len(os.fsencode(name)) for name in names) <= 255


def test_drawings_of_long_names(gpen, album, tmp_path, detector_weights, files_in):
    name = "\u7167" * 80 + ".png"
    album.add(name, [])
    shutil.copy(album.folder / name, tmp_path / name)
    run = gpen("detect", tmp_path / name, "--draw", "-o", tmp_path / "out", "--models-path", detector_weights)
    assert run.code == 0, run.err
    assert len(files_in(tmp_path / "out")) == 1
