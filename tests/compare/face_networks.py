"""Face models in spandrel's architectures, saved with random weights, or made to return one colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from spandrel.architectures.GFPGAN import GFPGAN
from spandrel.architectures.RestoreFormer import RestoreFormer

Color = Sequence[float]
"""RGB, [0, 1]; the networks' own range is [-1, 1]."""


def restoreformer(path: Path, color: Color | None = None) -> Path:
    """Save a RestoreFormer with few channels; spandrel infers everything but the picture's size from the tensors."""
    torch.manual_seed(0)
    network = RestoreFormer(
        n_embed=16, embed_dim=32, ch=32, ch_mult=(1, 1, 1, 1, 1, 1), num_res_blocks=1, z_channels=32
    )
    if color is not None:
        _always(network.decoder.conv_out, color)
    torch.save({"params": network.state_dict()}, path)
    return path


def gfpgan(path: Path, color: Color | None = None) -> Path:
    """Save a GFPGAN of full size, the only one that spandrel reads, in float16."""
    torch.manual_seed(0)
    network = GFPGAN()
    if color is not None:
        decoder = network.stylegan_decoder
        for layer in (decoder.to_rgb1, *decoder.to_rgbs):
            torch.nn.init.zeros_(layer.modulated_conv.weight)
            torch.nn.init.zeros_(layer.bias)
        layer.bias.data = (2 * torch.tensor(color) - 1).view(1, 3, 1, 1)
    torch.save({"params_ema": network.half().state_dict()}, path)
    return path


def codeformer(path: Path, color: Color | None = None) -> Path:
    """Save a CodeFormer with one transformer layer, in float16; nothing else can be made smaller."""
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    torch.manual_seed(0)
    network = CodeFormer(dim_embd=64, n_layers=1, codebook_size=16)
    if color is not None:
        _always(network.generator.blocks[-1], color)
    torch.save({"params_ema": network.half().state_dict()}, path)
    return path


def _always(last: torch.nn.Conv2d, color: Color) -> None:
    torch.nn.init.zeros_(last.weight)
    last.bias.data = 2 * torch.tensor(color) - 1
