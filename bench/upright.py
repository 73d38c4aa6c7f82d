"""Prints how well faces at any angle are found: `python -m bench.upright`.

For each detector whose weights are in ../shared/weights: portraits turned in steps of 15 degrees, faces that lie beside
an upright one, and what is found where no face is. The portraits are those of ../shared/photos, and scikit-image's and
matplotlib's, if they are installed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gpen.faces.detection.detector import DETECTORS, FaceDetector, available_detectors, make_detector
from gpen.faces.face import Face

from .worker import ROOT

SHARED = ROOT.parent / "shared"
ANGLES = range(0, 360, 15)
SIZES = (120, 160, 250, 400, 600)
"""The side of a portrait, in pixels; its face is half as wide."""
BESIDE_SIZES = (120, 200, 350, 600)
_SHARED_PORTRAITS = ("ffhq_00000_hq", "ffhq_00000_lq", "ffhq_00001_hq", "ffhq_00001_lq", "gray_106000")
# Package, file, and the square around the head (x, y, side).
_PACKAGED_PORTRAITS = {
    "astronaut": ("skimage", "data/astronaut.png", (114, 10, 220)),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (90, 20, 340)),
}
_WITHOUT_FACES = (
    "brick cell chelsea chessboard_GRAY chessboard_RGB clock_motion coffee coins color grass gravel horse"
    " hubble_deep_field ihc microaneurysms moon motorcycle_left motorcycle_right page phantom retina rocket text"
)

Picture = NDArray[np.float32]
"""(H, W, 3), RGB, [0, 1]."""


def portraits() -> dict[str, Picture]:
    """Square pictures of one face each, by name: those that are there."""
    found = {}
    for name in _SHARED_PORTRAITS:
        path = SHARED / "photos" / f"{name}.png"
        if path.exists():
            found[name] = _read(path)
    for name, (package, file, (x, y, side)) in _PACKAGED_PORTRAITS.items():
        folder = _package_folder(package)
        if folder is not None:
            found[name] = _read(folder / file)[y : y + side, x : x + side]
    return found


def resized(picture: Picture, size: int) -> Picture:
    """A square picture with another side."""
    how = cv2.INTER_AREA if size < len(picture) else cv2.INTER_CUBIC
    return np.clip(cv2.resize(picture, (size, size), interpolation=how), 0, 1)


def turned(portrait: Picture, degrees: float) -> tuple[Picture, NDArray[np.float64]]:
    """The portrait turned to the left on a plain canvas, and the matrix (2, 3) from the upright canvas to this one.

    Towards its edge it fades into its mean colour: no corner tells how it is turned.
    """
    side = len(portrait)
    canvas_side = round(1.5 * side)
    y, x = np.mgrid[:side, :side]
    off = np.hypot(x - side / 2, y - side / 2) / (side / 2)
    shown = np.clip((1 - off) / 0.12, 0, 1)[..., None]
    background = portrait.mean(axis=(0, 1))
    canvas = np.empty((canvas_side, canvas_side, 3), np.float32)
    canvas[:] = background
    at = (canvas_side - side) // 2
    canvas[at : at + side, at : at + side] = portrait * shown + background * (1 - shown)
    middle = (canvas_side - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, 1)
    out = cv2.warpAffine(canvas, matrix, (canvas_side,) * 2, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(out, 0, 1), matrix


def angle_between(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Degrees, 0 to 180, by which landmarks (5, 2) are turned against others."""
    a, b = ((points - points.mean(axis=0)) @ (1, 1j) for points in (found, expected))
    return float(abs(np.degrees(np.angle(np.vdot(a, b)))))


class Tilted:
    """What a detector found in turned portraits."""

    def __init__(self) -> None:
        self.views = 0
        self.missed: list[str] = []
        self.degrees: list[tuple[float, str]] = []
        """How far the landmarks are turned against the turned landmarks of the upright view."""
        self.distances: list[float] = []
        """Mean distance between the same, in distances between the eyes."""

    def look(self, detector: FaceDetector, name: str, portrait: Picture, angles: Iterable[int] = ANGLES) -> None:
        """Add the views of a portrait at some angles, in degrees to the left."""
        upright = _largest(detector.detect(turned(portrait, 0)[0]))
        if upright is None:
            self.missed.append(f"{name} upright")
            return
        for degrees in angles:
            picture, matrix = turned(portrait, degrees)
            face = _largest(detector.detect(picture))
            view = f"{name} {degrees}"
            self.views += 1
            if face is None:
                self.missed.append(view)
                continue
            expected = upright.landmarks @ matrix[:, :2].T + matrix[:, 2]
            self.degrees.append((angle_between(face.landmarks, expected), view))
            between_eyes = np.linalg.norm(expected[1] - expected[0])
            self.distances.append(float(np.linalg.norm(face.landmarks - expected, axis=1).mean() / between_eyes))

    def beyond(self, degrees: float) -> list[str]:
        """The views that are more than so many degrees wrong."""
        return [f"{view} ({off:.0f})" for off, view in self.degrees if off > degrees]


def beside(upright: Picture, lying: Picture, degrees: int) -> Picture:
    """Two portraits of one size on a plain canvas; the right one turned to the left, by a multiple of 90 degrees."""
    side = len(upright)
    canvas = np.empty((side + 40, 2 * side + 60, 3), np.float32)
    canvas[:] = np.array([120, 125, 130]) / 255
    canvas[20 : 20 + side, 20 : 20 + side] = upright
    canvas[20 : 20 + side, side + 40 : 2 * side + 40] = np.rot90(lying, degrees // 90)
    return canvas


def found_beside(faces: list[Face], side: int) -> tuple[int, int]:
    """How many faces are found left and right in a picture made by :func:`beside`."""
    left = sum(face.center[0] < side + 30 for face in faces)
    return left, len(faces) - left


def without_faces() -> Iterator[tuple[str, Picture]]:
    """Photos without faces, and textures."""
    folder = _package_folder("skimage")
    for name in _WITHOUT_FACES.split() if folder is not None else ():
        path = next((folder / "data").glob(f"{name}.*"))
        yield name, _read(path)
    yield from textures()


def textures() -> Iterator[tuple[str, Picture]]:
    """Noise of several grains, gratings, checkerboards, fabrics and blobs."""
    side = 512
    random = np.random.default_rng(7)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for grain in (1, 2, 4, 8, 16, 32, 64):
        small = random.random((side // grain, side // grain, 3)).astype(np.float32)
        yield f"noise {grain}", np.clip(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    for period in (6, 13, 29, 64):
        for degrees in (0, 37, 90):
            along = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
            yield f"grating {period} {degrees}", _grey(0.5 + 0.5 * np.sin(2 * np.pi * along / period))
    for period in (8, 20, 48, 100):
        yield f"checkerboard {period}", _grey(((x // period + y // period) % 2).astype(np.float32))
    for period in (7, 15, 31):
        threads = np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / (period * 1.5))
        over = np.where((x // period + y // period) % 2, 0.3, 0.7) + 0.25 * threads
        yield f"fabric {period}", _grey(over + random.normal(0, 0.06, (side, side)))
    for count in (20, 80, 300):
        blobs = np.full((side, side, 3), 0.5, np.float32)
        for _ in range(count):
            colour = tuple(map(float, random.random(3)))
            at, axes = random.integers(0, side, 2).tolist(), random.integers(6, 60, 2).tolist()
            cv2.ellipse(blobs, at, axes, random.random() * 360, 0, 360, colour, -1)
        yield f"blobs {count}", blobs


def main() -> int:
    """Print the tables; 1 if no detector can be used."""
    reasons = available_detectors([SHARED / "weights"])
    names = [name for name in DETECTORS if reasons[name] is None]
    faces = portraits()
    for name in names:
        detector = make_detector(name, [SHARED / "weights"])
        print(f"\n{name}", flush=True)
        _print_tilted(detector, faces)
        _print_beside(detector, faces)
        _print_without_faces(detector)
    return 0 if names else 1


def _print_tilted(detector: FaceDetector, faces: dict[str, Picture]) -> None:
    print("\n| pixels | views | missed | > 10 degrees | > 20 | worst | landmarks, median | worst |\n|" + "---:|" * 8)
    for size in SIZES:
        seen = Tilted()
        for name, face in faces.items():
            seen.look(detector, name, resized(face, size))
        worst, middle, farthest = max(seen.degrees)[0], np.median(seen.distances), max(seen.distances)
        print(
            f"| {size} | {seen.views} | {len(seen.missed)} | {len(seen.beyond(10))} | {len(seen.beyond(20))} |"
            f" {worst:.0f} | {middle:.3f} | {farthest:.2f} |  {' '.join(seen.missed)} {' '.join(seen.beyond(20))}",
            flush=True,
        )


def _print_beside(detector: FaceDetector, faces: dict[str, Picture]) -> None:
    print("\n| pixels | degrees | pictures | missed | too many | upright not found once |\n|" + "---:|" * 6)
    for size, degrees in itertools.product(BESIDE_SIZES, (90, 180, 270)):
        small = {name: resized(face, size) for name, face in faces.items()}
        counts = [
            found_beside(detector.detect(beside(small[a], small[b], degrees)), size)
            for a, b in itertools.permutations(small, 2)
        ]
        missed, extra = sum(right == 0 for _, right in counts), sum(right > 1 for _, right in counts)
        print(
            f"| {size} | {degrees} | {len(counts)} | {missed} | {extra} | {sum(left != 1 for left, _ in counts)} |",
            flush=True,
        )


def _print_without_faces(detector: FaceDetector) -> None:
    counts = {name: len(detector.detect(picture)) for name, picture in without_faces()}
    where = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    print(f"\n{sum(counts.values())} faces in {len(counts)} pictures without one: {where}", flush=True)


def _largest(faces: list[Face]) -> Face | None:
    return max(faces, key=lambda face: face.width, default=None)


def _package_folder(package: str) -> Path | None:
    from importlib.util import find_spec

    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _read(path: Path) -> Picture:
    from gpen.images import read_picture

    return read_picture(path, max_megapixels=200).photo


def _grey(values: NDArray[np.floating]) -> Picture:
    return np.repeat(np.clip(values, 0, 1).astype(np.float32)[..., None], 3, axis=2)


if __name__ == "__main__":
    sys.exit(main())
