"""Recognises other networks in ONNX files by their names, inputs and outputs, so that a mix-up gets a useful answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from .. import other_networks
from .graph import Graph

_Shape = tuple[int | None, ...]

_PREFIX = re.compile(r"((module|model|net_g|generator|g_ema|params_ema|params)\.)+")
_OWN = re.compile(r"\becd\d+\.0\b")


def identify(graph: Graph) -> str | None:
    """Return what the network is, and what to do with it, or None. The text continues "x.onnx is"."""
    found = _by_parts(graph)
    if found is None:
        found = next(((what, advice) for what, test, advice in _BY_SHAPES if test(graph)), None)
    if found is not None:
        return f"{found[0]}, not a GPEN network. {found[1]}".rstrip()
    if any(_OWN.search(name) for name in graph.names):
        # A damaged or modified GPEN has much in common with other StyleGANs.
        return None
    return other_networks.identify({_PREFIX.sub("", name, count=1) for name in graph.names})


def _by_parts(graph: Graph) -> tuple[str, str] | None:
    names = "\n".join(graph.names)
    for what, pattern in (
        ("a GFPGAN network", "stylegan_decoder"),
        ("a CodeFormer network", "idx_pred_layer|ft_layers|position_emb"),
        ("a RestoreFormer network", r"quantize\.embedding"),
    ):
        if re.search(pattern, names):
            return what, f"{other_networks.OWN_TOOL}, such as {what.split()[1]}'s own."
    return None


def _pictures(graph: Graph) -> list[_Shape]:
    return [shape for shape in graph.inputs.values() if len(shape) == 4]


def _is_swapper(graph: Graph) -> bool:
    return bool(_pictures(graph)) and any(len(shape) == 2 and shape[1] == 512 for shape in graph.inputs.values())


def _is_codeformer(graph: Graph) -> bool:
    others = {name for name, shape in graph.inputs.items() if len(shape) < 2}
    return bool(_pictures(graph)) and bool(others & {"weight", "w", "fidelity", "fidelity_weight"})


def _is_recognition(graph: Graph) -> bool:
    out = next(iter(graph.outputs.values()), ())
    return _single(graph) and len(out) == 2 and out[1] in (128, 256, 512) and 112 in _pictures(graph)[0][1:]


def _is_yunet(graph: Graph) -> bool:
    return {"cls_8", "bbox_8", "kps_8"} <= set(graph.outputs) or set(graph.outputs) == {"loc", "conf", "iou"}


def _is_retinaface(graph: Graph) -> bool:
    """Boxes, scores and five landmarks of every anchor."""
    last = sorted(shape[-1] or 0 for shape in graph.outputs.values() if shape)
    return last in ([2, 4, 10], [1, 1, 1, 4, 4, 4, 10, 10, 10], [1, 4, 10])


def _is_yolo(graph: Graph) -> bool:
    out = next(iter(graph.outputs.values()), ())
    return _single(graph) and len(out) == 3 and "images" in graph.inputs


def _is_parser(graph: Graph) -> bool:
    out = next(iter(graph.outputs.values()), ())
    return bool(_pictures(graph)) and len(out) == 4 and out[1] == 19


def _is_upscaler(graph: Graph) -> bool:
    if not _single(graph):
        return False
    size, out = _pictures(graph)[0][2], next(iter(graph.outputs.values()), ())
    grown = len(out) == 4 and size is not None and out[2] in (2 * size, 3 * size, 4 * size)
    styled = any(node.op == "ConvTranspose" for node in graph.nodes)
    return grown or (size is None and not styled and any(node.op in ("DepthToSpace", "Resize") for node in graph.nodes))


def _single(graph: Graph) -> bool:
    return len(graph.inputs) == 1 and len(_pictures(graph)) == 1


_BY_SHAPES: tuple[tuple[str, Callable[[Graph], bool], str], ...] = (
    ("a face swapper (inswapper or similar)", _is_swapper, f"{other_networks.OWN_TOOL}."),
    ("a CodeFormer network", _is_codeformer, f"{other_networks.OWN_TOOL}, such as CodeFormer's own."),
    ("the face detector YuNet", _is_yunet, other_networks.FOR_DETECTION),
    ("a face detector (RetinaFace or SCRFD)", _is_retinaface, "It detects faces and restores none."),
    ("a face recognition network (ArcFace)", _is_recognition, ""),
    ("a YOLO detector", _is_yolo, "It detects objects or faces and restores none."),
    ("a face-parsing network", _is_parser, "The mask `parsed` uses parsing_parsenet.pth."),
    ("an upscaler (Real-ESRGAN or similar)", _is_upscaler, "It enlarges pictures and does not restore faces."),
)
