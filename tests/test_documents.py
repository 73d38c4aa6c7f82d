"""The README is short, its figures are those that are measured, and every link in it and in docs/ leads somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

import gpen
from gpen.cli.arguments import with_command, with_values
from gpen.cli.parser import make_parser
from gpen.faces.tracking.tracks import LONGEST_GAP
from tests.commands import ROOT
from tests.weights.checkpoint_files import FORMS
from tests.weights.test_checkpoint_hostile import bombs

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = 900
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def words(markdown: str) -> list[str]:
    """What a reader sees outside blocks of code: each text between spaces that has a letter or a digit.

    Addresses of links, rules and bars of tables, and signs of Markdown are not counted.
    """
    text = _FENCED.sub("", markdown)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return [word for word in text.replace("|", " ").split() if re.search(r"\w", word)]


def anchors(page: Path) -> set[str]:
    """Those that GitHub makes of the headings."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", _FENCED.sub("", page.read_text("utf-8")), re.MULTILINE):
        name = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        found.add(next(one for one in (name, *(f"{name}-{n}" for n in range(1, 99))) if one not in found))
    return found


def links(page: Path) -> list[str]:
    """The relative ones."""
    text = _CODE.sub("`code`", _FENCED.sub("", page.read_text("utf-8")))
    found = [first or second for first, second in _LINK.findall(text)]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def blocks(page: Path, language: str = "") -> list[str]:
    """The lines of the page's fenced blocks of code in a language; "": of those that name none."""
    found: list[str] = []
    inside = None
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("```"):
            inside = line.removeprefix("```") if inside is None else None
        elif inside == language:
            found.append(line)
    return found


def test_the_readme_is_short() -> None:
    counted = words(README.read_text("utf-8"))
    assert 300 < len(counted) <= WORDS


def test_words_are_what_a_reader_sees() -> None:
    markdown = "# A title\n\n| a [link](docs/a.md) | - |\n|---|---|\n\n```\nnot counted\n```\n\n2048 × 2048 - end"
    assert words(markdown) == ["A", "title", "a", "[link]", "2048", "2048", "end"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    found = links(page)
    assert found or page.name == "hosts.md"
    for link in found:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_and_every_picture_is_linked() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    of_readme = {(ROOT / link.partition("#")[0]).resolve() for link in links(README)}
    docs = ROOT / "docs"
    assert {*docs.glob("*.md")} <= of_readme
    # Icon and banner are for ComfyUI's registry.
    assert {*docs.glob("*.png"), *docs.glob("*.jpg")} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_that_install_work_in_every_shell(page: Path) -> None:
    """zsh reads [app] as a pattern unless it is quoted, and cmd.exe knows neither ' nor comments."""
    text = page.read_text("utf-8")
    for line in re.findall(r"^.*?(pip install .*?)(?:`|$)", text, re.MULTILINE):
        unquoted = re.sub(r'"[^"]*"', "", line)
        assert not re.search(r"[\[\]'#]", unquoted), line
    if page == README:
        assert not [line for line in blocks(page) if "#" in line or "'" in line]
        assert all(shlex.split(line) for line in blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_understood(page: Path) -> None:
    parser = make_parser()
    for line in blocks(page):
        command = re.match(r"(?:[A-Z_]+=\S+ )?(?:python -m )?gpen ([\w.]+ .*|\w+|\S+\.jpg)$", line)
        if command is None:
            continue
        arguments = shlex.split(command[1], comments=True)
        parser.parse_args(with_values(with_command(arguments, parser.commands)))


def test_names_that_programs_use_are_public() -> None:
    program = "\n".join(blocks(ROOT / "docs" / "python.md", "python"))
    used = {
        node.attr
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gpen"
    }
    assert len(used) > 8
    assert used <= set(gpen.__all__)


def test_figures_of_the_readme_are_those_of_make_bench() -> None:
    text = " ".join(README.read_text("utf-8").split())
    rows = json.loads((ROOT / "docs" / "performance.json").read_text("utf-8"))["rows"]
    onnx, memory = rows["onnx-512"], rows["memory-2048"]
    assert f"{onnx['figure']:.2f} of ONNX Runtime's time" in text
    used = [max(onnx["details"][who]["peak_bytes"]) for who in ("ours", "onnx")]
    assert round(used[1] / used[0]) == 5, "a fifth of its memory"
    assert f"{memory['figure']:.2f} GB above its weights" in text
    assert f"{rows['gpu-512']['figure']:.2f} ms a face on an H200" in text


def test_figures_of_the_readme_are_those_of_tests() -> None:
    text = " ".join(README.read_text("utf-8").split())
    assert f"{len(bombs(Path())) * len(FORMS)} model files that run code" in text
    assert f"gaps of {LONGEST_GAP} frames" in text
