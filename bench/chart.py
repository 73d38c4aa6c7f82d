"""docs/performance.png: time and memory for one face at each size, beside other ways to run the network."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .report import FORMULATIONS

COLORS = {"ours": "#1f6fb2", "auto": "#63a8de", "onnx": "#e0913a", "textbook": "#8d5a99", "bare": "#9aa5b1"}


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the results; sizes that were not measured are left out."""
    sizes = results["rows"].get("sizes", {}).get("details", {})
    if not sizes:
        return
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), dpi=150, layout="constrained")
    _seconds(left, sizes)
    _memory(right, sizes)
    machine = results["machine"]
    figure.supxlabel(
        f"{machine['processor']}, {machine['cpus']} CPUs; PyTorch {machine['torch']}, "
        f"ONNX Runtime {machine['onnxruntime']}; random weights",
        fontsize=8.5,
        color="#555555",
    )
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _seconds(axes: Axes, sizes: dict[str, Any]) -> None:
    medians = {
        name: {size: statistics.median(taken[name]["seconds"]) for size, taken in sizes.items() if name in taken}
        for name in FORMULATIONS
    }
    medians = {name: values for name, values in medians.items() if values}
    _bars(axes, list(sizes), medians, lambda value: f"{value:.2g}" if value < 10 else f"{value:.0f}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.8)
    axes.set_title("Seconds for one face", loc="left", fontweight="bold")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _memory(axes: Axes, sizes: dict[str, Any]) -> None:
    peaks = {
        name: {
            size: max(taken[name]["peak_bytes"]) / 1e9
            for size, taken in sizes.items()
            if "peak_bytes" in taken.get(name, ())
        }
        for name in FORMULATIONS
    }
    _bars(axes, list(sizes), {name: values for name, values in peaks.items() if values}, lambda value: f"{value:.2g}")
    axes.set_title("Peak memory above the weights, GB", loc="left", fontweight="bold")


def _bars(axes: Axes, sizes: list[str], values: dict[str, dict[str, float]], label: Any) -> None:
    """A group of bars for each size; missing ones leave no gap."""
    width = 0.8 / len(values)
    for x, size in enumerate(sizes):
        present = [name for name in values if size in values[name]]
        for name, offset in zip(present, (np.arange(len(present)) - (len(present) - 1) / 2) * width, strict=True):
            value = values[name][size]
            axes.bar(x + offset, value, width * 0.92, color=COLORS[name])
            axes.annotate(
                label(value), (x + offset, value), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
    for name in values:
        axes.bar(0, 0, color=COLORS[name], label=FORMULATIONS[name])
    axes.set_xticks(range(len(sizes)), sizes)
