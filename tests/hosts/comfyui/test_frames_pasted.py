"""Faces cropped from frames and pasted back: unchanged crops reproduce the frames, changed ones land on their faces."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from tests.hosts.comfyui.synthetic import broken_face, face_at, found, frames, passed_through
from tests.hosts.loading import from_checkout

FaceError = from_checkout("gpen.errors").FaceError
PhotoError = from_checkout("gpen.errors").PhotoError
OptionError = from_checkout("gpen.errors").OptionError
Options = from_checkout("gpen.options").Options
TEMPLATES = from_checkout("gpen.faces.align").TEMPLATES
crop_faces = from_checkout("gpen_hosts.comfyui.frames").crop_faces
FrameHost = from_checkout("gpen_hosts.comfyui.frames").FrameHost
paste_faces = from_checkout("gpen_hosts.comfyui.frames").paste_faces

COLORS = torch.tensor([(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)])


def three() -> Any:
    """Two faces in the first frame, none in the second, one in the third."""
    return found([face_at(80), face_at(300, scale=0.3)], [], [face_at(200)])


def resized(batch: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """As nodes between cropping and pasting resize images."""
    moved = torch.nn.functional.interpolate(batch.movedim(-1, 1), (height, width), mode="bilinear")
    return moved.movedim(1, -1)


@pytest.mark.parametrize("template", ["gpen", "ffhq"])
def test_crops_are_square_and_in_order_with_the_landmarks_on_the_template(template: str) -> None:
    batch, faces = frames(3), three()
    crops, placed = crop_faces(batch, faces, 192, template)
    assert crops.shape == (3, 192, 192, 3)
    assert [(face.frame, face.number) for face in placed.chosen] == [(0, 0), (0, 1), (2, 0)]
    assert [face.placement for face in faces.chosen] == [None] * 3
    for face, crop in zip(placed.chosen, crops, strict=True):
        assert face.placement.size == 192
        # The faces are built from the gpen template; they only approximate the other.
        expected = TEMPLATES[template] + 0.5 / 192
        assert np.abs(face.placement.landmarks - expected).max() < (1e-6 if template == "gpen" else 0.02)
        # The nose of the crop is the nose of the frame.
        x, y = face.face.landmarks[2]
        column, row = face.placement.landmarks[2] * 192 - 0.5
        there, here = batch[face.frame, round(y), round(x)], crop[round(row), round(column)]
        assert here.tolist() == pytest.approx(there.tolist(), abs=0.02)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("mask", ["ellipse", "box"])
def test_unchanged_crops_reproduce_the_frames(channels: int, mask: str) -> None:
    batch = frames(3, channels)
    before = batch.clone()
    crops, placed = crop_faces(batch, three(), 256, "gpen")
    images, masks = paste_faces(batch, crops, placed, Options(mask=mask))
    assert torch.equal(batch, before)
    assert masks.shape == (3, 160, 420)
    assert [bool(frame.any()) for frame in masks] == [True, False, True]
    passed_through(images[..., :3], masks, batch[..., :3])
    assert torch.equal(images[..., 3:], batch[..., 3:])


@pytest.mark.parametrize("size", [64, 100, 512])
def test_resized_crops_are_pasted_where_they_belong(size: int) -> None:
    batch = frames(3)
    crops, placed = crop_faces(batch, three(), 256, "gpen")
    images, masks = paste_faces(batch, resized(crops, size, size), placed, Options())
    passed_through(images, masks, batch)


def test_crops_are_pasted_into_the_same_frames_enlarged() -> None:
    batch = frames(3)
    crops, placed = crop_faces(batch, three(), 256, "gpen")
    large = resized(batch, 320, 840)
    images, masks = paste_faces(large, crops, placed, Options())
    assert images.shape == (3, 320, 840, 3)
    passed_through(images, masks, large)
    assert masks[0, 160, 160] > 0.95
    assert masks[2, 160, 400] > 0.95


def test_crops_of_enlarged_frames_are_pasted_into_the_small_ones() -> None:
    batch = frames(3)
    crops, placed = crop_faces(resized(batch, 320, 840), three(), 256, "gpen")
    images, masks = paste_faces(batch, crops, placed, Options())
    passed_through(images, masks, batch)
    assert masks[0, 80, 80] > 0.95


def test_every_crop_lands_on_its_own_face() -> None:
    batch = frames(3)
    _, placed = crop_faces(batch, three(), 128, "gpen")
    painted = COLORS[:, None, None].expand(3, 128, 128, 3)
    images, masks = paste_faces(batch, painted, placed, Options())
    for color, (frame, x) in zip(COLORS, [(0, 80), (0, 300), (2, 200)], strict=True):
        assert images[frame, 80, x].tolist() == pytest.approx(color.tolist(), abs=1e-4)
    assert torch.equal(images[1], batch[1])
    assert (images[masks == 0] == batch[masks == 0]).all()
    faint, faint_masks = paste_faces(batch, painted, placed, Options(strength=0.25))
    assert torch.allclose(faint - batch, 0.25 * (images - batch), atol=1e-5)
    assert torch.allclose(faint_masks, 0.25 * masks)


def test_crops_may_be_grey_transparent_or_of_half_precision() -> None:
    batch = frames(1)
    crops, placed = crop_faces(batch, found([face_at(80)]), 256, "gpen")
    expected, _ = paste_faces(batch, crops, placed, Options())
    with_alpha, _ = paste_faces(batch, torch.cat([crops, torch.rand(1, 256, 256, 1)], dim=3), placed, Options())
    assert torch.equal(with_alpha, expected)
    half, _ = paste_faces(batch, crops.half(), placed, Options())
    assert torch.allclose(half, expected, atol=1e-3)
    grey, masks = paste_faces(batch, crops[..., :1], placed, Options())
    inside = masks > 0.999
    assert torch.equal(grey[..., 0], expected[..., 0])
    assert (grey[inside].amax(dim=1) - grey[inside].amin(dim=1)).max() < 1e-3


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_number_of_crops_is_refused_with_both_numbers(number: int) -> None:
    batch = frames(3)
    _, placed = crop_faces(batch, three(), 64, "gpen")
    with pytest.raises(FaceError, match=f"There {'is' if number == 1 else 'are'} {number} crops? for 3 faces"):
        paste_faces(batch, torch.zeros(number, 64, 64, 3), placed, Options())


def test_without_faces_only_the_black_crop_is_accepted() -> None:
    batch = frames(2, 4)
    crops, placed = crop_faces(batch, found([], []), 64, "gpen")
    assert crops.shape == (1, 64, 64, 3)
    assert not crops.any()
    assert placed.chosen == ()
    images, masks = paste_faces(batch, crops + 0.5, placed, Options())
    assert torch.equal(images, batch)
    assert masks.shape == (2, 160, 420)
    assert not masks.any()
    with pytest.raises(FaceError, match="2 crops for 0 faces"):
        paste_faces(batch, torch.zeros(2, 64, 64, 3), placed, Options())


def test_faces_that_were_never_cropped_are_refused() -> None:
    with pytest.raises(FaceError, match="Connect the faces that come with the crops"):
        paste_faces(frames(3), torch.zeros(3, 64, 64, 3), three(), Options())


def test_crops_that_are_not_square_are_refused_with_their_size() -> None:
    batch = frames(3)
    crops, placed = crop_faces(batch, three(), 64, "gpen")
    with pytest.raises(PhotoError, match="80 x 64 pixels"):
        paste_faces(batch, resized(crops, 64, 80), placed, Options())


def test_other_frames_are_refused() -> None:
    batch = frames(3)
    crops, placed = crop_faces(batch, three(), 64, "gpen")
    for other in (frames(2), frames(3, width=300)):
        with pytest.raises(PhotoError, match="found in 3 photos of 420 x 160"):
            paste_faces(other, crops, placed, Options())
        with pytest.raises(PhotoError, match="found in 3 photos of 420 x 160"):
            crop_faces(other, three(), 64, "gpen")


def test_a_parsed_mask_without_a_parser_is_refused() -> None:
    batch = frames(3)
    crops, placed = crop_faces(batch, three(), 64, "gpen")
    with pytest.raises(OptionError, match="needs a face parser"):
        paste_faces(batch, crops, placed, Options(mask="parsed"))


def test_a_face_that_cannot_be_cropped_is_left_out_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    batch = frames(2)
    with caplog.at_level(logging.WARNING):
        crops, placed = crop_faces(
            batch, found([face_at(80)], [face_at(80), broken_face(200), face_at(300)]), 64, "gpen"
        )
    assert [(face.frame, face.number) for face in placed.chosen] == [(0, 0), (1, 0), (1, 2)]
    assert len(crops) == 3
    (left,) = placed.left_out
    assert (left.frame, left.number) == (1, 1)
    assert "landmarks coincide" in left.reason
    assert caplog.messages == [f"Face 1 of photo 1 cannot be cropped: {left.reason}"]
    images, masks = paste_faces(batch, crops, placed, Options())
    passed_through(images, masks, batch)
    assert not masks[1, :, 150:250].any()


def test_pasting_reports_progress_and_can_be_stopped() -> None:
    class StoppedError(BaseException):
        pass

    batch = frames(3)
    crops, placed = crop_faces(batch, three(), 64, "gpen")
    steps: list[Any] = []

    def on_step(*step: Any) -> None:
        steps.append(step)
        if len(steps) == 5:
            raise StoppedError

    paste_faces(batch, crops, placed, Options(), host=FrameHost(on_step=on_step))
    assert steps == [(1, 3, None), (2, 3, None), (3, 3, None)]
    with pytest.raises(StoppedError):
        paste_faces(batch, crops, placed, Options(), host=FrameHost(on_step=on_step))
    assert steps[3:] == [(1, 3, None), (2, 3, None)]


def test_what_is_protected_stays() -> None:
    batch, faces = frames(3), three()
    crops, placed = crop_faces(batch, faces, 128, "gpen")
    protect = torch.zeros(1, *batch.shape[1:3])
    protect[:, 80:] = 1
    free, kept = (paste_faces(batch, 1 - crops, placed, Options(), protect=mask) for mask in (None, protect))
    assert torch.equal(kept[0][:, 80:], batch[:, 80:])
    assert not kept[1][:, 80:].any()
    assert free[1][0, 80:].any()
    assert all(torch.equal(one[:, :70], other[:, :70]) for one, other in zip(free, kept, strict=True))
    assert kept[1][0, :70].any()
