"""Batches of frames restored: passthrough weights reproduce each frame, and everything comes in the right order."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from tests.arrays import crop_face
from tests.hosts.comfyui.synthetic import broken_face, components, face_at, found, frames, passed_through
from tests.hosts.loading import from_checkout

OutOfMemoryError = from_checkout("gpen.errors").OutOfMemoryError
PhotoError = from_checkout("gpen.errors").PhotoError
Options = from_checkout("gpen.options").Options
RESTORE = from_checkout("gpen.tasks").RESTORE
place = from_checkout("gpen.faces.align").place
enlarge = from_checkout("gpen.images.resize").enlarge
FrameFace = from_checkout("gpen_hosts.comfyui.frames").FrameFace
FrameHost = from_checkout("gpen_hosts.comfyui.frames").FrameHost
FrameInputs = from_checkout("gpen_hosts.comfyui.frames").FrameInputs
OutputFormat = from_checkout("gpen_hosts.comfyui.image_batches").OutputFormat
FoundFaces = from_checkout("gpen_hosts.comfyui.frames").FoundFaces
photo_of = from_checkout("gpen_hosts.comfyui.frames").photo_of
restore_frames = from_checkout("gpen_hosts.comfyui.frames").restore_frames


@pytest.fixture(scope="module")
def passthrough() -> Any:
    return components()


@pytest.fixture(scope="module")
def tinting() -> Any:
    """Adds red, which marks restored pixels."""
    return components(color_bias=(0.3, 0, 0))


def enlarged(batch: torch.Tensor, factor: float = 2) -> torch.Tensor:
    """Each channel enlarged as the pipeline enlarges photos."""
    large = [[enlarge(frame[..., c].contiguous().numpy(), factor) for c in range(frame.shape[2])] for frame in batch]
    return torch.from_numpy(np.stack([np.stack(channels, axis=2) for channels in large]))


def test_frames_pass_through_each_with_its_own_content(passthrough: Any) -> None:
    batch = frames(3)
    before = batch.clone()
    result = restore_frames(
        RESTORE, batch, passthrough, found([face_at(80), face_at(300)], [], [face_at(200)]), Options()
    )
    assert torch.equal(batch, before)
    assert result.faces == 3
    assert result.images.dtype == result.mask.dtype == torch.float32
    passed_through(result.images, result.mask, batch)
    for frame, columns in enumerate([(80, 300), (), (200,)]):
        assert bool(result.mask[frame].any()) == bool(columns)
        covered = [x for x in (80, 200, 300) if result.mask[frame, 80, x] > 0.95]
        assert covered == list(columns)


def test_restored_faces_and_originals_come_in_the_order_of_frames_and_faces(tinting: Any) -> None:
    batch = frames(3)
    faces = found([face_at(80), face_at(300, scale=0.3)], [], [face_at(200)])
    result = restore_frames(RESTORE, batch, tinting, faces, Options())
    assert result.after.shape == result.before.shape == (3, 256, 256, 3)
    for index, face in enumerate(faces.chosen):
        expected = crop_face(photo_of(batch[face.frame]), place(face.face, 256, "gpen").matrix, 256)
        assert np.array_equal(result.before[index].numpy(), expected)
        # 0.3 of a range from -1 to 1.
        difference = (result.after[index] - result.before[index]).mean(dim=(0, 1))
        assert difference.tolist() == pytest.approx([0.15, 0, 0], abs=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_without_a_face_frames_are_unchanged(passthrough: Any, channels: int) -> None:
    batch = frames(2, channels)
    result = restore_frames(RESTORE, batch, passthrough, found([], []), Options())
    assert torch.equal(result.images, batch.expand(-1, -1, -1, 3) if channels == 1 else batch)
    assert result.mask.shape == (2, 160, 420)
    assert result.faces == 0
    assert result.after.shape == result.before.shape == (1, 256, 256, 3)
    for blank in (result.mask, result.after, result.before):
        assert not blank.any()


@pytest.mark.parametrize("upscale", [1.0, 2.0])
def test_alpha_is_kept_and_grows_with_the_frame(passthrough: Any, upscale: float) -> None:
    batch = frames(2, 4)
    result = restore_frames(RESTORE, batch, passthrough, found([face_at(80)], [face_at(300)]), Options(upscale=upscale))
    expected = enlarged(batch, upscale)
    assert torch.equal(result.images[..., 3], expected[..., 3])
    passed_through(result.images[..., :3], result.mask, expected[..., :3])


def test_half_precision_and_grey_frames_pass_through(passthrough: Any) -> None:
    faces = found([face_at(80)])
    for batch in (frames(1).half(), frames(1).bfloat16(), frames(1, 1)):
        result = restore_frames(RESTORE, batch, passthrough, faces, Options())
        passed_through(result.images, result.mask, batch.float().expand(-1, -1, -1, 3))


@pytest.mark.parametrize("channels", [3, 4])
def test_results_are_rounded_to_the_dtype_that_the_host_wants(tinting: Any, channels: int) -> None:
    """Nothing else changes: frames in that dtype keep every bit outside the mask."""
    batch, faces = frames(2, channels).half(), found([face_at(80)], [])
    exact = restore_frames(RESTORE, batch, tinting, faces, Options())
    host = FrameHost(output=OutputFormat(dtype=torch.float16))
    rounded = restore_frames(RESTORE, batch, tinting, faces, Options(), host=host)
    for name in ("images", "mask", "after", "before"):
        assert torch.equal(getattr(rounded, name), getattr(exact, name).half()), name
    untouched = exact.mask == 0
    assert torch.equal(rounded.images[untouched], batch[untouched])
    assert not untouched.all()


def test_faces_found_in_the_small_frames_are_restored_in_the_enlarged_ones(passthrough: Any) -> None:
    batch = enlarged(frames(2))
    result = restore_frames(RESTORE, batch, passthrough, found([face_at(80)], [face_at(300)]), Options())
    passed_through(result.images, result.mask, batch)
    assert result.mask[0, 160, 160] > 0.95
    assert result.mask[1, 160, 600] > 0.95


def test_faces_are_pasted_into_the_background_of_their_own_frame(tinting: Any) -> None:
    batch = frames(2)
    backgrounds = [np.full((240, 630, 3), level, np.float32) for level in (0.25, 0.75)]
    options = Options(upscale=4)
    faces = found([face_at(80)], [face_at(300)])
    result = restore_frames(
        RESTORE, batch, tinting, faces, options, inputs=FrameInputs(background=backgrounds.__getitem__)
    )
    assert result.images.shape == (2, 240, 630, 3)
    for frame, (x, level) in enumerate([(80, 0.25), (300, 0.75)]):
        outside = result.mask[frame] == 0
        assert (result.images[frame][outside] == level).all()
        assert outside.float().mean() > 0.5
        restored = batch[frame, 80, x] + torch.tensor([0.15, 0, 0])
        assert result.images[frame, 120, round(1.5 * x)].tolist() == pytest.approx(restored.tolist(), abs=0.02)


def test_backgrounds_of_different_sizes_are_refused(passthrough: Any) -> None:
    with pytest.raises(PhotoError, match="Photo 1 would become 630 x 240 pixels, the first one is 840 x 320"):
        restore_frames(
            RESTORE,
            frames(2),
            passthrough,
            found([], []),
            Options(),
            inputs=FrameInputs(background=lambda index: np.zeros(((320, 840, 3), (240, 630, 3))[index], np.float32)),
        )


def test_chosen_faces_are_restored_whatever_the_options_for_choosing_say(passthrough: Any) -> None:
    faces = found([face_at(80, score=0.1), face_at(300)], [face_at(200)])
    options = Options(select="largest", only_faces="7", min_face_size=4000)
    assert restore_frames(RESTORE, frames(2), passthrough, faces, options).faces == 3


def test_progress_counts_the_faces_of_all_frames_and_shows_each(passthrough: Any) -> None:
    steps: list[tuple[int, int, Any]] = []
    loads: list[int] = []
    result = restore_frames(
        RESTORE,
        frames(3),
        passthrough,
        found([face_at(80), face_at(300)], [], [face_at(200)]),
        Options(),
        host=FrameHost(before_frame=lambda: loads.append(len(steps)), on_step=lambda *step: steps.append(step)),
    )
    assert [(done, total) for done, total, face in steps if face is None] == [(0, 3), (2, 3), (2, 3)]
    shown = [(done, total, face) for done, total, face in steps if face is not None]
    assert [(done, total) for done, total, _ in shown] == [(1, 3), (2, 3), (3, 3)]
    for (_, _, face), after in zip(shown, result.after, strict=True):
        assert np.array_equal(face, after.numpy())
    # Called for frames with faces only, before any of their faces.
    assert loads == [0, 4]


@pytest.mark.parametrize("last", [0, 1, 2])
def test_an_exception_of_the_callback_stops_at_once(passthrough: Any, last: int) -> None:
    class StoppedError(BaseException):
        pass

    steps: list[int] = []
    loads: list[None] = []

    def on_step(done: int, total: int, face: Any) -> None:
        steps.append(done)
        if done == last:
            raise StoppedError

    faces = found([face_at(80), face_at(300)], [face_at(200)])
    host = FrameHost(before_frame=lambda: loads.append(None), on_step=on_step)
    with pytest.raises(StoppedError):
        restore_frames(RESTORE, frames(2), passthrough, faces, Options(), host=host)
    assert steps == list(range(last + 1))
    assert len(loads) == 1
    assert restore_frames(RESTORE, frames(2), passthrough, faces, Options()).faces == 3


def test_a_face_that_cannot_be_aligned_is_left_out_and_named(
    passthrough: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By its number among all faces of its frame, as the boxes show it."""
    chosen = [(0, 0, face_at(80)), (1, 2, face_at(120)), (1, 5, broken_face(250)), (1, 6, face_at(330))]
    faces = FoundFaces(2, 420, 160, tuple(FrameFace(*face) for face in chosen))
    with caplog.at_level(logging.WARNING):
        result = restore_frames(RESTORE, frames(2), passthrough, faces, Options())
    assert result.faces == len(result.after) == len(result.before) == 3
    (line,) = caplog.messages
    assert line.startswith("Face 5 of photo 1 was skipped: ")
    assert "landmarks coincide" in line


def test_other_frames_than_the_faces_were_found_in_are_refused(passthrough: Any) -> None:
    with pytest.raises(PhotoError, match="found in 1 photo of 420 x 160 pixels; here are 2 of 420 x 160"):
        restore_frames(RESTORE, frames(2), passthrough, found([face_at(80)]), Options())


def test_running_out_of_memory_is_reported_with_the_size(monkeypatch: pytest.MonkeyPatch, passthrough: Any) -> None:
    def full(*size: Any, **more: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(OutOfMemoryError, match=r"1 photo of 256 x 256 pixels would take 0\.0 GB"):
        restore_frames(RESTORE, frames(1), passthrough, found([face_at(90)]), Options())


@pytest.mark.parametrize("masks", ["one", "half the size", "one for each"])
def test_what_is_protected_stays(tinting: Any, masks: str) -> None:
    batch, faces = frames(2), found([face_at(80), face_at(300)], [face_at(200)])
    height, width = batch.shape[1:3]
    protect = torch.zeros(2 if masks == "one for each" else 1, height, width)
    protect[:, 80:] = 1
    if masks == "one for each":
        protect[1] = 0
    if masks == "half the size":
        protect = protect[:, ::2, ::2]
    free, kept = (
        restore_frames(RESTORE, batch, tinting, faces, Options(), inputs=FrameInputs(protect=mask))
        for mask in (None, protect)
    )
    for index in range(2):
        if masks == "one for each" and index == 1:
            assert torch.equal(kept.images[index], free.images[index])
            continue
        assert torch.equal(kept.images[index, 80:], batch[index, 80:])
        assert not kept.mask[index, 80:].any()
        assert torch.equal(kept.images[index, :70], free.images[index, :70])
        assert free.mask[index, 80:].any()
        assert kept.mask[index, :70].any()


def test_another_number_of_masks_is_refused(tinting: Any) -> None:
    batch, faces = frames(2), found([face_at(80)], [])
    inputs = FrameInputs(protect=torch.zeros(3, 20, 20))
    with pytest.raises(PhotoError, match="for 2 photos it must hold one mask, or 2"):
        restore_frames(RESTORE, batch, tinting, faces, Options(), inputs=inputs)
