"""Subjects for :mod:`bench.worker`: a whole photo, and the same faces pasted into a much larger one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from gpen.faces.face import Face

from .measure import seconds, threads
from .worker import ROOT, Measure

SHARED = ROOT.parent / "shared"
PHOTO = SHARED / "photos" / "Solvay_conference_1927.png"
DETECTORS = SHARED / "weights"
SIZE = 512
LARGE_CANVAS = (4000, 6000)
"""Height and width: 24 megapixels."""


def restored(weights: str) -> Measure:
    """The whole photo, without decoding and encoding: seconds in the network, and in everything else."""
    import torch

    import gpen
    from gpen.weights.checkpoint import Model

    torch.set_num_threads(threads())
    model = gpen.load_model(weights)
    detector = gpen.make_detector("yunet", [DETECTORS])
    photo = gpen.read_picture(PHOTO, max_megapixels=200).photo
    gpen.restore(photo, model, detector.detect(photo)[:1])
    in_network: list[float] = []
    call = Model.__call__

    def timed_call(self: Model, pictures: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        out = call(self, pictures)
        in_network.append(time.perf_counter() - start)
        return out

    def measure() -> dict[str, Any]:
        in_network.clear()
        faces = []
        with mock.patch.object(Model, "__call__", timed_call):
            total = seconds(lambda: faces.extend(gpen.restore(photo, model, detector, keep_crops=False).faces))
        network = sum(in_network)
        detection = seconds(lambda: detector.detect(photo))
        return {"faces": len(faces), "network": network, "rest": total - network, "detection": detection}

    return measure


def pasted() -> Measure:
    """Masking and pasting the photo's faces: into itself, and into a canvas of 24 megapixels around it."""
    import torch

    import gpen
    from gpen.faces.align import place
    from gpen.images.tensors import DevicePhoto
    from gpen.options import Options
    from gpen.restoration.processors import FaceProcessor, PhotoInputs

    options = Options(mask="ellipse")
    photo = gpen.read_picture(PHOTO, max_megapixels=200).photo
    faces = gpen.make_detector("yunet", [DETECTORS]).detect(photo)
    height, width = photo.shape[:2]
    large = np.full((*LARGE_CANVAS, 3), 0.5, np.float32)
    top, left = (LARGE_CANVAS[0] - height) // 2, (LARGE_CANVAS[1] - width) // 2
    large[top : top + height, left : left + width] = photo
    placements = [place(face, SIZE, options.template) for face in faces]
    shifted = [place(moved(face, left, top), SIZE, options.template) for face in faces]
    of_small, of_large = (FaceProcessor(DevicePhoto(one, torch.device("cpu")), PhotoInputs()) for one in (photo, large))
    crops = [of_small.crop(of_small.crop_source(), placement) for placement in placements]

    def paste(processor: FaceProcessor, placements: Any) -> None:
        canvas = processor.canvas(options)
        for placement, crop in zip(placements, crops, strict=True):
            canvas.add(crop, placement.matrix, processor.mask(crop, placement, options, None))
        canvas.blend(options.strength)

    def measure() -> dict[str, Any]:
        small = seconds(lambda: paste(of_small, placements))
        return {"faces": len(faces), "small": small, "large": seconds(lambda: paste(of_large, shifted))}

    measure()
    return measure


def moved(face: Face, x: int, y: int) -> Face:
    """The face so many pixels farther to the right and down."""
    x0, y0, x1, y1 = face.box
    return Face((x0 + x, y0 + y, x1 + x, y1 + y), face.score, face.landmarks + np.array([x, y]))


def missing() -> str:
    """Why photos cannot be measured here; empty if they can."""
    absent = [path for path in (PHOTO, DETECTORS / "face_detection_yunet_2023mar.onnx") if not Path(path).exists()]
    names = " and ".join(path.relative_to(SHARED.parent).as_posix() for path in absent)
    return f"needs {names} beside the checkout" if absent else ""
