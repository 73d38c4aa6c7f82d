"""What a picture file holds besides pixels, profile, EXIF and resolution, and what of it each format can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from . import xmp
from .photoshop import with_iptc

LARGEST = 1 << 25
"""Bytes that one kind of metadata may take in memory; more is left out."""

LONGEST_SEGMENT = 65533
"""The most bytes in a segment of a JPEG file."""

C2PA = "Its C2PA manifest (Content Credentials) is left out, because it does not hold for a changed photo."
"""Says that a manifest is left out."""

GAIN_MAP = "Its gain map, for screens with high dynamic range, is left out: it does not fit the changed photo."
"""Says that a gain map is left out."""

MOTION_PHOTO = "The video behind its picture (motion photo) is left out."
"""Says that the video of a motion photo is left out."""

DAMAGED_EXTENSION = "The extended part of its XMP is damaged or too long, and is left out."
"""Says that the rest of an XMP packet is left out."""

DAMAGED_RESOURCES = "Its IPTC and Photoshop data are damaged, and are kept only as far as they can be read."
"""Says that some of Photoshop's resources are left out."""

_COMMENT, _PARAMETERS = "text “Comment”", "text “parameters”"
_SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Metadata:
    """XMP, IPTC, comments and texts of a picture that is upright."""

    xmp: bytes | None = None
    """An XMP packet."""
    extended_xmp: bytes | None = None
    """The extended packet that it announces, in JPEG files."""
    iptc: bytes | None = None
    """An IPTC block (IIM records)."""
    resources: bytes | None = None
    """Photoshop's image resources, whole, which may hold the IPTC block as well."""
    comments: tuple[bytes, ...] = ()
    """Comments of JPEG and GIF files, and the texts named Comment of PNG files; UTF-8 or what the file has."""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    """Texts and other chunks of PNG files that hold for a changed picture too, by kind."""
    parameters: bytes | None = None
    """The text of that name among them: how a picture was generated, in UTF-8."""
    size: tuple[int, int] | None = None
    """Width and height of the upright photo that the XMP packet was written for; None if it holds for any."""
    notices: tuple[str, ...] = ()
    """In sentences, what of the file cannot be kept in any format."""


class Notes(NamedTuple):
    """A picture file, and what it holds besides its picture, as it is stored."""

    picture: bytes
    """The file without what its decoder does not need, and could stumble over."""
    metadata: Metadata
    """XMP, IPTC, comments and texts; and notices of what cannot be kept."""
    exif: bytes | None = None
    """An EXIF block in a text of PNG, as ImageMagick stores it."""


def upright_metadata(metadata: Metadata, turned: int, size: tuple[int, int]) -> Metadata:
    """The metadata for a photo that was rotated upright.

    turned: the orientation that it had, 1 to 8; size: its width and height as stored.
    """
    metadata = dataclasses.replace(metadata, size=size if turned < 5 else (size[1], size[0]))
    packet, extended = metadata.xmp, metadata.extended_xmp
    if packet is None:
        return metadata
    if C2PA not in metadata.notices and xmp.leads_to_manifest(packet):
        metadata = without(metadata, C2PA)
    packet = xmp.upright_xmp(packet, turned, size)
    if extended is not None:
        extended = xmp.upright_xmp(extended, turned, size)
        if xmp.merged(packet, extended) is None:
            packet, extended = xmp.without_extended(packet), None
            metadata = without(metadata, DAMAGED_EXTENSION)
    parts = [part for part in (packet, extended) if part is not None]
    if turned > 1 and any(map(xmp.leaves_regions, parts)):
        what = "Regions of IPTC in its XMP are not turned upright with the photo: their unit or a number is not known."
        metadata = without(metadata, what)
    if not all(map(xmp.is_whole, parts)):
        what = "Its XMP is damaged or too long, and is corrected only as far as it can be read."
        metadata = without(metadata, what)
    return dataclasses.replace(metadata, xmp=packet, extended_xmp=extended)


def fitted(metadata: Metadata, kind: str, size: tuple[int, int]) -> Metadata:
    """The metadata for a picture of that width and height, as a file of a format can hold it.

    kind: PNG, JPEG, WEBP or TIFF. ``notices`` say what is left out.
    """
    metadata = _sized(metadata, size)
    if metadata.extended_xmp is not None and kind != "JPEG":
        metadata = dataclasses.replace(metadata, xmp=one_packet(metadata), extended_xmp=None)
    fit = {"JPEG": _for_jpeg, "PNG": _for_png, "WEBP": _for_webp, "TIFF": _for_tiff}[kind]
    return fit(metadata)


def without_parameters(metadata: Metadata) -> Metadata:
    """The metadata without the text that says how the picture was generated."""
    kept = tuple(chunk for chunk in metadata.chunks if _name(*chunk) != _PARAMETERS)
    return dataclasses.replace(metadata, chunks=kept, parameters=None)


def without(metadata: Metadata, what: str, **fields: object) -> Metadata:
    """The metadata with other fields, and one more notice."""
    return dataclasses.replace(metadata, notices=(*metadata.notices, what), **fields)  # type: ignore[arg-type]


def without_notice(metadata: Metadata, what: str) -> Metadata:
    """The metadata without one of its notices."""
    return dataclasses.replace(metadata, notices=tuple(notice for notice in metadata.notices if notice != what))


def _sized(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    if metadata.xmp is None:
        return metadata
    before = metadata.size or size
    packet, extended = xmp.sized_xmp(metadata.xmp, size, before), metadata.extended_xmp
    if extended is not None:
        extended = xmp.sized_xmp(extended, size, before)
        packet = xmp.with_extended(packet, extended)
    return dataclasses.replace(metadata, xmp=packet, extended_xmp=extended, size=size)


def one_packet(metadata: Metadata) -> bytes:
    """The XMP packet, with what an extended one adds to it."""
    assert metadata.xmp is not None
    if metadata.extended_xmp is None:
        return metadata.xmp
    packet = xmp.merged(metadata.xmp, metadata.extended_xmp)
    assert packet is not None  # checked when it was made upright
    return packet


def _for_jpeg(metadata: Metadata) -> Metadata:
    metadata = dataclasses.replace(_without_chunks(metadata, "JPEG"), resources=_all_resources(metadata))
    too_long = [comment for comment in metadata.comments if len(comment) > LONGEST_SEGMENT]
    if too_long:
        rest = tuple(comment for comment in metadata.comments if len(comment) <= LONGEST_SEGMENT)
        metadata = without(metadata, "Its comment is longer than JPEG allows, and is left out.", comments=rest)
    return metadata


def _for_png(metadata: Metadata) -> Metadata:
    return dataclasses.replace(metadata, resources=_all_resources(metadata))


def _for_webp(metadata: Metadata) -> Metadata:
    metadata = _without_chunks(metadata, "WebP")
    if metadata.iptc or metadata.resources:
        notice = "Its IPTC and Photoshop data are left out, for which WebP has no place."
        metadata = without(metadata, notice, iptc=None, resources=None)
    if metadata.comments:
        metadata = without(metadata, "Its comment is left out, for which WebP has no place.", comments=())
    return metadata


def _for_tiff(metadata: Metadata) -> Metadata:
    return _without_chunks(metadata, "TIFF")


def _all_resources(metadata: Metadata) -> bytes | None:
    return with_iptc(metadata.resources, metadata.iptc)


def _without_chunks(metadata: Metadata, format_name: str) -> Metadata:
    """Without what only PNG holds, apart from comments, which are in ``comments`` as well."""
    names = [_name(kind, body) for kind, body in metadata.chunks]
    names = [name for name in dict.fromkeys(names) if name != _COMMENT]
    if not names:
        return dataclasses.replace(metadata, chunks=())
    notice = f"{shown(names)} {'is' if len(names) == 1 else 'are'} left out, for which {format_name} has no place."
    return without(metadata, f"Its {notice}", chunks=())


def _name(kind: bytes, body: bytes) -> str:
    if kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return f"chunk {kind.decode('latin-1')}"
    return f"text “{printable(body[:79].split(bytes(1))[0])}”"


def printable(name: bytes) -> str:
    """A name from a file, for a message."""
    text = name.decode("latin-1")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def shown(names: Sequence[str]) -> str:
    """Some names in a sentence, such as "a, b and c"."""
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    listed = [*names[:_SHOWN], *more]
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
