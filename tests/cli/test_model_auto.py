"""`gpen restore --model auto`: each face gets the network of its size, and the report says which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights


@pytest.fixture
def models(tmp_path) -> Path:
    """Passthrough networks in the names of published ones, of an eighth of their size."""
    folder = tmp_path / "models"
    folder.mkdir()
    for size in (512, 1024, 2048):
        spec = Spec(size // 8, size // 8, 2, 1 / 16, 16, 2)
        save_file(synthetic_weights(spec), folder / f"GPEN-BFR-{size}.safetensors")
    return folder


@pytest.fixture
def run(gpen, album, models, tmp_path, one_face):
    """Restores a small and a large face; returns the outcome and the entry of the report."""
    album.add("a.png", faces=[one_face(5, 5, 25), one_face(60, 40, 45)])

    def restore(*arguments):
        report = tmp_path / "report.json"
        outcome = gpen(
            *("restore", album.folder, "-o", tmp_path / "out", "--overwrite", "--faces", album.faces_file),
            *("--models-path", models, "--report", report, *arguments),
        )
        return outcome, json.loads(report.read_text())[0] if outcome.code == 0 else None

    return restore


def test_each_face_gets_its_network(run):
    outcome, entry = run("--model", "auto")
    assert "GPEN 64, 128 or 256 by the size of each face on cpu" in outcome.out
    small, large = (face["network"] for face in entry["faces"])
    assert small == {"name": "GPEN-BFR-512.safetensors", "size": 64, "face_size": small["face_size"]}
    assert large == {"name": "GPEN-BFR-1024.safetensors", "size": 128, "face_size": large["face_size"]}
    assert small["face_size"] <= 64 < large["face_size"] <= 128
    assert entry["message"] == "2 faces restored."
    _, enlarged = run("--model", "auto", "--upscale", 2)
    assert [face["network"]["size"] for face in enlarged["faces"]] == [128, 256]


def test_a_face_larger_than_the_only_one(run, models):
    for size in (1024, 2048):
        (models / f"GPEN-BFR-{size}.safetensors").unlink()
    outcome, entry = run("--model", "auto")
    assert "GPEN 64 (GPEN-BFR-512.safetensors)" in outcome.out
    size = entry["faces"][1]["network"]["face_size"]
    assert size > 64
    assert entry["message"] == (
        "2 faces restored. Larger in the result than GPEN-BFR-512.safetensors makes faces (64 pixels): "
        f"face 1 ({size})."
    )
    (models / "GPEN-BFR-1024.safetensors").write_bytes(b"")
    assert run("--model", "auto")[0].code != 0


def test_a_face_larger_than_the_largest(run, models):
    (models / "GPEN-BFR-2048.safetensors").unlink()
    _, entry = run("--model", "auto", "--upscale", 2)
    size = entry["faces"][1]["network"]["face_size"]
    assert size > 128
    assert entry["message"] == (
        "2 faces restored. Larger in the result than GPEN-BFR-1024.safetensors makes faces (128 pixels): "
        f"face 1 ({size})."
    )


def test_without_it_all_faces_get_the_one_that_suits_most(run):
    outcome, entry = run()
    assert "GPEN 64 (GPEN-BFR-512.safetensors) on cpu" in outcome.out
    assert all("network" not in face for face in entry["faces"])


def test_256_only_where_there_is_nothing_else(run, models):
    smallest = models / "GPEN-BFR-256.safetensors"
    save_file(synthetic_weights(Spec(32, 32, 2, 1 / 16, 16, 2)), smallest)
    assert "GPEN 64, 128 or 256 by the size of each face" in run("--model", "auto")[0].out
    for size in (512, 1024, 2048):
        (models / f"GPEN-BFR-{size}.safetensors").unlink()
    assert "GPEN 32 (GPEN-BFR-256.safetensors)" in run("--model", "auto")[0].out
    smallest.unlink()
    outcome, _ = run("--model", "auto")
    assert outcome.code != 0
    assert "No published model that restores faces is on this computer." in outcome.err
