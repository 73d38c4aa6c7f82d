"""Seconds and memory for one face at each published size: `python bench/one_face.py [SIZE …]`.

Each size runs in a process of its own, on the CPU, in float32, with random weights: neither time nor memory depends
on what the weights are. Memory is the process's peak above what it held with the weights loaded. Timings of different
machines, or of one that is busy, say nothing about each other; compare within one run.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 3


def measure(size: int) -> None:
    """Print one line for the network of this size."""
    import torch

    from gpen.model.network import GPEN
    from gpen.model.spec import Spec

    network = GPEN(Spec(size, size, 1, 0.5) if size == 256 else Spec(size, size))
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    picture = torch.rand(1, 3, size, size, generator=generator) * 2 - 1
    before = _peak()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        network(picture)
        seconds.append(time.perf_counter() - start)
    print(
        f"{size:5}  {statistics.median(seconds):7.2f} s  ({', '.join(f'{s:.2f}' for s in seconds)})  "
        f"{_peak() - before:6.0f} MB above the weights"
    )


def _peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024**2


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]))
    else:
        for size in sys.argv[1:] or ["256", "512", "1024", "2048"]:
            subprocess.run([sys.executable, __file__, "--one", size], check=True)
