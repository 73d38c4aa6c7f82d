"""EXIF blocks: what they say about the pixels is read and corrected in place, the rest is left as it is."""

from __future__ import annotations

import struct

import numpy as np

from .picture import Samples
from .tags import (
    BYTE,
    EXIF_HEIGHT,
    EXIF_POINTER,
    EXIF_WIDTH,
    GPS_POINTER,
    HEIGHT,
    INTEROP_POINTER,
    LONG,
    ORIENTATION,
    SHORT,
    WIDTH,
    DamagedError,
    Directory,
    first_directory,
    header,
    pack,
)

_PREFIX = b"Exif\0\0"
# Tags of a TIFF file's page that describe the photograph and not how its pixels are stored: description,
# maker, model, software, date, artist, host, rating, copyright, the strings of Windows.
_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))


def clean_exif(block: bytes | None) -> tuple[bytes | None, int]:
    """Return the bare block with its orientation set to 1, and the orientation (1 to 8) that it had.

    The thumbnail is unlinked: it shows the photograph as it was before it was turned and restored.
    A block that cannot be read gives None and 1.
    """
    if not block:
        return None, 1
    while block.startswith(_PREFIX):
        block = block[len(_PREFIX) :]
    try:
        directory = first_directory(block)
        if directory.big or directory.link + 4 > len(block):
            return None, 1
    except DamagedError:
        return None, 1
    orientation = read_orientation(directory)
    changed = bytearray(_overwritten(directory, {ORIENTATION: 1}))
    changed[directory.link : directory.link + 4] = bytes(4)
    return bytes(changed), orientation


def read_orientation(directory: Directory) -> int:
    """Return the orientation, 1 where there is none or it is not one of 1 to 8."""
    try:
        orientation = directory.integer(ORIENTATION, 1)
    except DamagedError:
        return 1
    return orientation if orientation in range(1, 9) else 1


def without_orientation(directory: Directory) -> bytes:
    """Return the file that holds the directory, with an orientation of 1, so that no reader turns it."""
    return _overwritten(directory, {ORIENTATION: 1})


def sized_exif(block: bytes | None, width: int, height: int) -> bytes | None:
    """Return the block with the size it states, where it states one, set to ``width`` and ``height``."""
    if block is None:
        return None
    block = _overwritten(first_directory(block), {WIDTH: width, HEIGHT: height})
    sub = first_directory(block).sub_directory(EXIF_POINTER)
    return _overwritten(sub, {EXIF_WIDTH: width, EXIF_HEIGHT: height}) if sub else block


def _overwritten(directory: Directory, numbers: dict[int, int]) -> bytes:
    data = bytearray(directory.data)
    for tag, number in numbers.items():
        entry = directory.entries.get(tag)
        letter = {BYTE: "B", SHORT: "H", LONG: "I"}.get(entry.type) if entry else None
        if entry is None or letter is None or entry.count != 1:
            continue
        if number < 256 ** struct.calcsize("<" + letter) and entry.position + 4 <= len(data):
            struct.pack_into(directory.order + letter, data, entry.position, number)
    return bytes(data)


def exif_from_tiff(page: Directory) -> bytes | None:
    """Return what a TIFF page says about the photograph as an EXIF block, None where it says nothing."""
    order = page.order
    main = {tag: value for tag, value in page.values().items() if tag in _DESCRIPTIVE}
    subs = {}
    for pointer in (EXIF_POINTER, GPS_POINTER):
        sub = page.sub_directory(pointer)
        values = sub.values() if sub else {}
        values.pop(INTEROP_POINTER, None)  # an offset into the file, which means nothing outside it
        if values:
            subs[pointer] = values
            main[pointer] = (LONG, bytes(4))
    if not main or any(kind > 12 for values in (main, *subs.values()) for kind, _ in values.values()):
        return None
    position = 8 + len(pack(main, 8, order))
    tail = b""
    for pointer, values in subs.items():
        main[pointer] = (LONG, struct.pack(order + "I", position + len(tail)))
        tail += pack(values, position + len(tail), order)
    return header(order, 8) + pack(main, 8, order) + tail


def turned(samples: Samples, orientation: int) -> Samples:
    """Return the samples (H, W, channels) upright, given the orientation (1 to 8) they were stored with."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)
