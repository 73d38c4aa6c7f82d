"""Example workflows and blueprints say where their nodes and models come from, as pyproject.toml and the catalogue do.

The page reads it: it installs the packs of missing nodes, and offers the download of missing models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomllib

from gpen.weights.catalog import find_published
from tests.hosts.loading import ROOT

FILES = sorted([*(ROOT / "example_workflows").glob("*.json"), *(ROOT / "subgraphs").glob("*.json")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
HUB = "https://huggingface.co/"
"""Where the page downloads from, apart from Civitai; only files with one of these suffixes."""
SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pth", ".pt")
OTHER_MODELS = {
    "RealESRGAN_x2plus.pth": (
        "https://huggingface.co/dtarnow/UPscaler/resolve/main/RealESRGAN_x2plus.pth",
        "upscale_models",
    ),
    "v1-5-pruned-emaonly-fp16.safetensors": (
        "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"
        "v1-5-pruned-emaonly-fp16.safetensors?download=true",
        "checkpoints",
    ),
}
"""Address and folder of models that are not ours."""


def nodes(path: Path) -> Iterator[dict[str, Any]]:
    """All nodes but notes, which belong to the page, those inside subgraphs too."""
    content = json.loads(path.read_text("utf-8"))
    for graph in (content, *content.get("definitions", {}).get("subgraphs", [])):
        yield from (node for node in graph["nodes"] if node["type"] != "MarkdownNote")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_node_names_its_pack_and_its_version(path: Path) -> None:
    ours = {"cnr_id": PROJECT["project"]["name"], "ver": PROJECT["project"]["version"]}
    core = {"cnr_id": "comfy-core", "ver": PROJECT["tool"]["comfy"]["requires-comfyui"].removeprefix(">=")}
    subgraphs = {part["id"] for part in json.loads(path.read_text("utf-8")).get("definitions", {}).get("subgraphs", [])}
    for node in nodes(path):
        said = {key: node["properties"].get(key) for key in ("cnr_id", "ver")}
        assert said == (ours if node["type"].startswith("GPEN") or node["type"] in subgraphs else core), node["type"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_loaders_say_where_their_model_is_published(path: Path) -> None:
    """The page downloads from Hugging Face; the other models are published elsewhere."""
    for node in nodes(path):
        expected = []
        if node["type"] == "GPENLoadModel":
            file = node["widgets_values"][0]
            published = find_published(Path(file).stem)
            addresses = [address for address in published.addresses if address.startswith(HUB)]
            expected = [(file, address, "facerestore_models") for address in addresses]
        elif node["type"] in ("UpscaleModelLoader", "CheckpointLoaderSimple"):
            file = node["widgets_values"][0]
            expected = [(file, *OTHER_MODELS[file])] if file in OTHER_MODELS else []
        models = node["properties"].get("models", [])
        assert [(model["name"], model["url"], model["directory"]) for model in models] == expected
        assert all(url.startswith(HUB) and name.endswith(SUFFIXES) for name, url, _ in expected)


def test_the_model_of_most_workflows_can_be_downloaded_in_the_page() -> None:
    loaders = [node for path in FILES for node in nodes(path) if node["type"] == "GPENLoadModel"]
    assert sum(bool(node["properties"].get("models")) for node in loaders) >= 5
