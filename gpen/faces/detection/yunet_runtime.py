"""YuNet's network on the CPU in ONNX Runtime, where that is installed: there it takes half of PyTorch's time.

Its many small convolutions wait for memory rather than for arithmetic, and ONNX Runtime fuses them and keeps what they
write. On the machine of docs/performance.md, one thread took 16 to 23 ms per megapixel, PyTorch 32 to 64, OpenCV 41
to 51. The published file is not used for it: it is for one size of picture, and another program would run its graph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ...weights.onnx.constants import Node
from ...weights.onnx.runtime import cpu_session
from ...weights.onnx.writer import write_model
from ...wording import first_line
from .yunet_network import HEAD_CHANNELS, YuNetNetwork

_log = logging.getLogger(__name__)


def in_onnx_runtime(network: YuNetNetwork) -> Callable[[Tensor], list[Tensor]] | None:
    """What computes the same as the network, on the CPU; None if ONNX Runtime is not there or does not work."""
    try:
        # The calls are shared among threads instead: of a megapixel, two threads took 20 ms, and one 27 ms.
        session = cpu_session(_model(network), threads=1)
    except Exception as error:  # a broken installation fails in many ways
        _log.info("YuNet runs in PyTorch, not in ONNX Runtime (%s).", first_line(error))
        return None

    def run(batch: Tensor) -> list[Tensor]:
        found = session.run(None, {"batch": batch.numpy()})
        return [torch.from_numpy(out).permute(0, 3, 1, 2) for out in found]

    return run


def _model(network: YuNetNetwork) -> bytes:
    """The network as an ONNX model, whose maps are (N, H, W, C): so what belongs to a cell lies together."""
    traced = fx.symbolic_trace(network)
    tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    tensors["doubling"] = np.array([1, 1, 2, 2], np.float32)
    nodes, outputs = [], []
    for node in traced.graph.nodes:
        if node.op == "output":
            outputs = [f"{value.name} by cell" for value in node.args[0]]
            for value, name in zip(node.args[0], outputs, strict=True):
                nodes.append(Node("Transpose", (value.name,), (name,), {"perm": [0, 2, 3, 1]}))
        elif node.op != "placeholder":
            nodes.append(_node(node, network))
        else:
            node.name = "batch"
    inputs = {"batch": ("n", 3, "height", "width")}
    shapes = {name: ("n", f"{name} height", f"{name} width", HEAD_CHANNELS) for name in outputs}
    return write_model(nodes, tensors, inputs, shapes)


def _node(node: fx.Node, network: nn.Module) -> Node:
    inputs = tuple(value.name for value in node.all_input_nodes)
    attributes: dict[str, Any] = {}
    if node.op == "call_function":
        return Node("Add", inputs, (node.name,), attributes)
    module = network.get_submodule(str(node.target))
    if isinstance(module, nn.Conv2d):
        op, inputs = "Conv", (*inputs, f"{node.target}.weight", f"{node.target}.bias")
        attributes = {
            "kernel_shape": list(module.kernel_size),
            "strides": list(module.stride),
            "pads": [int(n) for n in module.padding] * 2,
            "group": module.groups,
        }
    elif isinstance(module, nn.MaxPool2d):
        op, attributes = "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}
    elif isinstance(module, nn.Upsample):
        op, inputs = "Resize", (*inputs, "", "doubling")
        attributes = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
    else:
        op = "Relu"
    return Node(op, inputs, (node.name,), attributes)
