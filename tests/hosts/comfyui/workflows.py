"""Workflows as the page saves them: their problems, and their API form.

Like the page, both rely on /object_info.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.hosts.comfyui.server import Graph

Workflow = dict[str, Any]
Info = dict[str, Any]

_NOTES = {"Note", "MarkdownNote"}
_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
_DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
"""A choice with further widgets for some of its values; of these values none."""
_FILES = {
    ("LoadImage", "image"),
    ("LoadVideo", "file"),
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("UpscaleModelLoader", "model_name"),
    ("GPENLoadModel", "model_name"),
}
"""Inputs whose choices depend on the existing files."""


def to_api(workflow: Workflow, info: Info) -> Graph:
    """The workflow as the server runs it."""
    origin = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph: Graph = {}
    for node in _nodes(workflow):
        values = {name: value for name, _, value in _widgets(node, info)}
        linked = {slot["name"]: origin[slot["link"]] for slot in node["inputs"] if slot.get("link") is not None}
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": values | linked}
    return graph


def problems(workflow: Workflow, info: Info) -> list[str]:
    """Sentences about everything that the page or the server would reject."""
    unknown = [f"{node['type']} is no node" for node in _nodes(workflow) if node["type"] not in info]
    if unknown:
        return unknown
    found = [*_links(workflow)]
    for node in _nodes(workflow):
        found += _slots(node, info)
        found += _values(node, info)
    return found


def _nodes(workflow: Workflow) -> list[dict[str, Any]]:
    return [node for node in workflow["nodes"] if node["type"] not in _NOTES]


def _declared(node: dict[str, Any], info: Info) -> dict[str, tuple[bool, str, dict[str, Any]]]:
    """Whether it is required, type and arguments of each input by name, in the page's order."""
    result = {}
    for group, inputs in info[node["type"]]["input"].items():
        if group == "hidden":
            continue
        for name, (kind, *more) in inputs.items():
            arguments = dict(more[0]) if more else {}
            if isinstance(kind, list):
                kind, arguments["options"] = "COMBO", kind
            elif kind == _DYNAMIC:
                kind, arguments["options"] = "COMBO", [option["key"] for option in arguments["options"]]
            result[name] = (group == "required", kind, arguments)
    return result


def _widgets(node: dict[str, Any], info: Info) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Name, arguments and value of each widget; ("", {}, value) for each value too many."""
    values = list(node.get("widgets_values") or [])
    for name, (_, kind, arguments) in _declared(node, info).items():
        if kind not in _WIDGETS or arguments.get("forceInput"):
            continue
        value = values.pop(0) if values else None
        yield name, {"kind": kind, **arguments}, value
        # The page adds its own widget after these: an upload button, or how a seed changes.
        if values and (arguments.get("control_after_generate") or _has_upload(arguments)):
            values.pop(0)
    for value in values:
        yield "", {}, value


def _has_upload(arguments: dict[str, Any]) -> bool:
    return bool(arguments.get("image_upload") or arguments.get("video_upload"))


def _values(node: dict[str, Any], info: Info) -> Iterator[str]:
    for name, arguments, value in _widgets(node, info):
        where = f"{node['type']}.{name}"
        if not name:
            yield f"{node['type']} has the value {value!r} too many"
        elif not _is_a(arguments["kind"], value):
            yield f"{where} is {value!r}, no {arguments['kind']}"
        elif arguments["kind"] == "COMBO":
            if (node["type"], name) not in _FILES and value not in arguments["options"]:
                yield f"{where} is {value!r}, not one of {arguments['options']}"
        elif arguments["kind"] in ("INT", "FLOAT") and not arguments["min"] <= value <= arguments["max"]:
            yield f"{where} is {value!r}, not between {arguments['min']} and {arguments['max']}"


def _is_a(kind: str, value: Any) -> bool:
    if kind in ("INT", "FLOAT"):
        return isinstance(value, int if kind == "INT" else int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "BOOLEAN" else str)


def _slots(node: dict[str, Any], info: Info) -> Iterator[str]:
    declared = _declared(node, info)
    slots = {slot["name"]: slot for slot in node["inputs"]}
    for name, slot in slots.items():
        if name not in declared:
            yield f"{node['type']} has no input {name}"
        elif slot["type"] != declared[name][1]:
            yield f"{node['type']}.{name} is {slot['type']}, not {declared[name][1]}"
    for name, (required, kind, _) in declared.items():
        if required and kind not in _WIDGETS and slots.get(name, {}).get("link") is None:
            yield f"{node['type']}.{name} is not connected"
    actual = [(slot["name"], slot["type"]) for slot in node["outputs"]]
    expected = list(zip(info[node["type"]]["output_name"], info[node["type"]]["output"], strict=True))
    # Newer versions give ComfyUI's own nodes further outputs, which the page adds.
    known = expected if node["type"].startswith("GPEN") else expected[: len(actual)]
    if actual != known:
        yield f"{node['type']} has the outputs {actual}, not {expected}"


def _links(workflow: Workflow) -> Iterator[str]:
    """Each link is known to both of its ends, with the same type."""
    nodes = {node["id"]: node for node in _nodes(workflow)}
    for link, start, output, end, entry, kind in workflow["links"]:
        source, target = nodes[start]["outputs"][output], nodes[end]["inputs"][entry]
        if link not in (source["links"] or []) or target["link"] != link:
            yield f"link {link} is not known to both of its ends"
        if not source["type"] == target["type"] == kind:
            yield f"link {link} is {kind}, from {source['type']} to {target['type']}"
    known = {link[0] for link in workflow["links"]}
    for node in nodes.values():
        ends = {slot["link"] for slot in node["inputs"] if slot.get("link") is not None}
        ends |= {link for slot in node["outputs"] for link in slot["links"] or []}
        if ends - known:
            yield f"{node['type']} is at the end of links that are not there: {sorted(ends - known)}"
