"""A server without any model, whose catalogue lists its models on this computer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.hosts.comfyui.server import ComfyUIServer

NETWORK, DETECTOR = "GPEN-BFR-512", "yunet"
FILES = {
    NETWORK: "facerestore_models/GPEN-BFR-512.pth",
    DETECTOR: "facedetection/face_detection_yunet_2023mar.onnx",
}
"""Paths under models/."""

_PACK = """
import sys
from server import PromptServer

CHANGES = {changes!r}

async def change(app):
    for name, module in list(sys.modules.items()):
        if name.endswith(".gpen.weights.catalog"):
            for published, facts in CHANGES.items():
                vars(module.find_published(published)).update(facts)

# Runs once all packs are loaded.
PromptServer.instance.app.on_startup.append(change)
NODE_CLASS_MAPPINGS = {{}}
"""


def start_without_models(
    start: Callable[..., ComfyUIServer], changes: Mapping[str, Mapping[str, Any]], **more: Any
) -> ComfyUIServer:
    """A server with nothing in its folders. changes: facts in its catalogue, by the model's name."""
    environment = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", **more.pop("environment", {})}
    packs = {"other_addresses": _PACK.format(changes={name: dict(facts) for name, facts in changes.items()})}
    return start({}, packs=packs, environment=environment, **more)
