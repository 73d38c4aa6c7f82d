"""Several photos whose faces share calls of the network: the same results as one photo after the other, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gpen.faces.face import Face
from gpen.faces.paste import Canvas
from gpen.images.picture import FloatImage
from gpen.options import Options
from gpen.restoration import inference, pipeline
from gpen.restoration.api import face_source
from gpen.restoration.components import Components
from gpen.restoration.pipeline import Keep, OnProgress, PhotoWork, run_task, run_tasks
from gpen.restoration.result import Restoration, RestoredFace
from gpen.tasks import RESTORE
from tests.restoration import checks
from tests.restoration.test_pipeline import Counting, face_at

OPTIONS = Options()
FACES = ([face_at(70, 80)], [], [face_at(60, 80), face_at(210, 80, 0.45), face_at(350, 80)], [face_at(200, 70)])


@pytest.fixture
def photos() -> list[FloatImage]:
    """Each in another colour."""
    y, x = np.mgrid[:160, :420].astype(np.float32)
    return [np.stack([x / 420, y / 160, shade + 0 * x], axis=2).astype(np.float32) for shade in (0.1, 0.3, 0.5, 0.7)]


@pytest.fixture
def model(make_model: Any) -> Counting:
    return Counting(make_model(color_matrix=checks.MATRIX.tolist(), color_bias=checks.BIAS.tolist()))


def work(photo: FloatImage, faces: list[Face], on_progress: OnProgress | None = None) -> PhotoWork:
    return PhotoWork(photo=photo, source=face_source(RESTORE, OPTIONS, faces), on_progress=on_progress)


def run(works: Iterator[PhotoWork] | list[PhotoWork], model: Any) -> list[Restoration]:
    return list(run_tasks(RESTORE, works, Components(model=model), OPTIONS))


def test_faces_of_several_photos_share_calls(
    photos: list[FloatImage], model: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [
        run_task(RESTORE, work(photo, faces), Components(model=model), OPTIONS)  # type: ignore[arg-type]
        for photo, faces in zip(photos, FACES, strict=True)
    ]
    model.calls.clear()
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 2)
    together = run([work(photo, faces) for photo, faces in zip(photos, FACES, strict=True)], model)
    assert model.calls == [2, 2, 1]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.photo - other.photo).max() < 1e-5
        assert [face.number for face in one.faces] == [face.number for face in other.faces]
        for face, expected in zip(one.faces, other.faces, strict=True):
            assert face.before is not None
            assert np.array_equal(face.before, expected.before)


def test_progress_comes_in_order_and_a_stop_concerns_one_photo(
    photos: list[FloatImage], model: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 2)
    seen: list[tuple[int, int, int]] = []

    def noting(index: int, stops_after: int = 9) -> OnProgress:
        def on_progress(done: int, total: int, face: RestoredFace | None) -> bool:
            if face is not None:
                seen.append((index, done, total))
            return done < stops_after

        return on_progress

    works = [work(photo, FACES[2], noting(index, 1 if index == 0 else 9)) for index, photo in enumerate(photos[:2])]
    first, second = run(works, model)
    assert seen == [(0, 1, 3), (1, 1, 3), (1, 2, 3), (1, 3, 3)]
    assert [(len(one.faces), len(one.skipped)) for one in (first, second)] == [(1, 2), (3, 0)]


def test_on_a_cpu_each_photo_is_finished_before_the_next_begins(photos: list[FloatImage], model: Counting) -> None:
    begun: list[int] = []

    def works() -> Iterator[PhotoWork]:
        for index, photo in enumerate(photos):
            begun.append(index)
            yield work(photo, FACES[index])

    for number, _ in enumerate(run_tasks(RESTORE, works(), Components(model=model), OPTIONS)):  # type: ignore[arg-type]
        assert begun == list(range(number + 1))


@pytest.mark.parametrize("in_place", [False, True])
def test_the_next_result_is_prepared_before_the_network_is_called(
    photos: list[FloatImage], model: Counting, monkeypatch: pytest.MonkeyPatch, in_place: bool
) -> None:
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 2)
    events: list[str] = []
    restore_crops = inference.restore_crops

    def prepare(canvas: Canvas) -> None:
        (number,) = [number for number, photo in enumerate(photos) if photo is canvas._photo.array]
        events.append(f"photo {number}")

    def network(*arguments: Any) -> Any:
        events.append("network")
        return restore_crops(*arguments)

    monkeypatch.setattr(Canvas, "prepare", prepare)
    monkeypatch.setattr(inference, "restore_crops", network)
    keep = Keep(photo=not in_place)
    run([replace(work(photo, faces), keep=keep) for photo, faces in zip(photos, FACES, strict=True)], model)
    events = [event for event, before in zip(events, ["", *events], strict=False) if event != before]
    prepared = ["photo 0", "network", "photo 0", "network", "photo 3", "network"]
    assert events == (["network"] if in_place else prepared)


def test_photos_do_not_wait_in_unlimited_memory(
    photos: list[FloatImage], model: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 16)
    monkeypatch.setattr(pipeline, "_MOST_WAITING", 2 * photos[0].nbytes)
    run([work(photo, FACES[0]) for photo in photos], model)
    assert model.calls == [3, 1]


@pytest.mark.usefixtures("each_implementation")
@pytest.mark.parametrize("color_match", ["none", "lab", "wavelet"])
def test_results_are_those_of_the_cpu(photos: list[FloatImage], model: Counting, color_match: str) -> None:
    options = Options(color_match=color_match)
    (result,) = run_tasks(RESTORE, [work(photos[0], FACES[2])], Components(model=model), options)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpen.images.tensors.on_cpu", lambda picture: picture.device == torch.device("cpu"))
        (expected,) = run_tasks(RESTORE, [work(photos[0], FACES[2])], Components(model=model), options)  # type: ignore[arg-type]
    assert np.abs(result.photo - expected.photo).max() * 255 <= 0.1
    assert np.abs(result.mask - expected.mask).max() <= 1e-3
