"""How cost grows: `python -m bench.scaling [PART ...]` writes docs/scaling.json and the tables of docs/scaling.md.

Parts: size, faces, canvas, photographs, overlap, ray (needs Ray); all by default, and the others keep their figures.
Figures of different parts are taken at different times: compare only within one table.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "scaling.json"
TEXT = ROOT / "docs" / "scaling.md"
PARTS = ("size", "faces", "canvas", "photographs", "overlap", "ray")


def main(names: list[str]) -> None:
    """Measure these parts, or all."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"There is no part {unknown[0]!r}. Choose from {', '.join(PARTS)}.")
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    for name in names or PARTS:
        if name == "ray" and importlib.util.find_spec("ray") is None:
            print("ray is not measured: it is not installed.", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr)
        figures[name] = {"on": machine(), "figures": measured(name)}
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    TEXT.write_text(with_tables(TEXT.read_text(encoding="utf-8"), figures), encoding="utf-8")


def measured(name: str) -> Any:
    """The figures of a part, taken in a new process; each size in one of its own, to separate their memory."""
    if name == "size":
        from .scaling_parts import SIZES

        return [_in_process(f"size({size})") for size in SIZES]
    return _in_process(f"{name}()")


def _in_process(call: str) -> Any:
    code = f"import json; from bench import scaling_parts as s; print('\\n' + json.dumps(s.{call}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """The machine and commit, with a plus if ``gpen/`` has uncommitted changes; the figures hold for no other."""
    import torch

    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE) if info.exists() else []
    commit = _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "gpen") else "")
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit,
        "processor": models[0] if models else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def with_tables(text: str, figures: dict[str, Any]) -> str:
    """The text with each table, between its two comments, written again."""
    for name, part in figures.items():
        rows = TABLES[name](part["figures"])
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        on = part["on"]
        lines += ["", f"*{on['when']}, commit {on['commit']}, {on['processor']}, {on['threads']} threads.*"]
        table = "\n".join(lines)
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, found = re.subn(
            pattern, lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text, flags=re.DOTALL
        )
        if not found:
            raise SystemExit(f"{TEXT} has no comments around the table {name}.")
    return text


def _size(figures: list[dict[str, Any]]) -> list[list[str]]:
    head = ["network", "time / 512", "time per pixel / 512", "one thread / all", "seconds", "memory above the weights"]
    rows = [head]
    unit = next(row["seconds"] for row in figures if row["size"] == 512)
    for row in figures:
        ratio = row["seconds"] / unit
        per_pixel = ratio / (row["size"] / 512) ** 2
        alone = f"{row['one_thread'] / row['seconds']:.2f}" if row["one_thread"] else ""
        figures_of = [f"{ratio:.2f}", f"{per_pixel:.2f}", alone, f"{row['seconds']:.2f}"]
        rows.append([str(row["size"]), *figures_of, _mb(row["megabytes"])])
    return rows


def _faces(figures: list[dict[str, Any]]) -> list[list[str]]:
    rows = [["faces", "time / one face", "time / network alone", "seconds"]]
    for row in figures:
        ratio = row["seconds"] / figures[0]["seconds"]
        alone = row["seconds"] / row["network"]
        rows.append([str(row["faces"]), f"{ratio:.2f}", f"{alone:.2f}", f"{row['seconds']:.2f}"])
    return rows


def _canvas(figures: list[dict[str, Any]]) -> list[list[str]]:
    steps = [step for step in ("read", "detect", "restore", "write") if step in figures[0]]
    rows = [["megapixels", "without detection, time / 12 MP", *(f"{step}, s" for step in steps)]]

    def total(row: dict[str, Any]) -> float:
        return float(sum(row[step] for step in steps if step != "detect"))

    unit = next(total(row) for row in figures if row["megapixels"] == 12)
    for row in figures:
        rows.append([f"{row['megapixels']:g}", f"{total(row) / unit:.2f}", *(f"{row[step]:.2f}" for step in steps)])
    return rows


def _photographs(figures: dict[str, Any]) -> list[list[str]]:
    rows = [["photos done", "memory / after 100", "resident memory", "seconds per photo since the row above"]]
    unit = next(mark["megabytes"] for mark in figures["marks"] if mark["done"] == 100)
    done, seconds = 1, 0.0
    for mark in figures["marks"]:
        each = (mark["seconds"] - seconds) / (mark["done"] - done)
        rows.append([str(mark["done"]), f"{mark['megabytes'] / unit:.3f}", _mb(mark["megabytes"]), f"{each:.3f}"])
        done, seconds = mark["done"], mark["seconds"]
    return rows


def _overlap(figures: list[dict[str, Any]]) -> list[list[str]]:
    rows = [["network", "photos", "pipelined / sequential", "seconds pipelined", "sequential"]]
    for row in figures:
        what = f"{row['photographs']} of {row['megapixels']:.1f} megapixels"
        rows.append([row["what"], what, f"{row['ratio']:.2f}", f"{row['after']:.1f}", f"{row['before']:.1f}"])
    return rows


def _ray(figures: dict[str, Any]) -> list[list[str]]:
    rows = [["workers with one CPU each", "rate / one worker", "photos per second"]]
    rates = figures["rates"]
    for workers, rate in rates.items():
        rows.append([str(workers), f"{rate / rates['1']:.2f}", f"{rate:.2f}"])
    return rows


def _mb(megabytes: float) -> str:
    return f"{megabytes:.0f} MB"


TABLES: dict[str, Callable[[Any], list[list[str]]]] = {
    "size": _size,
    "faces": _faces,
    "canvas": _canvas,
    "photographs": _photographs,
    "overlap": _overlap,
    "ray": _ray,
}


if __name__ == "__main__":
    main(sys.argv[1:])
