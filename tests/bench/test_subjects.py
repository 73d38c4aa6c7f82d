"""What is run in the processes, on small networks and in this one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from bench import gpu, machine, networks, rows, startup
from bench import photos as photo_subjects
from bench.measure import picture


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "GPEN-BFR-256.safetensors"
    networks.write(256, str(path))()
    return str(path)


def test_ours_and_the_textbook_get_the_same_picture_and_weights(weights: str, tmp_path: Path) -> None:
    outputs = [tmp_path / "ours.npy", tmp_path / "textbook.npy"]
    ours = networks.ours(weights, 256, "float32", str(outputs[0]))()
    textbook = networks.textbook(weights, 256, str(outputs[1]))()
    assert rows._difference(*(rows.np.load(output) for output in outputs)) <= rows.SAME
    for taken in (ours, textbook):
        assert taken["seconds"] > 0
        assert taken["peak_bytes"] > 0


def test_what_is_measured_on_a_gpu_runs(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # On the CPU here: what differs on a GPU is waiting for it and asking it for memory.
    monkeypatch.setattr(gpu, "CALLS", 1)
    taken = gpu.face(weights, 256, "float32", "cpu")()
    assert taken["bare"] < taken["textbook"]
    assert taken["ours"] > 0


def test_loading(weights: str) -> None:
    ours, theirs = (startup.loading(function, weights)() for function in ("load_model", "load_file"))
    for taken in (ours, theirs):
        assert 0 < taken["seconds"] < taken["every_page_read"]
    assert ours["own_memory"] == ours["seconds"]
    assert theirs["own_memory"] > theirs["seconds"]


def test_pasting_is_timed_with_all_faces(photos: Path, detector_weights: Path) -> None:
    taken = photo_subjects.pasted()()
    assert taken["faces"] == 29
    assert taken["small"] > 0
    assert taken["large"] > 0


def test_a_moved_face_has_the_same_crop(photos: Path, detector_weights: Path) -> None:
    import numpy as np

    from gpen.faces.align import place
    from gpen.faces.face import Face

    face = Face((10, 20, 50, 70), 0.9, np.array([(20, 35), (40, 36), (30, 45), (22, 57), (38, 58)], float))
    moved = photo_subjects.moved(face, 100, 7)
    before, after = (place(one, 512, "gpen").matrix for one in (face, moved))
    assert np.allclose(before @ (3, 5, 1), after @ (103, 12, 1))


def test_whether_pytorch_is_imported() -> None:
    assert startup.imports_torch(("-c", "import torch"))
    assert not startup.imports_torch(("-c", "import json"))


def test_what_the_machine_is_called() -> None:
    pytest.importorskip("onnxruntime", reason="is in the environment of the measurements")
    said = machine.machine()
    assert said["torch"] == torch.__version__.split("+")[0]
    assert re.fullmatch(r"[0-9a-f]{10}\+?", machine.revision())
    assert picture(32).shape == (1, 3, 32, 32)
