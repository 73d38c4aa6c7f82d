"""The tables of docs/scaling.md are those of docs/scaling.json."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bench import scaling_parts
from bench.scaling import PARTS, ROOT, TABLES, with_tables

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_tables_in_the_text_are_the_figures():
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    figures = json.loads((DOCS / "scaling.json").read_text(encoding="utf-8"))
    assert set(figures) == set(PARTS) == set(TABLES)
    assert with_tables(text, figures) == text


def test_a_text_without_the_comments_of_a_table_is_refused():
    figures = json.loads((DOCS / "scaling.json").read_text(encoding="utf-8"))
    with pytest.raises(SystemExit, match="has no comments around the table size"):
        with_tables("", {"size": figures["size"]})


def test_the_stages_of_a_photo_are_timed() -> None:
    (taken,) = scaling_parts.canvas([0.05])
    assert taken["megapixels"] == 0.05
    assert all(taken[stage] > 0 for stage in ("read", "restore", "write"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc for the memory that was freed")
def test_a_network_that_is_measured_leaves_no_freed_memory_behind() -> None:
    """What a network takes from freed memory would be missing in the peak above its weights."""
    code = """
import ctypes
from pathlib import Path
from bench import scaling_parts

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

model = scaling_parts.published(256)
before = resident()
ctypes.CDLL(None).malloc_trim(0)
print((before - resident()) / 1e6)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 15
