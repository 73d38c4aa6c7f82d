"""SD-WebUI Forge's or AUTOMATIC1111's modules, imported into this process, with this checkout as the only extension.

No server runs: the modules read ``sys.argv`` once and keep their state in globals. Those for diffusion models are
mocked, so that their packages need not be installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

CHECKOUT = Path(__file__).resolve().parents[3]
EXTENSION = "gpen-face-restore"
# They import packages for diffusion models, which the test environment lacks.
_MOCKED = ("infotext_utils", "processing", "sd_models", "sd_samplers", "sd_schedulers", "sd_vae")
_MOCKED_OF_A1111 = ("hypernetworks.hypernetwork", "interrogate", "sd_hijack", "sd_models_types")
# Forge's history begins with AUTOMATIC1111's.
_A1111 = "c8a5322d"
_started: dict[str, WebUI] = {}


def forge_folder() -> Path | None:
    """The checkout of Forge, or None."""
    default = "~/.cache/gpen-hosts/stable-diffusion-webui-forge"
    folder = Path(os.environ.get("FORGE_DIR") or default).expanduser()
    return folder if (folder / "modules_forge").is_dir() else None


def why_not_forge() -> str:
    """Why Forge's modules cannot be imported; empty if they can."""
    return _why_not("4.40.0")


def why_not_a1111() -> str:
    """Why AUTOMATIC1111's modules cannot be imported; empty if they can."""
    return _why_not("3.41.2")


def _why_not(gradio: str) -> str:
    if forge_folder() is None:
        return "needs SD-WebUI Forge, in $FORGE_DIR or ~/.cache/gpen-hosts/stable-diffusion-webui-forge"
    try:
        found = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    return "" if found == gradio else f"needs gradio {gradio}; installed is {found}: run make test-forge"


def start_forge(data: Path, models: Mapping[str, Path]) -> WebUI:
    """Import Forge with ``data`` as its data folder. Later calls in the same process return the first host."""
    if "forge" not in _started:
        folder = forge_folder()
        assert folder is not None
        host = _started["forge"] = WebUI(folder, data, models, ["--always-cpu"], _MOCKED)
        # Its launcher patches these too, and imports packages for diffusion models.
        patches = importlib.import_module("modules_forge.patch_basic")
        patches.build_loaded(importlib.import_module("torch"), "load")
        patches.build_loaded(importlib.import_module("safetensors.torch"), "load_file")
        host.begin()
    return _started["forge"]


def start_a1111(data: Path, models: Mapping[str, Path]) -> WebUI:
    """The same for AUTOMATIC1111, taken from Forge's history."""
    if "a1111" not in _started:
        source = data / "source"
        archive = subprocess.run(["git", "archive", _A1111], cwd=forge_folder(), capture_output=True, check=True)
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(source, filter="data")
        # It looks for this file to find the repository that its launcher clones.
        clone = source / "repositories" / "stable-diffusion-stability-ai" / "ldm" / "models" / "diffusion" / "ddpm.py"
        clone.parent.mkdir(parents=True)
        clone.touch()
        mocked = (*_MOCKED, *_MOCKED_OF_A1111)
        host = _started["a1111"] = WebUI(source, data, models, ["--use-cpu", "all"], mocked)
        importlib.import_module("modules.safe")
        host.begin()
    return _started["a1111"]


class WebUI:
    """A host that has started. Attributes not defined here are the host's modules, by name."""

    def __init__(
        self, folder: Path, data: Path, models: Mapping[str, Path], flags: Sequence[str], mocked: Sequence[str]
    ) -> None:
        self.folder = folder
        self.data = data
        for path, file in models.items():
            target = data / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        (data / "extensions").mkdir()
        (data / "extensions" / EXTENSION).symlink_to(CHECKOUT, target_is_directory=True)
        arguments, sys.argv = sys.argv, ["launch.py", *flags, "--data-dir", str(data), "--api"]
        sys.argv += ["--gpen-models-path", str(data / "given")]
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        sys.modules |= {f"modules.{name}": MagicMock(name=name) for name in mocked}
        try:
            self.shared = importlib.import_module("modules.shared")
            importlib.import_module("modules.shared_init").initialize()
        finally:
            sys.argv = arguments
            os.chdir(CHECKOUT)

    def begin(self) -> None:
        """Load the extensions, as the host does when it starts."""
        builtin = [folder.name for folder in (self.folder / "extensions-builtin").iterdir()]
        self.opts.data["disabled_extensions"] = builtin
        self.extensions.list_extensions()
        self.load_scripts()

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
        """The extension's module, as its script imported it."""
        return importlib.import_module("gpen_hosts.webui.host")

    def load_scripts(self) -> None:
        """Load the scripts, as the host does when it starts and on Reload UI."""
        self.scripts.load_scripts()
        self.script_callbacks.ui_settings_callback()

    @contextlib.contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Restore settings, flags and progress afterwards."""
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
