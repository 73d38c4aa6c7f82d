"""Rows about everything around the network, each beside the network on the same CPU."""

from __future__ import annotations

import statistics

from .. import machine, photos
from ..worker import in_turns
from .row import MORE_ROUNDS, MOST_ROUNDS, ROUNDS, Files, Rounds, Row, Taken, columns, workers

SIZES = (512, 1024, 2048)
MEGAPIXELS = (1, 12)
FRAMES = 1000


def around_network(files: Files, size: int, megapixels: int) -> Taken:
    """Crop, mask and paste, over a call of the network in float32."""
    halves = ["bfloat16"] if machine.has_bfloat16_tiles() else []

    def measure() -> Rounds:
        with workers(face=("geometry.around_network", files.weights(size), size, halves)) as started:
            return in_turns(started, MORE_ROUNDS)

    rounds = files.once(f"around-{size}", measure)["face"]
    key = f"{megapixels} MP"
    said = [f"{statistics.median(one[key] / one[half] for one in rounds):.2f} of its time in {half}" for half in halves]
    return Taken([one[key] / one["float32"] for one in rounds], why="; ".join(said), details=columns(rounds))


def whole_photo(files: Files) -> Taken:
    if why := photos.missing():
        return Taken(why=why)
    with workers(photo=("photos.restored", files.weights(photos.SIZE))) as started:
        taken = in_turns(started, ROUNDS)["photo"]
    return Taken([one["rest"] / one["network"] for one in taken], details={"rounds": taken})


def large_canvas(_: Files) -> Taken:
    if why := photos.missing():
        return Taken(why=why)
    with workers(paste=("photos.pasted",)) as started:
        taken = in_turns(started, MOST_ROUNDS)["paste"]
    return Taken([one["large"] / one["small"] for one in taken], details={"rounds": taken})


def whole_command(_: Files, suffix: str, *flags: str) -> Taken:
    """Milliseconds for each of many frames, with a network that returns its input."""
    if why := photos.missing():
        return Taken(why=why)
    with workers(command=("frames.command", suffix, FRAMES, *flags)) as started:
        taken = in_turns(started, 1)["command"]
    return Taken([1e3 * one["seconds_per_frame"] for one in taken], details={"rounds": taken})


ROWS = (
    *(
        Row(
            f"around-{size}-{megapixels}",
            f"crop + mask + paste in {megapixels} megapixel{'s' * (megapixels > 1)} / network {size}, float32",
            0.10,
            "×",
            lambda files, size=size, megapixels=megapixels: around_network(files, size, megapixels),  # type: ignore[misc]
        )
        for size in SIZES
        for megapixels in MEGAPIXELS
    ),
    Row(
        "photograph",
        "photo with 29 faces, 512: everything but the network / the network",
        0.10,
        "×",
        whole_photo,
    ),
    Row(
        "canvas",
        "the same faces in 24 megapixels: pasting / pasting in 0.75 megapixels",
        1.5,
        "×",
        large_canvas,
    ),
    Row(
        "frames",
        f"whole command, {FRAMES:,} JPEG frames of 1 megapixel, network that returns its input: per frame",
        60,
        "ms",
        lambda files: whole_command(files, ".jpg"),
    ),
)
