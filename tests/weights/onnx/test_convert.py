"""What the conversion of an ONNX file writes and reports, alone and in a folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gpen.cli import main
from gpen.errors import CheckpointError, FilesError
from gpen.weights.catalog import published_by_file_name, published_in_onnx
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.convert import convert, convert_folder, converted
from gpen.weights.onnx.verify import Comparison
from gpen.weights.search import default_network, list_networks
from tests.weights.onnx.exports import SPEC, export, network, random_state

ROOT = Path(__file__).resolve().parents[3]
STATE = random_state()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export(network(STATE), tmp_path_factory.mktemp("good") / "a.onnx", opset_version=13).read_bytes()


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_metadata_and_result(good: bytes, tmp_path: Path) -> None:
    source = put(tmp_path / "GPEN-Seg2face-512.onnx", good)
    result = convert(source)
    digest = hashlib.sha256(good).hexdigest()
    with safe_open(result.target, "pt") as file:
        metadata = file.metadata()
    assert metadata == {
        "format": "pt",
        "format_version": "1",
        "architecture": "GPEN",
        "in_size": "64",
        "out_size": "64",
        "channel_multiplier": "2",
        "narrow": "0.03125",
        "style_dim": "16",
        "n_mlp": "2",
        "task": "synthesize",
        "source_file": "GPEN-Seg2face-512.onnx",
        "source_sha256": digest,
    }
    assert result.target == source.with_suffix(".safetensors")
    assert (result.spec, result.task, result.dtypes) == (SPEC, "synthesize", ("float32",))
    assert (result.source_size, result.source_sha256) == (len(good), digest)
    assert result.target_size == result.target.stat().st_size
    assert result.tensors == len(STATE)
    assert inspect(result.target).value_range == (0.0, 1.0)


def test_same_picture_as_the_network_it_was_exported_from(good: bytes, tmp_path: Path) -> None:
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    expected = network(STATE)(x)
    found = load_model(convert(put(tmp_path / "a.onnx", good)).target)(x)
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_half(good: bytes, tmp_path: Path) -> None:
    result = convert(put(tmp_path / "a.onnx", good), half=True)
    assert result.target.name == "a-fp16.safetensors"
    found = load_file(result.target)
    assert all(torch.allclose(found[n].float(), t, rtol=1e-3, atol=1e-7) for n, t in STATE.items())


def test_nothing_is_overwritten(good: bytes, tmp_path: Path) -> None:
    source = put(tmp_path / "a.onnx", good)
    put(tmp_path / "a.safetensors", b"mine")
    with pytest.raises(FilesError, match="already exists"):
        convert(source)
    assert (tmp_path / "a.safetensors").read_bytes() == b"mine"
    convert(source, overwrite=True)
    assert converted(source) == tmp_path / "a.safetensors"
    put(source, good + b"\x2a\x00")  # an unknown field
    assert converted(source) is None


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("GPEN-BFR-2048.onnx", "restore"),
        ("gpen_bfr_512_fp16.onnx", "restore"),
        ("gpen-colorization-1024.ONNX", "colorize"),
        ("face_detection_yunet_2023mar.onnx", None),
        ("GPEN-BFR-512.pth", None),
        ("parsing_parsenet.onnx", None),
        ("onnx", None),
    ],
)
def test_names(name: str, task: str | None) -> None:
    found = published_in_onnx(name)
    assert (found and found.task) == task


def test_graphs_cannot_be_loaded_as_networks(good: bytes, tmp_path: Path) -> None:
    put(tmp_path / "GPEN-BFR-512.onnx", good)
    assert published_by_file_name("GPEN-BFR-512.onnx") is None
    assert list_networks([tmp_path]) == []
    assert default_network([tmp_path]) is None
    assert inspect(convert(tmp_path / "GPEN-BFR-512.onnx").target).task == "restore"
    assert default_network([tmp_path]) == tmp_path / "GPEN-BFR-512.safetensors"


def test_folder(good: bytes, tmp_path: Path) -> None:
    put(tmp_path / "GPEN-BFR-512.onnx", good)
    torch.save(random_state(seed=2), tmp_path / "GPEN-BFR-512.pth")
    put(tmp_path / "b.onnx", good)
    put(tmp_path / "detector.onnx", good[:100])
    result = convert_folder(tmp_path)
    # The .pth has the weights as they were trained: it comes before the graph of the same name.
    assert [r.source.name for r in result.converted] == ["GPEN-BFR-512.pth", "b.onnx"]
    reasons = {path.name: reason for path, reason in result.skipped}
    assert "already exists" in reasons["GPEN-BFR-512.onnx"]
    assert "cut short or damaged" in reasons["detector.onnx"]
    assert result.failed == []


def test_folder_without_the_package(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.onnx", good)
    torch.save(STATE, tmp_path / "b.pth")
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = convert_folder(tmp_path)
    assert [r.source.name for r in result.converted] == ["b.pth"]
    assert [(path.name, "pip install" in reason) for path, reason in result.skipped] == [("a.onnx", True)]


def test_without_onnxruntime(
    good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = put(tmp_path / "a.onnx", good)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = convert(source)
    assert result.comparison is not None
    assert result.comparison.difference is None
    found = load_file(result.target)
    assert all(torch.allclose(found[name], tensor, rtol=1e-6, atol=0) for name, tensor in STATE.items())
    assert main(["convert", str(source), "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert "not compared with the graph: ONNX Runtime is not installed" in out
    assert 'pip install "gpen-face-restore[onnx]"' in out


def test_names_alone_are_not_enough_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import textbook

    monkeypatch.setattr(textbook, "scaled_leaky_relu", lambda x: torch.maximum(x, x * 0.2) * 2**0.5)
    path = export(network(STATE), tmp_path / "a.onnx", opset_version=13, do_constant_folding=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r'cannot be followed.*pip install "gpen-face-restore\[onnx\]"'):
        convert(path)
    assert not path.with_suffix(".safetensors").exists()


def test_importing_loads_neither_package() -> None:
    code = "import sys, gpen.weights.convert; print(sorted({'onnx', 'onnxruntime'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_text_of_the_comparison() -> None:
    assert str(Comparison(3.14e-7)) == "agrees with the graph in ONNX Runtime to 3e-07 of the output's range"
