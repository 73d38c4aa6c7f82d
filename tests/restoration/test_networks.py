"""A network for each face: which it gets, that nothing of a large face is lost, and what is said where it would be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

from gpen.errors import CheckpointError, GpenError
from gpen.faces.align import TEMPLATES
from gpen.faces.detection.detector import FaceDetector
from gpen.faces.face import Face
from gpen.images import Picture
from gpen.images.picture import FloatImage
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration import inference
from gpen.restoration.api import face_source
from gpen.restoration.components import ComponentCache, ComponentLoader, Components, HostHooks
from gpen.restoration.needs import Needs
from gpen.restoration.networks import NetworksBySize
from gpen.restoration.pipeline import PhotoWork, run_task, run_tasks
from gpen.restoration.processors import PhotoInputs
from gpen.restoration.result import Restoration
from gpen.tasks import RESTORE
from gpen.weights.checkpoint import Model

SPECS = {
    512: Spec(512, 512, 2, 1 / 8, 16, 2),
    1024: Spec(1024, 1024, 2, 1 / 4, 16, 2),
    2048: Spec(2048, 2048, 2, 1 / 2, 16, 2),
    64: Spec(64, 64, 2, 1 / 16, 16, 2),
    128: Spec(128, 128, 2, 1 / 16, 16, 2),
    256: Spec(256, 256, 2, 1 / 16, 16, 2),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Passthrough networks of several sizes."""
    folder = tmp_path_factory.mktemp("networks")
    paths = {size: folder / f"GPEN-BFR-{size}.safetensors" for size in SPECS}
    for size, path in paths.items():
        save_file(synthetic_weights(SPECS[size]), path)
    return paths


def components(paths: Sequence[Path], loader: ComponentLoader | None = None) -> Components:
    loader = loader or ComponentLoader((), "cpu")
    return loader.load(RESTORE, paths[0], Options(precision="fp32"), Needs(), paths[1:])


def faces_of(*sizes: float) -> list[Face]:
    """Faces beside each other whose crops have these sizes, in pixels of the photo."""
    faces, x = [], 10.0
    for size in sizes:
        landmarks = TEMPLATES["gpen"] * size + (x - 0.25 * size, 10 - 0.3 * size)
        faces.append(Face((x, 10, x + 0.5 * size, 10 + 0.5 * size), 0.9, landmarks))
        x += 0.7 * size
    return faces


def photo_of(faces: Sequence[Face]) -> FloatImage:
    width, height = round(faces[-1].box[2] + 20), round(max(face.box[3] for face in faces) + 20)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x / width, y / height, 0.5 + 0 * x], axis=2).astype(np.float32)


def work(photo: FloatImage, faces: Sequence[Face], **more: Any) -> PhotoWork:
    return PhotoWork(photo=photo, source=face_source(RESTORE, Options(), list(faces)), **more)


def restored(parts: Components, faces: Sequence[Face], upscale: float = 1) -> Restoration:
    return run_task(RESTORE, work(photo_of(faces), faces), parts, Options(mask="ellipse", upscale=upscale))


def given(restoration: Restoration) -> list[tuple[int, int]]:
    """For each face the size of its network, and of its crop in the result."""
    networks = [face.network for face in restoration.faces if face.network is not None]
    assert [face.crops.after.shape[0] for face in restoration.faces if face.crops] == [part.size for part in networks]
    return [(network.size, network.face_size) for network in networks]


def test_each_face_gets_the_smallest_that_is_large_enough(files: dict[int, Path]) -> None:
    # In any order on disk.
    parts = components([files[size] for size in (128, 64, 256)])
    sizes = [size for size, _ in given(restored(parts, faces_of(40, 63, 70, 127, 140, 250)))]
    assert sizes == [64, 64, 128, 128, 256, 256]
    assert parts.title == "GPEN 64, 128 or 256 by the size of each face"


def test_the_size_in_the_result_counts(files: dict[int, Path]) -> None:
    parts = components([files[size] for size in (64, 128, 256)])
    enlarged = restored(parts, faces_of(40, 63, 100), upscale=2)
    assert [size for size, _ in given(enlarged)] == [128, 128, 256]
    for (_, size), expected in zip(given(enlarged), (80, 126, 200), strict=True):
        assert abs(size - expected) <= 1
    # Or that of the background.
    faces = faces_of(40, 63, 100)
    photo = photo_of(faces)
    background = cv2.resize(photo, None, fx=2, fy=2)
    inputs = PhotoInputs(background=background)
    on_background = run_task(RESTORE, work(photo, faces, inputs=inputs), parts, Options(mask="ellipse"))
    assert given(on_background) == given(enlarged)


def test_one_network_for_all_is_not_mentioned(files: dict[int, Path]) -> None:
    parts = ComponentLoader((), "cpu").load(RESTORE, files[64], Options(), Needs())
    restoration = restored(parts, faces_of(40, 200))
    assert [face.network for face in restoration.faces] == [None, None]
    assert restoration.summary == "2 faces restored."


def test_faces_larger_than_the_largest_are_named(files: dict[int, Path]) -> None:
    restoration = restored(components([files[64], files[128]]), faces_of(40, 200, 100, 300))
    assert restoration.summary == (
        "4 faces restored. Larger in the result than GPEN-BFR-128.safetensors makes faces (128 pixels): "
        "face 1 (200), face 3 (300)."
    )


def test_networks_are_loaded_once_and_when_they_are_needed(files: dict[int, Path]) -> None:
    loaded: list[str] = []
    hooks = HostHooks(before_model=lambda path, dtype: loaded.append(path.stem))
    cache = ComponentCache()
    parts = components([files[64], files[128], files[256]], ComponentLoader((), "cpu", cache=cache, hooks=hooks))
    assert loaded == ["GPEN-BFR-64"]
    restored(parts, faces_of(40, 100, 110))
    restored(parts, faces_of(100))
    assert loaded == ["GPEN-BFR-64", "GPEN-BFR-128"]
    again = components([files[64], files[128], files[256]], ComponentLoader((), "cpu", cache=cache, hooks=hooks))
    assert parts.networks is not None
    assert again.networks is not None
    assert again.networks.for_face(100).network is parts.networks.for_face(100).network


def test_another_run_lets_go_of_them(files: dict[int, Path]) -> None:
    cache = ComponentCache()
    loader = ComponentLoader((), "cpu", cache=cache)
    restored(components([files[64], files[128], files[256]], loader), faces_of(100, 200))
    assert [kind.rpartition("-")[2] for kind in cache.kinds() if kind != "model"] == [
        "128.safetensors",
        "256.safetensors",
    ]
    components([files[64], files[256]], loader)
    assert [kind.rpartition("-")[2] for kind in cache.kinds() if kind != "model"] == ["256.safetensors"]
    loader.load(RESTORE, files[64], Options(precision="fp32"), Needs())
    assert cache.kinds() == ("model",)


def test_others_make_room_where_memory_runs_out(files: dict[int, Path]) -> None:
    parts, events = components([files[64]]), []
    models = {files[size]: components([files[size]]).model for size in (128, 256)}

    def load(path: Path) -> Model:
        events.append(f"load {path.stem}")
        if path == files[256] and events.count("unload GPEN-BFR-128") == 0:
            raise MemoryError
        return models[path]

    networks = NetworksBySize(
        parts.model, [files[128], files[256]], load, lambda path: events.append(f"unload {path.stem}")
    )
    assert networks.for_face(100).spec.out_size == 128
    assert networks.for_face(200).spec.out_size == 256
    assert networks.for_face(100).spec.out_size == 128
    assert events == [
        *("load GPEN-BFR-128", "load GPEN-BFR-256", "unload GPEN-BFR-128", "load GPEN-BFR-256", "load GPEN-BFR-128")
    ]
    # With nothing to let go of, the error stands.
    events.clear()
    with pytest.raises(MemoryError):
        NetworksBySize(parts.model, [files[256]], load, lambda path: None).for_face(200)
    assert events == ["load GPEN-BFR-256"]


def test_others_stay_where_a_network_cannot_be_loaded_for_another_reason(files: dict[int, Path]) -> None:
    parts, smaller, unloaded = components([files[64]]), components([files[128]]).model, list[Path]()

    def load(path: Path) -> Model:
        if path == files[256]:
            raise CheckpointError("It is damaged.")
        return smaller

    networks = NetworksBySize(parts.model, [files[128], files[256]], load, unloaded.append)
    assert networks.for_face(100) is smaller
    with pytest.raises(CheckpointError, match="damaged"):
        networks.for_face(200)
    assert unloaded == []


def test_a_file_for_another_task_is_refused_before_anything_is_loaded(files: dict[int, Path], tmp_path: Path) -> None:
    other = tmp_path / "GPEN-Colorization-1024.safetensors"
    other.write_bytes(files[128].read_bytes())
    with pytest.raises(GpenError, match="colorize"):
        ComponentLoader((), "cpu").check(RESTORE, files[64], Options(), Needs(), [other])


def test_faces_share_calls_by_network_and_are_pasted_in_their_order(
    files: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results do not depend on which network has enough faces for a call first."""
    parts = components([files[64], files[128]])
    # Overlapping faces of both networks.
    photos = [faces_of(60, 100, 40, 120), faces_of(100, 60), faces_of(50)]
    for faces in photos:
        faces[:] = [
            Face((x0 - 8 * n, y0, x1 - 8 * n, y1), face.score, face.landmarks - [8 * n, 0])
            for n, face in enumerate(faces)
            for x0, y0, x1, y1 in [face.box]
        ]
    pictures = [photo_of(faces) for faces in photos]

    def run() -> tuple[list[Restoration], list[list[int]]]:
        seen: list[list[int]] = [[] for _ in photos]

        def on_progress(photo: int) -> Any:
            return lambda done, total, face: seen[photo].append(done)

        works = [
            work(picture, faces, on_progress=on_progress(number))
            for number, (picture, faces) in enumerate(zip(pictures, photos, strict=True))
        ]
        return list(run_tasks(RESTORE, works, parts, Options(mask="ellipse"))), seen

    alone, _ = run()
    calls: list[tuple[int, int]] = []
    restore_crops = inference.restore_crops

    def counted(model: Model, crops: Any) -> Any:
        if crops:
            calls.append((model.spec.in_size, len(crops)))
        return restore_crops(model, crops)

    monkeypatch.setattr(inference, "restore_crops", counted)
    monkeypatch.setattr(inference, "faces_per_call", lambda model: {64: 3, 128: 1}[model.spec.in_size])
    together, seen = run()
    assert calls == [(128, 1), (128, 1), (128, 1), (64, 3), (64, 1)]
    assert seen == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1]]
    for one, other in zip(alone, together, strict=True):
        assert [face.number for face in one.faces] == [face.number for face in other.faces]
        assert np.abs(one.photo - other.photo).max() < 1e-5


def detail(photo: FloatImage) -> FloatImage:
    return photo - cv2.GaussianBlur(photo, (0, 0), 1.5)


@pytest.mark.parametrize(("sizes", "low", "high"), [((512, 1024), 0.98, 1.01), ((512,), 0.0, 0.8)])
def test_a_large_face_keeps_its_detail_where_a_larger_network_is_there(
    files: dict[int, Path],
    portrait: Picture,
    yunet: FaceDetector,
    sizes: tuple[int, ...],
    low: float,
    high: float,
) -> None:
    """One whose crop has 966 pixels."""
    side = 850
    photo = cv2.resize(portrait.photo, (side, side), interpolation=cv2.INTER_AREA)
    parts = components([files[size] for size in sizes])
    restoration = run_task(RESTORE, work(photo, yunet.detect(photo, 0.7)), parts, Options(mask="ellipse"))
    if len(sizes) > 1:
        ((network, pixels),) = given(restoration)
        assert network == 1024
        assert 900 < pixels < 1000
    assert low <= kept_detail(restoration, photo) <= high


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize(("pixels", "expected"), [(520, 1024), (700, 1024), (1000, 1024), (1100, 2048), (2000, 2048)])
def test_nothing_of_a_freshly_reduced_photo_is_lost(
    files: dict[int, Path], portrait: Picture, pixels: int, expected: int, degrees: float
) -> None:
    """It is sharp to the last pixel. The face is as large and as tilted as its landmarks say, whatever is there."""
    reduced = cv2.resize(portrait.photo, (512, 512), interpolation=cv2.INTER_AREA)
    photo = np.asarray(cv2.copyMakeBorder(reduced, *[max(0, (pixels - 512) // 2)] * 4, cv2.BORDER_REFLECT))
    turn = cv2.getRotationMatrix2D((0.5, 0.5), degrees, 1)
    landmarks = (TEMPLATES["gpen"] @ turn[:, :2].T + turn[:, 2]) * pixels
    face = Face((*landmarks.min(axis=0), *landmarks.max(axis=0)), 0.9, landmarks)
    parts = components([files[size] for size in (512, 1024, 2048)])
    restoration = run_task(RESTORE, work(photo, [face]), parts, Options(mask="ellipse"))
    assert given(restoration) == [(expected, pixels)]
    assert 0.98 <= kept_detail(restoration, photo) <= 1.02


def kept_detail(restoration: Restoration, photo: FloatImage) -> float:
    """The energy of fine detail inside the mask, after over before."""
    inside = restoration.mask > 0.999
    assert inside.mean() > 0.05
    return float((detail(restoration.photo)[inside] ** 2).sum() / (detail(photo)[inside] ** 2).sum())
