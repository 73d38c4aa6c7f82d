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
    (4, b"ORTM", "is a model in ONNX Runtime's own format. `gpen convert` makes weights of the .onnx it was made of."),
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
    if looks_like_onnx(start):
        return (
            "is an ONNX file. Make a .safetensors file of it once, with `gpen convert FILE.onnx` (it needs the extra: "
            "pip install gpen-face-restore[onnx]), and use that."
        )
    return _text(start)


def looks_like_onnx(start: bytes) -> bool:
    """ModelProto: field 1 (ir_version) is a small number, followed by another of its fields."""
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
