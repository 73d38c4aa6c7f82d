"""Measures the rows of docs/performance.md: `python -m bench.performance [ROW …]`, or `make bench ROWS="…"`.

Without names, all rows. Prints target, figure and verdict of each, and writes docs/performance.json, the tables in
docs/performance.md and docs/performance.png; other rows stay as they were. Do not compare figures of different runs or
machines: each ratio is taken within one run, in turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from . import chart, report
from .machine import machine, now, revision
from .rows import ROWS, Files
from .worker import ROOT

RESULTS = ROOT / "docs" / "performance.json"
PAGE = RESULTS.with_suffix(".md")
CHART = RESULTS.with_suffix(".png")


def main(arguments: list[str]) -> int:
    """Measure; 1 if a row failed with an exception, else 0, whatever the verdicts."""
    parser = argparse.ArgumentParser(prog="python -m bench.performance", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    names = parser.parse_args(arguments).rows
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        parser.error(
            f"There is no row {', '.join(sorted(unknown))}. Choose from {', '.join(row.name for row in ROWS)}."
        )
    results = report.load(RESULTS, machine())
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        for row in ROWS:
            if names and row.name not in names:
                continue
            start = time.monotonic()
            try:
                taken = row.take(files)
            except Exception:
                traceback.print_exc()
                print(f"{row.name:21} failed", flush=True)
                failed = True
                continue
            entry = report.result(row, taken) | {"measured": now(), "commit": taken.commit or revision()}
            results["rows"][row.name] = entry
            print(f"{report.line(row.name, entry)}  [{time.monotonic() - start:.0f} s]", flush=True)
            report.save(RESULTS, results)
    results["rows"] = {row.name: results["rows"][row.name] for row in ROWS if row.name in results["rows"]}
    report.save(RESULTS, results)
    report.write_blocks(PAGE, results)
    chart.draw(results, CHART)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
