"""The networks of the package facexlib: imported on first use, built directly, their weights read safely.

facexlib's own helpers are not used: they download into the package's folder and unpickle.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import CheckpointError, FaceError, FilesError
from ..weights.headers import Header, TensorInfo, read_header
from ..weights.headers_torch import code_complaint

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")
_Shapes = dict[str, tuple[int, ...]]

_LARGEST_FILE = 1 << 30


def facexlib_module(name: str) -> Any:
    """Import ``facexlib.<name>``. Raises FaceError with the reason, whatever the import raised."""
    try:
        return importlib.import_module(f"facexlib.{name}")
    except Exception as error:
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise FaceError(
            f"The Python package facexlib cannot be used here ({reason}). RetinaFace, the parsed mask and the "
            "identity guard need it: reinstall it, or use YuNet, another mask, and no guard."
        ) from error


def facexlib_problem(name: str) -> str | None:
    """Why ``facexlib.<name>`` cannot be imported, or None if it can."""
    try:
        facexlib_module(name)
    except FaceError as error:
        return str(error)
    return None


def load_network(make: Callable[[], Any], weights: Path, what: str) -> Any:
    """The network that ``make`` returns, in float32 on the CPU, with the weights in a file, as :func:`load_weights`."""
    # Imported here because it imports PyTorch.
    from ..device import built

    network = built(make)
    load_weights(network, weights, what)
    return network


def load_weights(network: torch.nn.Module, weights: Path, what: str) -> None:
    """Load a .pth or .safetensors file into ``network`` and switch it to evaluation mode.

    No code in the file is run. what: names the network in errors. Raises FilesError if the file cannot be read,
    FaceError if it is damaged, unsafe, or for another network.
    """
    weights = Path(weights)
    header = _read_header(weights, what)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    # Before any tensor is read, so that memory is only ever allocated for the network's own shapes.
    stated = {name: info.shape for name, info in header.tree.items()}
    _check(_unwrapped(stated), wanted, weights, what)
    given = _read(header, what)
    if {name: tuple(tensor.shape) for name, tensor in given.items()} != stated:
        raise FaceError(f"{weights} changed while it was read. Try again.")
    network.load_state_dict(_unwrapped(given), strict=False)
    network.eval()
    network.requires_grad_(False)


def _unwrapped(values: dict[str, Value]) -> dict[str, Value]:
    """The state dict without the prefix that nn.DataParallel leaves."""
    return {name.removeprefix("module."): value for name, value in values.items()}


def _check(given: _Shapes, wanted: _Shapes, weights: Path, what: str) -> None:
    # A counter for training, missing from old files.
    names = {name for name in wanted if not name.endswith("num_batches_tracked")}
    missing = sorted(names - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    shapes = [
        f"{name} is {given[name]} instead of {wanted[name]}"
        for name in sorted(given.keys() & wanted.keys())
        if given[name] != wanted[name]
    ]
    if missing or extra or shapes:
        found = [
            *([f"{len(missing)} tensors are missing ({_few(missing)})"] if missing else []),
            *([f"{len(extra)} do not belong to it ({_few(extra)})"] if extra else []),
            *([f"{len(shapes)} have another shape ({_few(shapes)})"] if shapes else []),
        ]
        raise FaceError(
            f"{weights} does not hold the weights of {what}: of its {len(names)} tensors, {', '.join(found)}. "
            "Get the right file."
        )


def _read_header(weights: Path, what: str) -> Header:
    """The file's header, which lists named tensors and nothing else."""
    try:
        size = weights.stat().st_size
        weights.open("rb").close()
    except OSError as error:
        raise FilesError(
            f"The weights of {what}, {weights}, cannot be read: {error.strerror}. Check the file, or get it again."
        ) from error
    try:
        header = read_header(weights)
    except CheckpointError as error:
        raise FaceError(f"{weights} cannot be used as the weights of {what}. {error}") from error
    if header.code:
        complaint = code_complaint(weights, header.code)
        raise FaceError(f"{weights} cannot be used as the weights of {what}. {complaint}")
    if size > _LARGEST_FILE or not header.tree or not all(isinstance(i, TensorInfo) for i in header.tree.values()):
        raise FaceError(_unusable(weights, what))
    return header


def _read(header: Header, what: str) -> dict[str, torch.Tensor]:
    import torch

    # Imported here because it imports PyTorch.
    from ..weights.tensors import read_everything

    try:
        state = read_everything(header)
    except CheckpointError as error:
        raise FaceError(_unusable(header.path, what)) from error
    if not isinstance(state, dict) or not state:
        raise FaceError(_unusable(header.path, what))
    if not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise FaceError(_unusable(header.path, what))
    return state


def _unusable(weights: Path, what: str) -> str:
    return (
        f"{weights} cannot be used as the weights of {what}: it is not a file of PyTorch tensors, or a "
        "broken download, or it wants to run code, which is refused. Get it again."
    )


def _few(names: list[str]) -> str:
    return "; ".join(names[:3]) + (" …" if len(names) > 3 else "")
