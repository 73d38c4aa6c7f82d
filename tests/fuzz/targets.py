"""What is attacked: each target makes an input from random numbers, and returns the calls that take it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from gpen.errors import PhotoError
from tests.fuzz.mutators import NUMBERS, WORDS, changed, changed_bytes, changed_json_text, zip_of

Calls = list[Callable[[], object]]


@dataclass(frozen=True)
class FileInput:
    """An input that is one file."""

    make: Callable[[Random], bytes]
    """A file that is damaged or made up."""
    take: Callable[[bytes, Random, Path], Calls]
    """Writes it into a folder, and returns what is then done with it."""
    change: Callable[[Random, bytes], bytes] = changed
    """Another file, from one that was found to be of interest."""

    def __call__(self, rng: Random, folder: Path) -> Calls:
        return self.take(self.make(rng), rng, folder)


@dataclass(frozen=True)
class Target:
    """One way in."""

    name: str
    inputs: int
    """How many the test takes."""
    make: FileInput | Callable[[Random, Path], Calls]
    """Writes an input into a folder, and returns what is then done with it."""
    memory: int = 2 << 30
    """Bytes that the process may have."""
    needs: tuple[str, ...] = ()
    """Packages that are optional."""

    @property
    def missing(self) -> list[str]:
        """Those of the packages that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


def _weight_file(rng: Random) -> bytes:
    from tests.fuzz.weight_files import gpen_files, names_of_gpen, of_any_shape, of_shared_parts

    kind = rng.random()
    if kind < 0.6:
        return changed(rng, rng.choice(gpen_files()))
    return of_shared_parts(rng) if kind < 0.8 else of_any_shape(rng, names_of_gpen())


def _weights(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.weights.checkpoint import inspect, load_model
    from gpen.weights.convert import convert

    path, target = folder / "a.pth", folder / "b.safetensors"
    path.write_bytes(data)
    half = rng.random() < 0.3
    return [
        lambda: inspect(path),
        lambda: load_model(path),
        lambda: convert(path, target, half=half, overwrite=True),
    ]


def _network_file(rng: Random) -> bytes:
    from tests.fuzz.weight_files import gpen_files, names_of_others, of_any_shape, of_shared_parts, other_files

    kind = rng.random()
    if kind < 0.5:
        return changed(rng, rng.choice((*other_files(), gpen_files()[0])))
    return of_shared_parts(rng) if kind < 0.6 else of_any_shape(rng, names_of_others())


def _networks(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.compare.models import load_face_model
    from gpen.restoration.upscaler import load_upscaler

    path = folder / "a.pth"
    path.write_bytes(data)
    return [lambda: load_upscaler(path), lambda: load_face_model(path)]


def _small_network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def _part_file(rng: Random) -> bytes:
    from tests.fuzz.weight_files import names_of_others, of_any_shape, of_shared_parts, saved
    from tests.weights.onnx.test_wire import written

    kind = rng.random()
    if kind < 0.5:
        return changed(rng, saved(_small_network().state_dict()))
    if kind < 0.7:
        return changed_bytes(rng, written())
    return of_shared_parts(rng) if kind < 0.85 else of_any_shape(rng, ["0.weight", "1.bias", *names_of_others()])


def _parts(data: bytes, rng: Random, folder: Path) -> Calls:
    """The files of detectors, parsers and recognisers."""
    from gpen.faces.detection.yunet_weights import load_yunet
    from gpen.faces.facexlib import load_weights
    from gpen.faces.recognition.sface import SFaceRecognizer

    network = _small_network()
    path = folder / "a.pth"
    path.write_bytes(data)
    return [
        lambda: load_weights(network, path, "a small network"),
        lambda: load_yunet(path),
        lambda: SFaceRecognizer(path),
    ]


def _detector_file(rng: Random) -> bytes:
    from tests.fuzz.weight_files import detector_files

    return changed(rng, rng.choice(detector_files()))


def _detectors(data: bytes, rng: Random, folder: Path) -> Calls:
    """Files for RetinaFace, and what the networks in them find."""
    import torch

    from gpen.faces.detection.retinaface import RetinaFace

    path = folder / "detection_mobilenet0.25_Final.pth"
    path.write_bytes(data)

    def find() -> None:
        detector = RetinaFace("retinaface_mobile0.25", path)
        detector.find([torch.full((32, 40, 3), 0.5)], 0.3)

    return [find]


def _parser_file(rng: Random) -> bytes:
    """For ParseNet, which has fewer channels here: as it is published it takes 85 MB."""
    from tests.fuzz.weight_files import parser_files

    return changed(rng, rng.choice(parser_files()))


def _parsers(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.faces.masks.parsing import FaceParser

    path = folder / "parsing_parsenet.pth"
    path.write_bytes(data)
    return [lambda: FaceParser("parsenet", path)]


def _graph(rng: Random) -> bytes:
    from tests.fuzz.onnx_files import changed_graph, exported

    return changed_graph(rng, rng.choice(exported()))


def _changed_graph(rng: Random, data: bytes) -> bytes:
    import onnx
    from google.protobuf.message import DecodeError

    from tests.fuzz.onnx_files import changed_graph

    try:
        return changed_graph(rng, onnx.load_model_from_string(data))
    except DecodeError:
        return changed_bytes(rng, data)


def _graphs(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.weights.checkpoint import inspect
    from gpen.weights.convert import convert

    path = folder / "a.onnx"
    path.write_bytes(data)
    (folder / "w.data").write_bytes(bytes(100_000))
    return [lambda: inspect(path), lambda: convert(path, folder / "b.safetensors", overwrite=True)]


def _occluder_file(rng: Random) -> bytes:
    from tests.fuzz.onnx_files import occluder

    return rng.choice((changed_bytes, _changed_graph))(rng, occluder())


def _occluders(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.faces.masks.occlusion import OcclusionModel

    path = folder / "xseg_1.onnx"
    path.write_bytes(data)
    return [lambda: OcclusionModel(path)]


def _picture_file(rng: Random) -> bytes:
    from tests.fuzz.picture_files import pictures

    return _changed_picture(rng, rng.choice(pictures()))


def _changed_picture(rng: Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = changed_bytes(rng, data)
    return data


def _pictures(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.images import read_picture

    path = folder / "a.png"
    path.write_bytes(data)
    salvage = rng.random() < 0.5

    def read() -> None:
        try:
            read_picture(path, 1.0, salvage=salvage)
        except PhotoError as error:
            if "does not fit into memory" in str(error):
                # The process has more than a picture of a megapixel can need.
                raise MemoryError from error
            raise

    return [read]


_FACE = {"box": [10, 10, 40, 50], "score": 0.9, "landmarks": [[20, 20], [30, 20], [25, 30], [20, 40], [30, 40]]}
_FACES = {
    "format": "gpen-faces",
    "version": 1,
    "photos": [{"path": "a/b.png", "width": 64, "height": 64, "faces": [_FACE]}],
}
_REPORTED = {"path": "a.png", "output": "b.png", "status": "restored", "message": "m", "faces": [{"number": 0} | _FACE]}
_REPORTED |= {"skipped": [{"number": 1, "why": "w"} | _FACE], "seconds": 1.0, "left_out": ["x"]}
_JOURNAL = {"run": "r", "attempts": 1, "before": None, "writer": ".gpen-12345678-1-", "entry": _REPORTED}
_RECORD = [{"run": "r", "recipe": {"task": "restore"}}, {"run": "r", "file": "b.png", "state": [1, 2]}]


def _texts(rng: Random, folder: Path) -> Calls:
    """Faces files, reports, journals, records and notes."""
    from gpen.batch.plan import Job, PhotoFile
    from gpen.batch.ray.journal import Journal
    from gpen.batch.report import PhotoResult, Status, write_report
    from gpen.batch.resume import RECORD, ResumeRecord
    from gpen.faces.faces_file import FacesFromFile
    from gpen.weights.partial_download import Part

    path, results = folder / "a.json", folder / "results"
    job = Job(PhotoFile(folder / "a.png", "a.png"), folder / "b.png", "b")
    job.target.write_bytes(b"a result")
    journal = Journal(results, "r")
    journal.open()
    entry = journal._path(job)

    def text(value: Any) -> bytes:
        data = json.dumps(value).encode()
        for _ in range(rng.choice((1, 2, 3))):
            data = changed_json_text(rng, data) if rng.random() < 0.8 else changed_bytes(rng, data)
        return data

    path.write_bytes(text(_FACES))
    (folder / "report.json").write_bytes(text([_REPORTED]))
    entry.write_bytes(text(_JOURNAL))
    (results / RECORD).write_bytes(b"\n".join(text(line) for line in _RECORD))
    (folder / "part.json").write_bytes(text({"address": "https://a", "validator": None, "total": 3}))

    def look_up() -> None:
        FacesFromFile(path).faces_for("x/a/b.png", 64, 64)

    def record() -> None:
        ResumeRecord(results, {"task": "restore"}).add(PhotoResult(job, Status.EXISTS, "there"))

    return [
        look_up,
        lambda: write_report(folder / "report.json", [job], [PhotoResult(job, Status.EXISTS, "there")]),
        lambda: journal.done(job, earlier=True),
        record,
        lambda: Part(folder / "part").origin(),
    ]


def _upload(rng: Random) -> bytes:
    names = ("a.png", "b/c.jpg", "ä.png", "", "/", "..", "a/../../b.png", "C:\\x.png", "a" * 300 + ".png", "x\0.png")
    records = [(rng.choice(names), rng.randbytes(rng.choice((0, 1, 1000)))) for _ in range(rng.randrange(1, 5))]
    return changed(rng, zip_of(records))


def _uploads(data: bytes, rng: Random, folder: Path) -> Calls:
    from gpen.app.uploads import gather

    packed = folder / "a.zip"
    packed.write_bytes(data)
    return [lambda: gather([packed], folder / "unpacked", 1 << 20)]


def _options(rng: Random, folder: Path) -> Calls:
    from gpen.options import OPTIONS, Options, parse_face_numbers

    values = (
        *NUMBERS,
        *WORDS,
        *("0-9" * 500, "0," * 2000, "5-2", None, True, 1.5, float("nan"), [], {}, "all", "auto"),
    )
    given = {rng.choice(list(OPTIONS)): rng.choice(values) for _ in range(rng.randrange(1, 4))}
    few = rng.choice((("0", "1-5", "0-9999"), ("0", "1-5", "0-9999"), ("7", "9-1", "", "\u0663", "-1")))
    numbers = ",".join(rng.choice(few) for _ in range(rng.randrange(400)))
    return [lambda: Options(**given), lambda: parse_face_numbers(numbers)]


def _page(rng: Random, folder: Path) -> Calls:
    from tests.fuzz.page_requests import request

    return [request(rng, folder)]


_ONNX = ("onnx", "onnxruntime")

TARGETS = {
    target.name: target
    for target in (
        Target("weights", 1500, FileInput(_weight_file, _weights)),
        Target("networks", 500, FileInput(_network_file, _networks), needs=("spandrel",)),
        Target("parts", 1000, FileInput(_part_file, _parts)),
        Target("detectors", 120, FileInput(_detector_file, _detectors), needs=("facexlib",)),
        Target("parsers", 200, FileInput(_parser_file, _parsers), needs=("facexlib",)),
        Target("graphs", 120, FileInput(_graph, _graphs, _changed_graph), needs=_ONNX),
        Target("occluders", 120, FileInput(_occluder_file, _occluders, _changed_graph), needs=_ONNX),
        Target(
            "pictures",
            2500,
            FileInput(_picture_file, _pictures, _changed_picture),
            memory=1 << 30,
            needs=("pillow_heif", "imagecodecs"),
        ),
        Target("texts", 800, _texts),
        Target("uploads", 1000, FileInput(_upload, _uploads)),
        Target("options", 1500, _options),
        Target("page", 200, _page, needs=("gradio",)),
    )
}
"""The numbers of inputs are chosen so that all take four minutes or so of one core."""
