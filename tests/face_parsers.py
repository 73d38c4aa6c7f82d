"""Weights of a face parser whose answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

FILE = "parsing_parsenet.pth"
SKIN = 1


def write_parser(folder: Path) -> Path:
    """Write random weights of ParseNet to a folder, with which all of every crop is skin; skips without facexlib."""
    parsenet = pytest.importorskip("facexlib.parsing.parsenet", reason="facexlib does not import here")
    torch.manual_seed(0)
    network = parsenet.ParseNet(in_size=512, out_size=512, parsing_ch=19)
    head = network.out_mask_conv.conv2d
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[SKIN] = 1
    torch.save(network.state_dict(), folder / FILE)
    return folder / FILE
