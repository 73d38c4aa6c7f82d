"""The names of files in zips, whose encoding many programs do not state.

A zip states only whether a name is in UTF-8. Where it does not, Windows writes names in the encoding of the country,
macOS in UTF-8 all the same, and some programs separate folders by backslashes.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence

_UTF8 = 0x800  # the flag that says so
_UNICODE_PATH = 0x7075  # the extra field of the name in UTF-8
_STATED = "cp437"  # the encoding of all other names, by the format's definition

_WORD = re.compile(r"[^\W\d_]+")


def names_of(entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names of a zip's files, with / between folders, in the encoding that they were most likely written in."""
    raw = {entry: _raw(entry) for entry in entries if not entry.flag_bits & _UTF8}
    encoding = _encoding([name for name in raw.values() if not name.isascii()])
    names = []
    for entry in entries:
        name = entry.orig_filename.split("\0")[0]
        if entry in raw:
            # Before backslashes are replaced: in China's and Japan's encodings, one may be half of a character.
            name = _second_name(entry, raw[entry]) or raw[entry].decode(encoding)
        names.append(name.replace("\\", "/"))
    return names


def _raw(entry: zipfile.ZipInfo) -> bytes:
    return entry.orig_filename.encode(_STATED).split(b"\0")[0]


def _second_name(entry: zipfile.ZipInfo, name: bytes) -> str:
    """The name in UTF-8 that some programs add (Info-ZIP's Unicode Path); empty if there is none for this name."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(body) > 5 and body[:5] == struct.pack("<BI", 1, zlib.crc32(name)):
            return body[5:].decode("utf-8", "replace")
    return ""


def _encoding(names: Sequence[bytes]) -> str:
    """The likely encoding of names in one zip, all of them beyond ASCII."""
    if not names or _decodes(names, "utf-8"):
        return "utf-8"
    latin = next((encoding for encoding in (_STATED, "cp1252") if _is_latin(names, encoding)), None)
    if latin is not None and _is_mostly_ascii(names, latin):
        return latin
    likely = max(("gb18030", "cp932"), key=lambda encoding: _common(names, encoding))
    return likely if _common(names, likely) > 0.5 else latin or _STATED


def _decodes(names: Sequence[bytes], encoding: str) -> bool:
    try:
        for name in names:
            name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_latin(names: Sequence[bytes], encoding: str) -> bool:
    """Whether all characters beyond ASCII are letters of European languages."""
    return _decodes(names, encoding) and all(
        unicodedata.name(character, "").startswith("LATIN ")
        for name in names
        for character in name.decode(encoding)
        if not character.isascii()
    )


def _is_mostly_ascii(names: Sequence[bytes], encoding: str) -> bool:
    """Whether in words with letters beyond ASCII, those within are more, as in European languages."""
    words = [word for name in names for word in _WORD.findall(name.decode(encoding)) if not word.isascii()]
    letters = "".join(words)
    return sum(map(str.isascii, letters)) > len(letters) / 2


def _common(names: Sequence[bytes], encoding: str) -> float:
    """The share of the characters beyond ASCII that are common where the encoding is; 0 if it is another one.

    Both standards list the few thousand most common characters first: GB 2312 in the rows from B0 to D7, JIS X 0208 in
    those whose Shift-JIS codes start with 88 to 97, after the kana.
    """
    if not _decodes(names, encoding):
        return 0.0
    characters = [c for name in names for c in name.decode(encoding) if not c.isascii()]
    common = 0
    for character in characters:
        code = character.encode(encoding)
        first = code[0] if len(code) == 2 else 0
        if encoding == "gb18030":
            common += 0xB0 <= first <= 0xD7 and code[1] >= 0xA1
        else:
            common += 0x88 <= first <= 0x97 or code[:2] in _KANA
    return common / len(characters)


_KANA = {chr(number).encode("cp932") for number in [*range(0x3041, 0x3094), *range(0x30A1, 0x30F7), 0x30FC]}
