"""What is run in the processes, on small networks and in this one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import machine, networks, startup
from bench import photos as photo_subjects
from bench.measure import picture
from bench.rows import network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "GPEN-BFR-256.safetensors"
    networks.write(256, str(path))()
    return str(path)


def test_ours_and_the_textbook_get_the_same_picture_and_weights(weights: str, tmp_path: Path) -> None:
    outputs = [tmp_path / "ours.npy", tmp_path / "textbook.npy"]
    ours = networks.ours(weights, 256, "float32", str(outputs[0]))()
    textbook = networks.textbook(weights, 256, str(outputs[1]))()
    assert network.difference(*(np.load(output) for output in outputs)) <= network.SAME
    for taken in (ours, textbook):
        assert taken["seconds"] > 0
        assert taken["peak_bytes"] > 0


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
