"""Targets and verdicts of the check, its JSON file and its table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..worker import ROOT
from .part import Outcome, Part

RESULTS = ROOT / "docs" / "gpu.json"
"""What was measured on a GPU last."""
MET, NOT_MET, UNMEASURED = "met", "not met", "unmeasured"
FOR_GPUS = ("H100", "H200")
"""What the targets are for."""


@dataclass(frozen=True)
class Target:
    """A figure of the issue's table: one face on an H100 or H200 in float16."""

    name: str
    """Of its row in docs/performance.md."""
    title: str
    most: float
    unit: str
    needs: tuple[str, ...]
    """Names of the figures that it is made of."""
    combine: Callable[[list[float]], float] = max


def _ratio(values: list[float]) -> float:
    return values[0] / values[1]


def _network(size: int) -> str:
    return f"{size}/float16/repeated"


def _queued(size: int) -> str:
    return f"{size}/float16/queued"


def _around(size: int, megapixels: int) -> str:
    return f"around/{size}/{megapixels} MP/crop, mask, paste"


TARGETS = (
    Target("gpu-512", "512, network", 2.5, "ms", (_network(512),)),
    Target("gpu-2048", "2048, network", 6, "ms", (_network(2048),)),
    Target(
        "gpu-bare-512",
        "512, network / bare convolutions",
        1.5,
        "×",
        (_queued(512), "512/float16/bare convolutions"),
        _ratio,
    ),
    Target(
        "gpu-bare-2048",
        "2048, network / bare convolutions",
        1.5,
        "×",
        (_queued(2048), "2048/float16/bare convolutions"),
        _ratio,
    ),
    Target(
        "gpu-onnx-512",
        "512, network / ONNX Runtime CUDA on the textbook formulation",
        0.5,
        "×",
        (_network(512), "512/float16/ONNX Runtime"),
        _ratio,
    ),
    Target(
        "gpu-around-512",
        "512, crop + mask + paste, the slower of 1 and 12 megapixels",
        2,
        "ms",
        (_around(512, 1), _around(512, 12)),
    ),
    Target(
        "gpu-around-2048",
        "2048, crop + mask + paste, the slower of 1 and 12 megapixels",
        5,
        "ms",
        (_around(2048, 1), _around(2048, 12)),
    ),
    Target(
        "gpu-photo",
        "2048, decoded photo to decoded photo, 12 megapixels, detection included",
        40,
        "ms",
        ("photo/2048/12 MP/detected",),
    ),
)


def value_of(target: Target, figures: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The target's value from the figures of the JSON file; None where one is missing."""
    values = [figures.get(name, {}).get("value") for name in target.needs]
    return None if None in values else target.combine([float(value) for value in values if value is not None])


def verdict(target: Target, value: float | None) -> str:
    """Met, not met or unmeasured."""
    if value is None:
        return UNMEASURED
    return MET if value <= target.most else NOT_MET


def other_gpu(name: str) -> str:
    """Why the targets do not count for the GPU of this name; empty if they do."""
    return "" if any(known in name for known in FOR_GPUS) else f"targets are for {' and '.join(FOR_GPUS)}, not {name}"


def as_json(
    outcomes: Mapping[str, Outcome], about: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the JSON file holds: about the run, what became of each part, the figures by name, and the targets.

    before: what :func:`earlier` returned.
    """
    before = before or {"parts": {}, "figures": {}}
    outcomes = {name: one for name, one in outcomes.items() if one.status != "not run" or name not in before["parts"]}
    figures = {name: figure for name, figure in before["figures"].items() if figure.get("part") not in outcomes} | {
        figure.name: {
            key: value
            for key, value in ({"part": part} | dataclasses.asdict(figure)).items()
            if key != "name" and value not in ("", None, {})
        }
        for part, outcome in outcomes.items()
        for figure in outcome.figures
    }
    parts = before["parts"] | {
        name: {"status": outcome.status, "seconds": round(outcome.seconds, 1), "error": outcome.error}
        for name, outcome in outcomes.items()
    }
    targets = {}
    for target in TARGETS:
        value = value_of(target, figures)
        said = other_gpu(about["about"]["gpu"]) if value is not None else ""
        targets[target.name] = {"most": target.most, "value": value, "verdict": said or verdict(target, value)}
    return {**about, "parts": parts, "targets": targets, "figures": figures}


def earlier(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What the file holds of an earlier run on the same GPU, at the same commit and with the same packages."""
    if not path.exists():
        return {}
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def of(run: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in run["about"].items() if key != "measured"}

    return before if of(before) == of(about) and not about["about"]["commit"].endswith("+") else {}


def save(path: Path, results: Mapping[str, Any]) -> None:
    """Write the JSON file, so that it is complete at any moment."""
    written = path.with_name(path.name + ".part")
    written.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    written.replace(path)


def table(results: Mapping[str, Any], parts: tuple[Part, ...]) -> str:
    """The results as text: every figure, then the parts, then the targets."""
    lines = [f"{key}: {value}" for key, value in results["about"].items()]
    lines += ["", *(_line(name, figure) for name, figure in results["figures"].items()), ""]
    for part in parts:
        outcome = results["parts"].get(part.name)
        if outcome is not None:
            said = f"\n{outcome['error']}" if outcome["error"] else ""
            lines.append(f"{part.title}: {outcome['status']} in {outcome['seconds']:.0f} s{said}")
    lines += ["", f"{'target':72} {'most':>9} {'value':>9}"]
    for target in TARGETS:
        entry = results["targets"][target.name]
        value = "" if entry["value"] is None else f"{entry['value']:.3g} {target.unit}"
        lines.append(f"{target.title:72} {f'{target.most:g} {target.unit}':>9} {value:>9}  {entry['verdict']}")
    return "\n".join(lines)


def _line(name: str, figure: Mapping[str, Any]) -> str:
    value = figure.get("value")
    said = "-" if value is None else f"{value:.4g} {figure.get('unit', '')}"
    bound = f"  (at most {figure['bound']:g})" if "bound" in figure else ""
    note = f"  {figure['note']}" if "note" in figure else ""
    return f"{name:56} {said:>18}{bound}{note}"
