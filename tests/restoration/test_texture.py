"""Steady texture through the pipeline: the figures of bench/texture.py, and networks that answer out of order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from torch import Tensor

from bench.texture import MOTIONS, Field, network, portrait, steadiness
from gpen.faces.detection.detector import FaceDetector
from gpen.faces.source import ChosenFaces, FoundFace
from gpen.faces.tracking.texture import FrameTexture, SteadyTexture
from gpen.options import Options
from gpen.restoration import inference
from gpen.restoration.components import Components
from gpen.restoration.pipeline import PhotoWork, run_tasks
from gpen.tasks import RESTORE, Task
from tests.restoration.test_pipeline import face_at

SIZE = 256


@pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS)
def test_frames_are_as_steady_as_the_source_and_as_sharp(
    motion: Callable[[int, int], Field], yunet: FaceDetector, photos: object
) -> None:
    found = steadiness(portrait(SIZE), motion, network(SIZE, 1 / 16), yunet)
    source, without, with_texture = found.error
    assert without > 1.5 * source
    assert with_texture <= source
    assert 0.95 <= found.sharpness <= 1.05
    if motion is MOTIONS["still"]:
        source, without, with_texture = found.deviation
        assert without > 1.5 * source
        assert with_texture <= 1.1 * source


class Recording(SteadyTexture):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[int, int]] = []

    def steadied(self, track: int, frame: int, before: Tensor, after: Tensor) -> Tensor:
        self.given.append((frame, track))
        return super().steadied(track, frame, before, after)


class TwoNetworks:
    """Gives faces to one of two models, in turns."""

    def __init__(self, *models: Any) -> None:
        self.models, self._turn = models, 0

    def for_face(self, _pixels: int) -> Any:
        self._turn += 1
        return self.models[self._turn % 2]


def works(texture: SteadyTexture | None, number: int = 5) -> list[PhotoWork]:
    rng = np.random.default_rng(0)
    photo = cv2.resize(rng.uniform(0.3, 0.7, (16, 42, 3)), (420, 160))
    faces = ChosenFaces([FoundFace(7, face_at(70, 80)), FoundFace(2, face_at(300, 80))])
    return [
        PhotoWork(
            photo=(photo + rng.normal(0, 0.02, photo.shape)).astype(np.float32),
            source=faces,
            texture=None if texture is None else FrameTexture(texture, frame),
        )
        for frame in range(number)
    ]


def results(task: Task, texture: SteadyTexture | None, **components: Any) -> list[Any]:
    made = Components(**components)
    return [restoration.photo for restoration in run_tasks(task, works(texture), made, Options())]


@pytest.mark.parametrize("together", [1, 3])
def test_frames_come_in_order_however_faces_share_calls(
    make_model: Any, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Two networks, each of which waits for faces of later frames."""
    first, second = make_model(), make_model(seed=1)
    monkeypatch.setattr(inference, "faces_per_call", lambda model: together if model is first else 1)
    texture = Recording()
    results(RESTORE, texture, model=first, networks=TwoNetworks(first, second))
    assert texture.given == [(frame, track) for frame in range(5) for track in (7, 2)]


def test_batches_of_any_size_give_the_same(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    alone = results(RESTORE, SteadyTexture(), model=model)
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 4)
    together = results(RESTORE, SteadyTexture(), model=model)
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() < 1e-4
    without = results(RESTORE, None, model=model)
    assert np.array_equal(alone[0], without[0])
    assert np.abs(alone[4] - without[4]).mean() > 0.0003
