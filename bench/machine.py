"""The machine that the figures were taken on; they hold for no other."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from .gpu_check.device import gpu_name
from .measure import threads
from .worker import ROOT

TILES = "amx_bf16"
"""The CPU flag, as Linux names it, with which precision "auto" means bfloat16."""
BFLOAT16 = ("avx512_bf16", TILES)
"""CPU flags for arithmetic in bfloat16."""


def machine() -> dict[str, Any]:
    """Processor, memory, device and versions."""
    return {
        "processor": _processor(),
        "abilities": ", ".join(name for name in ("avx2", "avx512f", *BFLOAT16) if name in _abilities()),
        "cpus": threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": gpu_name() or "none",
        "system": f"{platform.system()} {platform.machine()}",
    } | versions("torch", "onnxruntime", "numpy", "opencv-python")


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of these packages; "none" where one is not installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def has_bfloat16() -> bool:
    """Whether this processor has any instructions for bfloat16."""
    return bool(_abilities().intersection(BFLOAT16))


def has_bfloat16_tiles() -> bool:
    """Whether it has AMX instructions for matrices in bfloat16."""
    return TILES in _abilities()


def revision() -> str:
    """The measured commit, with a plus if ``gpen/`` has uncommitted changes; "unknown" in a copy without Git."""
    if not (ROOT / ".git").exists():
        return "unknown"
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
