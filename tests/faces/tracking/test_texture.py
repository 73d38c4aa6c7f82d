"""Steady texture of crops: less noise over time, nothing across cuts, gaps and what covers a face, a finite memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.texture import pan, portrait
from gpen.faces.tracking.flow import displaced
from gpen.faces.tracking.texture import LOOK_BACK, FrameTexture, SteadyTexture

SIZE = 192
CAMERA_NOISE, NETWORK_NOISE = 0.01, 0.03
Crops = list[tuple[Tensor, Tensor]]
"""Of the source, and as a network made them."""


@pytest.fixture(scope="module")
def photo(photos: object) -> Tensor:
    return torch.from_numpy(portrait(SIZE))


def noise(seed: int, deviation: float, size: int = SIZE) -> Tensor:
    return deviation * torch.randn(size, size, 3, generator=torch.Generator().manual_seed(seed))


def crops(photo: Tensor, number: int = 2 * LOOK_BACK, network_noise: float = NETWORK_NOISE) -> Crops:
    """A face that stands still."""
    return [
        (
            (photo + noise(2 * frame, CAMERA_NOISE)).clamp(0, 1),
            (photo + noise(2 * frame + 1, network_noise)).clamp(0, 1),
        )
        for frame in range(number)
    ]


def steadied(given: Crops, strength: float = 1.0, first: int = 0, step: int = 1) -> list[Tensor]:
    texture = SteadyTexture(strength)
    return [texture.steadied(3, first + step * n, *pair) for n, pair in enumerate(given)]


def deviation(frames: list[Tensor]) -> float:
    return float(torch.stack(frames[LOOK_BACK:]).std(dim=0).mean())


def test_noise_of_the_network_falls_below_the_cameras(photo: Tensor, each_implementation: str) -> None:
    given = crops(photo, 3 * LOOK_BACK)
    source, before = ([pair[which] for pair in given] for which in (0, 1))
    half, whole = (deviation(steadied(given, strength)) for strength in (0.5, 1.0))
    assert deviation(before) > 2.5 * deviation(source)
    assert whole <= 1.1 * deviation(source)
    assert whole < half < 0.6 * deviation(before)


def test_noise_that_the_network_removed_stays_away(photo: Tensor, each_implementation: str) -> None:
    """Even that of a small face, whose crop is enlarged fourfold, and its noise with it."""
    enlarged = [noise(frame, 0.03, SIZE // 4).permute(2, 0, 1)[None] for frame in range(3 * LOOK_BACK)]
    sources = [photo + F.interpolate(one, (SIZE, SIZE), mode="bicubic")[0].permute(1, 2, 0) for one in enlarged]
    results = steadied([(source.clamp(0, 1), photo) for source in sources])
    assert deviation(results) < 0.25 * deviation(sources)


def test_what_every_frame_has_stays(photo: Tensor, each_implementation: str) -> None:
    """A tint, and detail that the source lacks."""
    detail = noise(0, 0.05)
    given = [(source, (photo * 0.8 + 0.1 + detail).clamp(0, 1)) for source, _ in crops(photo)]
    for (_, after), result in list(zip(given, steadied(given), strict=True))[1:]:
        assert (result - after).abs().mean() < 0.01


def test_light_that_changes_is_followed_at_once(photo: Tensor) -> None:
    given = [(pair[0] * gain, pair[0] * gain) for pair, gain in zip(crops(photo, 8), [1.0] * 7 + [0.8], strict=True)]
    *_, last = steadied(given)
    assert abs(float(last.mean() / given[-1][1].mean()) - 1) < 0.01


def test_the_first_frame_is_what_the_network_made(photo: Tensor) -> None:
    ((source, after),) = crops(photo, 1)
    assert SteadyTexture().steadied(0, 0, source, after) is after


def covered(photo: Tensor, frame: int) -> tuple[Tensor, Tensor]:
    """The face behind a bar, striped and as bright as skin, that moves across it; and where that is."""
    x = torch.arange(SIZE)
    bar = ((x >= 12 * frame) & (x < 12 * frame + 40)).expand(SIZE, SIZE)[..., None]
    stripes = (0.45 + 0.25 * (x // 3 % 2)).expand(SIZE, SIZE)[..., None].roll(12 * frame, 1)
    return torch.where(bar, stripes, photo), bar[..., 0]


def test_a_hand_that_passes_leaves_no_ghost(photo: Tensor, each_implementation: str) -> None:
    given, trails, bar = [], [], torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for frame in range(10):
        picture, now = covered(photo, frame)
        given.append(((picture + noise(frame, 0.005)).clamp(0, 1), picture))
        trails.append(bar & ~now)
        bar = now
    errors = [
        (result - after).abs().mean(dim=2)[trail]
        for result, (_, after), trail in zip(steadied(given), given, trails, strict=True)
    ]
    trail = torch.cat(errors)
    # The stripes differ from the face by 0.2 and more.
    assert trail.mean() < 0.004
    assert trail.quantile(0.99) < 0.03


def test_nothing_is_carried_to_another_face_even_within_a_track(photo: Tensor, each_implementation: str) -> None:
    other = photo.flip(1).roll(40, 0)
    given = [(picture, picture) for picture in [photo] * 6 + [other] * 2]
    results = steadied(given)
    ((_, after), result) = given[6], results[6]
    assert (result - after).abs().mean() < 0.003


def test_only_the_frames_of_the_window_have_an_effect(photo: Tensor) -> None:
    """So a film can be begun anywhere, after as many frames."""
    given = crops(photo, 3 * LOOK_BACK)
    whole = steadied(given)
    for begin in (1, LOOK_BACK):
        part = steadied(given[begin:], first=begin)
        assert torch.equal(part[LOOK_BACK], whole[begin + LOOK_BACK])
        assert not torch.equal(part[LOOK_BACK - 1], whole[begin + LOOK_BACK - 1])
        assert all(
            torch.equal(one, other) for one, other in zip(part[LOOK_BACK:], whole[begin + LOOK_BACK :], strict=True)
        )


def test_tracks_do_not_mix(photo: Tensor) -> None:
    given = crops(photo)
    texture, alone = SteadyTexture(), steadied(given)
    for frame, (source, after) in enumerate(given):
        result = texture.steadied(3, frame, source, after)
        texture.steadied(4, frame, source.flip(1), after.flip(1))
        assert torch.equal(result, alone[frame])


def test_a_track_begins_anew_after_a_gap_another_size_or_frames_that_go_back(photo: Tensor) -> None:
    given = crops(photo, 4)
    apart = steadied(given, step=LOOK_BACK + 1)
    assert all(result is after for result, (_, after) in zip(apart, given, strict=True))
    back = steadied(given, first=9, step=-1)
    assert all(result is after for result, (_, after) in zip(back, given, strict=True))
    texture = SteadyTexture()
    texture.steadied(0, 0, *given[0])
    larger = noise(1, 0.1, 2 * SIZE).add(0.5).clamp(0, 1)
    assert texture.steadied(0, 1, given[1][0], larger) is larger
    assert texture.steadied(0, 2, given[2][0], larger) is not larger
    texture.clear()
    assert texture.steadied(0, 3, given[3][0], larger) is larger


def test_a_short_gap_is_bridged(photo: Tensor) -> None:
    *_, last = steadied(crops(photo, 4), step=2)
    assert (last - photo).std() < 0.75 * NETWORK_NOISE


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_motion_is_followed(photo: Tensor, each_implementation: str, size: int) -> None:
    """A pan, with a network whose answer is as large as its input or larger: the result moves along."""
    large = torch.from_numpy(portrait(size))
    given = []
    for frame in range(8):
        small, field = (
            displaced(picture.permute(2, 0, 1)[None], torch.from_numpy(pan(frame, n)).permute(2, 0, 1)[None], "bicubic")
            for picture, n in ((photo, SIZE), (large, size))
        )
        given.append(tuple(picture[0].permute(1, 2, 0).clamp(0, 1) for picture in (small, field)))
    inner = slice(size // 8, -size // 8)
    for (_, after), result in zip(given, steadied(given), strict=True):
        assert (result - after).abs()[inner, inner].mean() < 0.01


def test_a_frame_has_the_videos_texture(photo: Tensor) -> None:
    given, video = crops(photo, 3), SteadyTexture()
    results = [FrameTexture(video, frame).steadied(3, *pair) for frame, pair in enumerate(given)]
    assert all(torch.equal(one, other) for one, other in zip(results, steadied(given), strict=True))
