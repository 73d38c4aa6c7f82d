"""Texts and other descriptive chunks of PNG files: taken out before the pixels are decoded, and written again.

Sources: PNG (Third Edition), 11.3.3; 14.2, for the chunks that hold for a changed picture too; XMP Specification Part
3, 1.1.5; for "Raw profile type" texts, ImageMagick, whose form ExifTool reads and writes as well.
"""

from __future__ import annotations

import zlib

from ..formats.png import chunk, chunks, inflated, raw_profile
from .metadata import C2PA, DAMAGED_RESOURCES, LARGEST, Metadata, Notes, printable, shown
from .photoshop import clean_resources, iptc_of

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP, _RAW, _COMMENT, _PARAMETERS = b"XML:com.adobe.xmp", b"Raw profile type ", b"Comment", b"parameters"
_MANIFEST = b"caBX"
# Read elsewhere, or about the samples as they were stored.
_READ = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"iCCP", b"pHYs", b"eXIf", b"tRNS")
_OF_SAMPLES = (
    b"bKGD",
    b"hIST",
    b"sBIT",
    b"sPLT",
    b"tIME",
    b"mDCV",
    b"cLLI",
    b"iDOT",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"orNT",
)
_MOST_CHUNKS, _MOST_UNPACKED = 10_000, 100
_LINE = 72  # digits in a line of a raw profile
_MAIN = (b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0")


class _Found:
    """What was found in the chunks of a file."""

    def __init__(self) -> None:
        self.xmp: bytes | None = None
        self.exif: bytes | None = None
        self.iptc: bytes | None = None
        self.resources: bytes | None = None
        self.comments: list[bytes] = []
        self.parameters: bytes | None = None
        self.kept: list[tuple[bytes, bytes]] = []
        self.left_out: list[str] = []
        self.has_manifest = self.is_damaged = False
        self.size = self.unpacked = 0

    def add_text(self, kind: bytes, body: bytes) -> None:
        keyword = body[:80].split(b"\0")[0]
        try:
            if keyword == _XMP:
                self.xmp = self.xmp or self._content(kind, body)
                return
            if keyword.startswith(_RAW) and self._add_profile(keyword[len(_RAW) :], self._content(kind, body)):
                return
            if keyword == _COMMENT:
                self.comments.append(self._text(kind, body))
            if keyword == _PARAMETERS and self.parameters is None:
                self.parameters = self._text(kind, body)
        except (ValueError, zlib.error):
            pass  # kept as it is
        except OverflowError:
            self.left_out.append(f"text “{printable(keyword)}”")
            return
        self.add_chunk(kind, body)

    def add_chunk(self, kind: bytes, body: bytes) -> None:
        self.size += len(body)
        if self.size > LARGEST or len(self.kept) >= _MOST_CHUNKS:
            self.left_out.append(f"chunk {kind.decode('latin-1')}")
        else:
            self.kept.append((kind, body))

    def _text(self, kind: bytes, body: bytes) -> bytes:
        """The content of a text, in UTF-8, to be kept; raises what :meth:`_content` raises."""
        text = self._content(kind, body)
        self.size += len(text)
        if self.size > LARGEST:
            raise OverflowError
        return text if kind == b"iTXt" else text.decode("latin-1").encode()

    def _content(self, kind: bytes, body: bytes) -> bytes:
        """The content of a text; ValueError or zlib.error if it is damaged, OverflowError if it is too large."""
        _, _, rest = body.partition(b"\0")
        packed = kind == b"zTXt"
        if kind == b"iTXt":
            texts = rest[2:].split(b"\0", 2)
            if len(texts) < 3:
                raise ValueError("cut short")
            packed, rest = rest[:1] == b"\1", texts[2]
        elif packed:
            rest = rest[1:]
        if not packed:
            return rest
        self.unpacked += 1
        if self.unpacked > _MOST_UNPACKED:
            raise OverflowError
        return inflated(rest, LARGEST)

    def _add_profile(self, name: bytes, text: bytes) -> bool:
        """Whether a raw profile is one that is stored elsewhere."""
        if name not in (b"exif", b"APP1", b"xmp", b"iptc", b"8bim"):
            return False
        block = raw_profile(text.decode("latin-1"))
        if not block:
            return False
        if name == b"xmp" or block.startswith(_MAIN[0]):
            self.xmp = self.xmp or block.removeprefix(_MAIN[0])
        elif name in (b"exif", b"APP1"):
            self.exif = self.exif or block
        elif block.startswith(b"\x1c"):
            self.iptc = self.iptc or block
        else:
            resources, is_whole = clean_resources(block)
            self.resources = self.resources or resources
            self.is_damaged |= not is_whole
        return True


def read_png_notes(data: bytes) -> Notes:
    """Take the texts out of a PNG file; whatever is damaged in them is kept or left out, never an error."""
    found, picture, end = _Found(), [data[:8]], 8
    for kind, place in chunks(data):
        body, end = data[place.start + 8 : place.stop - 4], place.stop
        if kind == _MANIFEST:
            found.has_manifest = True
        elif kind in _TEXTS and end > len(data):
            found.left_out.append("last text, which is cut short,")
        elif kind in _TEXTS:
            found.add_text(kind, body)
        else:
            picture.append(data[place])
            _add_other(found, kind, body)
    metadata = Metadata(
        xmp=found.xmp or None,
        iptc=found.iptc or iptc_of(found.resources),
        resources=found.resources,
        comments=tuple(found.comments),
        chunks=tuple(found.kept),
        parameters=found.parameters,
        notices=_notices(found),
    )
    if sum(map(len, picture)) < min(end, len(data)):  # else nothing is taken out, and a copy is saved
        data = b"".join([*picture, data[end:]])
    return Notes(data, metadata, found.exif)


def _add_other(found: _Found, kind: bytes, body: bytes) -> None:
    """Keep an unknown chunk, if its kind says that it holds for a changed picture too."""
    if not kind[0] & 32 or kind in _READ or kind in _OF_SAMPLES:
        return
    if kind[3] & 32:
        found.add_chunk(kind, body)
    else:
        found.left_out.append(f"chunk {printable(kind)}")


def _notices(found: _Found) -> tuple[str, ...]:
    notices = [C2PA] if found.has_manifest else []
    if found.is_damaged:
        notices.append(DAMAGED_RESOURCES)
    names = list(dict.fromkeys(found.left_out))
    if names:
        many = "is" if len(names) == 1 else "are"
        notices.append(f"Its {shown(names)} {many} left out: too large, or not known to hold for a changed photo.")
    return tuple(notices)


def png_notes(metadata: Metadata) -> list[bytes]:
    """The metadata as chunks."""
    parts = []
    if metadata.xmp is not None:
        parts.append(chunk(b"iTXt", _XMP + bytes(5) + metadata.xmp))
    if metadata.resources is not None:
        parts.append(chunk(b"zTXt", _raw_profile_text(b"iptc", metadata.resources)))
    parts += [chunk(kind, body) for kind, body in metadata.chunks]
    if not any(kind in _TEXTS and body.startswith(_COMMENT + b"\0") for kind, body in metadata.chunks):
        parts += map(_comment, metadata.comments)
    return parts


def _comment(comment: bytes) -> bytes:
    """A comment as a text of PNG, in which there is no zero."""
    try:
        text = comment.decode()
    except UnicodeDecodeError:
        text = comment.decode("latin-1")
    text = text.rstrip("\0").replace("\0", "\n")
    try:
        return chunk(b"tEXt", _COMMENT + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return chunk(b"iTXt", _COMMENT + bytes(5) + text.encode())


def _raw_profile_text(name: bytes, block: bytes) -> bytes:
    """The body of a compressed text that holds a block, as ImageMagick writes it."""
    digits = block.hex()
    lines = "\n".join(digits[at : at + _LINE] for at in range(0, len(digits), _LINE))
    text = f"\n{name.decode()}\n{len(block):8d}\n{lines}\n".encode()
    return _RAW + name + bytes(2) + zlib.compress(text)
