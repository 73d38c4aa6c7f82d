"""SD-WebUI Forge's own modules, in this process, with this checkout as its only extension.

They are no server: they read ``sys.argv`` once and keep their state in globals. What they need of diffusion models is
replaced by mocks, so that their packages need not be there.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

CHECKOUT = Path(__file__).resolve().parents[2]
EXTENSION = "gpen-face-restore"
_NEEDED = ("gradio", "fastapi", "diskcache", "git", "piexif")
# Of what these import, only the diffusion models' packages are missing.
_MOCKED = ("infotext_utils", "processing", "sd_models", "sd_samplers", "sd_schedulers", "sd_vae")
_host: Forge | None = None


def forge_folder() -> Path | None:
    """Where Forge is checked out, or None."""
    default = "~/.cache/gpen-hosts/stable-diffusion-webui-forge"
    folder = Path(os.environ.get("FORGE_DIR") or default).expanduser()
    return folder if (folder / "modules_forge").is_dir() else None


def why_not() -> str:
    """Why Forge's modules cannot be imported here; empty if they can."""
    if forge_folder() is None:
        return "needs SD-WebUI Forge, in $FORGE_DIR or ~/.cache/gpen-hosts/stable-diffusion-webui-forge"
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    return f"needs Forge's packages ({', '.join(missing)}): run make test-forge" if missing else ""


def start(data: Path, models: Mapping[str, Path]) -> Forge:
    """Import the host with ``data`` as its folder; once in a process, whatever is asked for later."""
    global _host
    if _host is None:
        _host = Forge(data, models)
    return _host


class Forge:
    """The host after its start. Attributes without a leading underscore are its own modules, by name."""

    def __init__(self, data: Path, models: Mapping[str, Path]) -> None:
        self.data = data
        for place, file in models.items():
            target = data / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        (data / "extensions").mkdir()
        (data / "extensions" / EXTENSION).symlink_to(CHECKOUT, target_is_directory=True)
        self._import()
        self.opts.disabled_extensions = [folder.name for folder in Path("extensions-builtin").iterdir()]
        os.chdir(CHECKOUT)
        self.extensions.list_extensions()
        self.load_scripts()
        self.script_callbacks.ui_settings_callback()

    def _import(self) -> None:
        folder = forge_folder()
        assert folder is not None
        arguments, sys.argv = sys.argv, ["launch.py", "--always-cpu", "--data-dir", str(self.data), "--api"]
        sys.argv += ["--gpen-models-path", str(self.data / "given")]
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        sys.modules |= {f"modules.{name}": MagicMock(name=name) for name in _MOCKED}
        try:
            self.shared = importlib.import_module("modules.shared")
            importlib.import_module("modules.shared_init").initialize()
        finally:
            sys.argv = arguments
        # As it does at its start, where it also imports the packages of diffusion models.
        patches = importlib.import_module("modules_forge.patch_basic")
        patches.build_loaded(importlib.import_module("torch"), "load")
        patches.build_loaded(importlib.import_module("safetensors.torch"), "load_file")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return importlib.import_module(f"modules.{name}")

    @property
    def opts(self) -> Any:
        """The host's settings."""
        return self.shared.opts

    @property
    def state(self) -> Any:
        """The host's progress."""
        return self.shared.state

    @property
    def adapter(self) -> Any:
        """Our own module, as our script imported it."""
        return importlib.import_module("gpen_hosts.webui")

    def load_scripts(self) -> None:
        """What the start and Reload UI do."""
        self.scripts.load_scripts()

    @contextlib.contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Afterwards settings, flags and progress are what they are now."""
        kept = [vars(self.state), self.opts.data, self.opts.data_labels, vars(self.shared.cmd_opts)]
        before = [dict(values) for values in kept]
        state = self.state
        try:
            yield
        finally:
            self.shared.state = state
            for values, old in zip(kept, before, strict=True):
                values.clear()
                values.update(old)
