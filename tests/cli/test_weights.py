"""gpen convert, inspect and models."""

from __future__ import annotations

import hashlib
import re
import shutil

import torch
from safetensors.torch import load_file

from gpen.weights.catalog import PUBLISHED
from gpen.weights.checkpoint import inspect
from tests.weights.onnx.exports import export, network


def test_convert_a_file(gpen, networks, restore, album, tmp_path, files_in):
    source = shutil.copy(networks / "negative.pth", tmp_path / "net.pth")
    run = gpen("convert", source)
    assert run.code == 0
    assert f"{source} -> {tmp_path / 'net.safetensors'}" in run.out
    assert "tensors verified" in run.out
    assert files_in(tmp_path) == ["net.pth", "net.safetensors"]
    tensors = torch.load(source, weights_only=True)
    for name, tensor in load_file(tmp_path / "net.safetensors").items():
        assert torch.equal(tensor, tensors[name])
    # The result has the same bytes.
    photo = album.add("a.png")
    for name in ("net.pth", "net.safetensors"):
        run = restore(photo, "-o", tmp_path / f"{name}.png", "--no-provenance", model=str(tmp_path / name))
        assert run.code == 0
    assert (tmp_path / "net.pth.png").read_bytes() == (tmp_path / "net.safetensors.png").read_bytes()


def test_convert_does_not_overwrite(gpen, networks, tmp_path):
    source = shutil.copy(networks / "negative.pth", tmp_path / "net.pth")
    (tmp_path / "net.safetensors").write_text("mine")
    run = gpen("convert", source)
    assert run.code == 1
    assert "net.safetensors already exists." in run.err
    assert (tmp_path / "net.safetensors").read_text() == "mine"
    assert gpen("convert", source, "--overwrite").code == 0
    assert load_file(tmp_path / "net.safetensors")


def test_convert_to_half(gpen, networks, restore, album, assert_restored, tmp_path):
    source, target = networks / "negative.pth", tmp_path / "half.safetensors"
    assert gpen("convert", source, "--half", "-o", target).code == 0
    assert {tensor.dtype for tensor in load_file(target).values()} == {torch.float16}
    assert target.stat().st_size < 0.6 * source.stat().st_size
    photo = album.add("a.png")
    assert restore(photo, "-o", tmp_path / "r.png", model=str(target)).code == 0
    assert_restored(tmp_path / "r.png", photo, coding=1)


def test_convert_an_onnx_file(gpen, networks, restore, album, assert_restored, tmp_path, files_in):
    (tmp_path / "onnx").mkdir()
    graph = tmp_path / "onnx" / "gpen_bfr_512.onnx"
    textbook = network(torch.load(networks / "negative.pth"), inspect(networks / "negative.pth").spec)
    export(textbook, graph, size=textbook.spec.in_size, opset_version=11)
    photo = album.add("a.png")
    run = restore(photo, "-o", tmp_path / "r.png", model=str(graph))
    assert run.code == 1
    assert "is an ONNX file" in run.err
    assert "gpen convert FILE.onnx" in run.err
    run = gpen("convert", graph)
    assert run.code == 0
    assert "tensors verified" in run.out
    assert "agrees with the graph in ONNX Runtime to " in run.out
    assert files_in(tmp_path / "onnx") == ["gpen_bfr_512.onnx", "gpen_bfr_512.safetensors"]
    assert restore(photo, "-o", tmp_path / "r.png", model=str(graph.with_suffix(".safetensors"))).code == 0
    assert_restored(tmp_path / "r.png", photo, coding=1)


def test_convert_a_folder(gpen, networks, tmp_path, files_in):
    for name in ("a.pth", "b.pth"):
        shutil.copy(networks / "negative.pth", tmp_path / name)
    (tmp_path / "c.pth").write_text("<html>Not found</html>")
    run = gpen("convert", tmp_path)
    assert run.code == 0
    assert "2 converted, 1 skipped, 0 failed." in run.out
    assert "c.pth was not converted: " in run.err
    assert files_in(tmp_path) == ["a.pth", "a.safetensors", "b.pth", "b.safetensors", "c.pth"]
    assert "0 converted, 3 skipped, 0 failed." in gpen("convert", tmp_path).out
    assert "2 converted, 1 skipped, 0 failed." in gpen("convert", tmp_path, "--overwrite").out
    run = gpen("convert", tmp_path, "-o", tmp_path / "elsewhere")
    assert run.code == 1
    assert "leave -o out" in run.err


def test_what_cannot_be_converted(gpen, tmp_path, files_in):
    (tmp_path / "a.pth").write_text("<html>Not found</html>")
    assert gpen("convert", tmp_path / "a.pth").code == 1
    run = gpen("convert", tmp_path / "lost.pth")
    assert run.code == 1
    assert "lost.pth" in run.err
    assert files_in(tmp_path) == ["a.pth"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.safetensors").touch()
    run = gpen("convert", tmp_path / "b")
    assert (run.code, run.out) == (1, "")
    assert "nothing to convert" in run.err


def test_inspect(gpen, networks, tmp_path):
    source = networks / "negative.pth"
    run = gpen("inspect", source)
    assert run.code == 0
    said = dict(line.split(maxsplit=1) for line in run.out.splitlines())
    assert said["what"] == "GPEN 64 face restoration network"
    assert said["size"] == "64 in, 64 out"
    assert said["channels"] == "channel multiplier 2, narrow 0.0625"
    assert said["style"] == "16 dimensions, 2 mapping layers"
    tensors = torch.load(source, weights_only=True)
    learnt = sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(".kernel"))
    assert said["parameters"] == f"{learnt:,}"
    assert said["dtype"] == "float32"
    assert said["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert "restore" in said["task"]
    assert "from -1 to 1" in said["task"]


def test_inspect_shows_the_metadata_of_a_converted_file(gpen, networks, tmp_path):
    gpen("convert", networks / "negative.pth", "--half", "-o", tmp_path / "half.safetensors")
    run = gpen("inspect", tmp_path / "half.safetensors")
    assert "float16" in run.out
    assert "source_file = negative.pth" in run.out
    assert hashlib.sha256((networks / "negative.pth").read_bytes()).hexdigest() in run.out


def test_inspect_a_file_that_is_no_network(gpen, tmp_path):
    (tmp_path / "a.pth").write_text("<html>Not found</html>")
    for name in ("a.pth", "lost.pth"):
        run = gpen("inspect", tmp_path / name)
        assert run.code == 1
        assert run.out == ""
        assert name in run.err


def test_models(gpen, networks, tmp_path, monkeypatch):
    shutil.copy(networks / "negative.pth", tmp_path / "GPEN-BFR-512.pth")
    shutil.copy(networks / "negative.pth", tmp_path / "mine.pth")
    monkeypatch.setenv("GPEN_MODELS_PATH", str(tmp_path / "lost"))
    run = gpen("models", "--models-path", tmp_path)
    assert run.code == 0
    lines = run.out.splitlines()
    rows = {line.split()[0]: re.split(r"  +", line) for line in lines[: len(PUBLISHED) + 1]}
    size = f"{(tmp_path / 'GPEN-BFR-512.pth').stat().st_size / 1e6:.1f} MB"
    found = ["restores faces", size, "non-commercial", str(tmp_path / "GPEN-BFR-512.pth")]
    assert rows["GPEN-BFR-512"][1:] == found
    assert rows["yunet"][1:] == ["finds faces", "0.2 MB", "MIT", "-"]
    assert rows["parsenet"][1:] == ["parsed mask", "85 MB", "non-commercial", "-"]
    assert set(rows) == {"NAME", *(published.name for published in PUBLISHED)}
    assert "-: not on this computer; gpen download NAME gets it." in lines
    assert lines[lines.index("Other model files:") + 1].strip() == str(tmp_path / "mine.pth")
    assert f"    {tmp_path / 'lost'} (does not exist)" in lines
    assert "non-commercial" in run.out
    assert "MIT" in run.out
