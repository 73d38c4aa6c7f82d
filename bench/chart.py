"""docs/performance.png: targets and figures, and time and memory for one face at each size."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .report import FORMULATIONS, MET, figure_of, target_of

COLORS = {"bare": "#9aa5b1", "ours": "#1f6fb2", "onnx": "#e0913a", "textbook": "#8d5a99"}
VERDICT_COLORS = {MET: "#2f9e63", "not met": "#c8452f"}
LONGEST_BAR = 2.0
"""Longer bars are cut off; their number says so."""


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the results; rows without a target and sizes that were not measured are left out."""
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(10, 9), dpi=150, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1), hspace=0.03)
    _targets(above.add_subplot(), results["rows"])
    sizes = results["rows"].get("sizes", {}).get("details", {})
    if sizes:
        left, right = below.subplots(1, 2)
        _seconds(left, sizes)
        _memory(right, sizes)
    machine = results["machine"]
    below.supxlabel(
        f"{machine['processor']}, {machine['cpus']} CPUs; PyTorch {machine['torch']}, "
        f"ONNX Runtime {machine['onnxruntime']}; random weights",
        fontsize=8.5,
        color="#555555",
    )
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _targets(axes: Axes, rows: dict[str, Any]) -> None:
    entries = [entry for entry in rows.values() if entry["target"] is not None][::-1]
    for y, entry in enumerate(entries):
        if entry["figure"] is None:
            axes.text(0.02, y, f"not measured: {entry['why']}", va="center", color="#777777", fontsize=9)
            continue
        ratio = entry["figure"] / entry["target"]
        axes.barh(y, min(max(ratio, 0), LONGEST_BAR), height=0.62, color=VERDICT_COLORS[entry["verdict"]])
        text = f"{figure_of(entry)}  (target {target_of(entry)}), {entry['verdict']}"
        text += " →" if ratio > LONGEST_BAR else ""
        # Beside the bar if there is room, else inside it.
        inside = ratio > 1.35
        axes.text(
            min(ratio, LONGEST_BAR) - 0.02 if inside else max(ratio, 1) + 0.03,
            y,
            text,
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else "#222222",
            fontsize=9,
        )
    axes.axvline(1, color="#222222", linewidth=1)
    axes.set_yticks(range(len(entries)), [entry["title"] for entry in entries], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, LONGEST_BAR)
    axes.set_ylim(-0.6, len(entries) - 0.4)
    axes.set_xlabel("figure / target (smaller is better)")
    axes.set_title("Targets", loc="left", fontweight="bold")


def _seconds(axes: Axes, sizes: dict[str, Any]) -> None:
    medians = {
        name: {size: statistics.median(taken[name]["seconds"]) for size, taken in sizes.items() if name in taken}
        for name in FORMULATIONS
    }
    _bars(axes, list(sizes), medians, lambda value: f"{value:.2g}" if value < 10 else f"{value:.0f}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.8)
    axes.set_title("Seconds for one face, float32", loc="left", fontweight="bold")
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
