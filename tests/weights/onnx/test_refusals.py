"""Graphs that are not GPEN's, and damaged or malicious ones: refused with a message, and nothing is written."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bench import textbook
from gpen.errors import CheckpointError
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.convert import convert
from gpen.weights.onnx import network as onnx_network
from gpen.weights.onnx import reader
from tests.weights.onnx.exports import export, network, random_state

STATE = random_state()
FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return export(network(STATE), tmp_path_factory.mktemp("good") / "a.onnx", opset_version=13).read_bytes()


def refused(path: Path, pattern: str) -> None:
    before = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file() and not file.is_symlink()}
    with pytest.raises(CheckpointError, match=pattern) as caught:
        convert(path)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 700
    assert {f: f.read_bytes() for f in path.parent.iterdir() if f.is_file() and not f.is_symlink()} == before


def changed(good: bytes, path: Path, change: Callable[[Any], object]) -> Path:
    model = onnx.load_from_string(good)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


Shape = tuple[int | str, ...]
PICTURE: Shape = (1, 3, 512, 512)


def meaningless(path: Path, inputs: dict[str, Shape], outputs: dict[str, Shape], *names: str, op: str = "Relu") -> Path:
    """A graph with these inputs, outputs and tensors, whose operations mean nothing."""
    first = next(iter(inputs))
    graph = helper.make_graph(
        [helper.make_node(op, [first], [name]) for name in outputs],
        "g",
        [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.ones(2, np.float32), name) for name in names],
    )
    onnx.save(helper.make_model(graph), path)
    return path


OTHER_NETWORKS: dict[str, tuple[dict[str, Shape], dict[str, Shape], tuple[str, ...], str]] = {
    "gfpgan": ({"input": PICTURE}, {"output": PICTURE}, ("stylegan_decoder.to_rgbs.0.bias",), "a GFPGAN network"),
    "codeformer": ({"input": PICTURE, "weight": ()}, {"output": PICTURE}, (), "a CodeFormer network"),
    "codeformer, named": ({"x": PICTURE}, {"y": PICTURE}, ("position_emb",), "a CodeFormer network"),
    "restoreformer": ({"input": PICTURE}, {"o": PICTURE}, ("quantize.embedding.weight",), "a RestoreFormer network"),
    "swapper": ({"target": (1, 3, 128, 128), "source": (1, 512)}, {"output": (1, 3, 128, 128)}, (), "a face swapper"),
    "arcface": ({"input.1": ("None", 3, 112, 112)}, {"683": (1, 512)}, (), "face recognition"),
    "yunet": ({"input": (1, 3, 640, 640)}, dict.fromkeys(("cls_8", "bbox_8", "kps_8"), (1, 100, 1)), (), "YuNet"),
    "retinaface": (
        {"input": (1, 3, "h", "w")},
        {"loc_out": (1, "n", 4), "conf_out": (1, "n", 2), "landms": (1, "n", 10)},
        (),
        "a face detector",
    ),
    "yolo": ({"images": (1, 3, 640, 640)}, {"output0": (1, 20, 8400)}, (), "a YOLO detector"),
    "parser": ({"input": PICTURE}, {"out": (1, 19, 512, 512)}, (), "face-parsing"),
    "upscaler": ({"image": (1, 3, 64, 64)}, {"upscaled": (1, 3, 256, 256)}, (), "an upscaler"),
    "esrgan": (
        {"image": PICTURE},
        {"y": PICTURE},
        ("conv_first.weight", "body.0.rdb1.conv1.weight"),
        "ESRGAN upscaler",
    ),
    "stylegan": ({"z": (1, 512)}, {"y": PICTURE}, ("generator.style.1.bias", "generator.convs.0.conv.w"), "StyleGAN2"),
    "unknown": (
        {"a": PICTURE},
        {"b": PICTURE},
        (),
        r"not a GPEN network: .*a \(1 x 3 x 512 x 512\).*b \(.*gpen models",
    ),
}


@pytest.mark.parametrize("kind", OTHER_NETWORKS)
def test_other_networks(kind: str, tmp_path: Path) -> None:
    inputs, outputs, names, pattern = OTHER_NETWORKS[kind]
    refused(meaningless(tmp_path / "x.onnx", inputs, outputs, *names), pattern)


def test_the_detector_from_the_same_folder(detector_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "GPEN-BFR-512.onnx"
    path.write_bytes((detector_weights / "face_detection_yunet_2023mar.onnx").read_bytes())
    refused(path, "is the face detector YuNet, not a GPEN network")


def test_loading_says_to_convert(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(good)
    for use in (inspect, load_model):
        with pytest.raises(CheckpointError, match=r"a\.onnx is an ONNX file\. .*gpen convert FILE\.onnx.*\[onnx\]"):
            use(tmp_path / "a.onnx")


# Graphs that are nearly GPEN's


def test_weights_that_do_not_agree(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(good)
    recover = onnx_network.recover

    def wrong(*arguments: Any) -> Any:
        arrays = recover(*arguments)
        name = "generator.convs.1.conv.modulation.bias"
        return arrays | {name: arrays[name] + 0.1}

    monkeypatch.setattr(onnx_network, "recover", wrong)
    refused(tmp_path / "a.onnx", "differs from its graph by .* of the output's range.*nothing was written")


class _Wrapped(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor], after: bool) -> None:
        super().__init__()
        self.network = network(STATE)
        self.change = change
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(self.network(x)) if self.after else self.network(self.change(x))


@pytest.mark.parametrize(
    ("change", "after", "pattern"),
    [
        (lambda x: x[:, [2, 1, 0]], False, "differs from its graph"),
        (lambda x: x[:, [2, 1, 0]], True, "differs from its graph"),
        (lambda x: x * 2 - 1, False, "its encoder begins with the operation"),
        (lambda x: x.clamp(-1, 1), True, "operation Clip"),
        (lambda x: torch.cat([x, x]), True, "operation Concat"),
    ],
    ids=["bgr in", "bgr out", "range in", "clipped", "doubled"],
)
def test_wrapped_networks(change: Callable[[Any], Any], after: bool, pattern: str, tmp_path: Path) -> None:
    refused(export(_Wrapped(change, after), tmp_path / "a.onnx", opset_version=13), pattern)


def test_another_gain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textbook, "scaled_leaky_relu", lambda x: nn.functional.leaky_relu(x, 0.2) * 1.5)
    path = export(network(STATE), tmp_path / "a.onnx", opset_version=13)
    refused(path, r"scaled by 1\.5, but in GPEN by the square root of 2")


def test_another_slope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textbook, "SLOPE", 0.1)
    refused(
        export(network(STATE), tmp_path / "a.onnx", opset_version=13),
        "LeakyRelu where GPEN has a leaky ReLU of slope 0.2",
    )


def test_another_filter(tmp_path: Path) -> None:
    state = STATE | {"ecd2.0.0.kernel": STATE["ecd2.0.0.kernel"] * 1.1}
    refused(export(network(state), tmp_path / "a.onnx", opset_version=13), "filters is not GPEN's")


def test_rewritten_for_one_processor(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node.append(
            helper.make_node("ReorderInput", ["input"], ["reordered"], domain="com.microsoft.nchwc")
        )

    refused(changed(good, tmp_path / "a.onnx", change), "one kind of processor.*ReorderInput.*basic")


# Damaged and malicious files


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_cut_short(part: float, good: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(good[: int(len(good) * part)])
    refused(tmp_path / "a.onnx", "cut short or damaged|model file")


def test_noise_in_it(good: bytes, tmp_path: Path) -> None:
    """Whichever byte is wrong, the file is refused with a message or agrees with its graph."""
    rng = np.random.default_rng(0)
    for number, offset in enumerate(rng.integers(3, len(good), 10)):
        damaged = bytearray(good)
        damaged[offset] ^= 1 << rng.integers(8)
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            convert(path)


def test_sizes_beyond_the_data(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]

    refused(changed(good, tmp_path / "a.onnx", change), "does not fit its shape")


def test_cycle(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node.append(helper.make_node("Identity", ["ouroboros"], ["snake"]))
        model.graph.node.append(helper.make_node("Identity", ["snake"], ["ouroboros"]))

    refused(changed(good, tmp_path / "a.onnx", change), "form a cycle")


def test_value_written_twice(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node.append(helper.make_node("Identity", ["input"], ["output"]))

    refused(changed(good, tmp_path / "a.onnx", change), "writes a value that already exists")


def test_terms_that_double(tmp_path: Path) -> None:
    """2 to the power of 200 terms, if all were counted, and constants of as many numbers."""
    path = meaningless(tmp_path / "x.onnx", {"in": PICTURE}, {"x0": PICTURE})
    model = onnx.load(path)
    for op in ("Add", "Mul"):
        del model.graph.node[1:]
        model.graph.node.extend(helper.make_node(op, [f"x{i}"] * 2, [f"x{i + 1}"]) for i in range(200))
        model.graph.output[0].name = "x200"
        onnx.save(model, path)
        refused(path, "more than 64 terms|not a GPEN network")


def test_constants_that_double(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        (weight,) = (node for node in model.graph.node if node.op_type == "Conv" and "ecd0" in node.name)
        model.graph.initializer.append(numpy_helper.from_array(np.ones(1 << 16, np.float32), "c0"))
        model.graph.node.extend(helper.make_node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(50))
        weight.input[1] = "c50"

    refused(changed(good, tmp_path / "a.onnx", change), "not a GPEN network")


def test_long_chains(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        first = next(node for node in model.graph.node if node.op_type == "Conv")
        names = [first.input[1], *(f"long {i}" for i in range(5000))]
        model.graph.node.extend(helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names))
        first.input[1] = names[-1]

    refused(changed(good, tmp_path / "a.onnx", change), "not a GPEN network")


def test_functions_that_double(good: bytes, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
        for i in range(40):
            inner = ("own", f"f{i + 1}") if i < 39 else ("", "Identity")
            body = [
                helper.make_node(inner[1], ["x"], ["y"], domain=inner[0]),
                helper.make_node(inner[1], ["y"], ["z"], domain=inner[0]),
            ]
            model.functions.append(helper.make_function("own", f"f{i}", ["x"], ["z"], body, opsets))
        model.graph.node.append(helper.make_node("f0", ["input"], ["unused"], domain="own"))

    refused(changed(good, tmp_path / "a.onnx", change), "more than 100,000 operations")


def test_too_large(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(good)
    monkeypatch.setattr(reader, "MAX_BYTES", 1000)
    refused(tmp_path / "a.onnx", "MB of graph and weights")


def external(good: bytes, path: Path, location: str, **entries: int) -> Path:
    def change(model: Any) -> None:
        tensor = next(t for t in model.graph.initializer if t.dims == [16, 16, 3, 3])
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=str(value))

    return changed(good, path, change)


@pytest.mark.parametrize("location", ["../w.data", "/etc/passwd", "", "sub/w.data", "..\\w.data", "."])
def test_weights_elsewhere(location: str, good: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "w.data").write_bytes(bytes(100_000))
    refused(external(good, tmp_path / "m" / "a.onnx", location), "not a file in its own folder|cannot be read")


def test_weights_through_a_link(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "w.data").write_bytes(bytes(100_000))
    try:
        (tmp_path / "m" / "w.data").symlink_to(tmp_path / "w.data")
    except OSError:
        pytest.skip("needs symbolic links")
    refused(external(good, tmp_path / "m" / "a.onnx", "w.data"), "not a file in its own folder")


def test_weights_beside_that_are_missing_or_short(good: bytes, tmp_path: Path) -> None:
    path = external(good, tmp_path / "a.onnx", "w.data")
    refused(path, r"stores its weights in w\.data, which cannot be read.*Put that file beside it")
    (tmp_path / "w.data").write_bytes(bytes(100))
    refused(path, "does not contain the 9216 bytes")
    (tmp_path / "w.data").write_bytes(bytes(9216))
    refused(external(good, path, "w.data", length=1 << 40), "does not contain the 9216 bytes")
    refused(external(good, path, "w.data", offset=-5), "cannot be read")


# Missing or broken packages


def test_without_onnx(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(good)
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(tmp_path / "a.onnx", re.escape('is needed: pip install "gpen-face-restore[onnx]"'))


def test_with_a_broken_onnx(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(good)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "onnx.py").write_text("raise TypeError('Descriptors cannot be created directly.')")
    for name in [name for name in sys.modules if name.split(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    refused(tmp_path / "a.onnx", "does not work .Descriptors cannot")
