"""A WebUI without models, the controls that download them, and a server on this machine that has them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpen.weights.catalog import find_published
from tests.hosts.webui.host import WebUI
from tests.weights.conftest import Site

NETWORK, DETECTOR = "GPEN-BFR-512", "yunet"
DETECTOR_FILE = "face_detection_yunet_2023mar.onnx"


def empty_folders(host: WebUI, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the host look for models in empty folders only; returns the one that downloads go to."""
    monkeypatch.setattr(host.paths, "models_path", str(folder / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    host.shared.cmd_opts.gpen_models_path = None
    host.shared.cmd_opts.gfpgan_models_path = None
    host.adapter.make_folder()
    return folder / "models" / "GPEN"


def offer(site: Site, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the catalogue list a network of ours, and YuNet, at this site."""
    network = models["facerestore_models/marker-256.safetensors"].read_bytes()
    site.add("/network", network)
    site.add("/detector", models[f"facedetection/{DETECTOR_FILE}"].read_bytes())
    facts = {"addresses": (site.url("/network"),), "saved_as": f"{NETWORK}.safetensors", "size": len(network)}
    for name, value in facts.items():
        monkeypatch.setitem(vars(find_published(NETWORK)), name, value)
    monkeypatch.setitem(vars(find_published(DETECTOR)), "addresses", (site.url("/detector"),))


class Area:
    """The controls in a page that is being built, by the ends of their ids."""

    def __init__(self, demo: Any, place: str) -> None:
        self._demo = demo
        self._ids = f"gpen_downloads_{place}_"

    def __getattr__(self, name: str) -> Any:
        wanted = self._ids + name
        return next(block for block in self._demo.blocks.values() if getattr(block, "elem_id", None) == wanted)

    def on_load(self, name: str) -> Any:
        """The value that a control gets when the page is loaded."""
        component = getattr(self, name)
        for targets, outputs, function in self._events():
            if outputs == [component._id] and any(event == "load" for _, event in targets):
                return function()
        raise LookupError(name)

    def click(self, name: str, *arguments: Any) -> Iterator[Any]:
        """What the handlers of a button yield or return."""
        return self._call(name, "click", *arguments)

    def change(self, name: str, *arguments: Any) -> Any:
        """What the handler of a change returns."""
        return self._call(name, "change", *arguments)

    def _call(self, name: str, event: str, *arguments: Any) -> Any:
        target = (getattr(self, name)._id, event)
        return next(function for targets, _, function in self._events() if target in targets)(*arguments)

    def _events(self) -> Iterator[tuple[list[tuple[int | None, str]], list[int], Any]]:
        """Targets, outputs and function of each event: Gradio 3 keeps functions beside them."""
        functions = self._demo.fns
        if isinstance(functions, dict):
            for event in functions.values():
                yield event.targets, [block._id for block in event.outputs], event.fn
            return
        for about, event in zip(self._demo.dependencies, functions, strict=True):
            # When the page is loaded there is no target.
            targets = [(block, about["trigger"]) for block in about["targets"] or [None]]
            yield targets, about["outputs"], event.fn


def settings_area(host: WebUI) -> Area:
    """The controls in Settings, built as the host does."""
    gradio = importlib.import_module("gradio")
    host.load_scripts()
    info = host.opts.data_labels["gpen_downloads"]
    with gradio.Blocks() as demo:
        heading = info.component(label=info.label, value=info.default, elem_id="setting_gpen_downloads")
    assert heading.value == info.default
    return Area(demo, "settings")


def extras_area(host: WebUI) -> Area:
    """The controls in Extras, built by the host."""
    gradio = importlib.import_module("gradio")
    host.load_scripts()
    with gradio.Blocks() as demo:
        host.scripts.scripts_postproc.setup_ui()
    return Area(demo, "extras")
