"""ComfyUI's door to GPEN Face Restore: ComfyUI loads this folder by its path, as a module of any name."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """The node pack, for ComfyUI. Nothing of it is imported before ComfyUI asks."""
    from .gpen_hosts.comfyui.host import register_folders
    from .nodes import GPENExtension

    register_folders()
    return GPENExtension()
