"""Python packages of which only one part of this program needs each, so that they may be missing."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import GpenError
from .wording import first_line, pip_install


def optional_package(module: str, package: str, extra: str, user: str, *, only: str) -> Any:
    """Import a package. GpenError that says what to do where it is missing or broken.

    package: its name in the package index. extra: the extra of this package that brings it. user: what needs it, at the
    beginning of a sentence; only: the same within one.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # any of its dependencies may be broken, or a library that does not load here
        needs = f"{user} needs the Python package {package}, which"
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            raise GpenError(f"{needs} is not installed. Install it with: {pip_install(extra)}") from error
        raise GpenError(
            f"{needs} does not import here ({type(error).__name__}: {first_line(error)}). Reinstall it; only {only} "
            "needs it."
        ) from error
