"""Finds the GPEN state dict in a model file, however it is wrapped, and infers the network's spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from ..errors import CheckpointError
from ..network.fir import published_kernel
from ..network.gpen import GPEN
from ..network.spec import Spec
from ..wording import command
from . import other_formats, other_networks
from .headers import Header, TensorInfo, show_shape
from .headers_torch import code_complaint

WRAPPERS = ("g_ema", "params_ema", "params", "state_dict", "model", "g")
"""Keys under which programs store the network, in order of preference: a moving average restores better."""

PARTS = ("encoder", "mapper", "generator")

WEIGHT_DTYPES = ("float32", "float16", "bfloat16", "float64")

_OURS = re.compile(
    r"(ecd\d+\.0\.\d\.\w+|final_linear\.0\.\w+|generator\.(style|input|conv1|to_rgb1|convs|to_rgbs)\..+)$"
)
_LONGEST_NAME = 200  # of a tensor that may be GPEN's
_MAX_SIZE = 4096
_SHOWN = 4


@dataclass(frozen=True)
class Located:
    """A GPEN state dict that was found in a file."""

    tensors: dict[str, TensorInfo]
    """Its tensors by their published names."""
    paths: dict[str, tuple[str, ...]]
    """The keys that lead to each tensor in the file's tree."""
    wrapper: str
    """The keys and the prefix around the state dict; "" if there are none."""
    spec: Spec
    """The shape of the network."""
    kernels: tuple[str, ...]
    """Names of the FIR buffers that the file lacks; their values are the same in every GPEN."""


def locate(header: Header) -> Located:
    """Find the network and infer its spec; CheckpointError that says what else the file is."""
    try:
        return _located(header)
    except CheckpointError as error:
        # What a part lacks says nothing about the whole.
        part = None if header.code else other_formats.one_of_several(header.path.name)
        if part is None:
            raise
        raise CheckpointError(f"{header.path.name} {part}") from error


def _located(header: Header) -> Located:
    found = _unwrap(header.tree, ()) or _unwrap_parts(header)
    if header.code:
        what = None if found else _other(header)
        complaint = code_complaint(header.path, header.code)
        raise CheckpointError(f"{header.path.name} is {what} In addition, {complaint}" if what else complaint)
    if not found:
        raise CheckpointError(_not_gpen(header))
    paths, wrapper = found
    tensors = {name: _at(header.tree, keys) for name, keys in paths.items()}
    _check_numbers(header, tensors)
    spec = _infer(header, tensors)
    kernels = _compare(header, spec, tensors)
    return Located(tensors, paths, wrapper, spec, kernels)


def is_own_name(name: str) -> bool:
    """Whether a tensor of this name, with any prefix, may be one of GPEN's."""
    return len(name) <= _LONGEST_NAME and _OURS.search(name) is not None


@lru_cache(maxsize=8)
def expected_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor of the network."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in GPEN(spec).state_dict().items()}


def standard_kernel(name: str) -> torch.Tensor:
    """The published FIR buffer ``name``: (4, 4), float32."""
    with torch.device("cpu"):
        return published_kernel(1.0 if name.startswith("ecd") else 4.0)


def _at(tree: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    for key in keys:
        tree = tree[key]
    return tree


_Found = tuple[dict[str, tuple[str, ...]], str]


def _unwrap(tree: Mapping[str, Any], keys: tuple[str, ...]) -> _Found | None:
    """GPEN's names with their paths in ``tree``, and the wrapper; None if there is no GPEN."""
    names = [name for name, value in tree.items() if isinstance(value, TensorInfo)]
    prefix = _prefix(names)
    if prefix is not None:
        # Beside a wrapper's prefix, such as "g_ema.", other networks are allowed; beside "module." they are not.
        wrapped = any(word in prefix.split(".") for word in WRAPPERS)
        paths = {name.removeprefix(prefix): (*keys, name) for name in names if name.startswith(prefix) or not wrapped}
        return paths, ", ".join(filter(None, (*keys, prefix)))
    for key in WRAPPERS:
        if isinstance(tree.get(key), dict):
            found = _unwrap(tree[key], (*keys, key))
            if found:
                return found
    return None


def _prefix(names: list[str]) -> str | None:
    """The prefix of GPEN's own names; None if no GPEN encoder is among them."""
    for name in names:
        match = re.match(r"((?:\w+\.)*?)(ecd\d+\.0\.\d\.\w+)$", name)
        if match and match[1] != "encoder.":
            return match[1]
    return None


def _unwrap_parts(header: Header) -> _Found | None:
    """Join encoder, mapper and generator, each a dict of tensors."""
    for keys in ((), *((key,) for key in WRAPPERS)):
        try:
            tree = _at(header.tree, keys)
        except (KeyError, TypeError):
            continue
        if not isinstance(tree, dict):
            continue
        paths_of = {part: _part(tree, keys, part) for part in PARTS}
        ours = {part: _renamed(part, paths_of[part]) for part in PARTS}
        nested = sum(isinstance(tree.get(part), dict) for part in PARTS) >= 2
        if not nested and not ours["encoder"]:
            continue
        for part in PARTS:
            if paths_of[part] and not ours[part]:
                raise CheckpointError(_wrong_part(header, part, set(paths_of[part])))
        paths = {name: keys for part in PARTS for name, keys in ours[part].items()}
        return paths, ", ".join((*keys, " + ".join(part for part in PARTS if paths_of[part])))
    return None


def _part(tree: Mapping[str, Any], keys: tuple[str, ...], part: str) -> dict[str, tuple[str, ...]]:
    """Names of the tensors of one part, without prefixes, and their paths."""
    inner = tree.get(part)
    if isinstance(inner, dict):
        for wrapper in WRAPPERS:
            if isinstance(inner.get(wrapper), dict):
                inner, part = inner[wrapper], f"{part}\0{wrapper}"
                break
        names = {n: (*keys, *part.split("\0"), n) for n, v in inner.items() if isinstance(v, TensorInfo)}
    else:
        begin = f"{part}."
        names = {
            n.removeprefix(begin): (*keys, n)
            for n, v in tree.items()
            if n.startswith(begin) and isinstance(v, TensorInfo)
        }
    return {name.removeprefix("module."): path for name, path in names.items()}


def _renamed(part: str, paths: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Give the tensors of a part their published names; {} if most are not GPEN's."""
    renamed = {}
    # A mapper saved without its PixelNorm, which has no weights, counts its layers from 0.
    shift = 1 if part == "mapper" and "0.weight" in paths else 0
    for name, path in paths.items():
        short = name.removeprefix(f"{part}.")
        if part == "mapper" and re.match(r"\d+\.", short):
            index, _, rest = short.partition(".")
            short = f"style.{int(index[:9]) + shift}.{rest}"
        if part != "encoder":
            short = f"generator.{short.removeprefix('generator.')}"
        renamed[short] = path
    ours = sum(bool(_OURS.match(name)) for name in renamed)
    return renamed if 2 * ours > len(renamed) else {}


def _wrong_part(header: Header, part: str, names: set[str]) -> str:
    expected = {
        "encoder": "ecd0.0.0.weight, …, final_linear.0.weight",
        "mapper": "style.1.weight, …, style.8.weight",
        "generator": "input.input, conv1.conv.weight, …, to_rgbs.0.conv.weight",
    }[part]
    what = other_networks.identify(names)
    looks = f" (it looks like {what.partition(', not')[0]})" if what else ""
    return (
        f"{header.path.name} consists of {', '.join(p for p in PARTS if p in header.tree)}, but its {part} is not "
        f"GPEN's: found {len(names)} tensors such as {_some(sorted(names))}{looks}, expected {expected}. It is not a "
        f"GPEN model; get one of the published models ({command('models')} lists them)."
    )


def network_names(header: Header) -> set[str]:
    """Names of the tensors in the file's largest network, whatever it is, without prefixes of wrappers."""
    groups = [_names(header.tree)]
    groups += [_names(value) for value in header.tree.values() if isinstance(value, dict)]
    largest = max(groups, key=len)
    wrapper = re.compile(r"((module|g_ema|params_ema|params|state_dict|net_g|netG)\.)+")
    return {wrapper.sub("", name, count=1) if wrapper.match(name) else name for name in largest}


def is_gpen(header: Header) -> bool:
    """Whether the file's largest network has GPEN's encoder; :func:`locate` says whether it is complete."""
    return any(name.startswith("ecd0.") for name in network_names(header))


def _other(header: Header) -> str | None:
    """What the file's largest network is, if it is one that is recognised."""
    return other_networks.identify(network_names(header))


def _names(tree: Mapping[str, Any]) -> set[str]:
    return {name for name, value in tree.items() if isinstance(value, TensorInfo)}


def _not_gpen(header: Header) -> str:
    what = _other(header)
    advice = f"{command('models')} lists the models that fit."
    if what:
        return f"{header.path.name} is {what} {advice}"
    groups = [header.tree, *(value for value in header.tree.values() if isinstance(value, dict))]
    names: list[str] = max((sorted(_names(group)) for group in groups), key=len)
    if not names:
        only = _some(sorted(header.tree))
        return (
            f"{header.path.name} contains no network: no tensors were found in it{', only ' * bool(only)}{only}. "
            f"Expected the tensors of a GPEN network. {advice}"
        )
    return (
        f"{header.path.name} contains another network: {len(names)} tensors such as {_some(names)}. Expected those of "
        f"GPEN, such as ecd0.0.0.weight and generator.input.input. {advice}"
    )


def _check_numbers(header: Header, tensors: dict[str, TensorInfo]) -> None:
    for name, info in tensors.items():
        if 0 in info.shape:  # its other dimensions may be any number
            raise CheckpointError(
                f"{header.path.name} is damaged or malicious: its tensor {name} has no numbers. It was not loaded; get "
                "it again from a source you trust."
            )
        if info.dtype not in WEIGHT_DTYPES:
            raise CheckpointError(
                f"{header.path.name} stores the tensor {name} as {info.dtype}. Expected float32, float16 or "
                f"bfloat16: quantised and integer weights are not supported."
            )
    # Tensors may share storage in the file, but each takes memory of its own: this limits how much.
    total = sum(info.nbytes for info in tensors.values())
    if total > header.size * 1.05 + (1 << 20):
        raise CheckpointError(
            f"{header.path.name} declares tensors of {total} bytes, but has only {header.size}. The file is damaged or "
            "malicious; it was not loaded. Get it again from a source you trust."
        )


def _infer(header: Header, tensors: dict[str, TensorInfo]) -> Spec:
    blocks = _count(tensors, r"ecd(\d+)\.")
    colors = _count(tensors, r"generator\.to_rgbs\.(\d+)\.")
    layers = _count(tensors, r"generator\.style\.(\d+)\.") - 1
    bottom = _dimension(tensors, "generator.input.input", 1)
    style = _dimension(tensors, "generator.style.1.weight", 0) or _dimension(tensors, "final_linear.0.bias", 0)
    if not (2 <= blocks <= 11 and 1 <= colors <= 10 and 1 <= layers <= 64 and bottom and style):
        raise CheckpointError(
            f"{header.path.name} has parts of a GPEN network, but too few to tell which: {blocks} encoder blocks, "
            f"{colors + 1} RGB outputs, {max(layers, 0)} mapping layers, {bottom} channels and a style vector of "
            f"{style} numbers. The file is incomplete or for another network; get one of the published models (`gpen "
            "models` lists them)."
        )
    in_size, out_size = 2 ** (blocks + 1), 2 ** (colors + 2)
    if in_size > out_size or max(bottom, style) > _MAX_SIZE:
        raise CheckpointError(
            f"{header.path.name} describes a network that takes {in_size} pixels and returns {out_size}, "
            f"with {bottom} channels and a style vector of {style} numbers. GPEN never returns fewer pixels than it "
            f"takes, and never has more than {_MAX_SIZE} channels. Get one of the published models "
            f"({command('models')} lists them)."
        )
    multiplier = _multiplier(tensors, in_size, out_size, bottom)
    return Spec(in_size, out_size, multiplier, bottom / 512, style, layers)


def _multiplier(tensors: dict[str, TensorInfo], in_size: int, out_size: int, bottom: int) -> float:
    """The channel multiplier, from the smallest level of at least 64, where rounding has the least effect."""
    for size in (64, 128, 256, 512, 1024, 2048, 4096):
        level = size.bit_length() - 4
        channels = size <= out_size and _dimension(tensors, f"generator.convs.{2 * level}.conv.weight", 1)
        if not channels and size <= in_size:
            channels = _dimension(tensors, f"ecd{(in_size // size).bit_length() - 1}.0.1.bias", 0)
        if channels:
            multiplier = channels * size / (32 * bottom)
            return int(multiplier) if multiplier.is_integer() else multiplier
    return 2


def _count(tensors: dict[str, TensorInfo], pattern: str) -> int:
    """One more than the highest number that the pattern's group matches."""
    numbers = [int(match[1][:9]) for name in tensors if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


def _dimension(tensors: dict[str, TensorInfo], name: str, axis: int) -> int:
    info = tensors.get(name)
    return info.shape[axis] if info and len(info.shape) > axis else 0


def _compare(header: Header, spec: Spec, tensors: dict[str, TensorInfo]) -> tuple[str, ...]:
    """Refuse missing, unknown and misshapen tensors; return the names of the FIR buffers to fill in."""
    expected = expected_shapes(spec)
    absent = [name for name in expected if name not in tensors]
    kernels = tuple(name for name in absent if name.endswith(".kernel"))
    missing = [f"{n} ({show_shape(expected[n])})" for n in absent if n not in kernels]
    extra = [f"{n} ({show_shape(tensors[n].shape)})" for n in tensors if n not in expected]
    wrong = [
        f"{n} (found {show_shape(tensors[n].shape)}, expected {show_shape(shape)})"
        for n, shape in expected.items()
        if n in tensors and tensors[n].shape != shape
    ]
    problems = [
        f"{len(names)} {what}: {_some(names)}"
        for names, what in ((missing, "missing"), (extra, "unknown"), (wrong, "of another shape"))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{header.path.name} looks like {spec.title}, but its tensors do not fit that network: "
            f"{'; '.join(problems)}. The file is damaged, or belongs to a variant of GPEN that is not supported. Get "
            f"one of the published models ({command('models')} lists them)."
        )
    return kernels


def _some(names: list[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
