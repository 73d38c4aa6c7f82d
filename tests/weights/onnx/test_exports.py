"""Whatever exported or optimised the graph, the tensors of the network are recovered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import Tensor

from bench import textbook
from gpen.errors import CheckpointError
from gpen.network.synthetic import synthetic_weights
from gpen.weights.convert import ConvertResult, convert
from gpen.weights.onnx.network import read_network
from tests.weights.onnx.exports import SPEC, differences, export, network, random_state

STATE = random_state()
EXACT = 0.0
ROUNDED = 2e-7
"""Error of the exporter's multiplication by the equalisation factor in float32, and of our division."""


def recovered(path: Path) -> tuple[ConvertResult, dict[str, Tensor]]:
    result = convert(path)
    assert result.spec == SPEC
    assert result.dtypes == ("float32",)
    assert result.comparison is not None
    assert result.comparison.difference is not None
    return result, load_file(result.target)


def check(path: Path, largest: float, agreement: float = 1e-5) -> None:
    result, found = recovered(path)
    wrong = {name: difference for name, difference in differences(found, STATE).items() if not difference <= largest}
    assert not wrong
    assert result.comparison is not None
    assert result.comparison.difference is not None
    assert result.comparison.difference < agreement


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs in circulation: the older exporter, constants folded."""
    return export(network(STATE), tmp_path_factory.mktemp("folded") / "a.onnx", opset_version=11)


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unfolded") / "a.onnx"
    return export(network(STATE), path, opset_version=13, do_constant_folding=False)


@pytest.fixture(scope="module")
def by_dynamo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newer exporter, without optimisation."""
    path = tmp_path_factory.mktemp("dynamo") / "a.onnx"
    return export(network(STATE), path, opset_version=18, dynamo=True, optimize=False)


def copied(source: Path, folder: Path) -> Path:
    target = folder / "a.onnx"
    target.write_bytes(source.read_bytes())
    return target


def test_torchscript_folded(folded: Path, tmp_path: Path) -> None:
    check(copied(folded, tmp_path), ROUNDED)


def test_torchscript_unfolded(unfolded: Path, tmp_path: Path) -> None:
    check(copied(unfolded, tmp_path), EXACT)


def test_dynamo_unoptimised(by_dynamo: Path, tmp_path: Path) -> None:
    check(copied(by_dynamo, tmp_path), EXACT)


@pytest.mark.parametrize("opset", [10, 13, 17, 20])
@pytest.mark.parametrize("folding", [True, False])
def test_torchscript_opsets(opset: int, folding: bool, tmp_path: Path) -> None:
    path = export(network(STATE), tmp_path / "a.onnx", opset_version=opset, do_constant_folding=folding)
    check(path, ROUNDED if folding else EXACT)


def test_dynamo_optimised(tmp_path: Path) -> None:
    check(export(network(STATE), tmp_path / "a.onnx", opset_version=20, dynamo=True, optimize=True), ROUNDED)


def test_batch_of_any_size(tmp_path: Path) -> None:
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    check(export(network(STATE), tmp_path / "a.onnx", opset_version=17, dynamic_axes=axes), ROUNDED)


@pytest.mark.parametrize("source", ["folded", "unfolded", "by_dynamo"])
def test_onnxslim(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    onnxslim = pytest.importorskip("onnxslim")
    onnx.save(onnxslim.slim(str(request.getfixturevalue(source))), tmp_path / "a.onnx")
    check(tmp_path / "a.onnx", ROUNDED)


def optimised(source: Path, target: Path, level: Any) -> Path:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return target


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
@pytest.mark.parametrize("source", ["folded", "unfolded", "by_dynamo"])
def test_onnxruntime_optimised(level: str, source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    levels = onnxruntime.GraphOptimizationLevel
    check(optimised(request.getfixturevalue(source), tmp_path / "a.onnx", getattr(levels, level)), ROUNDED)


def test_names_do_not_matter(folded: Path, tmp_path: Path) -> None:
    model = onnx.load(folded)
    numbers: dict[str, str] = {}

    def renamed(name: str) -> str:
        return name and numbers.setdefault(name, f"v{len(numbers)}")

    for node in model.graph.node:
        node.name = ""
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = renamed(value.name)
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "a.onnx")
    check(tmp_path / "a.onnx", ROUNDED)


@pytest.mark.parametrize("source", ["folded", "unfolded"])
def test_float16(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(request.getfixturevalue(source))
    onnx.save(convert_float_to_float16(model, keep_io_types=True), tmp_path / "a.onnx")
    check(tmp_path / "a.onnx", 1e-3, agreement=1e-2)
    onnx.save(convert_float_to_float16(onnx.load(request.getfixturevalue(source))), tmp_path / "b.onnx")
    check(tmp_path / "b.onnx", 1e-3, agreement=1e-2)


def test_weights_in_an_external_file(unfolded: Path, tmp_path: Path) -> None:
    model = onnx.load(unfolded)
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    assert (tmp_path / "a.data").stat().st_size > 200_000
    check(tmp_path / "a.onnx", EXACT)


def test_older_files_list_weights_among_the_inputs(tmp_path: Path) -> None:
    check(export(network(STATE), tmp_path / "a.onnx", opset_version=11, keep_initializers_as_inputs=True), ROUNDED)


def test_functions_of_the_graph_are_inlined(folded: Path, tmp_path: Path) -> None:
    model = onnx.load(folded)
    body = onnx.helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.2)
    opset = onnx.helper.make_opsetid("", 11)
    model.functions.append(onnx.helper.make_function("own", "act", ["x"], ["y"], [body], [opset]))
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    for node in model.graph.node:
        if node.op_type == "LeakyRelu":
            node.op_type, node.domain = "act", "own"
            del node.attribute[:]
    model.ir_version = 8
    onnx.save(model, tmp_path / "a.onnx")
    check(tmp_path / "a.onnx", ROUNDED)


def test_zeros_and_ones(tmp_path: Path) -> None:
    """Weights with whole tensors of zeros and ones, where constants resemble one another."""
    state = synthetic_weights(SPEC)
    path = export(network(state), tmp_path / "a.onnx", opset_version=13)
    _, found = recovered(path)
    assert all(torch.allclose(found[name], tensor, rtol=1e-6, atol=0) for name, tensor in state.items())


def leaky_by_maximum(x: Tensor) -> Tensor:
    return torch.maximum(x, x * textbook.SLOPE) * 2**0.5


def test_names_where_the_graph_cannot_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textbook, "scaled_leaky_relu", leaky_by_maximum)
    module = network(STATE)
    path = export(module, tmp_path / "a.onnx", opset_version=13, do_constant_folding=False)
    assert read_network(path).by_name
    check(path, EXACT)
    folded = export(module, tmp_path / "b.onnx", opset_version=13)
    with pytest.raises(CheckpointError, match="operation Max where GPEN has a leaky ReLU"):
        convert(folded)


def test_names_alone_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors with GPEN's names and another meaning, in a graph that cannot be followed."""
    monkeypatch.setattr(textbook, "scaled_leaky_relu", leaky_by_maximum)
    path = export(network(STATE), tmp_path / "a.onnx", opset_version=13, do_constant_folding=False)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "generator.convs.3.conv.modulation.bias":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 3, tensor.name))
    scaled = onnx.helper.make_tensor("third", onnx.TensorProto.FLOAT, [], [1 / 3])
    model.graph.initializer.append(scaled)
    third = onnx.helper.make_node("Mul", ["generator.convs.3.conv.modulation.bias", "third"], ["bias again"])
    for node in model.graph.node:
        node.input[:] = ["bias again" if n == "generator.convs.3.conv.modulation.bias" else n for n in node.input]
    model.graph.node.insert(0, third)
    onnx.save(model, path)
    assert read_network(path).by_name
    with pytest.raises(CheckpointError, match="differs from its graph"):
        convert(path)
    assert not path.with_suffix(".safetensors").exists()
