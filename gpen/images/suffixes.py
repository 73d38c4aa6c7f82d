"""Which files are pictures by their names, and which of these can be read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .extras import EXTRA_KINDS

_ALWAYS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_NEVER = {
    ".jxr": "JPEG XR",
    ".exr": "OpenEXR",
    ".psd": "Photoshop",
    ".xcf": "GIMP",
    **dict.fromkeys((".pbm", ".pgm", ".pnm", ".ppm"), "PNM"),
    ".tga": "TGA",
    ".pcx": "PCX",
}
_EXTRA = {suffix: kind for kind in EXTRA_KINDS.values() for suffix in kind.suffixes}

KNOWN_SUFFIXES = _ALWAYS | _EXTRA.keys()
"""Those of the kinds that can be read, with packages that may be missing; in lower case."""


def is_readable(suffix: str) -> bool:
    """Whether files of a suffix can be read with the packages that are installed."""
    suffix = suffix.lower()
    return suffix in _ALWAYS or (suffix in _EXTRA and _EXTRA[suffix].is_readable)


def is_picture(suffix: str) -> bool:
    """Whether a file is a picture by its suffix, of a kind that can be read or of one that cannot."""
    suffix = suffix.lower()
    return suffix in KNOWN_SUFFIXES or suffix in _NEVER


def readable_suffixes() -> frozenset[str]:
    """The suffixes that can be read with the packages that are installed, in lower case."""
    return frozenset(suffix for suffix in KNOWN_SUFFIXES if is_readable(suffix))


def unreadable(pictures: Sequence[Path]) -> str:
    """Sentences about pictures of kinds that cannot be read: how many there are of each, and what to do."""
    missing = {kind.name: kind for path in pictures if (kind := _EXTRA.get(path.suffix.lower()))}
    kinds = Counter(name for path in pictures for name in [_name(path.suffix.lower())])
    names = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    what = "picture is" if len(pictures) == 1 else "pictures are"
    advice = [f"To read {name}, {kind.how}." for name, kind in sorted(missing.items())]
    if kinds.keys() - missing.keys():
        others = "the others" if missing else ("it" if len(pictures) == 1 else "them")
        advice.append(f"Convert {others} to JPEG, PNG or TIFF, and use the results.")
    return f"{len(pictures)} {what} of a kind that cannot be read ({names}), and left out. {' '.join(advice)}"


def _name(suffix: str) -> str:
    return _EXTRA[suffix].name if suffix in _EXTRA else _NEVER[suffix]
