"""Weight files to begin with, and generators of shapes, and of pickles whose parts share parts."""

from __future__ import annotations

import argparse
import io
import json
import math
import struct
from functools import lru_cache, partial
from random import Random
from typing import Any

import torch
from safetensors.torch import save

from tests.fuzz.mutators import NUMBERS, WORDS, fragment, zip_of
from tests.weights.checkpoint_files import STATE, random_state

_SIZES = (0, 0, 1, 1, 2, 3, 8, 512, 1 << 20, 1 << 31, 1 << 40, 1 << 62)


def saved(value: Any, *, legacy: bool = False) -> bytes:
    packed = io.BytesIO()
    torch.save(value, packed, _use_new_zipfile_serialization=not legacy)
    return packed.getvalue()


@lru_cache(maxsize=1)
def gpen_files() -> list[bytes]:
    state = random_state()
    return [
        saved(state),
        saved({"g_ema": state, "args": argparse.Namespace(size=8, lr=0.1)}),
        saved(state, legacy=True),
        save({name: tensor.contiguous() for name, tensor in state.items()}),
        saved({name: tensor.half() for name, tensor in state.items()}),
    ]


@lru_cache(maxsize=1)
def other_files() -> list[bytes]:
    """Networks that spandrel reads."""
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.ESRGAN import ESRGAN
    from spandrel.architectures.SwinIR import SwinIR

    compact = Compact(num_feat=4, num_conv=2, upscale=2).state_dict()
    swin = SwinIR(
        img_size=16, embed_dim=12, depths=(1,), num_heads=(2,), window_size=4, upsampler="pixelshuffle", upscale=2
    )
    return [
        saved({"params": compact}),
        save({name: tensor.contiguous() for name, tensor in compact.items()}),
        saved(ESRGAN(num_filters=4, num_blocks=1, scale=2).state_dict()),
        saved(swin.state_dict()),
    ]


@lru_cache(maxsize=1)
def detector_files() -> list[bytes]:
    """RetinaFace of MobileNet-0.25, as it is published, as others save it, and with numbers that are none."""
    from gpen.faces.facexlib import facexlib_module

    torch.manual_seed(0)
    network = facexlib_module("detection.retinaface").RetinaFace("mobile0.25", half=False, device="cpu")
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    first = next(iter(state))
    return [*_in_formats(state), *(saved(state | {first: state[first] * value}) for value in (math.nan, math.inf))]


@lru_cache(maxsize=1)
def parser_files() -> list[bytes]:
    """ParseNet with few channels, which from here on is all that facexlib builds."""
    from gpen.faces.facexlib import facexlib_module

    module = facexlib_module("parsing.parsenet")
    module.ParseNet = partial(module.ParseNet, ch_range=[4, 8])
    torch.manual_seed(0)
    return _in_formats(module.ParseNet(in_size=512, out_size=512, parsing_ch=19).state_dict())


def _in_formats(state: dict[str, torch.Tensor]) -> list[bytes]:
    return [saved(state, legacy=True), saved(state), save({name: value.contiguous() for name, value in state.items()})]


def of_any_shape(rng: Random, names: list[str]) -> bytes:
    """A .safetensors file of a few tensors with shapes that it has, or has not, the numbers for."""
    header: dict[str, Any] = {}
    end = 0
    for name in rng.sample(names, min(len(names), rng.randrange(1, 12))):
        shape = [rng.choice(_SIZES) for _ in range(rng.choice((0, 1, 2, 4, 4, 5)))]
        if rng.random() < 0.6:
            shape = [min(size, 4) for size in shape]
        size = 4
        for number in shape:
            size *= number
        stored = size if size <= 1 << 16 else 4
        numbered = name.replace("0", str(rng.choice((0, 1, 7, 999, 10**6)))) if rng.random() < 0.2 else name
        header[numbered] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + stored]}
        end += stored
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + bytes(end)


def of_shared_parts(rng: Random) -> bytes:
    """A pickle that keeps its parts and takes them again and again, as a zip of PyTorch."""
    text = b"X" + struct.pack("<I", 4) + b"name"
    parts = [b"\x80\x02}q\x00"]
    for number in range(1, rng.randrange(3, 60)):
        kind = rng.randrange(6)
        taken = [b"h" + bytes([rng.randrange(number)]) for _ in range(3)]
        if kind < 2:
            parts.append(taken[0] + taken[1] + b"\x86")
        elif kind == 2:
            parts.append(b"(" + b"".join(taken) + b"l")
        elif kind == 3:
            parts.append(b"}" + text + taken[0] + b"s")
        elif kind == 4:
            parts.append(fragment(rng))
        else:
            parts.append(rng.choice((taken[0] + taken[1] + b"\x93", taken[0] + taken[1] + b"R", taken[0] + b"Q")))
        parts.append(b"q" + bytes([number]) + rng.choice((b"0", b"0", b"")))
    pickled = b"".join(parts) + b"h\x00" + text + b"h" + bytes([rng.randrange(5)]) + b"s."
    return zip_of([("archive/data.pkl", pickled), ("archive/version", b"3\n"), ("archive/data/0", bytes(64))])


def names_of_gpen() -> list[str]:
    return [*STATE, *(word for word in WORDS if word.isprintable())]


def names_of_others() -> list[str]:
    body = [f"body.{number}.{what}" for number in range(5) for what in ("weight", "bias")]
    blocks = [
        f"layers.0.residual_group.blocks.0.attn.{what}" for what in ("relative_position_bias_table", "qkv.weight")
    ]
    first = ["conv_first.weight", "conv_first.bias", "conv_last.weight", "patch_embed.norm.weight", "conv_up1.weight"]
    dense = [f"body.0.rdb{a}.conv{b}.weight" for a in (1, 2, 3) for b in (1, 2, 3, 4, 5)]
    return [
        *body,
        *blocks,
        *first,
        *dense,
        "model.0.weight",
        "model.1.sub.0.RDB1.conv1.0.weight",
        *map(str, NUMBERS[:3]),
    ]
