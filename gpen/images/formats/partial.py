"""As much as can be unpacked of compressed data that are cut short or damaged."""

from __future__ import annotations

import io
import struct
import zlib

_CLEAR, _END = 256, 257
_NARROWEST, _WIDEST = 9, 12  # bits of a code of LZW
_LETTERS = [bytes([number]) for number in range(256)] + [b"", b""]
_OLD = b"\0\1"  # how data begin that programs before TIFF 6.0 compressed, whose bits are in another order


def inflated(packed: bytes, most: int) -> tuple[bytes, bool]:
    """As much of a zlib stream as can be unpacked, up to ``most`` bytes; and whether it ends as it should."""
    unpacker, content = zlib.decompressobj(), bytearray()
    try:
        for start in range(0, len(packed), 256):  # an error loses what its piece held
            content += unpacker.decompress(packed[start : start + 256], max(1, most - len(content)))
            if len(content) > most or unpacker.eof:
                break
    except zlib.error:
        pass
    return bytes(content[:most]), unpacker.eof


def without_lzw(packed: bytes, line: int, rows: int) -> tuple[bytes, bool]:
    """As many rows of ``line`` bytes as LZW data hold, and whether these are all.

    Source: TIFF 6.0, section 13.
    """
    whole = _with_pillow(packed, line, rows)
    if whole is not None:
        return whole, True
    most, content = line * rows, bytearray()
    if packed[:2] == _OLD:
        return b"", False
    table, width, before = [*_LETTERS], _NARROWEST, b""
    bits = count = 0
    for byte in packed:
        bits, count = (bits << 8 | byte) & 0xFFFFFF, count + 8
        if count < width:
            continue
        count -= width
        code = bits >> count & (1 << width) - 1
        if code == _CLEAR:
            table, width, before = [*_LETTERS], _NARROWEST, b""
            continue
        if code == _END or len(content) >= most or code > len(table) or (code == len(table) and not before):
            break
        word = table[code] if code < len(table) else before + before[:1]
        content += word
        if before:
            table.append(before + word[:1])
        before = word
        if len(table) >= (1 << width) - 1 and width < _WIDEST:
            width += 1
        elif len(table) > 1 << _WIDEST:
            break
    return bytes(content[:most]), len(content) >= most


def _with_pillow(packed: bytes, line: int, rows: int) -> bytes | None:
    """The rows, by the decoder in Pillow, many times as fast as ours; None if it finds a fault."""
    from PIL import Image

    numbers = {256: line, 257: rows, 258: 8, 259: 5, 262: 1, 273: 8, 277: 1, 278: rows, 279: len(packed)}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in numbers.items())
    body = packed + bytes(len(packed) % 2)
    file = struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(numbers)) + tags + bytes(4)
    try:
        with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
            content: bytes = image.tobytes()
            return content
    except OSError:
        return None
