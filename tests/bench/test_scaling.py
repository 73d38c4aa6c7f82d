"""The tables of docs/scaling.md are those of docs/scaling.json."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scaling import PARTS, ROOT, TABLES, with_tables

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_tables_in_the_text_are_the_figures():
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    figures = json.loads((DOCS / "scaling.json").read_text(encoding="utf-8"))
    assert set(figures) == set(PARTS) == set(TABLES)
    assert with_tables(text, figures) == text


def test_a_text_without_a_place_for_a_table_is_refused():
    figures = json.loads((DOCS / "scaling.json").read_text(encoding="utf-8"))
    with pytest.raises(SystemExit, match="has no place for the table size"):
        with_tables("", {"size": figures["size"]})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc for the memory that was freed")
def test_a_network_that_is_measured_leaves_no_freed_memory_behind() -> None:
    """What a network takes from freed memory would be missing in the peak above its weights."""
    code = """
import ctypes
from pathlib import Path
from bench import scaling_parts

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

model = scaling_parts._published(256)
before = resident()
ctypes.CDLL(None).malloc_trim(0)
print((before - resident()) / 1e6)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 15
