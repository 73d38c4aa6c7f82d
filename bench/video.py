"""docs/video.png: the position of a face's crop in a trembling clip, with and without steady video.

``python -m bench.video`` draws it; it needs the photo and the detector's weights in ../shared.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from gpen.faces.align import crop_matrix
from gpen.faces.detection.detector import FaceDetector, make_detector
from gpen.faces.face import Face
from gpen.faces.tracking.shot_cuts import find_cuts, thumbnail
from gpen.faces.tracking.tracks import track_faces
from gpen.images import read_picture
from gpen.images.picture import FloatImage

from .clip import TREMBLE, centers, solvay_clip, true_path
from .photos import DETECTORS, PHOTO
from .worker import ROOT

FRAMES, CROP = 90, 256
COLORS = ("#e0913a", "#1f6fb2")


def main(path: Path = ROOT / "docs" / "video.png") -> None:
    """Draw it, and print what a test of the same clip asserts."""
    clip = list(solvay_clip(read_picture(PHOTO, 100).photo, FRAMES))
    detector = make_detector("yunet", [DETECTORS])
    found, steady = followed([frame.picture for frame in clip], detector)
    crops = [[crop_matrix(face, CROP, "gpen") for face in faces] for faces in (found, steady)]
    paths = [centers(matrices, CROP) for matrices in crops]
    true = true_path(clip, paths[0])
    jitter = [np.diff([m[0] for m in matrices], 2, axis=0).std(axis=0)[[0, 2]] for matrices in crops]
    print(f"jitter of the crop: {jitter[0] / jitter[1]} times less (scale, shift)")
    _draw([path - true for path in paths], [_widths(faces) for faces in (found, steady)], path)


def followed(frames: list[FloatImage], detector: FaceDetector) -> tuple[list[Face], list[Face]]:
    """The first face that is in every frame: as it is detected in each, and as `--video` places it."""
    detected = [detector.detect(frame) for frame in frames]
    tracked = track_faces(detected, find_cuts([thumbnail(frame) for frame in frames]))
    number = min(set.intersection(*({face.number for face in faces} for faces in tracked)))
    steady = [next(face.face for face in faces if face.number == number) for faces in tracked]
    found = [
        min(faces, key=lambda face: float(np.hypot(*np.subtract(face.center, other.center))))
        for faces, other in zip(detected, steady, strict=True)
    ]
    return found, steady


def _widths(faces: list[Face]) -> NDArray[np.float64]:
    """Pixels of the frame along the side of each crop."""
    return np.array([CROP / float(np.linalg.norm(crop_matrix(face, CROP, "gpen")[0, :2])) for face in faces])


def _draw(errors: list[NDArray[np.float64]], widths: list[NDArray[np.float64]], path: Path) -> None:
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.4), dpi=110, sharex=True, layout="constrained")
    for error, width, color, label in zip(errors, widths, COLORS, ("each frame by itself", "--video"), strict=True):
        wide = 1.2 if color == COLORS[0] else 2.2
        above.plot(error[:, 0], color=color, linewidth=wide, label=label)
        below.plot(width, color=color, linewidth=wide)
    above.axhline(0, color="#888888", linewidth=0.8, zorder=0)
    above.set_ylabel("crop, pixels off\nthe camera's path")
    above.legend(frameon=False, ncols=2, loc="upper right")
    below.set_ylabel("width of the crop,\npixels")
    below.set_xlabel(f"frame; the camera pans, zooms in by 0.3 % a frame, and trembles by {TREMBLE:g} pixels")
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
