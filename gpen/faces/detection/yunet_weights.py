"""The weights of YuNet, read from its ONNX file as data: no graph of the file is ever run.

The tensors of the published files carry an exporter's numbers for names, so each is found by what the graph does with
it, backwards from the twelve outputs. OpenCV's zoo publishes the same weights twice, for pictures of one size
(2023mar) and of any size (2026may); both are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...device import built
from ...errors import FaceError
from ...weights.catalog import find_published
from ...weights.limited import read_limited
from ...weights.onnx.constants import Node
from ...weights.onnx.wire import StoredGraph, WireError, read_graph
from .yunet_network import HEAD_PARTS, NECK_UNITS, STRIDES, YuNetNetwork

_LARGEST_FILE = 4 << 20
_PASSED = {"Relu", "MaxPool", "Transpose", "Reshape", "Sigmoid", "Identity", "Cast"}


def load_yunet(path: Path) -> YuNetNetwork:
    """The network with the weights of a file, on the CPU.

    Raises FilesError if the file cannot be read, FaceError if it is not YuNet.
    """
    content = read_limited(path, _LARGEST_FILE, "The detector file ")
    try:
        if len(content) > _LARGEST_FILE:
            raise WireError("it is larger than 4 MB")
        return _network(read_graph(content))
    except WireError as error:
        names = " or ".join(find_published("yunet").all_file_names)
        raise FaceError(
            f"{path} is not the face detector YuNet: {error}. It may be a broken download or another network; "
            f"get {names} again."
        ) from error


def _network(graph: StoredGraph) -> YuNetNetwork:
    walk = _Walk(graph)
    heads, laterals, maps = [], [], []
    features = [walk.head(stride) for stride in STRIDES]
    for head, feature in features:
        heads.append(head)
        lateral, above = walk.unit(feature)
        laterals.append(lateral)
        maps.append(walk.backbone_map(above))
    units: list[list[Tensor]] = []
    at, outputs = maps[-1], []
    for _ in range(NECK_UNITS[-1] + 1):
        outputs.append(walk.node(at))
        unit, at = walk.unit(at)
        units.append(unit)
    outputs.reverse()
    if any(outputs[number] is not walk.node(name) for number, name in zip(NECK_UNITS, maps, strict=True)):
        raise WireError("its neck takes other maps of its backbone")
    stem, _ = walk.convolution(at)
    network = built(YuNetNetwork)
    tensors = [*stem, *_flat(units[::-1]), *_flat(laterals), *_flat(heads)]
    with torch.no_grad():
        for (name, parameter), tensor in zip(network.named_parameters(), tensors, strict=True):
            if parameter.shape != tensor.shape:
                raise WireError(f"{name} has the shape {tuple(tensor.shape)} instead of {tuple(parameter.shape)}")
            if not tensor.isfinite().all():
                raise WireError(f"{name} contains NaN or Inf")
            parameter.copy_(tensor)
    return network


def _flat(units: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [tensor for unit in units for tensor in unit]


class _Walk:
    """Steps backwards through a graph. Each returns the weights that it passed, and the name of the value above."""

    def __init__(self, graph: StoredGraph) -> None:
        self._producers = {name: node for node in graph.nodes for name in node.outputs}
        self._tensors = graph.tensors
        self._steps = len(graph.nodes)

    def node(self, name: str) -> Node:
        """The operation behind a value, past those that only rearrange or clip it."""
        for _ in range(self._steps):
            node = self._producers.get(name)
            if node is None or not node.inputs:
                break
            if node.op not in _PASSED:
                return node
            name = node.inputs[0]
        raise WireError(f"its graph does not compute {name[:60]}")

    def convolution(self, name: str) -> tuple[list[Tensor], str]:
        """Weight and bias."""
        node = self.node(name)
        stored = [self._tensors.get(tensor) for tensor in node.inputs[1:]]
        if node.op != "Conv" or len(stored) != 2:
            raise WireError(f"its graph contains {node.op[:60]} where YuNet has a convolution with a bias")
        tensors = [torch.from_numpy(array) for array in stored if array is not None]
        if len(tensors) != 2:
            raise WireError("a convolution has no stored weights")
        return tensors, node.inputs[0]

    def unit(self, name: str) -> tuple[list[Tensor], str]:
        """A pointwise and a depthwise convolution."""
        depthwise, between = self.convolution(name)
        pointwise, above = self.convolution(between)
        return [*pointwise, *depthwise], above

    def head(self, stride: int) -> tuple[list[Tensor], str]:
        """The units of a stride's four outputs, joined into one."""
        units, above = [], []
        for part, _ in HEAD_PARTS:
            unit, feature = self.unit(f"{part}_{stride}")
            units.append(unit)
            above.append(feature)
        if len({id(self.node(feature)) for feature in above}) != 1:
            raise WireError(f"its outputs of stride {stride} come from different maps")
        try:
            return [torch.cat(tensors) for tensors in zip(*units, strict=True)], above[0]
        except RuntimeError as error:
            raise WireError(f"its outputs of stride {stride} have other shapes") from error

    def backbone_map(self, name: str) -> str:
        """What the backbone adds to the next coarser level of the neck, if there is one."""
        node = self.node(name)
        if node.op != "Add":
            return name
        own = [value for value in node.inputs if self.node(value).op == "Conv"]
        if len(own) != 1:
            raise WireError("its neck does not add a map of its backbone to a coarser level")
        return own[0]
