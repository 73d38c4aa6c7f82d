"""Reads an ONNX file into a :class:`gpen.weights.onnx.graph.Graph`, without trusting anything that it declares."""

from __future__ import annotations

import graphlib
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError
from ...wording import first_line, pip_install
from .constants import Node
from .graph import Graph
from .operations import IN_EXPORTS, path_to, refusal

MAX_BYTES = 1_500_000_000
"""Limit for graph and weights together: five times the largest GPEN network, and within what one file can hold."""

_MAX_NODES = 100_000
_MAX_FUNCTIONS = 500
_MAX_INLINED = 1 << 27  # bytes: weights are not in functions
_DOMAINS = ("", "ai.onnx")
_FUSED = {"FusedConv": "Conv", "FusedGemm": "Gemm"}
"""ONNX Runtime's extended optimisation fuses an operation and the leaky ReLU after it into these."""


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file in memory."""

    path: Path
    """The file."""
    size: int
    """Bytes, including those of external weights."""
    sha256: str
    """Of the file itself, 64 hex digits."""
    graph: Graph
    """The graph in plain types."""
    _model: Any
    """As the package onnx reads it."""

    def part(self, output: str) -> bytes:
        """A model with its weights that computes one value, as ONNX Runtime takes it.

        CheckpointError if it would need operations that are not allowed. Nothing else is in it: ONNX Runtime would
        compute values that nothing needs.
        """
        source = self._model.graph
        every = [Node(raw.op_type, tuple(raw.input), tuple(raw.output), {}) for raw in source.node]
        numbers = path_to(output, every)
        kept, nodes = [source.node[number] for number in numbers], [every[number] for number in numbers]
        why = refusal(nodes, self.graph.inputs, IN_EXPORTS)
        if any(map(_is_nested, (attribute for node in kept for attribute in node.attribute))):
            why = "one of its operations has a graph or a sparse tensor as an argument"
        if why:
            raise CheckpointError(
                f"{self.path.name} is not run to verify what was recovered from it: {why}. Nothing was written; give "
                "the graph as it was exported from PyTorch."
            )
        needed = {name for node in nodes for name in node.inputs}
        model = type(self._model)(ir_version=self._model.ir_version, opset_import=self._model.opset_import)
        model.graph.name = "part"
        model.graph.node.extend(kept)
        model.graph.initializer.extend(tensor for tensor in source.initializer if tensor.name in needed)
        model.graph.input.extend(value for value in source.input if value.name in needed)
        model.graph.output.extend(value for value in source.output if value.name == output)
        content: bytes = model.SerializeToString()
        return content


def read_onnx(path: Path) -> OnnxFile:
    """Read a file; CheckpointError when it is damaged, too large, or the package onnx is missing."""
    onnx = _package(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is a device or a pipe, not a file.")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _too_large(path, size)
        content = path.read_bytes()
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}.") from e
    digest = hashlib.sha256(content).hexdigest()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as e:  # protobuf's own errors, of which there are several
        raise _damaged(path, first_line(e)) from e
    if not model.HasField("graph") or not model.graph.node:
        raise _damaged(path, "it contains no graph")
    _check_texts(path, model)
    if model.functions:
        model = _without_functions(onnx, path, model)
    if model.graph.sparse_initializer:
        raise _damaged(path, "it contains a sparse tensor, which no export of GPEN does")
    total = _load_external(path, model, size)
    return OnnxFile(path, total, digest, _graph(onnx, path, model), model)


def _package(path: Path) -> Any:
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as e:
        if getattr(e, "name", None) != "onnx":
            raise _broken(path, e) from e
        raise CheckpointError(
            f"{path.name} is an ONNX file; to convert it, the package onnx is needed: {pip_install('onnx')}"
        ) from e
    except Exception as e:  # an installation that does not fit protobuf or NumPy fails in many ways
        raise _broken(path, e) from e
    return onnx


def _broken(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is an ONNX file; to convert it, the package onnx is needed, and the installed one does not work "
        f"({first_line(error)}). Install it again: pip install --force-reinstall onnx"
    )


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} starts like an ONNX file, but cannot be read as one ({why}). It is cut short or damaged; get it "
        "again from a source you trust."
    )


def _too_large(path: Path, size: int) -> CheckpointError:
    return CheckpointError(
        f"{path.name} has {size / 1e6:,.0f} MB of graph and weights. The largest GPEN network has 285 MB, and at most "
        f"{MAX_BYTES / 1e6:,.0f} MB are read: it is another network."
    )


def _check_texts(path: Path, model: Any) -> None:
    """Refuse names that are not text: protobuf returns them as bytes, on which every use of a name would fail."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    texts = [text for node in nodes for text in (node.name, node.op_type, node.domain, *node.input, *node.output)]
    texts += [attribute.name for node in nodes for attribute in node.attribute]
    texts += [value.name for value in (*model.graph.input, *model.graph.output)]
    for tensor in _tensors(model):
        texts.append(tensor.name)
        texts += [text for entry in tensor.external_data for text in (entry.key, entry.value)]
    if not all(isinstance(text, str) for text in texts):
        raise _damaged(path, "it contains a name that is not text")


def _without_functions(onnx: Any, path: Path, model: Any) -> Any:
    """Inline the model's own functions, which some exporters write for every module."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[tuple[str, str], tuple[int, int]] = {}

    def inlined(body: Any, depth: int) -> tuple[int, int]:
        """Operations and bytes of a body in which functions are replaced by theirs."""
        if depth > len(bodies):
            raise _damaged(path, "its functions call one another in a cycle")
        count, size = 0, 0
        for node in body:
            key = (node.domain, node.op_type)
            if key in bodies and key not in sizes:
                sizes[key] = inlined(bodies[key], depth + 1)
            more = sizes.get(key, (1, node.ByteSize()))
            count, size = count + more[0], size + more[1]
        return count, size

    count, size = inlined(model.graph.node, 0) if len(bodies) <= _MAX_FUNCTIONS else (_MAX_NODES + 1, 0)
    if count > _MAX_NODES or size > _MAX_INLINED:
        raise CheckpointError(f"{path.name} is not a GPEN network: its graph has more than {_MAX_NODES:,} operations.")
    try:
        from onnx.inliner import inline_local_functions

        return inline_local_functions(model)
    except Exception as e:
        raise _damaged(path, f"its functions cannot be inlined: {first_line(e)}") from e


def _load_external(path: Path, model: Any, size: int) -> int:
    """Load the tensors that are stored in external files; return the total size in bytes.

    Only from the same folder: an untrusted graph must not make us read arbitrary files.
    """
    total = size
    for tensor in _tensors(model):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location, name = entries.get("location", ""), tensor.name[:60]
        needed = _nbytes(path, tensor)
        try:
            data = path.parent / location
            is_beside = Path(location).name == location and "\\" not in location and not data.is_symlink()
            if not is_beside or (data.exists() and not data.is_file()):
                raise CheckpointError(
                    f"{path.name} stores the tensor {name} in {location[:100]!r}, which is not a file in its own "
                    "folder; it was not read. Get the graph as one file, or with its data file beside it."
                )
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", needed))
            total += needed
            if total > MAX_BYTES:
                raise _too_large(path, total)
            with data.open("rb") as file:
                file.seek(offset)
                content = file.read(needed)
        except (OSError, ValueError) as e:
            raise CheckpointError(
                f"{path.name} stores its weights in {location[:100]}, which cannot be read ({first_line(e)}). Put that "
                "file beside it; the two belong together."
            ) from e
        if len(content) != needed or length != needed:
            raise _damaged(path, f"{location} does not contain the {needed} bytes of the tensor {name}")
        tensor.raw_data = content
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]
    return total


def _tensors(model: Any) -> Any:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _is_nested(attribute: Any) -> bool:
    """Whether an attribute holds more than numbers, texts and a tensor."""
    is_nested: bool = attribute.HasField("g") or attribute.HasField("sparse_tensor")
    return is_nested or bool(attribute.graphs or attribute.tensors)


def _nbytes(path: Path, tensor: Any) -> int:
    from onnx.helper import tensor_dtype_to_np_dtype

    try:
        item: int = tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError) as e:
        raise _damaged(path, f"the tensor {tensor.name[:60]} has an unknown dtype") from e
    if any(n < 0 for n in tensor.dims):
        raise _damaged(path, f"the tensor {tensor.name[:60]} has a negative size")
    count: int = math.prod(tensor.dims)
    return count * item


def _graph(onnx: Any, path: Path, model: Any) -> Graph:
    source = model.graph
    if len(source.node) > _MAX_NODES:
        raise CheckpointError(f"{path.name} is not a GPEN network: its graph has more than {_MAX_NODES:,} operations.")
    initializers: dict[str, NDArray[Any]] = {}
    half = False
    for tensor in source.initializer:
        array = _array(onnx, path, tensor)
        half = half or (array.size > 1 and array.dtype.itemsize == 2)
        initializers[tensor.name] = _single(array)
    defined = {*initializers, *(value.name for value in source.input)}
    nodes: list[Node] = []
    for raw in source.node:
        if raw.domain not in _DOMAINS and not (raw.domain == "com.microsoft" and raw.op_type in _FUSED):
            raise CheckpointError(_foreign_domain(path, raw))
        outputs = list(filter(None, raw.output))
        if not defined.isdisjoint(outputs):
            raise _damaged(path, f"the operation {raw.op_type[:60]} writes a value that already exists")
        defined.update(outputs)
        nodes += _unfused(_node(onnx, path, raw))
    _check_order(path, nodes)
    return Graph(
        inputs={value.name: _shape(value) for value in source.input if value.name not in initializers},
        outputs={value.name: _shape(value) for value in source.output},
        nodes=nodes,
        initializers=initializers,
        half=half,
        names=frozenset({*initializers, *(raw.name.strip("/").replace("/", ".") for raw in source.node)}),
    )


def _check_order(path: Path, nodes: list[Node]) -> None:
    """Refuse a graph with a cycle. Unsorted nodes are allowed: converters to float16 leave them."""
    producers = {name: number for number, node in enumerate(nodes) for name in filter(None, node.outputs)}
    needs = {i: {producers[name] for name in node.inputs if name in producers} for i, node in enumerate(nodes)}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as e:
        raise _damaged(path, "its operations form a cycle") from e


def _foreign_domain(path: Path, node: Any) -> str:
    if node.domain.startswith("com.microsoft"):
        return (
            f"{path.name} was optimised by ONNX Runtime for one kind of processor: its graph contains the operation "
            f"{node.op_type[:60]}. Give the original graph, or one of the optimisation level basic."
        )
    return (
        f"{path.name} is not a GPEN network: its graph contains the operation {node.op_type[:60]} of "
        f"{node.domain[:60]!r}, and GPEN uses only ONNX's own."
    )


def _array(onnx: Any, path: Path, tensor: Any) -> NDArray[Any]:
    try:
        _nbytes(path, tensor)
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, OverflowError) as e:
        raise _damaged(path, f"the tensor {tensor.name[:60]} does not fit its shape: {first_line(e)}") from e


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """Convert 16-bit floating-point numbers to float32, in which all constants are computed."""
    return array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind in "fV" else array


def _shape(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)


def _node(onnx: Any, path: Path, node: Any) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.HasField("t"):
            attributes[attribute.name] = _single(_array(onnx, path, attribute.t))
            continue
        value = onnx.helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


def _unfused(node: Node) -> list[Node]:
    """Split an operation from the leaky ReLU that ONNX Runtime's extended optimisation fused with it."""
    if node.op not in _FUSED:
        return [node]
    if node.attributes.get("activation") != "LeakyRelu":
        return [node]  # not an operation of GPEN's
    alpha = node.attributes.get("activation_alpha", [*node.attributes.get("activation_params", ()), 0.0][0])
    between = f"{node.outputs[0]} before its activation"
    return [
        Node(_FUSED[node.op], node.inputs, (between,), node.attributes),
        Node("LeakyRelu", (between,), node.outputs[:1], {"alpha": alpha}),
    ]
