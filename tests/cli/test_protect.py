"""`--protect`: a picture, or a folder of pictures, white where nothing may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gpen.images import Picture, masks, read_picture, write_picture
from tests.commands import HEIGHT, WIDTH

PROTECTED = slice(28, 50), slice(56, 76)
"""Rows and columns of the middle face's upper right quarter."""
FREE = slice(56, 62), slice(44, 52)
"""Of its lower left quarter."""


def write_mask(path: Path, protected: tuple[slice, slice] | None = PROTECTED, **more) -> Path:
    mask = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    if protected is not None:
        mask[protected] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(mask, **more))
    return path


def check(source: Path, result: Path, free: Path) -> None:
    """The result is the photo where it is protected, and what it is without ``--protect`` far from there."""
    before, after, without = (read_picture(path, 1).photo for path in (source, result, free))
    assert np.array_equal(after[PROTECTED], before[PROTECTED])
    assert np.array_equal(after[FREE], without[FREE])
    assert np.abs(without - before)[PROTECTED].max() > 0.05
    assert np.abs(after - before)[FREE].max() > 0.05


@pytest.mark.parametrize("command", ["restore", "colorize", "inpaint"])
def test_tasks_that_keep_the_photo(gpen, networks, album, tmp_path, command):
    source, mask = album.add("a.png"), write_mask(tmp_path / "mask.png")
    damage = write_mask(tmp_path / "damage.png", (slice(0, HEIGHT), slice(0, WIDTH)))
    known = ["--models-path", networks, "--model", "negative", "--faces", album.faces_file]
    known += ["--damage", damage] if command == "inpaint" else []
    for name, given in (("free", []), ("kept", ["--protect", mask])):
        run = gpen(command, source, "-o", tmp_path / f"{name}.png", *known, *given)
        assert run.code == 0, run.err
    check(source, tmp_path / "kept.png", tmp_path / "free.png")


@pytest.mark.parametrize("command", ["colorize", "inpaint"])
def test_aligned_portraits(gpen, networks, album, tmp_path, command):
    files = {"a": album.add("a.png"), "m": write_mask(tmp_path / "mask.png"), "d": tmp_path / "damage.png"}
    write_mask(files["d"], (slice(0, HEIGHT), slice(0, WIDTH)))
    for name, file in files.items():
        write_picture(tmp_path / f"{name}.png", Picture(read_picture(file, 1).photo[:HEIGHT, :HEIGHT]))
    known = ["--models-path", networks, "--model", "negative", "--aligned"]
    known += ["--damage", tmp_path / "d.png"] if command == "inpaint" else []
    for name, given in (("free", []), ("kept", ["--protect", tmp_path / "m.png"])):
        run = gpen(command, tmp_path / "a.png", "-o", tmp_path / f"{name}.png", *known, *given)
        assert run.code == 0, run.err
    check(tmp_path / "a.png", tmp_path / "kept.png", tmp_path / "free.png")


def test_without_faces_to_paste_there_is_no_flag(gpen, album, tmp_path):
    run = gpen("synthesize", album.add("a.png"), "-o", tmp_path / "out", "--protect", tmp_path / "mask.png")
    assert run.code == 2
    assert "--protect" in run.err


def test_one_mask_for_each_photo_in_a_folder(restore, album, tmp_path):
    names = ("a.png", "deep/b.png", "c.png")
    for name in names:
        album.add(name)
    folder = tmp_path / "masks"
    write_mask(folder / "a.tif")
    write_mask(folder / "deep/b.png", None)
    assert restore(album.folder, "-o", tmp_path / "free").code == 0
    run = restore(album.folder, "-o", tmp_path / "out", "--protect", folder)
    # Which pixels of the third photo were to be protected is unknown, so it is not touched at all.
    assert run.code == 1
    assert f"There is no protection mask for this photo in {folder}; it would be called c.png." in run.err
    assert "a black picture marks nothing" in run.err
    assert not (tmp_path / "out/c.png").exists()
    check(album.folder / "a.png", tmp_path / "out/a.png", tmp_path / "free/a.png")
    assert (tmp_path / "out/deep/b.png").read_bytes() == (tmp_path / "free/deep/b.png").read_bytes()


def test_a_larger_result(restore, album, tmp_path):
    source, mask = album.add("a.png"), write_mask(tmp_path / "mask.png")
    for name, given in (("plain", ["--strength", 0]), ("free", []), ("kept", ["--protect", mask])):
        assert restore(source, "-o", tmp_path / f"{name}.png", "--upscale", 2, *given).code == 0
    plain, free, kept = (read_picture(tmp_path / f"{name}.png", 1).photo for name in ("plain", "free", "kept"))
    protected, far = (tuple(slice(2 * s.start, 2 * s.stop) for s in part) for part in (PROTECTED, FREE))
    assert np.array_equal(kept[protected], plain[protected])
    assert np.array_equal(kept[far], free[far])
    assert np.abs(free - plain)[protected].max() > 0.05


def test_one_mask_for_all_frames_of_a_video(restore, album, tmp_path, monkeypatch):
    reads, read = [], masks.read_picture
    monkeypatch.setattr(masks, "read_picture", lambda path, *more: reads.append(path) or read(path, *more))
    mask = write_mask(tmp_path / "mask.png")
    first = album.add("frame1.png")
    for number in (2, 3, 4):
        shutil.copyfile(first, album.add(f"frame{number}.png"))
    assert restore(album.folder, "-o", tmp_path / "free", "--video").code == 0
    run = restore(album.folder, "-o", tmp_path / "out", "--video", "--protect", mask)
    assert run.code == 0, run.err
    assert reads == [mask]
    for number in (1, 2, 3, 4):
        name = f"frame{number}.png"
        check(album.folder / name, tmp_path / "out" / name, tmp_path / "free" / name)


def test_white_on_a_transparent_background_protects_what_is_opaque(restore, album, tmp_path):
    source, alpha = album.add("a.png"), np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[PROTECTED] = 1
    write_picture(tmp_path / "mask.png", Picture(np.ones((HEIGHT, WIDTH, 3), np.float32), alpha=alpha))
    assert restore(source, "-o", tmp_path / "free.png").code == 0
    assert restore(source, "-o", tmp_path / "kept.png", "--protect", tmp_path / "mask.png").code == 0
    check(source, tmp_path / "kept.png", tmp_path / "free.png")


def test_mistakes_are_explained(restore, album, tmp_path):
    source = album.add("a.png")
    lost = restore(source, "-o", tmp_path / "out", "--protect", tmp_path / "lost.png")
    assert lost.code == 1
    assert f"The protection mask {tmp_path / 'lost.png'} does not exist." in lost.err
    write_picture(tmp_path / "small.png", Picture(np.ones((8, 9, 3), np.float32)))
    small = restore(source, "-o", tmp_path / "out", "--protect", tmp_path / "small.png")
    assert small.code == 1
    assert f"The mask of what is protected is 9 x 8 pixels, the photo {WIDTH} x {HEIGHT}." in small.err
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in restore(source, "-o", tmp_path / "out", "--protect", tmp_path / "text.png").err
    assert not [*(tmp_path / "out").glob("*")]
    mask = write_mask(tmp_path / "masks/a.png")
    before = mask.read_bytes()
    for target, protect in ((tmp_path / "masks", tmp_path / "masks"), (mask, mask)):
        run = restore(source, "-o", target, "--protect", protect, "--overwrite")
        assert run.code == 1
        assert "where the protection mask is. Choose another output folder." in run.err
    assert mask.read_bytes() == before


def test_masks_inside_the_folder_of_photos_are_no_photos(restore, album, tmp_path, files_in):
    album.add("a.png")
    write_mask(album.folder / "masks/a.png")
    run = restore(album.folder, "-o", tmp_path / "out", "--protect", album.folder / "masks")
    assert run.code == 0, run.err
    assert files_in(tmp_path / "out") == ["a.png"]
