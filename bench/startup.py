"""Time before the first face: importing, printing the help, loading weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from .measure import seconds
from .worker import ROOT, Measure

PAGE = 1024
"""Float32 numbers in a page of 4 KiB, the smallest in use."""

PASS = ("-c", "pass")
IMPORT = ("-c", "import gpen")
HELP = ("-m", "gpen", "--help")


def start_seconds(arguments: tuple[str, ...]) -> float:
    """How long a new interpreter runs with these arguments."""
    command = [sys.executable, *arguments]
    return seconds(lambda: subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True))


def imports_torch(arguments: tuple[str, ...]) -> bool:
    """Whether a new interpreter with these arguments imports PyTorch."""
    command = [sys.executable, "-X", "importtime", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return any(line.split("|")[-1].strip() == "torch" for line in run.stderr.splitlines())


def loading(function: str, path: str) -> Measure:
    """Load a .safetensors file with ``load_model`` or ``load_file``; to be measured once."""
    import torch
    from safetensors.torch import load_file

    from gpen.weights.checkpoint import load_model

    Path(path).read_bytes()
    loaded: list[dict[str, torch.Tensor]] = []

    def load() -> None:
        loaded.append(load_file(path) if function == "load_file" else load_model(path).network.state_dict())

    def touch() -> None:
        for tensor in loaded[-1].values():
            tensor.flatten()[::PAGE].sum()

    def copy() -> None:
        loaded.append({name: tensor.clone() for name, tensor in loaded[-1].items()})

    def measure() -> dict[str, Any]:
        call = seconds(load)
        taken = {"seconds": call, "every_page_read": call + seconds(touch)}
        # load_model reads into its own memory; load_file leaves the tensors in the mapped file.
        return taken | {"own_memory": call + seconds(copy) if function == "load_file" else call}

    return measure
