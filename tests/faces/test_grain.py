"""Restored faces get the grain of the photo around them: as much as they lack, as fine, and none if it has none."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpen.faces.grain import _factors
from gpen.faces.masks.mask import SIZE
from tests.arrays import Canvas, crop_face

Photo = NDArray[np.float32]
SIDE = 420
"""Pixels of the photo that the mask's circle is wide."""
CENTER = 450
KINDS = ("white", "blurred", "film")
AREA = [1 - math.pi / 16, *(math.pi / 4**k * (1 / 4 - 1 / 16) for k in range(1, 4))]


def grain(shape: tuple[int, int], sigma: float, kind: str = "white", seed: int = 0) -> Photo:
    """Noise with this standard deviation, of 255, whose channels correlate by a half."""
    noise = np.random.default_rng(seed).normal(size=(*shape, 3))
    if kind == "blurred":
        noise = cv2.GaussianBlur(noise, (0, 0), 1.2)
    elif kind == "film":
        noise = cv2.GaussianBlur(noise, (0, 0), 0.8) - cv2.GaussianBlur(noise, (0, 0), 2.5)
    noise = noise @ np.linalg.cholesky(np.full((3, 3), 0.5) + 0.5 * np.eye(3)).T
    return (noise / noise.std() * sigma / 255).astype(np.float32)


def smooth(size: int = 900) -> Photo:
    """A clean picture of slow shading, with an edge."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    shading = 0.4 + 0.15 * y + 0.1 * np.sin(5 * x)
    shading[:, : size // 7] -= 0.2
    return np.stack([shading, shading * 0.9, shading * 0.8], axis=2).astype(np.float32)


def disc(soft: float = 0.02) -> Photo:
    y, x = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(x - (SIZE - 1) / 2, y - (SIZE - 1) / 2) / SIZE
    return np.clip((0.42 - distance) / soft, 0, 1).astype(np.float32)


def at(crop: int, x: float = CENTER, y: float = CENTER, side: float = SIDE, angle: float = 0.2) -> NDArray[np.float64]:
    """Photo to a crop of this size, in which the circle of :func:`disc` is ``side`` pixels of the photo wide."""
    turn = 0.84 * crop / side * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.hstack([turn, ((crop - 1) / 2 - turn @ (x, y))[:, None]])


def pasted(photo: Photo, clean: Photo, crop: int = 512, amount: float = 1.0, strength: float = 1.0) -> Photo:
    """The photo with a face from a network that returned the clean picture."""
    canvas = Canvas(photo, grain=amount)
    canvas.add(crop_face(clean, at(crop), crop), at(crop), disc())
    return canvas.blend(strength)[0]


def power(noise: Photo) -> NDArray[np.float64]:
    """The power in each octave of a square of noise, the highest first, averaged over the channels."""
    window = np.hanning(len(noise))[:, None] * np.hanning(len(noise))
    spectrum = np.abs(np.fft.fft2(noise * window[..., None], axes=(0, 1))) ** 2 / np.square(window).sum()
    cycles = np.fft.fftfreq(len(noise))
    octave = np.floor(-1 - np.log2(np.maximum(np.hypot(cycles[:, None], cycles), 1e-9))).clip(0)
    return np.array([spectrum[octave == k].mean() * AREA[k] for k in range(4)])


def inside(picture: Photo, half: int = 140) -> Photo:
    return picture[CENTER - half : CENTER + half, CENTER - half : CENTER + half]


def deviation(noise: Photo) -> float:
    return float(noise.std()) * 255


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [2, 5, 12])
@pytest.mark.parametrize("crop", [256, 1024])
def test_power_in_each_octave_is_that_around(kind: str, sigma: float, crop: int) -> None:
    """Whatever the network's size: the grain is as fine as the photo's, which the crop's pixels are not."""
    clean = smooth()
    photo = clean + grain(clean.shape[:2], sigma, kind)
    added = inside(pasted(photo, clean, crop) - clean)
    wanted = power(grain((900, 900), sigma, kind, seed=1))
    got = power(added)
    # To within a tenth; half a percent of the whole is too little to see.
    assert (np.abs(got - wanted) <= 0.1 * wanted + 0.005 * wanted.sum()).all(), (got / wanted, wanted / wanted.sum())
    channels = np.corrcoef(added.reshape(-1, 3).T)
    assert channels[0, 1] == pytest.approx(0.5, abs=0.05)
    assert channels[1, 2] == pytest.approx(0.5, abs=0.05)
    assert abs(added.mean()) * 255 < 0.05 * sigma
    assert (added.std(axis=(0, 1)) * 255 > 0.9 * sigma).all()


@pytest.mark.parametrize("amount", [0.25, 0.5])
def test_less_of_it(amount: float) -> None:
    clean = smooth()
    photo = clean + grain(clean.shape[:2], 6)
    whole, part = (inside(pasted(photo, clean, amount=share) - clean) for share in (1, amount))
    assert part == pytest.approx(whole * amount, abs=1e-5)


def test_none_of_it_is_what_it_was() -> None:
    clean = smooth()
    photo = clean + grain(clean.shape[:2], 6)
    canvas = Canvas(photo)
    canvas.add(crop_face(clean, at(512), 512), at(512), disc())
    assert np.array_equal(pasted(photo, clean, amount=0), canvas.blend(1.0)[0])


@pytest.mark.usefixtures("each_implementation")
def test_outside_the_mask_not_one_bit_changes() -> None:
    clean = smooth()
    photo = clean + grain(clean.shape[:2], 8)
    canvas = Canvas(photo, grain=1.0)
    canvas.add(crop_face(clean, at(512), 512), at(512), disc(0.2))
    result, mask = canvas.blend(0.7)
    assert np.array_equal(result[mask == 0], photo[mask == 0])
    assert (result[mask > 0] != photo[mask > 0]).mean() > 0.99
    assert 0 <= result.min() < result.max() <= 1


@pytest.mark.parametrize("strength", [0.3, 0.6])
def test_what_shows_through_of_the_original_counts(strength: float) -> None:
    """Half a face over half the original would have half the variance: the grain fills up what is missing."""
    clean = smooth()
    photo = clean + grain(clean.shape[:2], 8)
    bare, filled = (inside(pasted(photo, clean, amount=share, strength=strength) - clean) for share in (0, 1))
    assert deviation(bare) < 0.75 * 8
    assert deviation(filled) == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_grain_that_the_network_left_is_not_added_again(kind: str) -> None:
    clean = smooth()
    photo = clean + grain(clean.shape[:2], 8, kind)
    kept = inside(pasted(photo, photo, 1024) - clean)
    assert deviation(kept) == pytest.approx(8, rel=0.05)
    # Half of it, in amplitude: three quarters of the power are missing.
    half = inside(pasted(photo, (photo + clean) / 2, 1024) - clean)
    assert deviation(half) == pytest.approx(8, rel=0.06)


def textured(base: Photo) -> Photo:
    """With stripes, checks and waves of many sizes over most of the picture, and little that is flat."""
    picture = base.copy()
    y, x = np.mgrid[: len(base), : len(base)]
    for step in (2, 3, 5, 8, 13, 21):
        top = step * 31
        picture[top : top + 60] += 0.06 * np.sign(np.sin(np.pi * (x + y)[top : top + 60] / step))[..., None]
        picture[:, top : top + 30] += 0.04 * np.sin(2 * np.pi * y[:, top : top + 30] / step)[..., None]
    return picture.astype(np.float32).clip(0, 1)


def hatched(base: Photo) -> Photo:
    """Like cloth: the same weave everywhere, under light that changes."""
    y, x = np.mgrid[: len(base), : len(base)]
    weave = np.sin(2 * np.pi * x / 7) * np.sin(2 * np.pi * y / 5) + 0.5 * np.sin(2 * np.pi * (x + y) / 23)
    return (base + 0.1 * base.mean(axis=2, keepdims=True) * weave[..., None]).astype(np.float32)


def rough(base: Photo) -> Photo:
    """Like a lawn: random, but with power that grows towards low frequencies, as in pictures."""
    cycles = np.hypot(np.fft.fftfreq(len(base))[:, None], np.fft.rfftfreq(len(base)))
    noise = np.fft.rfft2(np.random.default_rng(2).normal(size=base.shape[:2])) / np.maximum(cycles, 0.01)
    waves = np.fft.irfft2(noise, s=base.shape[:2])
    return (base + 0.08 * (waves / waves.std())[..., None]).clip(0.02, 0.98).astype(np.float32)


@pytest.mark.parametrize("change", [np.copy, textured, hatched, rough])
@pytest.mark.parametrize("bits", [8, 32])
def test_none_is_added_to_a_clean_picture(change: object, bits: int) -> None:
    """Rounding to 8 bits is no grain either."""
    assert callable(change)
    clean = change(smooth())
    photo = (np.rint(clean * 255) / 255).astype(np.float32) if bits == 8 else clean
    face = smooth()
    plain, grainy = (pasted(photo, face, amount=share) for share in (0, 1))
    assert deviation(inside(grainy - plain)) < 0.3


def portrait() -> Photo:
    """A photo with hair, cloth and stars around the face, and hardly any noise."""
    data = pytest.importorskip("skimage.data")
    denoised = cv2.fastNlMeansDenoisingColored(data.astronaut(), None, 5, 5, 5, 15)
    return np.asarray(denoised, np.float32) / 255


def face_of(photo: Photo, clean: Photo, amount: float) -> tuple[Photo, Photo]:
    """The portrait with its face blurred, as by a network, and the mask."""
    matrix = at(512, 223, 115, 130, 0)
    canvas = Canvas(photo, grain=amount)
    canvas.add(cv2.GaussianBlur(crop_face(clean, matrix, 512), (0, 0), 6), matrix, disc())
    return canvas.blend(1.0)


def test_a_real_photo() -> None:
    """Without noise nothing is added; with noise, that, and not what hair and cloth look like."""
    clean = portrait()
    plain, mask = face_of(clean, clean, 0)
    assert deviation((face_of(clean, clean, 1)[0] - plain)[mask > 0.99]) < 0.3
    for sigma in (5, 10):
        noisy = np.clip(clean + grain(clean.shape[:2], sigma), 0, 1).astype(np.float32)
        noisy = (np.rint(noisy * 255) / 255).astype(np.float32)
        plain, grainy = (face_of(noisy, clean, amount)[0] for amount in (0, 1))
        assert deviation((grainy - plain)[mask > 0.99]) == pytest.approx(sigma, rel=0.1)


def test_a_grey_photo_stays_grey() -> None:
    grey = smooth()[..., :1].repeat(3, axis=2)
    photo = grey + grain(grey.shape[:2], 8)[..., :1]
    result = pasted(photo, grey)
    assert deviation(inside(result - grey)) > 6
    assert np.ptp(np.rint(result * 255), axis=2).max() == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_clipped_parts_do_not_count(value: float) -> None:
    """Black and white have lost their noise; the rest shows it."""
    clean = smooth()
    clean[:, :350] = value
    photo = np.clip(clean + grain(clean.shape[:2], 8), 0, 1)
    photo[:, :350] = value
    assert deviation(inside(pasted(photo, smooth()) - smooth())) == pytest.approx(8, rel=0.06)


@pytest.mark.parametrize("size", [3, 9, 20, 40, 100])
def test_small_faces_and_photos(size: int) -> None:
    """Too little to measure is no error; a small face in a large photo has grain from about 16 pixels up."""
    clean = smooth()
    noise = grain(clean.shape[:2], 8)
    for edge in (size + 2, 900):
        photo = (clean + noise)[:edge, :edge]
        place = at(64, edge / 2, edge / 2, size)
        canvas = Canvas(photo, grain=1.0)
        canvas.add(crop_face(clean[:edge, :edge], place, 64), place, disc())
        result, mask = canvas.blend(1.0)
        assert np.isfinite(result).all()
        if edge == 900 and size >= 40:
            assert deviation((result - clean)[mask > 0.99]) == pytest.approx(8, rel=0.2)


def test_a_face_does_not_depend_on_others_or_on_the_run() -> None:
    clean = smooth(1200)
    photo = clean + grain(clean.shape[:2], 8)
    places = [at(256, 300, 300, 200), at(256, 900, 300, 240), at(256, 600, 900, 160, 1.0)]
    crops = [crop_face(clean, place, 256) for place in places]
    together, reversed_, alone = (Canvas(photo, grain=1.0) for _ in range(3))
    for canvas, order in ((together, (0, 1, 2)), (reversed_, (2, 1, 0)), (alone, (1,))):
        for index in order:
            canvas.add(crops[index], places[index], disc())
    result = together.blend(1.0)[0]
    assert np.array_equal(result, reversed_.blend(1.0)[0])
    single, mask = alone.blend(1.0)
    assert np.array_equal(result[mask > 0], single[mask > 0])
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        again = Canvas(photo, grain=1.0)
        for crop, place in zip(crops, places, strict=True):
            again.add(crop, place, disc())
        assert np.array_equal(result, again.blend(1.0)[0])
    finally:
        torch.set_num_threads(before)


def test_another_frame_has_another_grain() -> None:
    """A pattern that stood still over a video would look like dirt on the lens."""
    clean = smooth()
    first, second = (
        inside(pasted(clean + grain(clean.shape[:2], 8, seed=seed), clean) - clean).ravel() for seed in (1, 2)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


def test_where_faces_overlap_there_is_as_much_grain() -> None:
    clean = smooth()
    photo = clean + grain(clean.shape[:2], 8)
    canvas = Canvas(photo, grain=1.0)
    for x in (CENTER - 40, CENTER + 40):
        canvas.add(crop_face(clean, at(512, x), 512), at(512, x), disc(soft=0.3))
    result, mask = canvas.blend(1.0)
    assert deviation(inside(result - clean, 100)) == pytest.approx(8, rel=0.05)
    assert deviation((result - clean)[mask > 0.99]) == pytest.approx(8, rel=0.05)


def test_a_face_larger_than_the_grain_s_period() -> None:
    clean = smooth(1500)
    photo = clean + grain(clean.shape[:2], 8)
    place = at(512, 750, 750, 1200)
    canvas = Canvas(photo, grain=1.0)
    canvas.add(crop_face(clean, place, 512), place, disc())
    added = (canvas.blend(1.0)[0] - clean)[450:1050, 450:1050]
    assert deviation(added) == pytest.approx(8, rel=0.05)


def test_what_a_face_seems_to_have_below_nothing_is_not_missing() -> None:
    """Estimates may be negative; where no grain is wanted, none is made."""
    present = -torch.eye(3).expand(4, 3, 3) * 1e-4
    assert not _factors(torch.zeros(4, 3, 3), present).any()
