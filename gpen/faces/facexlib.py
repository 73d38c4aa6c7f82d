"""The networks of the package facexlib: imported on use, built directly, their weights read safely.

facexlib's own helpers download into the package's folder and unpickle; they are not used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FaceError, FilesError

if TYPE_CHECKING:
    import torch

_LARGEST_FILE = 1 << 30


def facexlib_module(name: str) -> Any:
    """Import ``facexlib.<name>``; FaceError with the reason when that fails, in whatever way it fails."""
    try:
        return importlib.import_module(f"facexlib.{name}")
    except Exception as error:
        text = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise FaceError(
            f"The Python package facexlib cannot be used here ({reason}). RetinaFace and the parsed mask "
            "need it; YuNet and the other masks do not."
        ) from error


def load_weights(network: torch.nn.Module, weights: Path, what: str) -> None:
    """Put the tensors of a .pth or .safetensors file into ``network``, which ends in evaluation mode.

    ``what`` names the network in the errors: FilesError when the file cannot be read, FaceError when it is
    damaged, unsafe, or for another network. No code in the file is run.
    """
    weights = Path(weights)
    given = _read(weights, what)
    given = {name.removeprefix("module."): tensor for name, tensor in given.items()}
    wanted = network.state_dict()
    # A counter for training, which old files lack.
    names = {name for name in wanted if not name.endswith("num_batches_tracked")}
    missing = sorted(names - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    shapes = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(given.keys() & wanted.keys())
        if given[name].shape != wanted[name].shape
    ]
    if missing or extra or shapes:
        found = [
            *([f"{len(missing)} tensors are missing ({_few(missing)})"] if missing else []),
            *([f"{len(extra)} do not belong to it ({_few(extra)})"] if extra else []),
            *([f"{len(shapes)} have another shape ({_few(shapes)})"] if shapes else []),
        ]
        raise FaceError(
            f"{weights} does not hold the weights of {what}: of its {len(names)} tensors, {', '.join(found)}."
        )
    network.load_state_dict(given, strict=False)
    network.eval()
    network.requires_grad_(False)


def _read(weights: Path, what: str) -> dict[str, torch.Tensor]:
    import torch

    try:
        size = weights.stat().st_size
        weights.open("rb").close()
    except OSError as error:
        raise FilesError(f"The weights of {what}, {weights}, cannot be read: {error.strerror}.") from error
    unusable = (
        f"{weights} cannot be used as the weights of {what}: it is not a file of PyTorch tensors, or a "
        "broken download, or it wants to run code, which is refused. Get it again."
    )
    if size > _LARGEST_FILE:
        raise FaceError(unusable)
    try:
        if weights.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(weights, device="cpu")
        else:
            # Some hosts replace torch.load by one that wants keywords and answers None for "refused".
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FaceError(unusable) from error
    if not isinstance(state, dict) or not state:
        raise FaceError(unusable)
    if not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise FaceError(unusable)
    return state


def _few(names: list[str]) -> str:
    return "; ".join(names[:3]) + (" …" if len(names) > 3 else "")
