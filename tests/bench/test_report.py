"""Verdicts, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.gpu_check.results import TARGETS
from bench.performance import PAGE, RESULTS
from bench.rows import ROWS, Row, Taken

MARKS = {name: report.marks(name) for name in report.blocks({"machine": {}, "rows": {}})}
MACHINE = {"processor": "one", "torch": "2.15.0"}


def row(target: float | None = 1.15, unit: str = "×") -> Row:
    return Row("name", "what", target, unit, lambda files: Taken())


@pytest.mark.parametrize(
    ("target", "taken", "verdict"),
    [
        (1.15, Taken([1.0, 1.15, 9.0]), report.MET),
        (1.15, Taken([1.0, 1.16, 1.16]), report.NOT_MET),
        (1.15, Taken([1.0], failed="imports PyTorch"), report.NOT_MET),
        (1.15, Taken(why="no GPU"), report.NOT_MEASURED),
        (None, Taken(why="no GPU"), report.NOT_MEASURED),
        (None, Taken(details={"512": {}}), report.INFORMATION),
    ],
)
def test_verdicts(target: float | None, taken: Taken, verdict: str) -> None:
    assert report.result(row(target), taken)["verdict"] == verdict


def test_the_median_counts_and_the_range_is_kept() -> None:
    entry = report.result(row(), Taken([1.3, 1.0, 2.0]))
    assert (entry["figure"], entry["low"], entry["high"]) == (1.3, 1.0, 2.0)
    assert report.line("name", entry).split() == ["name", "≤", "1.15", "1.30", "(1.00–2.00)", "not", "met"]


def test_a_row_that_was_not_measured_says_why() -> None:
    assert report.line("name", report.result(row(), Taken(why="no GPU"))).endswith("not measured: no GPU")


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (297.4, "×", "297"),
        (12.34, "ms", "12.3 ms"),
        (1.234, "×", "1.23"),
        (0.86, "GB", "0.86 GB"),
        (0.016, "s", "0.016 s"),
        (249, "", "249"),
    ],
)
def test_figures_have_as_many_digits_as_they_deserve(value: float, unit: str, written: str) -> None:
    assert report.number(value, unit) == written


def test_results_are_kept_but_for_those_of_another_machine(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = {"machine": MACHINE, "rows": {"import": {"figure": 0.123456789, "details": [1.23456789]}}}
    report.save(path, results)
    assert json.loads(path.read_text())["rows"]["import"] == {"figure": 0.12346, "details": [1.2346]}
    assert set(report.load(path, MACHINE)["rows"]) == {"import"}
    assert report.load(path, MACHINE | {"torch": "2.16.0"})["rows"] == {}


def test_blocks_replace_what_is_between_their_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    marked = "\n".join(f"above {name}\n{begin}\nold\n{end}" for name, (begin, end) in MARKS.items())
    path.write_text(f"{marked}\nbelow\n")
    entry = report.result(row(), Taken([1.0])) | {"commit": "abc"}
    report.write_blocks(path, {"machine": MACHINE, "rows": {"name": entry}})
    text = path.read_text()
    assert text.startswith("above sizes\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert "| what | ≤ 1.15 | 1.00 |  | met | abc |" in text


def test_a_gpu_that_was_not_measured_is_named_so_and_one_that_was_has_its_figure() -> None:
    target, other = TARGETS[:2]
    measured = report.result(row(2.5, "ms"), Taken([2.0], why="a GPU"))
    missing = report.result(row(6, "ms"), Taken(why="no GPU"))
    blocks = report.blocks({"machine": MACHINE, "rows": {target.name: measured, other.name: missing}})
    assert f"| {target.title} | ≤ 2.5 ms | 2.00 ms, met (a GPU) |" in blocks["gpu"]
    assert f"| {other.title} | ≤ 6 ms | unmeasured |" in blocks["gpu"]
    assert "GPU" not in blocks["targets"]


def test_the_page_holds_the_results_that_are_beside_it() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert list(results["rows"]) == [one.name for one in ROWS]
    for name, block in report.blocks(results).items():
        begin, end = report.marks(name)
        assert f"{begin}\n{block}\n{end}" in page
