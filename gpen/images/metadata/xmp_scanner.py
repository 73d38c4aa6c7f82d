"""Scanning XMP packets: where the elements and attributes of one are, without changing any of its bytes.

A packet is XML (ISO 16684-1). Parsing and writing it again would change its bytes, so that only the places of single
values are looked up here. A packet that is damaged is read as far as it goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

GPEN = "https://github.com/gpen-face-restore/gpen-face-restore/ns/1.0/"
"""The namespace of what this program notes."""

_NAMESPACES = {
    GPEN.encode(): b"gpen",
    b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/": b"Iptc4xmpExt",
    b"adobe:ns:meta/": b"x",
    b"http://www.w3.org/1999/02/22-rdf-syntax-ns#": b"rdf",
    b"http://ns.adobe.com/tiff/1.0/": b"tiff",
    b"http://ns.adobe.com/exif/1.0/": b"exif",
    b"http://ns.adobe.com/xap/1.0/": b"xmp",
    b"http://ns.adobe.com/xmp/note/": b"xmpNote",
    b"http://ns.adobe.com/xap/1.0/sType/Dimensions#": b"stDim",
    b"http://ns.adobe.com/xmp/sType/Area#": b"stArea",
    b"http://ns.adobe.com/hdr-gain-map/1.0/": b"hdrgm",
    b"http://ns.apple.com/HDRGainMap/1.0/": b"HDRGainMap",
    b"http://ns.google.com/photos/1.0/camera/": b"GCamera",
    b"http://ns.google.com/photos/1.0/container/": b"Container",
    b"http://ns.google.com/photos/1.0/panorama/": b"GPano",
    b"http://ns.microsoft.com/photo/1.2/t/Region#": b"MPReg",
    b"http://purl.org/dc/terms/": b"dcterms",
    b"http://www.metadataworkinggroup.com/schemas/regions/": b"mwg-rs",
}
"""The usual prefixes; a packet may use others."""

TOP = (b"", b"rdf:RDF", b"x:xmpmeta")
"""Owners of a property that is one of the photo, not of a structure in it."""

_MOST_PARTS = 500_000  # elements and attributes; more than any editor writes, and looked at in about a second
_DEEPEST = 8  # elements above a value in which its owner is looked for
# None of these patterns is tried at more places than it can match from: their time grows as the packet does.
_TAG = re.compile(rb"<(/?)([^\s/<>=\"'!?]+)(?=[\s/>])([^<>\"']*(?:(?:\"[^\"]*\"|'[^']*')[^<>\"']*)*)>")
_ATTRIBUTE = re.compile(rb"(?<=\s)([^\s=<>\"'/]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
DECLARATION = re.compile(rb"xmlns:([^\s=<>\"']{1,64})\s{0,8}=\s{0,8}[\"']([^\"'<>]{1,128})[\"']")
"""A prefix and its namespace."""
_SKIPPED = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))


class Value(NamedTuple):
    """An attribute, or an element."""

    name: bytes
    """With the usual prefix."""
    owner: bytes
    """The name of the structure or element that it belongs to, other than rdf:Description."""
    group: int
    """Where that begins: the same for all that belongs to it."""
    start: int
    """Where the value begins."""
    end: int
    """Where it ends."""
    first: int
    """Where its name begins, with a space or bracket."""
    last: int
    """Where all of it ends."""


class _Element(NamedTuple):
    written: bytes
    name: bytes
    first: int
    start: int


class Edit(NamedTuple):
    """Text in place of another one."""

    start: int
    end: int
    text: bytes


def scan(packet: bytes, wanted: Callable[[bytes], bool]) -> tuple[list[Value], bool]:
    """The elements and attributes whose names, with the usual prefixes, are wanted.

    Also whether the packet is well-formed as far as its elements go.
    """
    prefixes = {prefix: _NAMESPACES.get(uri, prefix) for prefix, uri in DECLARATION.findall(packet)}

    def known(written: bytes) -> bytes:
        prefix, _, local = written.partition(b":")
        return b"%s:%s" % (prefixes.get(prefix, prefix), local) if local else written

    values: list[Value] = []
    try:
        for value in _parts(packet, known):
            if wanted(value.name):
                values.append(value)
    except ValueError:
        return values, False
    return values, True


def edited(packet: bytes, edits: Iterable[Edit]) -> bytes:
    """The packet with other text in some places; edits within a place that is edited already are dropped."""
    parts, end = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if edit.start >= end:  # not within what is removed
            parts += [packet[end : edit.start], edit.text]
            end = edit.end
    return b"".join([*parts, packet[end:]])


def _parts(packet: bytes, known: Callable[[bytes], bytes]) -> Iterator[Value]:
    """All attributes and elements; ValueError where the packet ends to be XML."""
    stack: list[_Element] = []
    position = count = 0
    while (position := packet.find(b"<", position)) >= 0:
        skipped = next((end for start, end in _SKIPPED if packet.startswith(start, position)), None)
        if skipped is not None:
            position = packet.index(skipped, position) + len(skipped)
            continue
        tag = _TAG.match(packet, position)
        count += 1
        if tag is None or count > _MOST_PARTS:
            raise ValueError("not XML, or too long")
        position = tag.end()
        if tag[1]:
            element = stack.pop() if stack else None
            if element is None or element.written != tag[2]:
                raise ValueError("elements overlap")
            yield Value(element.name, *_owner(stack), element.start, tag.start(), element.first, tag.end())
            continue
        element = _Element(tag[2], known(tag[2]), tag.start(), tag.end())
        owner = _owner([*stack[-_DEEPEST:], element])
        for attribute in _ATTRIBUTE.finditer(packet, tag.start(3), tag.end(3)):
            count += 1
            name = known(attribute[1])
            yield Value(
                name, *owner, attribute.start(2) + 1, attribute.end() - 1, attribute.start() - 1, attribute.end()
            )
        if tag[3].endswith(b"/"):
            yield Value(element.name, *_owner(stack), tag.end(), tag.end(), tag.start(), tag.end())
        else:
            stack.append(element)
    if stack or not count:
        raise ValueError("elements are missing, or not closed")


def _owner(stack: list[_Element]) -> tuple[bytes, int]:
    for element in reversed(stack[-_DEEPEST:]):
        if element.name != b"rdf:Description":
            return element.name, element.first
    return b"", 0
