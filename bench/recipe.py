"""The recipe of the weights and inputs for which shared/reference holds outputs of the published implementation.

The folder's README describes it; every number follows from a tensor's name.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpen.network.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn


def reference(shared: Path, name: str) -> dict[str, Any]:
    """What is stored for a configuration such as "gpen-512": its shape, and samples of its input and output."""
    with np.load(shared / "reference" / f"{name}.npz") as file:
        return dict(file)


def reference_spec(stored: dict[str, Any]) -> Spec:
    """The shape of the network."""
    return Spec(
        int(stored["in_size"]),
        int(stored["out_size"]),
        float(stored["channel_multiplier"]),
        float(stored["narrow"]),
    )


def recipe_weights(network: nn.Module, without_noise: Collection[int] = ()) -> dict[str, Tensor]:
    """The state dict. without_noise: the styled convolutions whose encoder's map counts nothing."""
    import torch

    silent = {f"generator.convs.{i}.noise.weight" for i in without_noise}
    weights = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(".kernel"):
            weights[name] = tensor
            continue
        random = _normal(name, tuple(tensor.shape))
        if name.endswith("noise.weight"):
            random = 0.5 + 0.1 * random
        elif name.endswith("modulation.bias"):
            random = 1 + 0.1 * random
        elif name.endswith("bias"):
            random = 0.1 * random
        elif name.startswith("generator.style"):
            random = 100 * random
        weights[name] = torch.zeros(tensor.shape) if name in silent else random
    return weights


def recipe_input(size: int) -> Tensor:
    """The picture (1, 3, size, size), -1 to 1."""
    import torch
    import torch.nn.functional as F

    coarse = np.random.RandomState(zlib.crc32(b"input")).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    smooth = F.interpolate(torch.from_numpy(coarse), size=(size, size), mode="bilinear", align_corners=False)
    return (smooth + 0.05 * _normal("noise", (1, 3, size, size))).clamp(-1, 1)


def _normal(name: str, shape: tuple[int, ...]) -> Tensor:
    import torch

    random = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(int(np.prod(shape)))
    return torch.from_numpy(random.astype(np.float32).reshape(shape))
