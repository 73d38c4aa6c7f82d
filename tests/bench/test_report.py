"""Verdicts, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.performance import RESULTS, TABLES
from bench.rows import ROWS, Row, Taken

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


def test_tables_replace_what_is_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    entry = report.result(row(), Taken([1.0])) | {"commit": "abc"}
    report.write_tables(path, {"machine": MACHINE, "rows": {"name": entry}})
    text = path.read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert "| what | ≤ 1.15 | 1.00 |  | met | abc |" in text


def test_the_page_holds_the_results_that_are_beside_it() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert list(results["rows"]) == [one.name for one in ROWS]
    assert report.tables(results) in TABLES.read_text(encoding="utf-8")
