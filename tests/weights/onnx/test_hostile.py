"""Graphs that would make what runs them take all memory, or never end: only what is needed is run, within limits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from gpen.errors import CheckpointError, FaceError, OutOfMemoryError
from gpen.faces.occlusion import OcclusionModel
from gpen.weights.convert import convert
from gpen.weights.onnx import foreign, limited
from gpen.weights.onnx.constants import Node
from gpen.weights.onnx.limited import NoProcessError, RunError, run_once
from gpen.weights.onnx.writer import write_model
from tests.made_occluder import write_occluder
from tests.weights.onnx.exports import SPEC, export, network, random_state

_HUGE = [1, 1 << 16, 1 << 16]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    return onnx.load(export(network(random_state()), tmp_path_factory.mktemp("graph") / "gpen.onnx"))


def changed(model: ModelProto, folder: Path, change: Callable[[ModelProto], None]) -> Path:
    new = ModelProto()
    new.CopyFrom(model)
    change(new)
    onnx.save(new, folder / "changed.onnx")
    return folder / "changed.onnx"


def _huge(model: ModelProto, output: str) -> None:
    """A value of 17 GB out of a few bytes."""
    model.graph.initializer.append(helper.make_tensor("huge_sizes", TensorProto.INT64, [3], _HUGE))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["huge_sizes"], [output]))


def dead(model: ModelProto) -> None:
    _huge(model, "nobody takes it")


def a_second_output(model: ModelProto) -> None:
    _huge(model, "huge")
    model.graph.output.append(helper.make_tensor_value_info("huge", TensorProto.FLOAT, None))


def a_dead_loop(model: ModelProto) -> None:
    """It goes on for ever, since its condition stays true."""
    ends = {
        name: helper.make_tensor_value_info(name, kind, [])
        for name, kind in {"n": TensorProto.INT64, "c": TensorProto.BOOL, "d": TensorProto.BOOL}.items()
    }
    ends |= {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("v", "w")}
    kept = [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["v"], ["w"])]
    body = helper.make_graph(kept, "body", [ends["n"], ends["c"], ends["v"]], [ends["d"], ends["w"]])
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
    model.graph.node.append(helper.make_node("Loop", ["", "yes", "zero"], ["never"], body=body))


@pytest.mark.parametrize("change", [dead, a_second_output, a_dead_loop])
def test_what_the_picture_does_not_need_is_not_run(
    change: Callable[[ModelProto], None], exported: ModelProto, tmp_path: Path
) -> None:
    result = convert(changed(exported, tmp_path, change))
    assert result.comparison is not None
    assert result.comparison.difference is not None
    assert result.comparison.difference < 1e-5


def expanded(model: ModelProto) -> None:
    """The output, after a sum with nothing but zeros, of 17 GB."""
    _huge(model, "huge")
    last = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == last else name for name in node.output]
    model.graph.node.append(helper.make_node("Shape", ["before"], ["sizes"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["huge"], ["nothing"], keepdims=0))
    model.graph.node.append(helper.make_node("Expand", ["before", "sizes"], ["expanded"]))
    model.graph.node.append(helper.make_node("Add", ["expanded", "nothing"], [last]))


def looped(model: ModelProto) -> None:
    a_dead_loop(model)
    last = model.graph.output[0].name
    for node in list(model.graph.node)[:-1]:
        node.output[:] = ["before" if name == last else name for name in node.output]
    model.graph.node.append(helper.make_node("Sum", ["before", "never"], [last]))


def sized_by_the_picture(model: ModelProto) -> None:
    last = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == last else name for name in node.output]
    model.graph.node.append(helper.make_node("Cast", ["before"], ["sizes"], to=TensorProto.INT64))
    model.graph.node.append(helper.make_node("Reshape", ["before", "sizes"], [last]))


@pytest.mark.parametrize("change", [expanded, looped, sized_by_the_picture])
def test_what_takes_too_much_is_refused(
    change: Callable[[ModelProto], None], exported: ModelProto, tmp_path: Path
) -> None:
    begin = time.monotonic()
    with pytest.raises(CheckpointError):
        convert(changed(exported, tmp_path, change))
    assert list(tmp_path.iterdir()) == [tmp_path / "changed.onnx"]
    assert time.monotonic() - begin < 120


def test_constants_that_double_again_and_again(exported: ModelProto, tmp_path: Path) -> None:
    def doubled(model: ModelProto) -> None:
        first = model.graph.initializer[0].name
        for number in range(24):
            node = helper.make_node("Concat", [first, first], [f"double{number}"], axis=0)
            model.graph.node.append(node)
            first = f"double{number}"
        last = model.graph.output[0].name
        model.graph.node.append(helper.make_node("Mul", [last, first], ["more"]))
        model.graph.output[0].name = "more"

    with pytest.raises(CheckpointError, match=r"again and again|is not a GPEN network"):
        convert(changed(exported, tmp_path, doubled))


def _zeros(nodes: list[Node], size: int) -> bytes:
    return write_model(nodes, {"w": np.zeros(4, np.float32)}, {"x": (1, 3, size, size)}, {"y": ("n",)})


def _enlarging() -> bytes:
    """Each makes a picture larger by a padding of a million pixels."""
    padded, sizes = Node("Pad", ("x", "pads"), ("y",), {}), [0, 0, 0, 0, 0, 0, 1 << 17, 1 << 17]
    model = onnx.load_model_from_string(_zeros([padded], 8))
    model.graph.initializer.append(helper.make_tensor("pads", TensorProto.INT64, [8], sizes))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.skipif(os.name == "nt", reason="only the time is limited there")
def test_a_run_has_a_limit_of_memory() -> None:
    with pytest.raises(RunError, match="too much memory"):
        run_once(_enlarging(), np.zeros((1, 3, 8, 8), np.float32), memory=1 << 30)


def test_a_run_has_a_limit_of_time(exported: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelProto()
    model.CopyFrom(exported)
    a_dead_loop(model)
    monkeypatch.setattr(limited, "SECONDS", 5)
    picture = np.zeros((1, 3, SPEC.in_size, SPEC.in_size), np.float32)
    with pytest.raises(RunError, match=r"within 5 seconds|crashed with the code -"):
        run_once(model.SerializeToString(), picture)


def test_a_process_that_crashes_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "crash.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(limited, "_SCRIPT", script)
    with pytest.raises(RunError, match="crashed with the code"):
        run_once(b"", np.zeros(1, np.float32))


def test_without_python_nothing_of_strangers_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(NoProcessError):
        run_once(b"", np.zeros(1, np.float32))
    monkeypatch.setattr(foreign, "_tried", set())
    with pytest.raises(FaceError, match="cannot start Python"):
        OcclusionModel(write_occluder(tmp_path / "xseg_1.onnx"))


def test_an_occluder_is_tried_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = []
    monkeypatch.setattr(foreign, "_tried", set())
    monkeypatch.setattr(foreign, "run_once", lambda model, picture, **more: runs.append(picture.shape))
    for name in ("xseg_1.onnx", "xseg_2.onnx"):
        OcclusionModel(write_occluder(tmp_path / name))
    assert runs == [(1, 256, 256, 3)]


def test_short_memory_is_no_damage(exported: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    onnx.save(exported, tmp_path / "gpen.onnx")
    monkeypatch.setattr("gpen.weights.onnx.network.recover", fails)
    with pytest.raises(OutOfMemoryError, match="too little memory"):
        convert(tmp_path / "gpen.onnx")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(exported: ModelProto, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match="a device or a pipe"):
        convert(tmp_path / "a.onnx")

    def outside(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="a.onnx")

    with pytest.raises(CheckpointError, match="not a file in its own folder"):
        convert(changed(exported, tmp_path, outside))
