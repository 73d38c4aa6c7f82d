"""Batches that are the frames of a video: faces are tracked, smoothed and bridged before the first is restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.hosts.comfyui.synthetic import Detector, Face, components, face_at, frames, passed_through
from tests.hosts.loading import from_checkout

Options = from_checkout("gpen.options").Options
RESTORE = from_checkout("gpen.tasks").RESTORE
crop_faces = from_checkout("gpen_hosts.comfyui.frames").crop_faces
find_faces = from_checkout("gpen_hosts.comfyui.frames").find_faces
restore_frames = from_checkout("gpen_hosts.comfyui.frames").restore_frames

STEADY = Options(video=True)


def still(number: int, channels: int = 3) -> torch.Tensor:
    """The same frame again and again."""
    return frames(1, channels).repeat(number, 1, 1, 1)


def shaken(face: Any, seed: int) -> Any:
    return Face(face.box, face.score, face.landmarks + np.random.default_rng(seed).normal(0, 1, (5, 2)))


def numbers(faces: Any) -> list[tuple[int, int]]:
    return [(face.frame, face.number) for face in faces]


def test_it_is_off_by_default() -> None:
    faces = [[shaken(face_at(80), seed)] for seed in range(8)]
    found = find_faces(still(8), Detector(*faces), Options())
    assert [face.face for face in found.chosen] == [face for (face,) in faces]


def test_positions_are_smoothed_along_the_batch() -> None:
    faces = [[shaken(face_at(80 + 4 * f), f)] for f in range(30)]
    found = find_faces(still(30), Detector(*faces), STEADY)
    assert numbers(found.chosen) == [(f, 0) for f in range(30)]
    before, after = (
        np.array([face.landmarks for face in some])
        for some in ([face for (face,) in faces], [face.face for face in found.chosen])
    )
    assert np.diff(before, 2, axis=0).std() > 20 * np.diff(after, 2, axis=0).std()
    true = np.array([face_at(80 + 4 * f).landmarks for f in range(30)])
    assert np.abs(after - true).max() < 1.5


def test_a_missing_face_is_bridged_and_restored() -> None:
    faces = [[face_at(80)], [face_at(80)], [], [], [face_at(80)]]
    batch = still(5, 4)
    found = find_faces(batch, Detector(*faces), STEADY)
    assert numbers(found.chosen) == [(f, 0) for f in range(5)]
    restored = restore_frames(RESTORE, batch, components(), found, STEADY)
    assert restored.faces == 5
    passed_through(restored.images[..., :3], restored.mask, batch[..., :3])
    for frame in range(1, 5):
        assert (restored.mask[frame] - restored.mask[0]).abs().max() < 1e-4


def test_a_cut_in_the_batch_starts_new_tracks() -> None:
    noise = torch.rand(1, 3, 8, 21, generator=torch.Generator().manual_seed(1))
    other = torch.nn.functional.interpolate(noise, (160, 420), mode="bilinear").permute(0, 2, 3, 1)
    found = find_faces(torch.cat([still(6), other.repeat(6, 1, 1, 1)]), Detector(*[[face_at(80)]] * 12), STEADY)
    assert numbers(found.chosen) == [(f, 0) for f in range(6)] + [(f, 1) for f in range(6, 12)]


def test_a_face_keeps_its_number_while_passing_another() -> None:
    paths = [[face_at(60 + 12 * f, 75), face_at(320 - 8 * f, 90)] for f in range(24)]
    faces = [sorted(pair, key=lambda face: face.center) for pair in paths]
    found = find_faces(still(24), Detector(*faces), Options(video=True, only_faces="0"))
    assert numbers(found.chosen) == [(f, 0) for f in range(24)]
    assert [face.face.center[0] for face in found.chosen] == pytest.approx([60 + 12 * f for f in range(24)])
    assert {face.reason for face in found.left_out} == {"not among faces 0"}
    # Both chosen, they still come from left to right, as do the crops and the restored faces.
    both = find_faces(still(24), Detector(*faces), STEADY)
    assert [face.number for face in both.of_frame(0)] == [0, 1]
    assert [face.number for face in both.of_frame(23)] == [1, 0]
    crops, placed = crop_faces(still(24), both, 64, "gpen")
    assert len(crops) == len(placed.chosen) == 48


def test_the_choice_of_the_largest_does_not_flicker() -> None:
    faces = [[face_at(80, scale=0.30 if f % 2 else 0.36), face_at(300, scale=0.34)] for f in range(12)]
    found = find_faces(still(12), Detector(*faces), Options(video=True, select="largest"))
    assert numbers(found.chosen) == [(f, 1) for f in range(12)]
    separately = find_faces(still(12), Detector(*faces), Options(select="largest"))
    assert {face.number for face in separately.chosen} == {0, 1}


def test_a_moving_region_applies_frame_by_frame() -> None:
    region = torch.zeros(4, 16, 42)
    region[:2, :, :21] = region[2:, :, 21:] = 1
    found = find_faces(still(4), Detector(*[[face_at(80), face_at(350)]] * 4), STEADY, region)
    assert numbers(found.chosen) == [(0, 0), (1, 0), (2, 1), (3, 1)]


def test_a_video_of_one_frame() -> None:
    face = face_at(80)
    (found,) = find_faces(still(1), Detector([face]), STEADY).chosen
    assert found.number == 0
    assert np.allclose(found.face.landmarks, face.landmarks)


def test_texture_is_steady_wherever_faces_were_tracked() -> None:
    """Whether this node tracked them or the one that found them."""
    noise = 0.02 * torch.randn(8, *still(1).shape[1:], generator=torch.Generator().manual_seed(0))
    batch = (still(8) * 0.8 + 0.1 + noise).clamp(0, 1)
    tracked, untracked = (
        find_faces(batch, Detector(*[[face_at(80)]] * 8), Options(video=video)) for video in (True, False)
    )
    assert tracked.is_video
    assert not untracked.is_video

    def faces(found: Any, **values: Any) -> torch.Tensor:
        return restore_frames(RESTORE, batch, components(), found, Options(**values)).after

    steady, without = faces(tracked), faces(tracked, texture=0.0)
    assert steady[5:].std(dim=0).mean() < 0.6 * without[5:].std(dim=0).mean()
    assert torch.equal(faces(tracked, video=True), steady)
    assert torch.equal(faces(untracked), without)
