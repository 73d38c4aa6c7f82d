"""Files that are often found under a weight file's name, and are something else altogether."""

from __future__ import annotations

_AGAIN = "Download the file again, from its direct address."

_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (257, b"ustar", "is a tar archive. Unpack it, or save the weights again with a PyTorch newer than 0.1."),
    (0, b"\x1f\x8b", "is packed with gzip. Unpack it and give the weight file inside."),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive. Unpack it and give the weight file inside."),
    (0, b"Rar!", "is a RAR archive. Unpack it and give the weight file inside."),
    (0, b"BZh", "is packed with bzip2. Unpack it and give the weight file inside."),
    (0, b"\xfd7zXZ", "is packed with xz. Unpack it and give the weight file inside."),
    (0, b"\x89PNG", "is a picture (PNG), not a weight file. It goes where the photograph is asked for."),
    (
        0,
        b"\xff\xd8\xff",
        "is a picture (JPEG), not a weight file. It goes where the photograph is asked for.",
    ),
    (0, b"RIFF", "is a picture or a sound (RIFF), not a weight file."),
    (0, b"%PDF", "is a PDF document, not a weight file."),
    (0, b"GGUF", "is a GGUF file, which holds a language model or a quantised diffusion model, not GPEN."),
    (
        0,
        b"\x89HDF",
        "is an HDF5 file, as Keras writes them. GPEN is needed as PyTorch's .pth or .safetensors.",
    ),
    (4, b"ORTM", "is a model for ONNX Runtime. GPEN is needed as a .pth or .safetensors file for now."),
    (4, b"TFL3", "is a TensorFlow Lite model. GPEN is needed as PyTorch's .pth or .safetensors."),
)


def recognise(start: bytes, size: int) -> str | None:
    """Say what a file of ``size`` bytes beginning with ``start`` is, and what to do; None for no idea.

    The text continues a sentence that begins with the file's name.
    """
    if size == 0:
        return "is empty: the download failed, or the disk was full. " + _AGAIN
    if not start.strip(b"\0"):
        return "holds only zeros: the download or the copy failed. " + _AGAIN
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, a note of some lines in the place of the weights. Run `git lfs pull` "
            "where it was cloned, or download the file itself from the web page of the repository."
        )
    for offset, magic, complaint in _MAGICS:
        if start[offset:].startswith(magic):
            return complaint
    if _looks_like_onnx(start):
        return (
            "is an ONNX file. GPEN is needed as a .pth or .safetensors file for now: get the .pth of the "
            "same network (`gpen models` lists them)."
        )
    return _text(start)


def _looks_like_onnx(start: bytes) -> bool:
    """ModelProto: field 1 (ir_version) is a small number, followed by a field of text or the graph."""
    return start[:1] == b"\x08" and start[1:2] < b"\x20" and start[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a")


def _text(start: bytes) -> str | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text:
        return (
            "is a web page, saved in the place of the weights: the address led to a page about the file, a "
            "login "
            "or an error. " + _AGAIN
        )
    if text.startswith((b"<?xml", b"<error")):
        return "is an XML document, most likely a server's error message in the place of the weights. " + _AGAIN
    if text.startswith((b"{", b"[")):
        return "is a JSON text, most likely a server's error message in the place of the weights. " + _AGAIN
    if text and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        # A pickle in the oldest protocol is text too; the pickle walker tells what it wants.
        return None if start.rstrip().endswith(b".") else "is a text file, not a weight file. " + _AGAIN
    return None
