"""A restoration at another strength equals a run with that strength, without running the network."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from gpen.faces.detection.detector import FaceDetector
from gpen.images import Picture
from gpen.network.synthetic import SHARPEN
from gpen.options import Options
from gpen.restoration.api import run
from gpen.restoration.result import Restoration
from gpen.weights.checkpoint import Model
from tests.restoration.conftest import MakeModel

STRENGTHS = (0.0, 0.35, 1.0)
TINT = ((0.9, 0.3, 0.0), (0.1, 0.6, 0.2), (0.0, 0.1, 0.5))

CASES = {
    "restore": ("restore", {}),
    "restore, upscaled and colour-matched": ("restore", {"upscale": 1.5, "color_match": "lab"}),
    "colorize": ("colorize", {"mask": "box"}),
    "inpaint": ("inpaint", {}),
    "colorize, aligned": ("colorize", {}),
    "inpaint, aligned": ("inpaint", {}),
}


@pytest.fixture
def run_case(make_model: MakeModel, solvay: Picture, yunet: FaceDetector) -> Callable[..., Restoration]:
    """Runs one of the cases on a part of the Solvay photo whose faces are close to each other."""
    models = {}

    def run_at(case: str, strength: float, **more: object) -> Restoration:
        task, options = CASES[case]
        if task not in models:
            models[task] = make_model(256, task, kernel=SHARPEN, color_matrix=TINT, color_bias=(0.2, -0.1, 0.1))
        photo = solvay.photo[:257, 500:757].copy()
        damage = np.zeros(photo.shape[:2], np.float32)
        damage[60:120] = 1
        before = photo.copy()
        detector = None if "aligned" in case else yunet
        result = run(
            task,
            photo,
            models[task],
            detector,
            Options(strength=strength, **options),
            **({"damage": damage} if task == "inpaint" else {}),
            **more,
        )
        assert not more.get("keep_layers") or np.array_equal(photo, before)
        return result

    return run_at


@pytest.mark.parametrize("case", CASES)
def test_another_strength_equals_a_run_with_it(
    case: str, run_case: Callable[..., Restoration], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [run_case(case, strength) for strength in STRENGTHS]
    kept = run_case(case, 0.7, keep_layers=True)
    assert kept.faces
    monkeypatch.setattr(Model, "__call__", lambda *_: pytest.fail("the network ran"))
    for strength, fresh in zip(STRENGTHS, expected, strict=True):
        again = kept.with_strength(strength)
        assert np.array_equal(again.photo, fresh.photo)
        assert np.array_equal(again.mask, fresh.mask)
        assert again.summary == fresh.summary
        kept = again  # the next one starts from this one
    assert not np.array_equal(expected[1].photo, expected[2].photo)


def test_nbytes_of_the_layers(run_case: Callable[..., Restoration]) -> None:
    kept = run_case("restore", 1.0, keep_layers=True)
    assert kept.layers is not None
    photo = kept.photo.nbytes
    assert photo < kept.layers.nbytes < photo * (1 + 4 / 3 * 2)


def test_without_layers_with_strength_is_an_error(run_case: Callable[..., Restoration]) -> None:
    made = run_case("restore", 1.0)
    assert made.layers is None
    with pytest.raises(ValueError, match="layers"):
        made.with_strength(0.5)


def test_the_old_name_still_works(run_case: Callable[..., Restoration]) -> None:
    kept = run_case("colorize, aligned", 1.0, keep_layers=True)
    assert np.array_equal(kept.at(0.5).photo, kept.with_strength(0.5).photo)


def test_kept_layers_do_not_keep_the_network(make_model: MakeModel) -> None:
    photo, model = np.full((256, 256, 3), 0.4, np.float32), make_model(256, "colorize")
    network = weakref.ref(model.network)
    kept = run("colorize", photo, model, None, keep_layers=True)
    del model
    gc.collect()
    assert network() is None
    assert kept.with_strength(0.5).faces
