"""On a GPU everything returns what it returns on the CPU."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.portrait import portrait
from gpen.device import pick_dtype
from gpen.faces.detection.detector import make_detector
from gpen.images import Picture
from gpen.network.gpen import GPEN
from gpen.network.memory import memory_estimate
from gpen.network.spec import Spec
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint, restore
from gpen.restoration.inference import run_within_memory
from gpen.weights.checkpoint import Model
from tests.restoration.conftest import MakeModel

pytestmark = pytest.mark.cuda


@pytest.fixture
def exact_float32() -> Iterator[None]:
    """Without TF32, which rounds to ten bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def on_cuda(model: Model, dtype: torch.dtype = torch.float32) -> Model:
    return Model(copy.deepcopy(model.network).to("cuda", dtype), model.task, model.path)


@pytest.mark.usefixtures("exact_float32")
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(mask="box"),
        Options(color_match="lab"),
        Options(grain=1),
        Options(upscale=2),
        Options(strength=0.4),
    ],
    ids=["defaults", "box", "colour match", "grain", "enlarged", "strength"],
)
def test_a_photo_is_restored_as_on_the_cpu(passthrough: Model, options: Options) -> None:
    photo, face = portrait(1.0)
    expected = restore(photo, passthrough, [face], options)
    restored = restore(photo, on_cuda(passthrough), [face], options)
    assert np.abs(restored.photo - expected.photo).max() <= 1 / 255
    assert np.abs(restored.mask - expected.mask).max() <= 1e-3
    untouched = (restored.mask == 0) & (expected.mask == 0)
    assert np.array_equal(restored.photo[untouched], expected.photo[untouched])


def test_half_precision_stays_close_to_the_photo_in_float32(passthrough: Model) -> None:
    photo, face = portrait(1.0)
    expected = restore(photo, passthrough, [face])
    restored = restore(photo, on_cuda(passthrough, torch.float16), [face])
    difference = np.abs(restored.photo - expected.photo)[expected.mask > 0]
    assert np.quantile(difference, 0.999) <= 2 / 255
    assert difference.mean() <= 0.3 / 255


@pytest.mark.usefixtures("exact_float32")
def test_other_tasks_do_as_on_the_cpu(colorizer: Model, make_model: MakeModel) -> None:
    photo, face = portrait(1.0)
    grey = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2)
    expected, restored = (colorize(grey, model, [face]) for model in (colorizer, on_cuda(colorizer)))
    assert np.abs(restored.photo - expected.photo).max() <= 1 / 255
    painter = make_model(256, "inpaint")
    damage = np.zeros(photo.shape[:2], np.float32)
    x, y = map(int, face.center)
    damage[y - 20 : y + 20, x - 30 : x + 30] = 1
    expected, restored = (inpaint(photo, damage, model, [face]) for model in (painter, on_cuda(painter)))
    assert np.abs(restored.photo - expected.photo).max() <= 1 / 255


def test_the_same_photo_twice_gives_the_same_bytes(passthrough: Model) -> None:
    photo, face = portrait(1.0)
    model = on_cuda(passthrough, torch.float16)
    # From a call, from the call that is recorded, and from the recording.
    first, *others = [restore(photo, model, [face]).photo for _ in range(3)]
    for other in others:
        assert np.array_equal(first, other)


def test_auto_is_float16_where_the_gpu_has_matrix_units_for_it() -> None:
    fast = torch.cuda.get_device_capability() >= (7, 0) and torch.version.hip is None
    assert pick_dtype("auto", torch.device("cuda")) == (torch.float16 if fast else torch.float32)


def test_too_little_memory_for_a_batch_changes_only_the_last_digits(caplog: pytest.LogCaptureFixture) -> None:
    spec, number = Spec(256, 256, 1, 0.5), 16
    generator = torch.Generator().manual_seed(3)
    network = GPEN(spec).requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    model = Model(network.to("cuda"), "restore", Path("random.pth"))
    x = torch.rand((number, 3, 256, 256), generator=generator) * 2 - 1
    expected = run_within_memory(model, x).cpu()
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + memory_estimate(spec, torch.float32, number) // 2
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.mem_get_info()[1])
    try:
        with caplog.at_level(logging.INFO):
            restored = run_within_memory(model, x).cpu()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "Out of memory at a batch of 16" in caplog.text
    # TF32 and other kernels for another batch size.
    assert (restored - expected).abs().max() <= 1e-2 * expected.abs().max()


def test_the_detector_finds_the_same_faces(solvay: Picture, detector_weights: Path) -> None:
    expected, found = (
        make_detector("yunet", [detector_weights], device).detect(solvay.photo) for device in ("cpu", "cuda")
    )
    assert len(found) == len(expected) == 29
    for face, other in zip(found, expected, strict=True):
        assert abs(face.score - other.score) <= 1e-2
        assert np.abs(face.landmarks - other.landmarks).max() <= 0.5
