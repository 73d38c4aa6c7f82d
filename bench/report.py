"""Results: verdicts, the JSON file, and the tables in docs/performance.md."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from .gpu_check.results import TARGETS
from .rows import Row, Taken

MET, NOT_MET, NOT_MEASURED, INFORMATION = "met", "not met", "not measured", "for information"
FORMULATIONS = {
    "ours": "this project, float32",
    "auto": "this project, bfloat16",
    "onnx": "textbook, ONNX Runtime",
    "textbook": "textbook, PyTorch",
    "bare": "bare convolutions",
}
"""In :func:`bench.rows.network.each_size`."""
GPU_ROWS = frozenset(target.name for target in TARGETS)


def result(row: Row, taken: Taken) -> dict[str, Any]:
    """The entry of a row in the JSON file."""
    figures = taken.figures
    entry: dict[str, Any] = {"title": row.title, "target": row.target, "unit": row.unit}
    entry |= {"figure": None, "low": None, "high": None}
    if figures:
        entry |= {"figure": statistics.median(figures), "low": min(figures), "high": max(figures)}
    return entry | {
        "verdict": _verdict(row, taken),
        "why": taken.failed or taken.why,
        "details": taken.details,
    }


def _verdict(row: Row, taken: Taken) -> str:
    if not taken.figures:
        return INFORMATION if taken.details else NOT_MEASURED
    assert row.target is not None
    return MET if statistics.median(taken.figures) <= row.target and not taken.failed else NOT_MET


def line(name: str, entry: dict[str, Any]) -> str:
    """One line for a terminal."""
    rounds = f" ({range_of(entry)})" if range_of(entry) else ""
    figure = f"{figure_of(entry)}{rounds}"
    why = f": {entry['why']}" if entry["why"] else ""
    return f"{name:21} {target_of(entry):>9}  {figure:26} {entry['verdict']}{why}"


def number(value: float, unit: str) -> str:
    """Three significant digits, counts in full, and the unit if there is one."""
    if not unit:
        return f"{value:.0f}"
    digits = f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    if value < 0.1:
        digits = f"{value:.3f}"
    return digits if unit == "×" else f"{digits} {unit}"


def figure_of(entry: dict[str, Any]) -> str:
    """The figure; empty if there is none."""
    return "" if entry["figure"] is None else number(entry["figure"], entry["unit"])


def range_of(entry: dict[str, Any]) -> str:
    """Smallest and largest of the rounds; empty for a single one."""
    if entry["figure"] is None or entry["low"] == entry["high"]:
        return ""
    unit = entry["unit"] and "×"
    return f"{number(entry['low'], unit)}–{number(entry['high'], unit)}"


def target_of(entry: dict[str, Any]) -> str:
    """The target; empty if there is none."""
    return "" if entry["target"] is None else f"≤ {entry['target']:g}" + _suffix(entry["unit"])


def _suffix(unit: str) -> str:
    return "" if unit in ("×", "") else f" {unit}"


def load(path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """Earlier results, unless they were taken on another machine: those cannot be compared."""
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["machine"] == machine:
            return kept
    return {"machine": machine, "rows": {}}


def save(path: Path, results: dict[str, Any]) -> None:
    """Write the results as JSON."""
    path.write_text(json.dumps(_rounded(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def blocks(results: dict[str, Any]) -> dict[str, str]:
    """The Markdown of each block of the page, by its name."""
    rows = results["rows"]
    described = ", ".join(f"{key} {value}" for key, value in results["machine"].items() if value not in ("", "none"))
    return {
        "sizes": f"{_sizes(rows.get('sizes', {}).get('details', {}))}\n\nMachine: {described}.",
        "targets": _targets(rows),
        "counts": _counts(rows.get("counts", {}).get("details", {})),
        "gpu": _gpu(rows),
    }


def _targets(rows: dict[str, Any]) -> str:
    lines = ["| | target | figure | rounds | verdict | commit |", "|---|---|---|---|---|---|"]
    for name, entry in rows.items():
        if entry["target"] is not None and name not in GPU_ROWS:
            verdict = entry["verdict"] + (f": {entry['why']}" if entry["why"] else "")
            cells = (entry["title"], target_of(entry), figure_of(entry), range_of(entry), verdict, entry["commit"])
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _counts(details: dict[str, Any]) -> str:
    lines = ["| batch 1 | kernels | GB | GFLOP | roofline | launches from Python |", "|---|---|---|---|---|---|"]
    for size, dtypes in details.items():
        for dtype, one in dtypes.items():
            cells = (
                f"{size}, {dtype}",
                f"{one['kernels']}",
                f"{one['gb']:.2f}",
                f"{one['gflop']:.0f}",
                f"{one['roofline_ms']:.2f} ms",
                f"{one['launches_ms']:.2f} ms",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _gpu(rows: dict[str, Any]) -> str:
    lines = ["| one face, H100 or H200, float16 | target | measured |", "|---|---|---|"]
    for target in TARGETS:
        entry = rows.get(target.name)
        if entry is not None:
            measured = f"{figure_of(entry)}, {entry['verdict']} ({entry['why']})" if figure_of(entry) else "unmeasured"
            lines.append(f"| {target.title} | {target_of(entry)} | {measured} |")
    return "\n".join(lines)


def _sizes(details: dict[str, Any]) -> str:
    shown = [name for name in FORMULATIONS if any(name in taken for taken in details.values())]
    lines = ["| seconds; GB above the weights | " + " | ".join(FORMULATIONS[name] for name in shown) + " |"]
    lines.append("|---" * (len(shown) + 1) + "|")
    for size, taken in details.items():
        cells = [_seconds_and_memory(taken.get(name)) for name in shown]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds_and_memory(taken: dict[str, Any] | None) -> str:
    if taken is None:
        return ""
    seconds = number(statistics.median(taken["seconds"]), "s")
    return f"{seconds}; {max(taken['peak_bytes']) / 1e9:.2f} GB" if "peak_bytes" in taken else seconds


def write_blocks(path: Path, results: dict[str, Any]) -> None:
    """Put each block between its two marks of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    for name, block in blocks(results).items():
        begin, end = marks(name)
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{block}\n{end}{rest.split(end, 1)[1]}"
    path.write_text(text, encoding="utf-8")


def marks(name: str) -> tuple[str, str]:
    """The comments around a block."""
    return f"<!-- {name}, written by make bench -->", "<!-- end -->"
