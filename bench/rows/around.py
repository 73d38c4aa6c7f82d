"""Rows about everything around the network, each beside the network on the same CPU."""

from __future__ import annotations

import statistics

from .. import machine, parsing, photos
from ..measure import threads
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


def parsed_mask(files: Files) -> Taken:
    """ParseNet and the mask made of its result, over a call of the 512 network in float32."""
    if why := parsing.missing():
        return Taken(why=why)
    with workers(parser=("parsing.parsed_mask", files.weights(512))) as started:
        taken = in_turns(started, MORE_ROUNDS)["parser"]
    return Taken([one["parsenet"] / one["network"] for one in taken], details=columns(taken))


def detection(files: Files, subject: str, faces: int) -> Taken:
    """Finding the faces of a large photo, over a call of the 512 network in float32."""
    if why := photos.missing():
        return Taken(why=why)
    with workers(detection=(f"detection.{subject}", files.weights(512))) as started:
        taken = in_turns(started, MORE_ROUNDS)["detection"]
    found = taken[0]["faces"]
    failed = "" if found == faces else f"finds {found} of {faces} faces"
    return Taken([one["detection"] / one["network"] for one in taken], failed=failed, details=columns(taken))


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
    return Taken([1e3 * one["seconds"] for one in taken], details=columns(taken))


def busy_core(files: Files, size: int) -> Taken:
    """A whole photo while another program keeps one core busy, over the same alone."""
    if why := photos.missing():
        return Taken(why=why)
    if threads() < 2:
        return Taken(why="needs two cores")
    with workers(photo=("busy.photo", files.weights(size))) as started:
        taken = in_turns(started, MORE_ROUNDS)["photo"]
    return Taken([one["beside"] / one["alone"] for one in taken], details=columns(taken))


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
        "parsed",
        "parsed mask by ParseNet / network 512, float32",
        0.5,
        "×",
        parsed_mask,
    ),
    Row(
        "detection-12",
        "detection in 12 megapixels, one face / network 512, float32",
        0.25,
        "×",
        lambda files: detection(files, "one_face", 1),
    ),
    Row(
        "detection-24",
        "detection in 24 megapixels, 29 faces / network 512, float32",
        0.6,
        "×",
        lambda files: detection(files, "group", 29),
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
    Row(
        "busy-512",
        "photo with one face, 512, float32: time with one of the cores kept busy by another program / alone",
        2.5,
        "×",
        lambda files: busy_core(files, 512),
    ),
)
