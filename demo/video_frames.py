"""`make pictures`, docs/video-frames.png: frames with a face's crop, and how far it is off the camera's path.

A camera pans, zooms and trembles over the portrait of demo.py by known amounts; YuNet, from the shared folder beside
the checkout, finds the face in each frame. Given a file, the picture is written there.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cv2  # noqa: E402 - needs the checkout on sys.path
import matplotlib  # noqa: E402

matplotlib.use("Agg")

import numpy as np  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from skimage import data  # noqa: E402

from bench.clip import SIZE, Frame, centers, filmed, true_path  # noqa: E402
from bench.photos import DETECTORS  # noqa: E402
from bench.video import COLORS, followed  # noqa: E402
from gpen.faces.align import crop_matrix  # noqa: E402
from gpen.faces.detection.detector import make_detector  # noqa: E402
from gpen.faces.face import Face  # noqa: E402
from gpen.faces.resampling.transforms import Matrix, apply, invert  # noqa: E402
from tests.documented import save_small  # noqa: E402

FRAMES, CROP = 90, 512
SHOWN = (0, 22, 44, 66, 89)


def main(path: Path = HERE.parent / "docs" / "video-frames.png") -> None:
    if not DETECTORS.is_dir():
        print(f"{path.name} needs YuNet in {DETECTORS}, and is left as it is.")
        return
    clip = list(filmed(data.astronaut().astype(np.float32) / 255, FRAMES, _camera))
    found, steady = followed([frame.picture for frame in clip], make_detector("yunet", [DETECTORS]))
    matrices = [_crops(found), _crops(steady)]
    paths = [centers(crops, CROP) for crops in matrices]
    true = true_path(clip, paths[1])
    jitter = [float(np.diff(path - true, 2, axis=0).std()) for path in paths]
    _draw(clip, matrices[1], [path - true for path in paths], path)
    print(f"{path}: the crop jitters {jitter[0] / jitter[1]:.0f} times less with --video")


def _camera(frame: int) -> Matrix:
    """Pans to the right and back, and zooms in by 0.3 % a frame; it always enlarges."""
    scale = 1.26 * 1.003**frame
    x = 235 + 40 * math.sin(2 * math.pi * frame / 110)
    y = 156 + 12 * math.sin(2 * math.pi * frame / 90)
    return np.array([[scale, 0, SIZE[0] / 2 - scale * x], [0, scale, SIZE[1] / 2 - scale * y]])


def _crops(faces: list[Face]) -> list[Matrix]:
    return [crop_matrix(face, CROP, "gpen") for face in faces]


def _draw(clip: list[Frame], crops: list[Matrix], errors: list[NDArray[np.float64]], path: Path) -> None:
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(12, 4.6), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    for number, axes in zip(SHOWN, above.subplots(1, len(SHOWN)), strict=True):
        axes.imshow(_outlined(clip[number], crops[number]))
        axes.set_title(f"frame {number}", fontsize=10)
        axes.axis("off")
    for axes, side, name in zip(below.subplots(1, 2, sharey=True), (0, 1), ("to the right", "down"), strict=True):
        for error, color, label in zip(errors, COLORS, ("each frame by itself", "--video"), strict=True):
            axes.plot(error[:, side], color=color, linewidth=1.2 if color == COLORS[0] else 2.2, label=label)
        axes.axhline(0, color="#888888", linewidth=0.8, zorder=0)
        axes.set_xlabel("frame")
        axes.set_ylabel(f"crop, pixels {name}\nof the camera's path")
        axes.legend(frameon=False, ncols=2, loc="upper right", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    plt.close(figure)
    save_small(drawn.getvalue(), path)


def _outlined(frame: Frame, crop: Matrix) -> NDArray[np.uint8]:
    """The frame with the outline of the crop."""
    drawing = np.ascontiguousarray(np.rint(frame.picture * 255).astype(np.uint8))
    corners = apply(invert(crop), np.array([(0, 0), (CROP, 0), (CROP, CROP), (0, CROP)], float))
    cv2.polylines(drawing, [np.rint(corners).astype(np.int32)], True, (255, 214, 10), 3, cv2.LINE_AA)
    return drawing


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
