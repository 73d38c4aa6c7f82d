"""A network of XSeg's form that takes one colour for what covers a face."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpen.weights.onnx.constants import Node
from gpen.weights.onnx.writer import Shape, write_model

COVER = (0.0, 1.0, 0.0)
"""The colour, RGB."""

_NODES = [
    Node("Transpose", ("in_face",), ("planes",), {"perm": [0, 3, 1, 2]}),
    Node("Conv", ("planes", "weight", "bias"), ("scores",), {"kernel_shape": [1, 1]}),
    Node("Sigmoid", ("scores",), ("seen",), {}),
    Node("Transpose", ("seen",), ("out_mask",), {"perm": [0, 2, 3, 1]}),
]


def write_occluder(
    path: Path,
    nodes: list[Node] | None = None,
    size: Shape = (256, 256, 3),
    weight: float = 200.0,
) -> Path:
    """The mask is 0 where there is more green than red and blue together, else 1."""
    tensors = {
        "weight": np.array([weight, -weight, weight], np.float32).reshape(1, 3, 1, 1),
        "bias": np.array([weight / 20], np.float32),
    }
    model = write_model(nodes or _NODES, tensors, {"in_face": ("n", *size)}, {"out_mask": ("n", *size[:2], 1)})
    path.write_bytes(model)
    return path
