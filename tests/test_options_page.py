"""docs/options.md shows what the code does: its table is that of the reports, its pictures are there."""

from __future__ import annotations

import re

import pytest

from gpen.cli import main
from gpen.options import OPTIONS
from tests.commands import ROOT

PAGE = ROOT / "docs" / "options.md"
ABOUT = ("mask", "occlusion", "color_match", "grain", "skip_sharp", "min_face_size", "max_face_size")
"""The options that the page is about; the others in it are flags alone."""


def test_each_option_has_its_row_its_section_and_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text("utf-8")
    rows = dict(re.findall(r"^\| \[`(.*?)`\]\(#.*?\) \| (.*?) \|", text, re.MULTILINE))
    for name in ABOUT:
        assert f"**{OPTIONS[name].label}**" in rows["--" + name.replace("_", "-")]
    headings = " ".join(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert all(row in headings for row in rows)
    flag = re.compile(r"(?<![\w#-])--[a-z-]+[a-z]")
    for command in ("restore", "detect"):
        with pytest.raises(SystemExit):
            main([command, "--help-all"])
    assert set(flag.findall(text)) <= set(flag.findall(capsys.readouterr().out))


def test_it_shows_every_picture_that_is_made_for_it() -> None:
    text = PAGE.read_text("utf-8")
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert {ROOT / "docs" / name for name in pictures} == set((ROOT / "docs").glob("options-*"))
    for name in pictures:
        assert (ROOT / "docs" / name).stat().st_size < 300_000


def test_the_table_of_faces_is_what_the_command_reports() -> None:
    pytest.importorskip("skimage.data")
    from demo.options_faces import chosen

    _, table = chosen()
    written = re.search(r"<!-- table: faces -->\n(.*?)\n<!-- end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert written is not None
    assert written[1] == table
