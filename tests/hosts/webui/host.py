"""The modules of SD-WebUI Forge or of a relative, imported into this process, with this checkout as extension.

No server runs: the modules read ``sys.argv`` once and keep their state in globals, so that a process has one host,
which the variable WEBUI names. Modules for diffusion models are mocked, so that their packages need not be installed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

CHECKOUT = Path(__file__).resolve().parents[3]
EXTENSION = "gpen-face-restore"


class WebUI:
    """A host that has started. Attributes not defined here are the host's modules, by name."""

    name: ClassVar[str]
    """What the files in .ci and the Makefile call it."""
    gradio: ClassVar[str]
    """The version that it pins."""
    flags: ClassVar[tuple[str, ...]]
    mocked: ClassVar[tuple[str, ...]] = tuple(
        f"modules.{name}"
        for name in ("infotext_utils", "processing", "sd_models", "sd_samplers", "sd_schedulers", "sd_vae")
    )
    memory_manager: ClassVar[str] = ""
    """The module that unloads models, if it has one."""
    checkbox: ClassVar[bool] = True
    """Whether it has a Face Restoration checkbox."""

    def __init__(self, data: Path, models: Mapping[str, Path]) -> None:
        self.data = data
        for path, file in models.items():
            target = data / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        (data / "extensions").mkdir()
        (data / "extensions" / EXTENSION).symlink_to(CHECKOUT, target_is_directory=True)
        self.folder = self.source()
        arguments, sys.argv = sys.argv, ["launch.py", *self.flags, "--data-dir", str(data)]
        sys.argv += ["--gpen-models-path", str(data / "given")]
        sys.path.insert(0, str(self.folder))
        sys.modules |= {name: MagicMock(name=name) for name in self.mocked}
        # SD.Next looks for some of its files in the working directory.
        with contextlib.chdir(self.folder):
            try:
                self.shared = self.import_shared()
            finally:
                sys.argv = arguments
            builtin = [folder.name for folder in (self.folder / "extensions-builtin").iterdir()]
            self.opts.data["disabled_extensions"] = builtin
            self.extensions.list_extensions()
        self.load_scripts()

    def source(self) -> Path:
        """The folder with the host's modules."""
        return Path(_checkout(self.name).stdout.strip())

    def import_shared(self) -> Any:
        """Import the module that all others need, and whatever the host's launcher does before extensions."""
        shared = importlib.import_module("modules.shared")
        importlib.import_module("modules.shared_init").initialize()
        return shared

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
        with contextlib.chdir(self.folder):
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


class Forge(WebUI):
    """SD-WebUI Forge."""

    name = "forge"
    gradio = "4.40.0"
    flags = ("--always-cpu", "--api")
    memory_manager = "backend.memory_management"

    def import_shared(self) -> Any:
        """Its launcher also patches what loads files, and imports packages for diffusion models."""
        shared = super().import_shared()
        patches = importlib.import_module("modules_forge.patch_basic")
        patches.build_loaded(importlib.import_module("torch"), "load")
        patches.build_loaded(importlib.import_module("safetensors.torch"), "load_file")
        return shared


class A1111(WebUI):
    """AUTOMATIC1111, with whose history that of Forge begins."""

    name = "a1111"
    gradio = "3.41.2"
    flags = ("--use-cpu", "all", "--api")
    mocked = (
        *WebUI.mocked,
        *(f"modules.{name}" for name in ("hypernetworks.hypernetwork", "interrogate", "sd_hijack", "sd_models_types")),
        "modules.sd_samplers_kdiffusion",
    )

    def source(self) -> Path:
        """Its files, from Forge's repository."""
        folder = self.data / "source"
        archive = subprocess.run(["git", "archive", "c8a5322d"], cwd=super().source(), capture_output=True, check=True)
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        _with_clone(folder)
        return folder

    def import_shared(self) -> Any:
        """Its launcher also replaces torch.load."""
        shared = super().import_shared()
        importlib.import_module("modules.safe")
        return shared


class ReForge(Forge):
    """reForge, which continues an earlier Forge on AUTOMATIC1111's packages."""

    name = "reforge"
    gradio = A1111.gradio
    mocked = (*A1111.mocked, "ldm_patched.k_diffusion.sampling")
    memory_manager = "ldm_patched.modules.model_management"

    def source(self) -> Path:
        """A copy of its files, to which one can be added."""
        folder = self.data / "source"
        shutil.copytree(super().source(), folder, symlinks=True, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        _with_clone(folder)
        return folder

    def import_shared(self) -> Any:
        """Its launcher gives the flags to the parser of its backend as well."""
        backend = importlib.import_module("ldm_patched.modules.args_parser")
        backend.args, _ = backend.parser.parse_known_args()
        return super().import_shared()


class ForgeNeo(Forge):
    """Forge Neo, which continues Forge and needs the same version of Gradio."""

    name = "forge-neo"
    flags = ("--cpu", "--api")
    mocked = (*WebUI.mocked, "gguf")


class SDNext(WebUI):
    """SD.Next."""

    name = "sdnext"
    gradio = "3.43.2"
    flags = ("--use-cpu", "all")
    # It imports the package so that later imports of it do not change filters of warnings.
    mocked = ("pytorch_lightning",)
    checkbox = False

    def import_shared(self) -> Any:
        """Its launcher lets extensions add flags first."""
        importlib.import_module("modules.logger").setup_logging(filename=str(self.data / "sdnext.log"))
        arguments = importlib.import_module("modules.cmd_args")
        loading = importlib.import_module("modules.script_loading")
        loading.preload_extensions(str(self.data / "extensions"), arguments.parser)
        return importlib.import_module("modules.shared")

    def load_scripts(self) -> None:
        """Load the scripts, and tell the module under their old name."""
        super().load_scripts()
        self.scripts.register_runners()


_HOSTS: dict[str, type[WebUI]] = {host.name: host for host in (Forge, ForgeNeo, A1111, ReForge, SDNext)}
CHOSEN = os.environ.get("WEBUI") or "forge"
"""The host of this process."""


_started: list[WebUI] = []


def start(data: Path, models: Mapping[str, Path]) -> WebUI:
    """Import the host with ``data`` as its data folder. Later calls in the same process return the first one."""
    if not _started:
        _started.append(_HOSTS[CHOSEN](data, models))
    return _started[0]


@functools.cache
def why_not(name: str = CHOSEN) -> str:
    """Why tests in this host cannot run; empty if they can."""
    if name != CHOSEN:
        return f"for {name}: run make test-{name}"
    host = _HOSTS[name]
    found = _checkout(name)
    if found.returncode:
        return found.stderr.strip()
    try:
        gradio = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError:
        gradio = "none"
    return "" if gradio == host.gradio else f"needs gradio {host.gradio}; installed is {gradio}: run make test-{name}"


def why_no_checkbox() -> str:
    """Why tests of the Face Restoration checkbox cannot run; empty if they can."""
    return why_not() or ("" if _HOSTS[CHOSEN].checkbox else f"{CHOSEN} has no Face Restoration checkbox")


def _with_clone(folder: Path) -> None:
    """Add the file by which AUTOMATIC1111 and reForge find the repository that their launchers clone."""
    clone = folder / "repositories" / "stable-diffusion-stability-ai" / "ldm" / "models" / "diffusion" / "ddpm.py"
    clone.parent.mkdir(parents=True)
    clone.touch()


def _checkout(name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(CHECKOUT / ".ci" / "webui-folder"), name], capture_output=True, text=True)
