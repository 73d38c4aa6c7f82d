"""The tests marked ``cuda``, run by pytest in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..worker import ROOT
from .part import Figure, Setting

MARK = "pytest.mark.cuda"
MOST_TEXT = 2000
"""Characters of pytest's summary that are kept."""


def measure(setting: Setting) -> Iterator[Figure]:
    """How many passed and failed; raises if one failed or, on a GPU, none ran."""
    if importlib.util.find_spec("pytest") is None:
        yield Figure("tests/passed", None, "", "pytest is not installed")
        return
    files = marked_files()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", f"--junitxml={report}"]
        run = subprocess.run([*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            raise RuntimeError(f"pytest ended with the exit code {run.returncode}:\n{run.stdout[-MOST_TEXT:]}")
        counts = _counts(report)
    for name, number in counts.items():
        yield Figure(f"tests/{name}", number, "", bound=0 if name == "failed" else None)
    if counts["failed"]:
        raise AssertionError(run.stdout[-MOST_TEXT:])
    if setting.device == "cuda" and not counts["passed"]:
        raise AssertionError("None of the tests marked cuda ran.")


def marked_files() -> list[Path]:
    """The test files with such tests: collecting all others would take long, and need more packages."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path.relative_to(ROOT) for path in files if MARK in path.read_text(encoding="utf-8")]


def _counts(report: Path) -> dict[str, int]:
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return {"passed": total - skipped - failed, "failed": failed, "skipped": skipped}
