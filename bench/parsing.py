"""Subjects for :mod:`bench.worker`: the parsed mask and the identity guard, beside the network in the same process.

The trained weights of facexlib's networks cannot be assumed to be here; time does not depend on their values.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .measure import picture, seconds, threads
from .worker import Measure

SIZE = 512


def parsed_mask(weights: str) -> Measure:
    """Seconds of the network in float32, and of the parsed mask of a crop by each parser.

    weights: of the network of 512 x 512, on the CPU.
    """
    import torch
    from facexlib.parsing.bisenet import BiSeNet
    from facexlib.parsing.parsenet import ParseNet

    import gpen
    from gpen.faces.align import TEMPLATES
    from gpen.faces.masks.mask import face_mask
    from gpen.faces.masks.parsing import FaceParser

    torch.set_num_threads(threads())
    cpu = torch.device("cpu")
    model, x = gpen.load_model(weights), torch.from_numpy(picture(SIZE))
    networks = {"parsenet": ParseNet(in_size=SIZE, out_size=SIZE, parsing_ch=19), "bisenet": BiSeNet(num_class=19)}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: saved(network, Path(folder) / f"{name}.pth") for name, network in networks.items()}
        parsers = {name: FaceParser(name, file) for name, file in files.items()}
    crop = torch.from_numpy(np.random.default_rng(0).random((SIZE, SIZE, 3), np.float32))

    def mask(parser: FaceParser) -> None:
        face_mask("parsed", TEMPLATES["gpen"], 0.1, cpu, parser.parse(crop))

    def measure() -> dict[str, Any]:
        network = {"network": seconds(lambda: model(x))}
        return network | {name: seconds(lambda parser=parser: mask(parser)) for name, parser in parsers.items()}

    measure()
    return measure


def guarded(weights: str) -> Measure:
    """Seconds of the network in float32, and of the identity guard for one face, within its limit and far beyond it."""
    import torch
    from facexlib.recognition.arcface_arch import Backbone

    import gpen
    from gpen.faces.align import TEMPLATES
    from gpen.faces.recognition.identity import FaceRecognizer, IdentityGuard

    torch.set_num_threads(threads())
    model, x = gpen.load_model(weights), torch.from_numpy(picture(SIZE))
    with tempfile.TemporaryDirectory() as folder:
        recognizer = FaceRecognizer(saved(Backbone(50, 0.6, "ir_se"), Path(folder) / "arcface.pth"))
    before, after = torch.from_numpy(np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32))
    guards = {
        "within": IdentityGuard(recognizer, 2.0, blend=True),
        "beyond": IdentityGuard(recognizer, 0.0, blend=True),
    }

    def measure() -> dict[str, Any]:
        def judged(guard: IdentityGuard) -> float:
            return seconds(lambda: guard.judge(before, after, TEMPLATES["gpen"], 1.0))

        return {"network": seconds(lambda: model(x))} | {name: judged(guard) for name, guard in guards.items()}

    measure()
    return measure


def saved(network: Any, path: Path) -> Path:
    """The file of a network's weights."""
    import torch

    torch.save(network.state_dict(), path)
    return path


def missing() -> str:
    """Why this cannot be measured here; empty if it can."""
    return "" if importlib.util.find_spec("facexlib") else "needs the package facexlib"
