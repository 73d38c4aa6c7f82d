"""Which of our nodes stand in for those of facerestore_cf, in workflows that were made where that pack was installed.

ComfyUI replaces a node only where its own pack is missing.
"""

from __future__ import annotations

from typing import Any

from comfy_api import latest

from ...gpen.options import OPTIONS
from ...gpen.tasks import RESTORE
from ...gpen.weights.catalog import find_published, published_by_file_name
from ...gpen.weights.search import by_preference
from . import host
from .widgets import option_names


async def register() -> None:
    """Tell ComfyUI, where this version of it replaces nodes."""
    if not hasattr(latest.io, "NodeReplace"):
        return
    api = latest.ComfyAPI()
    for replacement in _replacements():
        await api.node_replacement.register(latest.io.NodeReplace(**replacement))


def _replacements() -> list[dict[str, Any]]:
    """The arguments of ``io.NodeReplace`` for each node."""
    return [
        {
            "new_node_id": "GPENLoadModel",
            "old_node_id": "FaceRestoreModelLoader",
            "old_widget_ids": ["model_name"],
            # That pack loads GFPGAN, RestoreFormer and CodeFormer, so its file is never the one to take.
            "input_mapping": _set(model_name=_model_name(), precision=OPTIONS["precision"].default),
            "output_mapping": [{"new_idx": 0, "old_idx": 0}],
        },
        {
            "new_node_id": "GPENRestoreFaces",
            "old_node_id": "FaceRestoreCFWithModel",
            "old_widget_ids": ["facedetection", "codeformer_fidelity"],
            "input_mapping": [
                {"new_id": "image", "old_id": "image"},
                {"new_id": "model", "old_id": "facerestore_model"},
                # ComfyUI looks for this name once more if it replaces the loader after this node. The node ignores it.
                {"new_id": "facerestore_model", "old_id": "facerestore_model"},
                # A prompt has to hold every value.
                *_set(**{name: OPTIONS[name].default for name in option_names(RESTORE)}),
            ],
            "output_mapping": [{"new_idx": 0, "old_idx": 0}],
        },
    ]


def _set(**values: Any) -> list[dict[str, Any]]:
    return [{"new_id": name, "set_value": value} for name, value in values.items()]


def _model_name() -> str:
    """The listed model that suits most faces; the example that messages name where there is none."""
    by_name = {published_by_file_name(file): file for file in host.network_files()}
    listed = (by_name[published] for published in by_preference(RESTORE.name) if published in by_name)
    return next(listed, find_published(RESTORE.example).saved_as)
