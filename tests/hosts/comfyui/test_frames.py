"""Batches of frames: how they become photos, which faces are found, and which frames belong to which faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.hosts.comfyui.synthetic import Detector, face_at, found, frames
from tests.hosts.loading import from_checkout

PhotoError = from_checkout("gpen.errors").PhotoError
Options = from_checkout("gpen.options").Options
FrameFace = from_checkout("gpen_hosts.comfyui.frames").FrameFace
FoundFaces = from_checkout("gpen_hosts.comfyui.frames").FoundFaces
draw_frames = from_checkout("gpen_hosts.comfyui.frames").draw_frames
find_faces = from_checkout("gpen_hosts.comfyui.frames").find_faces
photo_of = from_checkout("gpen_hosts.comfyui.frames").photo_of
people_in = from_checkout("gpen.faces.recognition.people").people_in


def numbers(faces: Any) -> list[tuple[int, int]]:
    return [(face.frame, face.number) for face in faces]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_frame_becomes_its_colours(channels: int, dtype: torch.dtype) -> None:
    frame = frames(1, channels)[0].to(dtype)
    photo = photo_of(frame)
    assert photo.dtype == np.float32
    assert photo.flags.c_contiguous
    assert torch.equal(torch.from_numpy(photo), frame[..., :3].float())


def test_a_grey_frame_becomes_rgb() -> None:
    frame = frames(1, 1)[0]
    photo = photo_of(frame)
    assert photo.shape == (160, 420, 3)
    assert photo.flags.c_contiguous
    assert all(np.array_equal(photo[..., channel], frame[..., 0].numpy()) for channel in range(3))


def test_a_frame_may_be_a_slice_of_anything() -> None:
    batch = frames(2, 4).permute(0, 3, 1, 2)
    frame = batch[1, :, ::2, 5:50].permute(1, 2, 0)
    assert not frame.is_contiguous()
    photo = photo_of(frame)
    assert photo.flags.c_contiguous
    assert np.array_equal(photo, frames(2, 4)[1, ::2, 5:50, :3].numpy())


@pytest.mark.parametrize("shape", [(8, 9, 2), (8, 9, 5), (8, 9), (1, 8, 9, 3), (8, 9, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PhotoError) as refused:
        photo_of(torch.zeros(shape))
    assert str(shape) in str(refused.value)


def test_faces_know_their_frame_and_number() -> None:
    batch = frames(3, 4)
    detector = Detector([face_at(80), face_at(210)], [], [face_at(60), face_at(200), face_at(350)])
    faces = find_faces(batch, detector, Options(detection_threshold=0.4))
    assert (faces.frames, faces.width, faces.height) == (3, 420, 160)
    assert numbers(faces.chosen) == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]
    assert [face.face for face in faces.chosen] == [*detector.faces[0], *detector.faces[2]]
    assert faces.left_out == ()
    assert numbers(faces.of_frame(0)) == [(0, 0), (0, 1)]
    assert faces.of_frame(1) == []
    assert [threshold for _, threshold in detector.seen] == [0.4] * 3
    for frame, (photo, _) in zip(batch, detector.seen, strict=True):
        assert np.array_equal(photo, frame[..., :3].numpy())


def test_faces_are_chosen_in_each_frame_separately() -> None:
    detector = Detector([face_at(80), face_at(210, scale=0.4)], [face_at(60, scale=0.3), face_at(200, scale=0.2)])
    faces = find_faces(frames(2), detector, Options(select="largest"))
    assert numbers(faces.chosen) == [(0, 1), (1, 0)]
    assert numbers(faces.left_out) == [(0, 0), (1, 1)]
    assert {face.reason for face in faces.left_out} == {"not the largest face"}
    assert {face.reason for face in faces.chosen} == {""}


class Recognizer:
    """Takes for people's identities how bright their faces are."""

    same_person = 0.99

    def align(self, crop: torch.Tensor, landmarks: Any) -> torch.Tensor:
        return crop

    def embed(self, faces: Any) -> Any:
        angles = np.array([float(face.mean()) for face in faces]) * np.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_only_faces_of_a_person() -> None:
    batch = frames(2)
    batch[:] = 0.1
    batch[0, :, :140] = batch[1, :, 280:] = 0.9
    detector = Detector(*[[face_at(70, scale=0.2), face_at(350, scale=0.2)]] * 2)
    photo = np.full((160, 420, 3), 0.9, np.float32)
    bright = people_in([("image 0 of the input person", photo)], Detector([face_at(210)]), 0.7, Recognizer())
    faces = find_faces(batch, detector, Options(), people=bright)
    assert numbers(faces.chosen) == [(0, 0), (1, 1)]
    assert all(face.reason.startswith("none of the people asked for") for face in faces.left_out)


def test_sharp_faces_are_left_out() -> None:
    """Smooth waves are not sharp; a limit of next to nothing is still below them."""
    detector = Detector([face_at(80), face_at(210)])
    assert len(find_faces(frames(1), detector, Options(skip_sharp=0.5)).chosen) == 2
    detector = Detector([face_at(80), face_at(210)])
    faces = find_faces(frames(1) + 0.2 * (torch.rand(1, 160, 420, 3) > 0.97), detector, Options(skip_sharp=1e-9))
    assert not faces.chosen
    assert all(face.reason.startswith("sharp enough: its sharpness is ") for face in faces.left_out)


@pytest.mark.parametrize("size", [(160, 420), (16, 42), (37, 1000)])
@pytest.mark.parametrize("batched", [False, True])
def test_one_region_of_any_size_applies_to_every_frame(size: tuple[int, int], batched: bool) -> None:
    region = torch.zeros(size)
    region[:, size[1] // 2 :] = 1
    detector = Detector(*[[face_at(80), face_at(350)]] * 2)
    faces = find_faces(frames(2), detector, Options(), region[None] if batched else region)
    assert numbers(faces.chosen) == [(0, 1), (1, 1)]
    assert {face.reason for face in faces.left_out} == {"outside the mask"}


def test_a_region_for_each_frame() -> None:
    region = torch.zeros(2, 20, 60)
    region[0, :, :30] = region[1, :, 30:] = 1
    faces = find_faces(frames(2), Detector(*[[face_at(80), face_at(350)]] * 2), Options(), region)
    assert numbers(faces.chosen) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("shape", [(2, 160, 420), (4, 160, 420), (1, 1, 160, 420)])
def test_another_number_of_regions_is_refused_with_both_numbers(shape: tuple[int, ...]) -> None:
    detector = Detector([], [], [])
    with pytest.raises(PhotoError) as refused:
        find_faces(frames(3), detector, Options(), torch.zeros(shape))
    assert str(shape) in str(refused.value)
    assert "3 photos" in str(refused.value)
    assert detector.seen == []


def test_finding_reports_progress_and_can_be_stopped() -> None:
    class StoppedError(BaseException):
        pass

    steps: list[tuple[int, int, Any]] = []

    def on_step(*step: Any) -> None:
        steps.append(step)
        if len(steps) == 2:
            raise StoppedError

    detector = Detector([face_at(80)], [], [])
    with pytest.raises(StoppedError):
        find_faces(frames(3), detector, Options(), on_step=on_step)
    assert steps == [(1, 3, None), (2, 3, None)]
    assert len(detector.seen) == 2


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((2, 160, 420, 3), (1, 1)),
        ((2, 320, 840, 4), (2, 2)),
        ((2, 80, 210, 1), (0.5, 0.5)),
        ((2, 107, 280, 3), (2 / 3, 107 / 160)),
    ],
)
def test_the_same_frames_at_another_size(shape: tuple[int, ...], scale: tuple[float, float]) -> None:
    assert found([face_at(80)], []).scale_to(torch.zeros(shape)) == scale


@pytest.mark.parametrize(
    "shape", [(2, 160, 630, 3), (2, 320, 420, 3), (2, 244, 630, 3), (3, 160, 420, 3), (1, 320, 840, 3)]
)
def test_other_frames_are_refused_with_all_numbers(shape: tuple[int, ...]) -> None:
    with pytest.raises(PhotoError) as refused:
        found([face_at(80)], []).scale_to(torch.zeros(shape))
    number, height, width, _ = shape
    assert "found in 2 photos of 420 x 160" in str(refused.value)
    assert f"{number} of {width} x {height}" in str(refused.value)


def test_a_drawing_shows_each_frames_faces_with_those_left_out_in_grey() -> None:
    batch = torch.full((2, 160, 420, 4), 0.2)
    chosen = (FrameFace(0, 1, face_at(210)), FrameFace(1, 0, face_at(80)))
    faces = FoundFaces(2, 420, 160, chosen, (FrameFace(0, 0, face_at(80), reason="outside the mask"),))
    drawings = draw_frames(batch, faces)
    assert drawings.shape == (2, 160, 420, 3)
    yellow, grey, untouched = (255, 214, 10), (170, 170, 170), (51, 51, 51)
    expected = {(0, 80): grey, (0, 210): yellow, (1, 80): yellow, (1, 210): untouched}
    for (frame, x), color in expected.items():
        # In the middle of the left side of the box; lines are drawn with soft edges.
        pixel = drawings[frame, 80, round(x - 90 * 0.35)] * 255
        assert pixel.tolist() == pytest.approx(color, abs=20)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(PhotoError, match="The batch of photos is empty"):
        find_faces(frames(1)[:0], Detector(), Options())


def test_the_summary() -> None:
    options = Options(only_faces="1")
    nothing = find_faces(frames(2), Detector([], []), options)
    assert nothing.summary == "No face was found in 2 photos."
    some = find_faces(frames(1), Detector([face_at(90), face_at(200), face_at(320)]), options)
    assert some.summary == "1 face chosen in 1 photo, 2 skipped (not among faces 1)."
    outside = find_faces(frames(1), Detector([face_at(90)]), Options(), torch.zeros(1, 64, 64))
    assert outside.summary == "0 faces chosen in 1 photo, 1 skipped (outside the mask)."
