"""The measurements of bench/scaling.py, each part in a process of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from gpen.batch.faces import ListedFaces
from gpen.batch.plan import Job, plan
from gpen.batch.prefetch import PrefetchPipeline, worker_count
from gpen.batch.stages import LoadedPhoto, OutputOptions, PhotoProcessor, ProcessedPhoto
from gpen.errors import GpenError
from gpen.faces.detection.detector import make_detector
from gpen.faces.face import Face
from gpen.faces.faces_file import FacesFromFile, PhotoFaces, write_faces
from gpen.faces.selection.select import FaceChoice
from gpen.images import Picture, write_picture
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.restoration.components import Components
from gpen.tasks import RESTORE
from gpen.weights.checkpoint import Model, load_model

from .measure import PeakMemory, published_spec, random_weights, threads
from .worker import measured_once

ROUNDS = 3
SIZES = (256, 512, 1024, 2048)
FACES = (1, 2, 4, 8, 16)
MEGAPIXELS = (0.75, 3, 12, 24, 48)
PHOTOS = 1000
MARKS = (10, 100, 250, 500, 750, 1000)
SMALL = Spec(64, 64, channel_multiplier=2, narrow=1 / 16, style_dim=16, n_mlp=2)
GPU_SECONDS = 1.0
SHARED = Path(__file__).resolve().parents[2] / "shared" / "weights"


def size(pixels: int) -> dict[str, Any]:
    """One face through the published network: seconds on all threads and on one, megabytes above the weights."""
    model = published(pixels)
    crop = torch.rand(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(0)) * 2 - 1
    peak = PeakMemory()
    teams = [threads(), 1] if pixels <= 512 else [threads()]
    rounds = [[_threaded(team, model, crop) for team in teams] for _ in range(ROUNDS)]
    seconds, *alone = map(statistics.median, zip(*rounds, strict=True))
    return {
        "size": pixels,
        "seconds": seconds,
        "one_thread": alone[0] if alone else None,
        "megabytes": peak.above() / 1e6,
    }


def faces() -> list[dict[str, Any]]:
    """A photo of 1328 x 568 pixels with more and more faces, network 256."""
    model = published(256)
    photo = _photo(1328, 568)
    grid = [_face(20 + 80 * n, 60 + 20 * n, 70) for n in range(max(FACES))]
    restore(photo, model, grid[:1])
    rounds = [[_seconds(lambda n=n: restore(photo, model, grid[:n])) for n in FACES] for _ in range(ROUNDS)]
    crop = torch.rand(1, 3, 256, 256)
    alone = statistics.median(_seconds(lambda: model(crop)) for _ in range(3 * ROUNDS))
    medians = map(statistics.median, zip(*rounds, strict=True))
    return [{"faces": n, "seconds": taken, "network": n * alone} for n, taken in zip(FACES, medians, strict=True)]


def canvas(sizes: Sequence[float] = MEGAPIXELS) -> list[dict[str, Any]]:
    """JPEG files of these sizes, in megapixels, with one face; everything but the network, which returns its input."""
    return [_canvas(megapixels) for megapixels in sizes]


def photographs() -> dict[str, Any]:
    """`gpen restore` on 1,000 photos: elapsed seconds and resident megabytes after some numbers of photos."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _files(folder, PHOTOS, 640, 480)
        torch.save(synthetic_weights(SMALL), folder / "small.pth")
        command = [sys.executable, "-m", "gpen", "restore", folder / "photos", "-o", folder / "out"]
        command += ["--models-path", folder, "--model", "small", "--faces", folder / "faces.json"]
        command += ["--report", folder / "report.json"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        done, marks, start = 0, [], 0.0
        for line in process.stdout:
            if " -> " not in line:
                continue
            done += 1
            start = start or time.perf_counter()
            if done in MARKS:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
                marks.append({"done": done, "seconds": time.perf_counter() - start, "megabytes": megabytes})
        if process.wait() or done != PHOTOS:
            raise SystemExit("gpen restore failed")
    return {"marks": marks}


def overlap() -> list[dict[str, Any]]:
    """Photos through the prefetch pipeline, and stage by stage, in turns."""
    small, large = (1024, 768, 12), (4000, 3000, 4)
    return [
        _overlap("network 256 on the CPU", published(256), *small),
        _overlap("network 256 on the CPU", published(256), *large),
        _overlap(f"a fake that only waits {GPU_SECONDS:g} s, as for a GPU", _Waiting(), *large),
    ]


def ray() -> dict[str, Any]:
    """Photos per second of one and of two Ray workers with one CPU each, once all are loaded."""
    from gpen.batch.config import RunConfig
    from gpen.batch.ray.engine import RayEngine

    number = 120
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _files(folder, number, 1024, 768)
        weights = folder / "random.pth"
        torch.save(random_weights(published_spec(256)), weights)
        rates = {}
        for workers in (1, 2):
            jobs, _ = plan([str(folder / "photos")], folder / f"out{workers}")
            config = RunConfig(weights=weights, options=Options(), faces=folder / "faces.json")
            engine = RayEngine(config, folder / f"out{workers}", workers, 1)
            moments: list[float] = []
            note = moments.append
            engine.run(jobs, lambda job: lambda *_: None, lambda result, note=note: note(time.perf_counter()))
            engine.close()
            # Counted from when every worker has had its first photos.
            first = number // 3
            rates[workers] = (number - first) / (moments[-1] - moments[first - 1])
    return {"rates": rates}


class _Waiting(Model):
    """Uses no core while it works, like a network on a GPU; its output is its input."""

    def __init__(self) -> None:
        super().__init__(GPEN(SMALL), "restore", Path("waiting"))

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        time.sleep(GPU_SECONDS)
        return pictures


class _Instant(_Waiting):
    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures


def published(pixels: int) -> Model:
    """Random weights, made by another process: memory freed here would be reused, and missing in the peak."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "random.safetensors"
        measured_once("networks.write", pixels, str(path))
        model = load_model(path)
        for tensor in model.network.state_dict().values():
            tensor.sum()  # reads weights that are still in the file
    return model


def _processor(model: Model, folder: Path) -> PhotoProcessor:
    """For the photos in a folder, with the faces in folder/faces.json."""
    faces = ListedFaces(FacesFromFile(folder / "faces.json"), FaceChoice())
    return PhotoProcessor(RESTORE, Components(model=model), faces, Options(), OutputOptions(overwrite=True))


def _canvas(megapixels: float) -> dict[str, Any]:
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = _files(folder, 1, width, height)
        processor = _processor(_Instant(), folder)
        steps: dict[str, list[float]] = {"read": [], "restore": [], "write": [], "detect": []}
        detector = _yunet()
        for _ in range(ROUNDS):
            loaded = _timed(steps["read"], lambda: processor.read(jobs[0]))
            assert isinstance(loaded, LoadedPhoto)
            if detector is not None and not steps["detect"]:  # once: it takes longer than all the others
                photo = loaded.picture.photo
                _timed(steps["detect"], lambda photo=photo: detector.detect(photo))
            processed = _timed(steps["restore"], lambda loaded=loaded: processor.process(loaded))
            assert isinstance(processed, ProcessedPhoto)
            _timed(steps["write"], lambda processed=processed: processor.write(processed))
    return {"megapixels": megapixels} | {name: statistics.median(t) for name, t in steps.items() if t}


def _overlap(what: str, model: Model, width: int, height: int, number: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = _files(folder, number, width, height)
        processor = _processor(model, folder)
        workers = worker_count("cpu", threads())

        def one_after_the_other() -> None:
            for job in jobs:
                loaded = processor.read(job)
                assert isinstance(loaded, LoadedPhoto)
                processed = processor.process(loaded)
                assert isinstance(processed, ProcessedPhoto)
                processor.write(processed)

        def side_by_side() -> None:
            PrefetchPipeline(processor, workers).run(jobs, lambda job: lambda *_: None, lambda result: None)

        rounds = [(_seconds(one_after_the_other), _seconds(side_by_side)) for _ in range(ROUNDS)]
    before, after = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    megapixels = width * height / 1e6
    return {
        "what": what,
        "megapixels": megapixels,
        "photographs": number,
        "before": before,
        "after": after,
        "ratio": ratio,
    }


def _files(folder: Path, number: int, width: int, height: int) -> list[Job]:
    """The same JPEG file under several names in folder/photos, each listed with one face in folder/faces.json."""
    photos = folder / "photos"
    photos.mkdir()
    first = photos / "0000.jpg"
    write_picture(first, Picture(_photo(width, height)))
    face = _face(0.4 * width, 0.3 * height, 0.3 * height)
    entries = []
    for index in range(number):
        path = photos / f"{index:04d}.jpg"
        if index:
            path.write_bytes(first.read_bytes())
        entries.append(PhotoFaces(path.name, width, height, (face,)))
    write_faces(folder / "faces.json", entries)
    return plan([str(photos)], folder / "out")[0]


def _photo(width: int, height: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Soft shapes with a camera's noise, so that the JPEG file is about as large as usual."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0.2, 0.8, (12, 16, 3)).astype(np.float32)
    photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    noise = rng.normal(0, 0.02, (512, 512, 3)).astype(np.float32)
    for y in range(0, height, 512):
        for x in range(0, width, 512):
            part = photo[y : y + 512, x : x + 512]
            part += noise[: part.shape[0], : part.shape[1]]
    return np.clip(photo, 0, 1)


def _face(x: float, y: float, side: float) -> Face:
    points = np.array([(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)])
    return Face((x, y, x + side, y + side), 0.9, points * side + (x, y))


def _yunet() -> Any:
    """YuNet, if its file is in a searched folder or beside the checkout; else None."""
    try:
        return make_detector("yunet", [SHARED])
    except GpenError as error:
        print(f"Detection is not measured: {error}", file=sys.stderr)
        return None


def _threaded(number: int, model: Model, crop: torch.Tensor) -> float:
    torch.set_num_threads(number)
    return _seconds(lambda: model(crop))


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _timed(times: list[float], call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    times.append(time.perf_counter() - start)
    return result
