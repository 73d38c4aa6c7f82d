"""A note in a picture's XMP of what a network changed in it.

Sources: IPTC Photo Metadata Standard 2023.1, "Digital Source Type"; ISO 16684-1 for the structures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from .metadata import Metadata, one_packet, without
from .xmp_scanner import GPEN, TOP, Edit, edited, scan

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""Digital source type of a photo with parts that a trained network made."""

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""Digital source type of a picture that a trained network made as a whole."""

NO_PLACE = "No note of the restoration is written: its XMP is damaged."
"""Says that a packet cannot take the note."""

_SOURCE_TYPE, _HISTORY, _LIST, _ROOT = b"Iptc4xmpExt:DigitalSourceType", b"gpen:History", b"rdf:Seq", b"rdf:RDF"
_SPACES = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
_OWN_SPACES = f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:gpen="{GPEN}"'
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF {_SPACES}>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
).encode()


@dataclass(frozen=True)
class UsedNetwork:
    """A network that made a part of a picture."""

    name: str
    """The name of its file, without a folder."""
    part: str
    """What it made: "faces" or "background"."""
    sha256: str | None = None
    """Of its file, 64 hex digits; None if that cannot be read any more, or has changed since."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was done to a picture. Names of people and paths have no place in it."""

    software: str
    """Name and version of this program."""
    task: str
    """Name of the task."""
    networks: tuple[UsedNetwork, ...]
    """The networks, in the order of their first use."""
    options: Mapping[str, bool | int | float | str]
    """The task's options; their names are names in XML, too."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Left, top, width and height of each face that was changed, as shares of the picture, 0 to 1."""
    is_generated: bool = False
    """Whether nothing of the picture was there before."""


def with_provenance(metadata: Metadata, note: Provenance) -> Metadata:
    """The metadata with a note in its XMP packet, after those of earlier runs.

    A picture that was generated stays called so. A notice says that a damaged packet cannot take the note.
    """
    metadata = _with_one_packet(metadata)
    packet = metadata.xmp or _EMPTY
    values, is_whole = scan(packet, (_SOURCE_TYPE, _HISTORY, _LIST, _ROOT).__contains__)
    root = next((value for value in values if value.name == _ROOT and value.last > value.end), None)
    if root is None or not is_whole:
        return without(metadata, NO_PLACE)
    source = GENERATED if note.is_generated else COMPOSITE
    stated = [value for value in values if value.name == _SOURCE_TYPE and value.owner in TOP]
    is_stated = False
    edits = list[Edit]()
    for value in stated:
        if GENERATED.encode() in packet[value.first : value.last]:
            is_stated = True
        elif value.end == value.start:  # empty, or with an attribute in place of text
            edits.append(Edit(value.first, value.last, b""))
        else:
            is_stated = True
            edits.append(Edit(value.start, value.end, source.encode()))
    earlier = next((value for value in values if value.name == _LIST and value.owner == _HISTORY), None)
    new = [] if is_stated else [_element(_SOURCE_TYPE.decode(), source)]
    if earlier is None or earlier.last == earlier.end:
        new.append(f"<gpen:History><rdf:Seq>{_entry(note)}</rdf:Seq></gpen:History>")
        edits += [Edit(value.first, value.last, b"") for value in values if value.name == _HISTORY]
    else:
        # Another program may have written the packet anew, with other prefixes.
        text = _entry(note, f' {_SPACES} xmlns:gpen="{GPEN}"')
        edits.append(Edit(earlier.end, earlier.end, text.encode()))
    if new:
        text = f'<rdf:Description rdf:about="" {_SPACES} {_OWN_SPACES}>{"".join(new)}</rdf:Description>\n'
        edits.append(Edit(root.end, root.end, text.encode()))
    return dataclasses.replace(metadata, xmp=edited(packet, edits))


def _with_one_packet(metadata: Metadata) -> Metadata:
    """One packet where an extended one holds what may be there only once."""
    extended = metadata.extended_xmp
    if extended is None or not any(name in extended for name in (b"DigitalSourceType", GPEN.encode())):
        return metadata
    return dataclasses.replace(metadata, xmp=one_packet(metadata), extended_xmp=None)


def _entry(note: Provenance, spaces: str = "") -> str:
    networks = "".join(
        _struct("rdf:li", {"Name": used.name, "Part": used.part} | ({"SHA256": used.sha256} if used.sha256 else {}))
        for used in note.networks
    )
    boxes = "".join(_struct("rdf:li", {"Rectangle": ", ".join(f"{part:.5f}" for part in box)}) for box in note.boxes)
    return "".join(
        (
            f'<rdf:li{spaces} rdf:parseType="Resource">',
            _element("gpen:Software", note.software),
            _element("gpen:Task", note.task),
            f"<gpen:Networks><rdf:Seq>{networks}</rdf:Seq></gpen:Networks>",
            _struct("gpen:Options", {name: _shown(value) for name, value in note.options.items()}),
            f"<gpen:Faces><rdf:Seq>{boxes}</rdf:Seq></gpen:Faces>" if boxes else "",
            "</rdf:li>",
        )
    )


def _struct(name: str, fields: Mapping[str, str]) -> str:
    content = "".join(_element(f"gpen:{field}", text) for field, text in fields.items())
    return f'<{name} rdf:parseType="Resource">{content}</{name}>'


def _element(name: str, text: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"<{name}>{escape(printable)}</{name}>"


def _shown(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "True" if value else "False"  # as XMP writes them
    return f"{value:.10g}" if isinstance(value, float) else str(value)
