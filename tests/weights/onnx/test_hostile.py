"""Graphs that would make what runs them take all memory, or never end: only what is needed is run, within limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from gpen.errors import CheckpointError, FaceError, OutOfMemoryError
from gpen.faces.masks.occlusion import OcclusionModel
from gpen.weights.convert import convert
from gpen.weights.onnx import foreign, limited
from gpen.weights.onnx.constants import Constants, Node, TooMuchError
from gpen.weights.onnx.limited import NoProcessError, RunError, run_once
from gpen.weights.onnx.writer import write_model
from tests.made_occluder import write_occluder
from tests.waiting import end_of_waiting
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


def reshaped(model: ModelProto, number: str) -> None:
    """The output reshaped to its own shape, plus a number that is 0: what says a shape is easily overlooked."""
    last = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == last else name for name in node.output]
    model.graph.node.append(helper.make_node("Cast", [number], ["whole"], to=TensorProto.INT64))
    model.graph.node.append(helper.make_node("Shape", ["before"], ["own"]))
    model.graph.node.append(helper.make_node("Add", ["own", "whole"], ["sizes"]))
    model.graph.node.append(helper.make_node("Reshape", ["before", "sizes"], [last]))


def expanded(model: ModelProto) -> None:
    _huge(model, "huge")
    model.graph.node.append(helper.make_node("ReduceSum", ["huge"], ["nothing"], keepdims=0))
    reshaped(model, "nothing")


def looped(model: ModelProto) -> None:
    a_dead_loop(model)
    reshaped(model, "never")


def sized_by_the_picture(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("ReduceMax", [model.graph.input[0].name], ["seen"], keepdims=0))
    reshaped(model, "seen")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (expanded, r"ONNX Runtime could not run .* too much memory"),
        (looped, r"not run to verify .*: (it contains the operation Loop|one of its operations has a graph)"),
        (sized_by_the_picture, r"not run to verify .*: what a picture shows decides"),
    ],
)
def test_what_takes_too_much_is_refused(
    change: Callable[[ModelProto], None], why: str, exported: ModelProto, tmp_path: Path
) -> None:
    begin = time.monotonic()
    with pytest.raises(CheckpointError, match=why):
        convert(changed(exported, tmp_path, change))
    assert list(tmp_path.iterdir()) == [tmp_path / "changed.onnx"]
    assert time.monotonic() - begin < 120


def test_constants_that_double_again_and_again() -> None:
    """Each is small enough by itself, but all are kept."""
    stored = {"v0": np.ones(1 << 18, np.float32)}
    doubling = [Node("Concat", (f"v{n}", f"v{n}"), (f"v{n + 1}",), {"axis": 0}) for n in range(7)]
    copies = [Node("Neg", ("v0" if n == 0 else f"c{n}",), (f"c{n + 1}",), {}) for n in range(90)]
    for nodes, last in ((doubling, "v7"), (copies, "c90")):
        constants = Constants(stored, {node.outputs[0]: node for node in nodes})
        with pytest.raises(TooMuchError):
            constants.of(last)
    views = [Node("Flatten", ("v0" if n == 0 else f"f{n}",), (f"f{n + 1}",), {"axis": 0}) for n in range(90)]
    assert Constants(stored, {node.outputs[0]: node for node in views}).of("f90") is not None


def _zeros(nodes: list[Node], size: int) -> bytes:
    return write_model(nodes, {"w": np.zeros(4, np.float32)}, {"x": (1, 3, size, size)}, {"y": ("n",)})


def _enlarging() -> bytes:
    """A picture of 0.8 GB out of a small one."""
    padded, sizes = Node("Pad", ("x", "pads"), ("y",), {}), [0, 0, 0, 0, 0, 0, 1 << 13, 1 << 13]
    model = onnx.load_model_from_string(_zeros([padded], 8))
    model.graph.initializer.append(helper.make_tensor("pads", TensorProto.INT64, [8], sizes))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.skipif(os.name == "nt", reason="only the time is limited there")
def test_a_run_has_a_limit_of_memory() -> None:
    with pytest.raises(RunError, match="too much memory"):
        run_once(_enlarging(), np.zeros((1, 3, 8, 8), np.float32), memory=600 << 20)


def test_a_run_has_a_limit_of_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text("import time\ntime.sleep(120)\n")
    monkeypatch.setattr(limited, "_SCRIPT", script)
    monkeypatch.setattr(limited, "SECONDS", 1)
    begin = time.monotonic()
    with pytest.raises(RunError, match="within 1 seconds"):
        run_once(b"", np.zeros(1, np.float32))
    assert time.monotonic() - begin < 30


@pytest.mark.skipif(os.name == "nt", reason="only the time is limited there")
def test_a_run_without_an_end_ends_by_itself(exported: ModelProto, tmp_path: Path) -> None:
    """Even if the process that waits for it is killed."""
    model = ModelProto()
    model.CopyFrom(exported)
    a_dead_loop(model)
    shape = [1, 3, SPEC.in_size, SPEC.in_size]
    head = {"path": sys.path, "engine": "onnxruntime", "output": None, "shape": shape, "memory": 2 << 30, "seconds": 1}
    given = json.dumps(head).encode() + b"\n" + bytes(4 * 3 * SPEC.in_size**2) + model.SerializeToString()
    run = subprocess.run([sys.executable, str(limited._SCRIPT)], input=given, timeout=120, capture_output=True)
    assert run.returncode in (-signal.SIGXCPU, -signal.SIGKILL)


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
def test_a_pipe_is_not_waited_for(exported: ModelProto, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    end_of_waiting(request, 60)
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
