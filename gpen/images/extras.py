"""The kinds of pictures that further Python packages read: what they are called, and how to get the packages."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PhotoError
from ..wording import pip_install

HEIC, AVIF, JPEG_2000, JPEG_XL, RAW = "HEIC", "AVIF", "JPEG 2000", "JPEG XL", "camera raw"
JPEG_12, JPEG_XL_PROFILE = "JPEG with 12 bits", "JPEG XL with a profile"


@dataclass(frozen=True)
class ExtraKind:
    """A kind of pictures that needs a package."""

    name: str
    """Such as HEIC."""
    a_picture: str
    """A picture of it, in a sentence."""
    package: str
    """Its name in the package index."""
    extra: str
    """The extra of this package that brings it."""
    modules: tuple[str, ...]
    """Modules of which any one reads the kind."""
    suffixes: tuple[str, ...]
    """In lower case; none if they do not tell."""

    @property
    def is_readable(self) -> bool:
        """Whether a module that reads it is installed; nothing is imported."""
        return any(_is_installed(module) for module in self.modules)

    @property
    def how(self) -> str:
        """What to install, and how."""
        return f"install {self.package} ({pip_install(self.extra)})"


_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".mrw", ".nef", ".nrw", ".orf"),
    *(".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srw", ".x3f"),
)
EXTRA_KINDS = {
    kind.name: kind
    for kind in (
        ExtraKind(HEIC, "an HEIC picture", "pi-heif", "heif", ("pi_heif",), (".heic", ".heif", ".hif")),
        ExtraKind(AVIF, "an AVIF picture", "imagecodecs", "codecs", ("imagecodecs", "PIL._avif"), (".avif", ".avifs")),
        ExtraKind(
            JPEG_2000,
            "a JPEG 2000 picture",
            "imagecodecs",
            "codecs",
            ("imagecodecs",),
            (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        ),
        ExtraKind(JPEG_XL, "a JPEG XL picture", "imagecodecs", "codecs", ("imagecodecs",), (".jxl",)),
        ExtraKind(JPEG_12, "a JPEG picture with 12 bits per channel", "imagecodecs", "codecs", ("imagecodecs",), ()),
        ExtraKind(JPEG_XL_PROFILE, "a JPEG XL picture with an ICC profile", "pylibjxl", "codecs", ("pylibjxl",), ()),
        ExtraKind(RAW, "a camera's raw file", "rawpy", "raw", ("rawpy",), _RAW_SUFFIXES),
    )
}
"""By name."""


def module_for(kind: str, path: Path) -> Any:
    """The module that reads a kind, or the first of several; path: names the picture.

    Raises PhotoError that says what to install if it is missing or broken.
    """
    about = EXTRA_KINDS[kind]
    name = about.modules[0]
    try:
        return importlib.import_module(name)
    except Exception as error:  # one that was built for another system fails in many ways
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise PhotoError(f"{path} is {about.a_picture}; {about.how} to read it.") from error
        raise PhotoError(
            f"{path} is {about.a_picture}; the Python package {about.package}, which reads it, cannot be used here "
            f"({type(error).__name__}: {error}). Install it again: pip install --force-reinstall {about.package}"
        ) from error


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # of the package that it belongs to
        return False
