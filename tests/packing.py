"""What ComfyUI's registry gets of the checkout, by the rules of `comfy node pack`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pathspec


def packed_files(folder: Path) -> list[str]:
    """The paths of the tracked files in a checkout that .comfyignore does not name, with slashes."""
    listed = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True)
    lines = (folder / ".comfyignore").read_text(encoding="utf-8").splitlines()
    ignored = pathspec.PathSpec.from_lines("gitwildmatch", lines)
    return [path for path in listed.stdout.splitlines() if (folder / path).is_file() and not ignored.match_file(path)]
