"""The checkout loaded as ComfyUI loads it: by path, as a module named after that path."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
NAME = str(ROOT / "custom_nodes" / "gpen-face-restore").replace(".", "_x_")


def load_checkout() -> ModuleType:
    """The root ``__init__.py`` as a package under the kind of name that ComfyUI gives it; loaded once."""
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[NAME] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[NAME]


def from_checkout(name: str) -> ModuleType:
    """A module of the checkout, such as "gpen_hosts.comfyui.frames", inside that package.

    Its classes differ from those of a top-level ``gpen``: a test takes all of them from here, or none.
    """
    return importlib.import_module(f"{load_checkout().__name__}.{name}")
