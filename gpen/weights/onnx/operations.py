"""Which operations of a stranger's ONNX graph another program may be asked to compute.

Only those that compute values from values: none that repeat graphs or choose among them, draw numbers at random, or
handle texts. How large a value is may follow from the stored numbers and from shapes, but not from what a picture
shows, so that one run tells what every run costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from .constants import Node

ALLOWED = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul"),
        *("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
        *("BatchNormalization", "InstanceNormalization", "Dropout"),
        *("Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Softmax", "Tanh"),
        *("Abs", "Add", "Ceil", "Div", "Exp", "Floor", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal"),
        *("ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum", "Sqrt", "Sub", "Sum"),
        *("And", "Equal", "Greater", "Less", "Not", "Or", "Where"),
        *("Cast", "Concat", "Constant", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Resize"),
        *("Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    }
)
"""Those that networks of any kind need."""

IN_EXPORTS = ALLOWED | {
    *("CastLike", "ConstantOfShape", "Expand", "Range", "Tile"),
    *("FusedConv", "FusedGemm"),
    *("Erf", "Gelu", "GreaterOrEqual", "LessOrEqual", "Mean", "ReduceL2", "ReduceMin", "ReduceSumSquare", "Sign"),
}
"""Those that exporters and optimisers write besides, for GPEN's textbook formulation."""

_SIZED = {
    **dict.fromkeys(("ConstantOfShape", "Range"), 0),
    **dict.fromkeys(("Expand", "Pad", "ReduceSum", "Reshape", "Resize", "Slice", "Split", "Tile"), 1),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), 1),
}
"""Operations whose inputs from this one on decide the size of what they return."""


def refusal(nodes: Sequence[Node], pictures: Iterable[str], allowed: Collection[str]) -> str | None:
    """Why a graph is not run, as the end of a sentence about it; None if it may be.

    pictures: the names of its inputs.
    """
    unknown = sorted({node.op for node in nodes} - set(allowed))
    if unknown:
        return f"it contains the operation {unknown[0][:60]}"
    seen = _from_pictures(nodes, pictures)
    for node in nodes:
        if node.op in _SIZED and not seen.isdisjoint(node.inputs[_SIZED[node.op] :]):
            return f"what a picture shows decides the size of what its operation {node.op} returns"
    return None


def _from_pictures(nodes: Sequence[Node], pictures: Iterable[str]) -> set[str]:
    """The values that depend on what a picture shows, not only on its size."""
    takers = defaultdict(list)
    for node in nodes:
        for name in set(node.inputs):
            takers[name].append(node)
    seen, waiting = set(pictures), list(pictures)
    while waiting:
        for node in takers[waiting.pop()]:
            if node.op != "Shape":
                new = [name for name in node.outputs if name not in seen]
                seen.update(new)
                waiting += new
    return seen


def path_to(output: str, nodes: Sequence[Node]) -> list[int]:
    """The positions of the nodes that a value is computed by, in the order of the graph."""
    producers = {name: number for number, node in enumerate(nodes) for name in node.outputs if name}
    found: set[int] = set()
    waiting = [output]
    while waiting:
        number = producers.get(waiting.pop())
        if number is not None and number not in found:
            found.add(number)
            waiting += nodes[number].inputs
    return sorted(found)
