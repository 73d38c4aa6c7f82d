"""EXIF blocks: tags about the pixels are corrected in place, the rest stays as it is.

Maker notes hold offsets into the whole block, and become unreadable if a block is rewritten. So only a few bytes are
changed here, and Pillow writes a block only for TIFF files, which have no maker notes.
"""

from __future__ import annotations

import logging
import struct

import numpy as np

from ..picture import Samples

DESCRIPTION, ORIENTATION, EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 270, 274, 34665, 34853, 40965
_USER_COMMENT = 37510
_PAGE_SIZE, _EXIF_SIZE = (256, 257), (40962, 40963)
_PREFIX = b"Exif\0\0"
_NUMBERS = {1: "B", 3: "H", 4: "I"}
_TEXT = 2
BYTES_PER_NUMBER = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""By type of a tag; 1 for all others."""
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))
"""Tags of a TIFF page that describe the photo, not its pixel layout: description, maker, model, software, date, artist,
host, rating, copyright, the strings of Windows."""

_log = logging.getLogger(__name__)


class Directory:
    """A directory of tags in an EXIF block or small TIFF file.

    at: its offset; None for the first. Raises struct.error if it is damaged or missing.
    """

    data: bytearray
    """The whole block; :meth:`set` changes it."""
    order: str
    """The byte order, < or >."""
    entries: dict[int, int]
    """By tag, the offset of its twelve bytes."""
    link: int
    """The offset of the pointer to the next directory."""

    def __init__(self, data: bytearray, at: int | None = None) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        if bytes(data[:4]) not in (b"II*\0", b"MM\0*"):
            raise struct.error("no header")
        if at is None:
            at = self._unpack("I", 4)
        self.link = at + 2 + 12 * self._unpack("H", at)
        self._unpack("I", self.link)
        self.entries = {self._unpack("H", entry): entry for entry in range(at + 2, self.link, 12)}

    def get(self, tag: int) -> int:
        """The tag's integer value, 0 if it has none."""
        letter = self._letter(tag)
        return self._unpack(letter, self.entries[tag] + 8) if letter else 0

    def short_text(self, tag: int) -> bytes:
        """The tag's text of up to four bytes, without the zero at its end; empty if it has none."""
        entry = self.entries.get(tag)
        if not entry or self._unpack("H", entry + 2) != _TEXT or self._unpack("I", entry + 4) > 4:
            return b""
        return bytes(self.data[entry + 8 : entry + 8 + self._unpack("I", entry + 4)]).partition(b"\0")[0]

    def set(self, tag: int, number: int) -> None:
        """Overwrite the tag's integer value, if it has one and the new one fits."""
        letter = self._letter(tag)
        if letter and number < 256 ** struct.calcsize("<" + letter):
            struct.pack_into(self.order + letter, self.data, self.entries[tag] + 8, number)

    def _letter(self, tag: int) -> str | None:
        entry = self.entries.get(tag)
        return _NUMBERS.get(self._unpack("H", entry + 2)) if entry and self._unpack("I", entry + 4) == 1 else None

    def _unpack(self, letter: str, position: int) -> int:
        return int(struct.unpack_from(self.order + letter, self.data, position)[0])


def clean_exif(block: bytes | None, elsewhere: int = 1) -> tuple[bytes | None, int]:
    """The bare block with its orientation set to 1, and the photo's orientation, 1 to 8.

    elsewhere: the orientation that counts if the block states none. The thumbnail is unlinked: it shows the photo
    before rotation and restoration. A block that is cut short is kept as far as it goes; an unreadable one gives None.
    """
    while block and block.startswith(_PREFIX):
        block = block[len(_PREFIX) :]
    try:
        directory = Directory(_repaired(bytearray(block or b"")))
    except struct.error:
        return None, elsewhere
    orientation = directory.get(ORIENTATION) if ORIENTATION in directory.entries else elsewhere
    directory.set(ORIENTATION, 1)
    directory.data[directory.link : directory.link + 4] = bytes(4)
    return bytes(directory.data), orientation if orientation in range(1, 9) else 1


def _repaired(data: bytearray) -> bytearray:
    """The block without tags whose values are missing at its end. Raises struct.error if nothing can be read."""
    order = "<" if data[:2] == b"II" else ">"
    if bytes(data[:4]) not in (b"II*\0", b"MM\0*"):
        raise struct.error("no header")
    (first,) = struct.unpack_from(order + "I", data, 4)
    (stated,) = struct.unpack_from(order + "H", data, first)
    if not _repair(data, order, first, (EXIF_POINTER, GPS_POINTER)) and stated:
        raise struct.error("no tags")
    return data


def _repair(data: bytearray, order: str, at: int, pointers: tuple[int, ...]) -> int:
    """Repair a directory in place; returns the number of its tags, or raises struct.error if it lies outside."""
    (count,) = struct.unpack_from(order + "H", data, at)
    end = len(data)
    whole = [data[entry : entry + 12] for entry in range(at + 2, min(at + 2 + 12 * count, end - 11), 12)]
    kept = [entry for entry in whole if _is_complete(data, order, entry, pointers)]
    if len(kept) < count or at + 2 + 12 * count + 4 > end:
        # The pointer to the next directory follows the last tag; it may be missing too.
        table = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
        data[at : at + len(table)] = table
    return len(kept)


def _is_complete(data: bytearray, order: str, entry: bytearray, pointers: tuple[int, ...]) -> bool:
    """Whether a tag's value is in the block; the directories that it may point to are repaired."""
    tag, kind, count, value = struct.unpack(order + "HHII", entry)
    if tag in pointers:
        try:
            return _repair(data, order, value, ()) > 0
        except struct.error:
            return False
    size = BYTES_PER_NUMBER.get(kind, 1) * count
    return bool(size <= 4 or value + size <= len(data))


def sized_exif(block: bytes | None, width: int, height: int) -> bytes | None:
    """The block with the picture size that it states, if any, set to ``width`` and ``height``."""
    if block is None:
        return None
    data = bytearray(block)
    try:
        first = Directory(data)
        directories = [(first, _PAGE_SIZE)]
        if first.get(EXIF_POINTER):
            directories.append((Directory(data, first.get(EXIF_POINTER)), _EXIF_SIZE))
    except struct.error:
        return block
    for directory, tags in directories:
        for tag, number in zip(tags, (width, height), strict=True):
            directory.set(tag, number)
    return bytes(data)


def user_comment(text: str) -> bytes:
    """A block that holds nothing but a comment in words, as piexif and the programs that use it write it."""
    comment = b"UNICODE\0" + text.encode("utf-16-be", "replace")
    first = struct.pack(">HHHIII", 1, EXIF_POINTER, 4, 1, 8 + 18, 0)
    second = struct.pack(">HHHIII", 1, _USER_COMMENT, 7, len(comment), 8 + 18 + 18, 0)
    return b"MM\0*" + struct.pack(">I", 8) + first + second + comment


def has_description(block: bytes | None) -> bool:
    """Whether a block describes the photo in words."""
    try:
        return block is not None and DESCRIPTION in Directory(bytearray(block)).entries
    except struct.error:
        return False


def exif_from_tiff(data: bytes, leave_out: tuple[int, ...] = ()) -> bytes | None:
    """The description of the photo in a TIFF file as an EXIF block, without some tags; None if there is none."""
    from PIL import Image

    if data[2:4] in (b"+\0", b"\0+"):
        return None  # BigTIFF, in which Pillow reads no EXIF
    page, block = Image.Exif(), Image.Exif()
    try:
        page.load(data)
        block.endian = page.endian
        block.update({tag: page[tag] for tag in DESCRIPTIVE if tag in page})
        for pointer in (EXIF_POINTER, GPS_POINTER):
            values = {tag: value for tag, value in page.get_ifd(pointer).items() if tag not in leave_out}
            if values.pop(INTEROP_POINTER, None) and (pointed := page.get_ifd(INTEROP_POINTER)):
                values[INTEROP_POINTER] = pointed  # the tags themselves, not an offset into the old file
            if values:
                block[pointer] = values
        return block.tobytes()[len(_PREFIX) :] if len(block) else None
    except Exception as error:  # Pillow raises anything on malformed tags
        _log.warning("The metadata of the TIFF file is dropped, because it cannot be read: %s.", str(error))
        return None


def upright(samples: Samples, orientation: int) -> Samples:
    """The samples (H, W, channels), upright; orientation: as EXIF states it, 1 to 8."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)
