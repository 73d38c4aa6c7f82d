"""Steady texture measured: clips with known motion, through the whole pipeline with a network that adds noise.

``python -m bench.texture`` prints the figures of docs/video.md; it needs the photos and weights in ../shared.

A clip is a photo seen through a known, changing field of displacements, with a camera's noise. The network returns its
input with noise of its own, another one for each input, as a real one makes up other pores for each. Measured in the
face: the standard deviation over time, for the clip that stands still; the flow-warped error, which is the root mean
square difference of each frame from the one before, moved by the true motion; and the sharpness, the mean gradient
without any noise, of frames with steady texture relative to frames without.
"""

from __future__ import annotations

import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpen.faces.detection.detector import FaceDetector, make_detector
from gpen.faces.source import ChosenFaces, FoundFace
from gpen.faces.tracking.shot_cuts import find_cuts, thumbnail
from gpen.faces.tracking.texture import LOOK_BACK, FrameTexture, SteadyTexture
from gpen.faces.tracking.tracks import track_faces
from gpen.images import read_picture
from gpen.images.picture import FloatImage
from gpen.images.resize import resize
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration.components import Components
from gpen.restoration.pipeline import PhotoWork, run_tasks
from gpen.tasks import RESTORE
from gpen.weights.checkpoint import Model

from .photos import DETECTORS, SHARED

Field = NDArray[np.float32]
"""(S, S, 2): where each pixel of a frame lies in the photo, relative to itself: x, y, in pixels."""

FRAMES = 3 * LOOK_BACK
CAMERA_NOISE, NETWORK_NOISE = 0.01, 0.02
"""Standard deviations; the values of pictures go from 0 to 1."""
PORTRAIT = SHARED / "photos" / "ffhq_00000_hq.png"


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames with known motion."""

    pictures: list[FloatImage]
    """(S, S, 3) each."""
    fields: list[Field]
    """The motion of each."""

    def moved_from_before(self, frames: Sequence[FloatImage], number: int) -> FloatImage:
        """The frame before a frame, moved by the true motion between the two."""
        field, before = self.fields[number], self.fields[number - 1]
        # The pixel that shows the same point of the photo solves x + before(x) = point.
        point = _pixels(len(field)) + field
        x = point - before
        for _ in range(20):
            x = point - _sampled(before, x)
        return _sampled(frames[number - 1], x)


class NoisyModel(Model):
    """A model that adds noise to what its network returns: always the same for an input, and another one for others."""

    noise: float = NETWORK_NOISE
    """Its standard deviation, for pictures from 0 to 1."""

    def __call__(self, pictures: Tensor) -> Tensor:
        out = super().__call__(pictures)
        low, high = self.value_range
        seeds = [zlib.crc32(picture.float().cpu().numpy().tobytes()) for picture in pictures]
        noise = [torch.randn(out.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return out + self.noise * (high - low) * torch.stack(noise).to(out.device)


def still(_frame: int, size: int) -> Field:
    """Nothing moves."""
    return np.zeros((size, size, 2), np.float32)


def pan(frame: int, size: int) -> Field:
    """The camera pans by 1/4 % of the frame's width and 1/12 % of its height per frame."""
    return still(frame, size) + np.array([frame * size / 400, frame * size / 1200], np.float32)


def zoom(frame: int, size: int) -> Field:
    """The camera zooms in by 0.3 % per frame."""
    return np.asarray((_pixels(size) - size / 2) * -0.003 * frame, np.float32)


def talk(frame: int, size: int) -> Field:
    """The mouth opens and closes, in nine frames, by 4 % of the frame's height."""
    x, y = np.moveaxis(_pixels(size) / size, 2, 0) - np.array([0.5, 0.713])[:, None, None]
    near = np.exp(-((x / 0.12) ** 2) - (y / 0.07) ** 2) * np.tanh(y / 0.025)
    down = 0.02 * size * np.sin(2 * np.pi * frame / 9) * near
    return np.stack([np.zeros_like(down), down], axis=2).astype(np.float32)


MOTIONS: dict[str, Callable[[int, int], Field]] = {"still": still, "pan": pan, "zoom": zoom, "talk": talk}
"""Functions of the frame's number and size."""


def filmed(photo: FloatImage, motion: Callable[[int, int], Field], frames: int, noise: float, seed: int = 0) -> Clip:
    """A square photo (S, S, 3) as it moves. noise: the standard deviation of the camera's."""
    rng, size = np.random.default_rng(seed), len(photo)
    fields = [motion(frame, size) for frame in range(frames)]
    pictures = [
        np.clip(_sampled(photo, _pixels(size) + field) + rng.normal(0, noise, photo.shape).astype(np.float32), 0, 1)
        for field in fields
    ]
    return Clip(pictures, fields)


def restored(clip: Clip, model: Model, detector: FaceDetector, texture: float) -> list[FloatImage]:
    """The frames as `gpen restore --video --texture` makes them."""
    faces = track_faces(
        [detector.detect(picture) for picture in clip.pictures], find_cuts([thumbnail(p) for p in clip.pictures])
    )
    steady = SteadyTexture(texture)
    works = [
        PhotoWork(
            photo=picture,
            source=ChosenFaces([FoundFace(face.number, face.face) for face in found]),
            texture=FrameTexture(steady, number) if texture else None,
        )
        for number, (picture, found) in enumerate(zip(clip.pictures, faces, strict=True))
    ]
    return [result.photo for result in run_tasks(RESTORE, works, Components(model=model), Options(mask="ellipse"))]


def deviation(frames: Sequence[FloatImage]) -> float:
    """The mean standard deviation over time in the face."""
    return float(np.std(frames[LOOK_BACK:], axis=0)[_face(len(frames[0]))].mean())


def flow_warped_error(clip: Clip, frames: Sequence[FloatImage]) -> float:
    """The root mean square difference in the face of each frame from the one before, moved by the true motion."""
    inside = _face(len(frames[0]))
    errors = [
        np.square(frames[number] - clip.moved_from_before(frames, number))[inside].mean()
        for number in range(LOOK_BACK + 1, len(frames))
    ]
    return float(np.sqrt(np.mean(errors)))


def gradient(frames: Sequence[FloatImage]) -> float:
    """The mean length of the gradient in the face."""
    inside = _face(len(frames[0]))[1:, 1:]
    lengths = [np.hypot(np.diff(f, axis=1)[1:], np.diff(f, axis=0)[:, 1:])[inside] for f in frames[LOOK_BACK:]]
    return float(np.mean(lengths))


@dataclass(frozen=True)
class Steadiness:
    """What is measured of a clip: of the source, of frames without and with steady texture."""

    deviation: tuple[float, float, float]
    error: tuple[float, float, float]
    """Flow-warped."""
    sharpness: float
    """With steady texture relative to without, both without any noise."""


def steadiness(
    photo: FloatImage, motion: Callable[[int, int], Field], network: GPEN, detector: FaceDetector, texture: float = 1.0
) -> Steadiness:
    """Measure a clip of a square portrait as large as the network's pictures. network: one that returns its input."""
    clip = filmed(photo, motion, FRAMES, CAMERA_NOISE)
    model = NoisyModel(network, "restore", Path("made.pth"))
    results = clip.pictures, *(restored(clip, model, detector, value) for value in (0.0, texture))
    clean = filmed(photo, motion, FRAMES, 0)
    quiet = Model(network, "restore", Path("made.pth"))
    without, with_texture = (gradient(restored(clean, quiet, detector, value)) for value in (0.0, texture))
    source, before, after = results
    return Steadiness(
        (deviation(source), deviation(before), deviation(after)),
        (flow_warped_error(clip, source), flow_warped_error(clip, before), flow_warped_error(clip, after)),
        with_texture / without,
    )


def portrait(size: int) -> FloatImage:
    """A portrait (size, size, 3)."""
    return resize(read_picture(PORTRAIT, 10).photo, (size, size))


def network(size: int, narrow: float = 1.0) -> GPEN:
    """A network of the published shape, or a narrower one, that returns its input."""
    spec = Spec(size, size, narrow=narrow)
    made = GPEN(spec)
    made.load_state_dict(synthetic_weights(spec))
    return made.eval()


def share_of_time(size: int, repeats: int = 5) -> tuple[float, float]:
    """Median seconds of the network and of steady texture for one face, taken in turns, the window being full."""
    model, photo = Model(network(size), "restore", Path("made.pth")), portrait(size)
    crop = torch.from_numpy(photo)
    picture = crop.permute(2, 0, 1)[None] * 2 - 1
    steady = SteadyTexture()
    for frame in range(LOOK_BACK):
        steady.steadied(0, frame, crop, crop)
    model(picture)
    taken: tuple[list[float], list[float]] = ([], [])
    for frame in range(LOOK_BACK, LOOK_BACK + repeats):
        start = time.perf_counter()
        model(picture)
        middle = time.perf_counter()
        steady.steadied(0, frame, crop, crop)
        taken[0].append(middle - start)
        taken[1].append(time.perf_counter() - middle)
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> None:
    """Measure, and print."""
    size = 512
    detector, narrow = make_detector("yunet", [DETECTORS]), network(size, 1 / 8)
    print("| clip | deviation: source, without, with | flow-warped error: source, without, with | sharpness |")
    for name, motion in MOTIONS.items():
        found = steadiness(portrait(size), motion, narrow, detector)
        columns = (", ".join(f"{255 * value:.1f}" for value in values) for values in (found.deviation, found.error))
        print("|", name, "|", " | ".join(columns), "|", f"{found.sharpness:.3f} |", flush=True)
    whole, texture = share_of_time(size)
    print(f"A face at {size}: network {whole:.2f} s, steady texture {texture:.3f} s, {texture / whole:.1%}")


def _pixels(size: int) -> NDArray[np.float32]:
    return np.stack(np.meshgrid(*[np.arange(size, dtype=np.float32)] * 2), axis=2)


def _sampled(picture: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    places = np.asarray(places, np.float32)
    return np.asarray(cv2.remap(picture, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))


def _face(size: int) -> NDArray[np.bool_]:
    """The face of the portrait, and nothing that a pan moves out of the mask."""
    x, y = np.moveaxis(_pixels(size) / size, 2, 0)
    return np.asarray(((x - 0.48) / 0.2) ** 2 + ((y - 0.55) / 0.24) ** 2 < 1)


if __name__ == "__main__":
    main()
