"""Help pages, example workflows and docs/comfyui.md agree with nodes.py and the options; without the host."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from gpen import tasks
from gpen.options import ALIGNED, OPTIONS, Option
from tests.hosts.loading import ROOT, from_checkout

widgets = from_checkout("gpen_hosts.comfyui.widgets")
PAGES = ROOT / "web" / "docs"
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))


@dataclass
class Node:
    """What a node's schema says."""

    title: str
    """The display name."""
    options: list[str] = field(default_factory=list)
    """Names of the options, in the order of the widgets."""
    inputs: list[tuple[str, str]] = field(default_factory=list)
    """The other inputs: the name as a help page shows it, and the tooltip."""
    outputs: list[tuple[str, str]] = field(default_factory=list)
    """The same of each output."""


def _text(node: ast.expr) -> str:
    value = getattr(ALIGNED, node.attr) if isinstance(node, ast.Attribute) else ast.literal_eval(node)
    assert isinstance(value, str)
    return value


def _slot(call: ast.Call) -> tuple[str, str]:
    texts = {part.arg: _text(part.value) for part in call.keywords if part.arg in ("display_name", "tooltip")}
    return _named(_text(call.args[0]), texts.get("display_name")), texts["tooltip"]


def _named(id: str, display_name: str | None) -> str:
    return f"**{display_name}** `{id}`" if display_name else f"`{id}`"


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _calls(tree: ast.AST) -> list[ast.Call]:
    """The calls in a tree, in the order of the file."""
    calls = [part for part in ast.walk(tree) if isinstance(part, ast.Call)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def _read_schema(class_: ast.ClassDef, shared: dict[str, tuple[str, str]]) -> Node:
    node = Node("")
    for call in _calls(class_):
        name = _name(call)
        if name == "schema":
            node.title = _text(call.args[1])
        elif name == "option":
            node.options.append(_text(call.args[0]))
        elif name == "map":
            node.options += getattr(widgets, ast.unparse(call.args[1]))
        elif name in ("option_inputs", "film_option_inputs"):
            names_of = getattr(widgets, name.replace("inputs", "names"))
            node.options += names_of(getattr(tasks, ast.unparse(call.args[0])))
        elif name == "model_file_input":
            id, display_name, tooltip = map(_text, call.args)
            node.inputs.append((_named(id, display_name), tooltip))
        elif name in shared:
            node.inputs.append(shared[name])
        elif name == "output":
            node.outputs.append((_named(_text(call.args[2]), None), _text(call.args[3])))
        elif name == "Input":
            node.inputs.append(_slot(call))
    return node


def _statements(file: str) -> list[ast.stmt]:
    return ast.parse((ROOT / file).read_text("utf-8")).body


def _nodes() -> dict[str, Node]:
    shared = {
        part.name: _slot(call)
        for part in _statements("gpen_hosts/comfyui/schema.py")
        if isinstance(part, ast.FunctionDef) and part.name.endswith("_input") and part.name != "model_file_input"
        for call in _calls(part)
        if _name(call) == "Input"
    }
    return {
        part.name: _read_schema(part, shared)
        for part in _statements("nodes.py") + _statements("nodes_tasks.py") + _statements("nodes_video.py")
        if isinstance(part, ast.ClassDef) and any(ast.unparse(base) == "io.ComfyNode" for base in part.bases)
    }


NODES = _nodes()


def _default(option: Option) -> str:
    if option.choices:
        return " ".join(f"**{choice}**" if choice == option.default else choice for choice in option.choices)
    if option.kind is bool:
        return "on" if option.default else "off"
    if option.kind is str:
        return str(option.default) or "empty"
    return f"{option.default:g}, from {option.minimum:g} to {option.maximum:g}"


def row(name: str) -> str:
    """An option's line in a help page's table."""
    option = OPTIONS[name]
    return f"| **{option.label}** `{name}` | {_default(option)} | {option.help} |"


def _page(node: str) -> str:
    return (PAGES / f"{node}.md").read_text("utf-8")


def _rows(node: str, heading: str) -> list[str]:
    """The lines of the table under a heading of a help page, without its head; none without that heading."""
    section = _page(node).partition(f"## {heading}\n")[2].partition("## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def test_the_nodes_are_read_from_their_file() -> None:
    assert len(NODES) == 11
    assert NODES["GPENLoadModel"].options == ["precision"]
    assert NODES["GPENDetectFaces"].options == [
        *("detection_threshold", "select", "only_faces", "min_face_size", "video", "max_face_size", "skip_sharp"),
    ]
    assert NODES["GPENRestoreFaces"].options[3:6] == ["min_face_size", "template", "mask"]
    assert [name for name, _ in NODES["GPENPasteFaces"].outputs] == ["`image`", "`mask`"]
    assert "`region`" in dict(NODES["GPENRestoreFaces"].inputs)
    assert "**Aligned portrait** `aligned`" in dict(NODES["GPENInpaintFaces"].inputs)
    assert NODES["GPENInpaintFaces"].options[5:7] == ["feather", "damage_feather"]
    assert [name for name, _ in NODES["GPENCropFaces"].inputs] == ["`image`", "`faces`", "**Size** `size`"]


def test_every_node_has_a_page_and_every_page_a_node() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_a_page_says_what_the_options_say(node: str) -> None:
    assert _rows(node, "Settings") == [row(name) for name in NODES[node].options]


@pytest.mark.parametrize("node", NODES)
def test_a_page_says_what_the_other_inputs_and_the_outputs_are(node: str) -> None:
    for heading, slots in (("Inputs", NODES[node].inputs), ("Outputs", NODES[node].outputs)):
        rows = [line.split(" | ") for line in _rows(node, heading)]
        assert [(first, last) for first, _, last in rows] == [(f"| {name}", f"{tip} |") for name, tip in slots]


@pytest.mark.parametrize("node", NODES)
def test_a_page_shows_a_small_picture_of_the_node(node: str) -> None:
    assert re.findall(r"!\[(.*?)\]\((.*?)\)", _page(node))[0] == (NODES[node].title, f"{node}.png")
    picture = PAGES / f"{node}.png"
    assert picture.stat().st_size < 150_000
    with Image.open(picture) as image:
        assert min(image.size) > 100


def test_there_are_ten_example_workflows() -> None:
    assert len(WORKFLOWS) == 10


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_example_workflow_holds_values_that_its_nodes_take(path: Path) -> None:
    workflow = json.loads(path.read_text("utf-8"))
    ours = [node for node in workflow["nodes"] if node["type"].startswith("GPEN")]
    assert ours
    for node in ours:
        names = NODES[node["type"]].options
        values = node.get("widgets_values", [])
        widgets = dict(zip(names, values[len(values) - len(names) :], strict=True))
        if node["type"] == "GPENCropFaces":
            assert values[0] == 512
        for name, value in widgets.items():
            assert OPTIONS[name].check(value) == value


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_links_of_an_example_workflow_are_whole(path: Path) -> None:
    workflow = json.loads(path.read_text("utf-8"))
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert workflow["links"]
    for link, from_node, from_slot, to_node, to_slot, kind in workflow["links"]:
        output, input = nodes[from_node]["outputs"][from_slot], nodes[to_node]["inputs"][to_slot]
        assert link in output["links"]
        assert input["link"] == link
        assert output["type"] == input["type"] == kind


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_in_an_example_workflow_lies_over_anything_else(path: Path) -> None:
    title_height = 30
    workflow = json.loads(path.read_text("utf-8"))
    nodes = workflow["nodes"]
    boxes = [
        (x, y - title_height, x + wide, y + high)
        for (x, y), (wide, high) in ((node["pos"], node["size"]) for node in nodes)
    ]
    for index, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom
    groups = [group["bounding"] for group in workflow["groups"]]
    for index, (left, top, wide, high) in enumerate(groups):
        for x, y, width, height in groups[index + 1 :]:
            assert left >= x + width or x >= left + wide or top >= y + height or y >= top + high


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_example_workflow_has_a_thumbnail(path: Path) -> None:
    thumbnail = path.with_suffix(".jpg")
    assert thumbnail.stat().st_size < 100_000
    with Image.open(thumbnail) as image:
        assert image.format == "JPEG"
        assert min(image.size) >= 400


def test_the_page_about_comfyui_names_every_node_and_example() -> None:
    page = (ROOT / "docs" / "comfyui.md").read_text("utf-8")
    for node in NODES.values():
        assert node.title in page
    for path in WORKFLOWS:
        assert path.stem in page
