"""Small upscalers in spandrel's architectures, saved with known or random weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor

from gpen.images.picture import FloatImage

TINT = (0.1, 0.0, -0.1)
"""What the known upscaler adds to red, green and blue, so that swapped channels show."""


def known_upscaler(path: Path, scale: int = 2, tint: Sequence[float] = TINT) -> Path:
    """Save an upscaler whose output is the nearest pixel, tinted: the last of its convolutions has zero weights."""
    torch.manual_seed(0)
    network = Compact(num_feat=4, num_conv=1, upscale=scale)
    torch.nn.init.zeros_(network.body[-1].weight)
    network.body[-1].bias.data = torch.tensor(tint).repeat_interleave(scale**2)
    torch.save({"params": network.state_dict()}, path)
    return path


def known_output(photo: FloatImage, scale: int = 2, tint: Sequence[float] = TINT) -> FloatImage:
    """The output of the known upscaler for a photo (H, W, 3)."""
    larger = photo.repeat(scale, axis=0).repeat(scale, axis=1)
    return (larger + np.array(tint, np.float32)).clip(0, 1)


def random_upscaler(path: Path, scale: int, shuffle: int = 1) -> Path:
    """Save an ESRGAN of one block; ``shuffle`` folds that many pixels squared into one before it."""
    torch.manual_seed(0)
    more = {"in_nc": 3 * shuffle**2, "shuffle_factor": shuffle} if shuffle > 1 else {}
    network = ESRGAN(num_filters=8, num_blocks=1, scale=scale * shuffle, **more)
    for parameter in network.parameters():
        parameter.data *= 2  # so that distant pixels matter
    network.model[-1].bias.data += 0.5
    torch.save(network.state_dict(), path)
    return path


def published_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an ESRGAN under the names of Real-ESRGAN, which GPEN uses too."""
    last = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}
    names = {}
    for name in state:
        block = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(\w+)", name)
        trunk = re.fullmatch(r"model\.1\.sub\.\d+\.(\w+)", name)
        if block is not None:
            names[name] = "body.{}.rdb{}.conv{}.{}".format(*block.groups())
        elif trunk is not None:
            names[name] = f"conv_body.{trunk[1]}"
        else:
            _, number, kind = name.split(".")
            names[name] = f"{last[number]}.{kind}"
    return {new: state[old] for old, new in names.items()}
