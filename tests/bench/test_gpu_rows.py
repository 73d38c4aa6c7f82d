"""The rows about a GPU take their figures from what the check wrote there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.gpu_check.results import TARGETS
from bench.rows import Files, gpu

FIGURES = {"512/float16/repeated": {"value": 2.0}, "512/float16/ONNX Runtime": {"value": None, "note": "no onnx"}}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gpu, "gpu_name", lambda: "")
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "gpu.json")
    return tmp_path / "gpu.json"


def taken(name: str):
    target = next(target for target in TARGETS if target.name == name)
    return gpu.gpu_figure(Files(Path()), target)


def test_without_a_gpu_or_its_results_they_are_unmeasured(written: Path) -> None:
    assert taken("gpu-512").why == gpu.UNMEASURED
    assert not taken("gpu-512").figures


def test_results_of_a_gpu_are_taken_with_their_commit(written: Path) -> None:
    written.write_text(json.dumps({"about": {"gpu": "NVIDIA H200", "commit": "abc"}, "figures": FIGURES}))
    assert taken("gpu-512").figures == [2.0]
    assert (taken("gpu-512").why, taken("gpu-512").commit) == ("NVIDIA H200", "abc")
    assert taken("gpu-onnx-512").why == "no onnx"
    assert taken("gpu-2048").why == "the check has no 2048/float16/repeated"


def test_another_gpu_is_for_information(written: Path) -> None:
    written.write_text(json.dumps({"about": {"gpu": "NVIDIA T4", "commit": "abc"}, "figures": FIGURES}))
    assert not taken("gpu-512").figures
    assert "not NVIDIA T4" in taken("gpu-512").why
