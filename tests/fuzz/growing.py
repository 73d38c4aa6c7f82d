"""Inputs of any size that once took more than their share: each grows with a number, and so may only its cost."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from gpen.weights.onnx.constants import Node
from gpen.weights.onnx.writer import write_model
from tests.weights.test_budgets import (
    as_zip,
    doubling,
    long_arguments,
    many_under_a_long_name,
    namespace_copies,
    one_dict_under_many_names,
    ordered_dict_copies,
    persistent_id,
    text,
)

Call = Callable[[], object]


def _pickle(data: Callable[[int], bytes]) -> Callable[[int, Path], Call]:
    def make(size: int, folder: Path) -> Call:
        from gpen.weights.checkpoint import inspect

        path = folder / "a.pth"
        path.write_bytes(as_zip(data(size), **{"0": bytes(4)}))
        return lambda: inspect(path)

    return make


def _safetensors(header: Callable[[int], dict[str, object]]) -> Callable[[int, Path], Call]:
    def make(size: int, folder: Path) -> Call:
        from gpen.weights.checkpoint import inspect

        packed = json.dumps(header(size)).encode()
        path = folder / "a.safetensors"
        path.write_bytes(struct.pack("<Q", len(packed)) + packed)
        return lambda: inspect(path)

    return make


def _empty(name: str) -> dict[str, object]:
    return {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}


def _long_names(size: int) -> dict[str, object]:
    """The names of a regular expression's worst case: what is GPEN's, again and again."""
    return _empty("generator.style.x" * size + "\n\n") | _empty("module." * size) | _empty("ecd1.0.1." * size)


def _graph(model: Callable[[int], bytes]) -> Callable[[int, Path], Call]:
    def make(size: int, folder: Path) -> Call:
        from gpen.weights.onnx.network import read_network

        path = folder / "a.onnx"
        path.write_bytes(model(size))
        return lambda: read_network(path)

    return make


def _named_graph(size: int) -> bytes:
    import onnx

    model = onnx.load_model_from_string(_chain(1))
    tensor = onnx.helper.make_tensor("generator.style.x" * size + "\n\n", onnx.TensorProto.FLOAT, [1], [1.0])
    model.graph.initializer.append(tensor)
    return bytes(model.SerializeToString())


def _chain(size: int) -> bytes:
    nodes = [Node("Identity", (f"v{number}",), (f"v{number + 1}",), {}) for number in range(size)]
    return write_model(nodes, {}, {"v0": (1, 3, 16, 16)}, {f"v{size}": (1, 3, 16, 16)})


def _sums(size: int) -> bytes:
    """Each is the sum of the one before and itself: as many terms as 2^size, if they are counted."""
    nodes = [Node("Add", (f"v{number}", f"v{number}"), (f"v{number + 1}",), {}) for number in range(size)]
    return write_model(nodes, {}, {"v0": (1, 3, 16, 16)}, {f"v{size}": (1, 3, 16, 16)})


def _wire(size: int, folder: Path) -> Call:
    from gpen.faces.detection.yunet_weights import load_yunet

    # A tensor whose values come byte by byte.
    path = folder / "a.onnx"
    tensor = b"\x10\x01" + b"\x4a\x01\0" * size
    graph = b"\x2a" + _length(len(tensor)) + tensor
    path.write_bytes(b"\x08\x07\x3a" + _length(len(graph)) + graph)
    return lambda: load_yunet(path)


def _length(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _faces(size: int, folder: Path) -> Call:
    from gpen.faces.faces_file import FacesFromFile

    path = folder / "faces.json"
    photos = [{"path": f"f{number}/a.png", "width": 8, "height": 8, "faces": []} for number in range(size)]
    path.write_text(json.dumps({"format": "gpen-faces", "version": 1, "photos": photos}))

    def look_up() -> None:
        listed = FacesFromFile(path)
        for number in range(size):
            listed.faces_for(f"/photos/f{number}/a.png", 8, 8)

    return look_up


def _numbers(size: int, folder: Path) -> Call:
    from gpen.options import parse_face_numbers

    return lambda: parse_face_numbers(",".join([f"0-{1000 * size}"] * size))


def _zip(name: Callable[[int], str]) -> Callable[[int, Path], Call]:
    def make(size: int, folder: Path) -> Call:
        from gpen.app.uploads import gather

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as file, warnings.catch_warnings(action="ignore"):
            for number in range(size):
                file.writestr(name(number), b"a picture")
        (folder / "a.zip").write_bytes(packed.getvalue())
        tries = count()
        return lambda: gather([folder / "a.zip"], folder / f"unpacked{next(tries)}", 1 << 30)

    return make


def _picture(data: Callable[[int], bytes]) -> Callable[[int, Path], Call]:
    def make(size: int, folder: Path) -> Call:
        from gpen.images import read_picture

        path = folder / "a.png"
        path.write_bytes(data(size))
        return lambda: read_picture(path, 1.0)

    return make


def _chunks(size: int) -> bytes:
    from tests.files import saved, with_chunks

    return with_chunks(saved("PNG"), [(b"tEXt", b"a\0b")] * size)


def _segments(size: int) -> bytes:
    from tests.files import saved, with_segments

    return with_segments(saved("JPEG"), [(0xFE, b"a comment")] * size)


def _xmp(size: int) -> bytes:
    from tests.files import XMP_HEAD, saved, with_segments

    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a b='" * (size // 2) + b"<rdf:li>" * (size // 2)
    return with_segments(saved("JPEG"), [(0xE1, XMP_HEAD + packet[:60_000])])


GROWING: dict[str, tuple[int, Callable[[int, Path], Call]]] = {
    "names of code": (4000, _pickle(lambda size: b"".join(b"ca\nb%d\n" % number for number in range(size)) + b".")),
    "copies of a dict": (200, _pickle(lambda size: ordered_dict_copies(500, size))),
    "copies of a namespace": (300, _pickle(lambda size: namespace_copies(500, size))),
    "persistent ids": (2000, _pickle(lambda size: persistent_id(size, size))),
    "arguments": (2000, _pickle(lambda size: long_arguments(size, size))),
    "one dict under many names": (2000, _pickle(lambda size: one_dict_under_many_names(size, size))),
    "tensors under a long name": (4000, _pickle(lambda size: many_under_a_long_name(size, 100 * size))),
    "nested tuples": (20, _pickle(lambda size: doubling(size) + text("b") + b"\x93.")),
    "tensors": (2000, _safetensors(lambda size: dict(item for n in range(size) for item in _empty(f"t{n}").items()))),
    "long names of tensors": (4000, _safetensors(_long_names)),
    "a long name in a graph": (4000, _graph(_named_graph)),
    "operations in a row": (5000, _graph(_chain)),
    "sums of sums": (40, _graph(_sums)),
    "a tensor byte by byte": (10_000, _wire),
    "photos of a faces file": (1500, _faces),
    "ranges of faces": (60, _numbers),
    "pictures in a zip": (500, _zip(lambda number: f"a/{number}.png")),
    "pictures of the same name in a zip": (700, _zip(lambda _: "a.png")),
    "chunks of a PNG": (20_000, _picture(_chunks)),
    "segments of a JPEG": (5000, _picture(_segments)),
    "an unfinished XMP packet": (2000, _picture(_xmp)),
}
"""By what grows: a size, and what makes a call for it."""
