"""Rows about a GPU: the figures of :mod:`bench.gpu_check`, which runs where there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ..gpu_check.device import gpu_name
from ..gpu_check.results import RESULTS, TARGETS, Target, other_gpu, value_of
from ..worker import ROOT
from .row import Files, Row, Taken

UNMEASURED = "no GPU here, and no docs/gpu.json of one"


def gpu_figure(files: Files, target: Target) -> Taken:
    """From docs/gpu.json, which is written anew where there is a GPU."""
    results = files.once("gpu", _results)
    if results is None:
        return Taken(why=UNMEASURED)
    about, figures = results["about"], results["figures"]
    value = value_of(target, figures)
    if value is None:
        missing = [name for name in target.needs if figures.get(name, {}).get("value") is None]
        notes = [figures.get(name, {}).get("note") or f"the check has no {name}" for name in missing]
        return Taken(why="; ".join(notes), commit=about["commit"])
    details = {name: figures[name] for name in target.needs}
    if why := other_gpu(about["gpu"]):
        return Taken(why=why, details=details, commit=about["commit"])
    return Taken([value], why=about["gpu"], details=details, commit=about["commit"])


def _results() -> dict[str, Any] | None:
    if gpu_name():
        # Its own exit status is about its parts; figures that are missing say why in their rows.
        subprocess.run([sys.executable, "-m", "bench.gpu_check"], cwd=ROOT, check=False)
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


ROWS = tuple(
    Row(
        target.name,
        f"GPU, float16: {target.title}",
        target.most,
        target.unit,
        lambda files, target=target: gpu_figure(files, target),  # type: ignore[misc]
    )
    for target in TARGETS
)
