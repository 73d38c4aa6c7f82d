"""What the figures were taken on: they hold for nothing else."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from .gpu import name as gpu_name
from .measure import threads
from .worker import ROOT

TILES = "amx_bf16"
"""Name of the processor's ability, as Linux tells it, with which option "precision" chooses bfloat16 by itself."""
BFLOAT16 = ("avx512_bf16", TILES)
"""Names of its abilities to compute in bfloat16."""


def machine() -> dict[str, str | int]:
    """Processor, memory, device and versions."""
    packages = ("torch", "onnxruntime", "numpy", "opencv-python")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "processor": _processor(),
        "abilities": ", ".join(name for name in ("avx2", "avx512f", *BFLOAT16) if name in _abilities()),
        "cpus": threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": gpu_name() or "none",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    } | versions


def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return bool(_abilities().intersection(BFLOAT16))


def has_bfloat16_tiles() -> bool:
    """Whether it multiplies matrices of bfloat16 as a whole."""
    return TILES in _abilities()


def revision() -> str:
    """The commit that is measured, with a plus where ``gpen/`` has changes beside it."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    return commit + ("+" if _git("status", "--porcelain", "gpen") else "")


def now() -> str:
    """The date and time, UTC, to the minute."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


def _abilities() -> set[str]:
    return set(_cpuinfo("flags").split())


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()
