"""The tables of docs/scaling.md are those of docs/scaling.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.scaling import PARTS, TABLES, with_tables

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
