"""Mistakes that are easily made in code like this, each made on purpose and caught by a check.

Passthrough weights catch mistakes on one side. Mistakes that are made twice and cancel out are caught by marker weights
(colours, range) and by landmarks that are an exact similarity of the template (alignment).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpen.faces import align
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.faces.paste import Canvas
from gpen.images.picture import FloatImage
from gpen.images.tensors import DevicePhoto
from gpen.restoration import inference, processors
from gpen.restoration.api import restore
from gpen.restoration.result import Restoration
from gpen.weights.checkpoint import Model
from tests.restoration import checks

pytestmark = pytest.mark.usefixtures("each_implementation")

SIZE = 256


@pytest.fixture(scope="module")
def photo() -> FloatImage:
    """Smooth colours, asymmetric in their channels, and detail that a shift by half a pixel changes visibly."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:200, :240]
    waves = [np.sin(x / a + y / b) for a, b in ((2.1, 3.3), (1.9, -2.7), (-3.1, 2.2))]
    noise = rng.normal(0, 0.02, (200, 240, 3))
    mean = np.array([0.65, 0.45, 0.3])
    return np.clip(mean + 0.15 * np.stack(waves, axis=2) + noise, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def face() -> Face:
    """An exact similarity of the template, turned and scaled."""
    turn = 0.45 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    landmarks = (TEMPLATES["gpen"] - 0.55) * SIZE @ turn.T + (121.3, 98.6)
    return Face((80, 60, 160, 150), 1.0, landmarks)


@pytest.fixture(scope="module")
def marker(make_model: Any) -> Model:
    model: Model = make_model(color_matrix=checks.MATRIX.tolist(), color_bias=checks.BIAS.tolist())
    return model


def passes(restoration: Restoration, photo: FloatImage) -> None:
    # Waves this short are harder than a real photo, hence the larger bound.
    checks.passed_through(restoration, photo, largest=6, mean=1.5)


def test_without_a_mistake_every_check_passes(photo: FloatImage, face: Face, passthrough: Model, marker: Model) -> None:
    passes(restore(photo, passthrough, [face]), photo)
    marked = restore(photo, marker, [face])
    checks.marked(marked, photo, mean=1.5)
    checks.landmarks_on_template(marked, SIZE)
    checks.masks_cover_faces(marked)


Run = Callable[[Model, list[Tensor]], list[Tensor]]


def each(change: Callable[[Tensor], Tensor], crops: list[Tensor]) -> list[Tensor]:
    return [change(crop).contiguous() for crop in crops]


def swapped_in(run: Run) -> Run:
    return lambda model, crops: run(model, each(lambda crop: crop.flip(2), crops))


def swapped_out(run: Run) -> Run:
    return lambda model, crops: each(lambda crop: crop.flip(2), run(model, crops))


def swapped_both(run: Run) -> Run:
    return swapped_out(swapped_in(run))


def upside_down_both(run: Run) -> Run:
    return lambda model, crops: each(torch.flipud, run(model, each(torch.flipud, crops)))


def range_in(run: Run) -> Run:
    return lambda model, crops: run(model, each(lambda crop: (crop + 1) / 2, crops))


def range_out(run: Run) -> Run:
    return lambda model, crops: each(lambda crop: (crop + 1) / 2, run(model, crops))


@pytest.mark.parametrize("mistake", [swapped_in, swapped_out])
def test_channels_swapped_on_one_side(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, passthrough: Model, mistake: Callable[..., Any]
) -> None:
    monkeypatch.setattr(inference, "restore_crops", mistake(inference.restore_crops))
    with pytest.raises(AssertionError):
        passes(restore(photo, passthrough, [face]), photo)


def test_channels_swapped_on_both_sides(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, passthrough: Model, marker: Model
) -> None:
    monkeypatch.setattr(inference, "restore_crops", swapped_both(inference.restore_crops))
    passes(restore(photo, passthrough, [face]), photo)  # does not catch it
    with pytest.raises(AssertionError):
        checks.marked(restore(photo, marker, [face]), photo, mean=1.5)


class _Range:
    """A model with a wrong value range."""

    def __init__(self, model: Model, low: float, high: float) -> None:
        self.value_range = (low, high)
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, x: Any) -> Any:
        return self._model(x)


def test_the_wrong_range_on_both_sides(photo: FloatImage, face: Face, passthrough: Model, marker: Model) -> None:
    def wrong(model: Model) -> Any:
        return _Range(model, 0.0, 1.0)

    passes(restore(photo, wrong(passthrough), [face]), photo)  # does not catch it
    with pytest.raises(AssertionError):
        checks.marked(restore(photo, wrong(marker), [face]), photo, mean=1.5)


@pytest.mark.parametrize("mistake", [range_in, range_out])
def test_the_wrong_range_on_one_side(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, passthrough: Model, mistake: Callable[..., Any]
) -> None:
    monkeypatch.setattr(inference, "restore_crops", mistake(inference.restore_crops))
    with pytest.raises(AssertionError):
        passes(restore(photo, passthrough, [face]), photo)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5)])
def test_pasting_off_by_half_a_pixel(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, passthrough: Model, shift: tuple[float, float]
) -> None:
    add = Canvas.add

    def off(self: Canvas, crop: Tensor, matrix: NDArray[np.float64], *more: Any) -> None:
        moved = np.eye(3)
        moved[:2, 2] = shift
        add(self, crop, matrix @ moved, *more)

    monkeypatch.setattr(Canvas, "add", off)
    with pytest.raises(AssertionError):
        passes(restore(photo, passthrough, [face]), photo)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, 0.5)])
def test_alignment_off_by_half_a_pixel_both_ways(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, passthrough: Model, shift: tuple[float, float]
) -> None:
    """The same wrong matrix crops and pastes: the photo comes back, but the network saw it shifted."""
    right = align.crop_matrix

    def off(face: Face, size: int, template: str) -> NDArray[np.float64]:
        matrix = right(face, size, template).copy()
        matrix[:, 2] += shift
        return matrix

    monkeypatch.setattr(align, "crop_matrix", off)
    restoration = restore(photo, passthrough, [face])
    passes(restoration, photo)  # does not catch it
    with pytest.raises(AssertionError):
        checks.landmarks_on_template(restoration, SIZE)


def test_cropping_off_by_half_a_pixel(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, passthrough: Model
) -> None:
    right = processors.crop_face

    def off(photo: DevicePhoto, matrix: NDArray[np.float64], size: int) -> Tensor:
        moved = np.eye(3)
        moved[:2, 2] = (0.5, 0.5)
        return right(photo, matrix @ moved, size)

    monkeypatch.setattr(processors, "crop_face", off)
    with pytest.raises(AssertionError):
        passes(restore(photo, passthrough, [face]), photo)


def test_an_upside_down_network_is_caught_by_its_filter(
    monkeypatch: pytest.MonkeyPatch, photo: FloatImage, face: Face, make_model: Any
) -> None:
    """Flipped in and out: colours do not catch it, an asymmetric filter does."""
    kernel = ((0, 0.5, 0), (0, 1, 0), (0, -0.5, 0))
    model = make_model(kernel=kernel)
    right = restore(photo, model, [face])
    monkeypatch.setattr(inference, "restore_crops", upside_down_both(inference.restore_crops))
    wrong = restore(photo, model, [face])
    assert np.abs(right.photo - wrong.photo).max() * 255 > 20
    shifted = right.faces[0].before
    assert shifted is not None
    expected = shifted[1:-1] * 1 + 0.5 * (shifted[:-2] - shifted[2:])
    assert right.faces[0].after is not None
    interior = np.s_[1:-1, 1:-1]
    assert np.abs(right.faces[0].after[1:-1][interior] - np.clip(expected, 0, 1)[interior]).max() < 1e-4
