"""Recognises other file formats that often appear under the name of a model file."""

from __future__ import annotations

import re

from ..wording import pip_install

_PART = re.compile(r"-0*(\d{1,9})-of-0*(\d{1,9})\.\w+$")
_AGAIN = "Download the file again, from its direct address."

_ONE_FILE = "GPEN's networks are single files: give such a file, for instance GPEN-BFR-512.pth."

_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (257, b"ustar", "is a tar archive. Unpack it, or save the weights again with a PyTorch newer than 0.1."),
    (0, b"\x1f\x8b", "is packed with gzip. Unpack it and give the model file inside."),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive. Unpack it and give the model file inside."),
    (0, b"Rar!", "is a RAR archive. Unpack it and give the model file inside."),
    (0, b"BZh", "is packed with bzip2. Unpack it and give the model file inside."),
    (0, b"\xfd7zXZ", "is packed with xz. Unpack it and give the model file inside."),
    (0, b"\x89PNG", "is a picture (PNG), not a model file. Give it as the photo."),
    (0, b"\xff\xd8\xff", "is a picture (JPEG), not a model file. Give it as the photo."),
    (0, b"RIFF", "is a picture or a sound (RIFF), not a model file."),
    (0, b"%PDF", "is a PDF document, not a model file."),
    (0, b"GGUF", "is a GGUF file, which holds a language model or a quantised diffusion model, not GPEN."),
    (0, b"\x89HDF", "is an HDF5 file, as Keras writes them. Use a GPEN model in .pth or .safetensors format."),
    (
        4,
        b"ORTM",
        "is a model in ONNX Runtime's own format. Run `gpen convert` on the .onnx file it was made from.",
    ),
    (4, b"TFL3", "is a TensorFlow Lite model. Use a GPEN model in .pth or .safetensors format."),
)


def recognise(start: bytes, size: int) -> str | None:
    """Say what a file of ``size`` bytes that begins with ``start`` is, and what to do; None if unknown.

    The text continues a sentence that begins with the file's name.
    """
    if size == 0:
        return "is empty: the download failed, or the disk was full. " + _AGAIN
    if not start.strip(b"\0"):
        return "holds only zeros: the download or the copy failed. " + _AGAIN
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, a few lines of text instead of the model. Run `git lfs pull` in the clone, or "
            "download the file itself from the repository's web page."
        )
    for offset, magic, complaint in _MAGICS:
        if start[offset:].startswith(magic):
            return complaint
    if looks_like_onnx(start):
        return (
            "is an ONNX file. Convert it to .safetensors once, with `gpen convert FILE.onnx` (which needs "
            f"{pip_install('onnx')}), and use the result."
        )
    return _text(start)


def one_of_several(name: str) -> str | None:
    """Say that a file of this name is a part of a model, and what to do; None if it is not named like one.

    The text continues a sentence that begins with the file's name.
    """
    found = _PART.search(name)
    if found is None or found[2] == "1":
        return None
    return f"is part {found[1]} of {found[2]} of a model that was saved in several files. {_ONE_FILE}"


def looks_like_onnx(start: bytes) -> bool:
    """Whether this may be a ModelProto: field 1 (ir_version) is a small number, followed by another field."""
    return (
        start[:1] == b"\x08"
        and start[1:2] < b"\x20"
        and start[2:3] in b"\x12\x1a\x22\x28\x32\x3a\x42"
        and len(start) > 2
    )


def _text(start: bytes) -> str | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text:
        return (
            "is a web page, saved instead of the model: the address led to a page about the file, a login page or an "
            "error page. " + _AGAIN
        )
    if text.startswith((b"<?xml", b"<error")):
        return "is an XML document, most likely a server's error message instead of the model. " + _AGAIN
    if text.startswith(b"{") and b'"weight_map"' in text:
        return f"is the index of a model that was saved in several files, and holds no weights itself. {_ONE_FILE}"
    if text.startswith((b"{", b"[")):
        return "is a JSON document, most likely a server's error message instead of the model. " + _AGAIN
    if text and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        # A pickle in the oldest protocol is text too; the pickle scanner says what it wants.
        return None if start.rstrip().endswith(b".") else "is a text file, not a model file. " + _AGAIN
    return None
