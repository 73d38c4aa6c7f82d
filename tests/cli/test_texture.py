"""`gpen restore frames/ --video --texture`: on by default, and the same wherever a run was stopped."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.images import Picture, read_picture, write_picture

COUNT = 14


@pytest.fixture
def frames(album, one_face):
    """Frames of two faces that stand still, each with its own noise."""
    paths = [album.add(f"{number:02d}.png", [one_face(8, 6, 34), one_face(60, 44, 46)]) for number in range(COUNT)]
    photo = read_picture(paths[0], 1).photo
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).normal(0, 0.02, photo.shape)
        write_picture(path, Picture(np.clip(photo * 0.8 + 0.1 + noise, 0, 1).astype(np.float32)))
    return album


def pictures(folder) -> list[np.ndarray]:
    return [read_picture(folder / f"{number:02d}.png", 1).photo for number in range(COUNT)]


def test_it_is_on_by_default_and_zero_is_off(restore, frames, tmp_path):
    for name, flags in (("on", ()), ("half", ("--texture", "0.5")), ("off", ("--texture", "0"))):
        assert restore(frames.folder, "-o", tmp_path / name, "--video", *flags).code == 0
    on, half, off = (pictures(tmp_path / name) for name in ("on", "half", "off"))
    changed = np.any(np.array(off) != np.array(pictures(frames.folder)), axis=(0, 3))
    spread = [np.std(some[5:], axis=0)[changed].mean() for some in (on, half, off)]
    assert spread[0] < spread[1] < 0.9 * spread[2]
    assert np.array_equal(on[0], off[0])


@pytest.mark.parametrize("kept", [range(7), range(7, 14), (0, 1, 2, 4, 5, 6, 7, 8, 9, 11, 13)])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(restore, frames, tmp_path, kept):
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert restore(frames.folder, "-o", whole, "--video").code == 0
    part.mkdir()
    for number in kept:
        (part / f"{number:02d}.png").write_bytes((whole / f"{number:02d}.png").read_bytes())
    run = restore(frames.folder, "-o", part, "--video")
    assert run.code == 0
    assert f"{COUNT - len(kept)} restored" in run.out
    for number in range(COUNT):
        name = f"{number:02d}.png"
        assert (whole / name).read_bytes() == (part / name).read_bytes(), name


def test_a_frame_that_cannot_be_read_is_passed_over(restore, frames, tmp_path):
    (frames.folder / "05.png").write_bytes(b"no picture")
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert restore(frames.folder, "-o", whole, "--video").code == 1
    part.mkdir()
    for number in (0, 1, 2, 3, 4, 6, 7):
        (part / f"{number:02d}.png").write_bytes((whole / f"{number:02d}.png").read_bytes())
    assert restore(frames.folder, "-o", part, "--video").code == 1
    for number in range(6, COUNT):
        name = f"{number:02d}.png"
        assert (whole / name).read_bytes() == (part / name).read_bytes()


def test_values_out_of_range_are_refused(restore, frames, tmp_path):
    run = restore(frames.folder, "-o", tmp_path / "out", "--video", "--texture", "1.5")
    assert run.code == 2
    assert "between 0 and 1" in run.err
