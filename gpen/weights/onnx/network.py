"""Recovers a GPEN network from an ONNX file, or says in an error that a user can act on why not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...device import is_out_of_memory
from ...errors import CheckpointError, GpenError
from ...wording import command, first_line
from ..checkpoint import CheckpointInfo, info_of
from ..headers import Header, TensorInfo
from ..limited import too_little_memory
from ..state_dict import Located, is_own_name, locate, standard_kernel
from . import other_networks
from . import verify as onnx_verify
from .graph import NotGpenError
from .reader import OnnxFile, read_onnx
from .recover import recover
from .verify import Comparison

_MAX_OUTPUTS = 8


@dataclass(frozen=True)
class OnnxNetwork:
    """The network in an ONNX file."""

    info: CheckpointInfo
    """What the file contains."""
    tensors: dict[str, Tensor]
    """float32 tensors by their published names, including the FIR buffers."""
    sha256: str
    """Of the file, 64 hex digits."""
    by_name: bool
    """Whether the tensors were identified by their names only, not by what the graph does with them."""
    _file: OnnxFile
    _output: str

    def compare(self) -> Comparison:
        """Run the graph and the network on the same picture; CheckpointError if they disagree."""
        info = self.info
        comparison = onnx_verify.compare(self._file, self._output, info.spec, self.tensors, info.value_range)
        if self.by_name and comparison.difference is None:
            raise CheckpointError(
                f"{info.path.name} has tensors with GPEN's names in a graph that cannot be followed; only running both "
                f"can tell whether they are the same. {comparison.reason}"
            )
        return comparison


def read_network(path: Path, task: str | None = None) -> OnnxNetwork:
    """Recover the network; CheckpointError that says what else the file is. task: as for ``inspect``.

    OutOfMemoryError if there is too little memory.
    """
    try:
        return _read(path, task)
    except GpenError:
        raise
    except Exception as e:  # a graph can be wrong in more ways than there are checks
        if is_out_of_memory(e):
            raise too_little_memory(path) from e
        raise CheckpointError(
            f"{path.name} starts like an ONNX file, but its graph makes no sense ({type(e).__name__}: "
            f"{first_line(e)}). It is damaged, or another network; get it again from a source you trust."
        ) from e


def _read(path: Path, task: str | None) -> OnnxNetwork:
    file = read_onnx(path)
    by_name = False
    try:
        output, arrays = _walked(file)
        header, located = _located(path, arrays)
    except NotGpenError as e:
        named = _named(file)
        if named is None:
            raise CheckpointError(_not_gpen(file, e)) from e
        by_name, output = True, next(iter(file.graph.outputs))
        header, located = named
        arrays = {name: file.graph.initializers[keys[-1]] for name, keys in located.paths.items()}
    info = replace(info_of(header, located, task), file_size=file.size)
    _check_ends(file, info)
    # Copies, because the arrays are views of the whole file and sometimes of one another.
    tensors = {name: torch.from_numpy(np.array(array, np.float32)) for name, array in arrays.items()}
    tensors |= {name: standard_kernel(name) for name in located.kernels}
    return OnnxNetwork(info, tensors, file.sha256, by_name, file, output)


def _walked(file: OnnxFile) -> tuple[str, dict[str, NDArray[Any]]]:
    """The output that is GPEN's picture, and the tensors that produce it: some exports also return styles."""
    first: NotGpenError | None = None
    for output in list(file.graph.outputs)[:_MAX_OUTPUTS]:
        try:
            return output, recover(file.graph, output)
        except NotGpenError as e:
            first = first or e
    raise first or NotGpenError("it has no output")


def _located(path: Path, arrays: dict[str, NDArray[Any]]) -> tuple[Header, Located]:
    tree = {name: TensorInfo(array.shape, "float32") for name, array in arrays.items()}
    header = Header(path, sum(info.nbytes for info in tree.values()), "onnx", tree)
    return header, locate(header)


def _named(file: OnnxFile) -> tuple[Header, Located] | None:
    """The network if every tensor is stored under its published name, else None."""
    stored = file.graph.initializers.items()
    arrays = {name: array for name, array in stored if is_own_name(name) and array.dtype == np.float32}
    try:
        return _located(file.path, arrays)
    except CheckpointError:
        return None


def _check_ends(file: OnnxFile, info: CheckpointInfo) -> None:
    name, size = file.path.name, info.spec.in_size
    if len(file.graph.inputs) != 1:
        raise CheckpointError(
            f"{name} takes {len(file.graph.inputs)} inputs, but GPEN takes one picture. It cannot be converted."
        )
    (shape,) = file.graph.inputs.values()
    if any(n not in (None, wanted) for n, wanted in zip(shape[-3:], (3, size, size), strict=False)):
        raise CheckpointError(
            f"{name} contains {info.spec.title}, but takes {_values(file.graph.inputs)} instead of pictures of "
            f"3 x {size} x {size}. It cannot be converted."
        )


def _not_gpen(file: OnnxFile, why: NotGpenError) -> str:
    name, graph = file.path.name, file.graph
    what = other_networks.identify(graph)
    if what is not None:
        return f"{name} is {what} {command('models')} lists the models that fit."
    return (
        f"{name} is not a GPEN network: {why}. It takes {_values(graph.inputs)} and returns {_values(graph.outputs)}. "
        f"Expected an export of GPEN such as GPEN-BFR-512.onnx; {command('models')} lists the .pth files that fit."
    )


def _values(values: Any) -> str:
    shown = [f"{name[:40]} ({' x '.join(str(n or '?') for n in shape)})" for name, shape in list(values.items())[:4]]
    return ", ".join(shown) + (f" and {len(values) - 4} more" if len(values) > 4 else "") if shown else "nothing"
