"""ComfyUI's entry point to GPEN Face Restore: ComfyUI loads this folder by path, under a name of its own."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """The node pack; nothing of it is imported before ComfyUI calls this."""
    from pathlib import Path

    from .gpen.wording import set_command
    from .gpen_hosts.comfyui.downloads import add_routes
    from .gpen_hosts.comfyui.host import command_in, register_folders
    from .nodes import GPENExtension

    folder = Path(__file__).parent
    set_command(command_in(folder), folder)
    register_folders()
    add_routes()
    return GPENExtension()
