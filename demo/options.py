"""`make pictures`: the pictures and tables of docs/options.md.

The portrait is that of demo.py, the networks are always synthetic: each only tints, sharpens or blurs, so that what an
option does can be seen and is known. What covers the face, and the grain, are made. Nothing is downloaded. The table
about `--person` needs the shared folder beside the checkout.

Given a folder, it writes the pictures there, else to docs/.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from options_faces import chosen
from options_person import person_table
from skimage import data

import gpen
from demo import drawing_of
from gpen.faces.align import crop_matrix
from gpen.faces.drawing import Drawing, side_by_side
from gpen.faces.face import Face
from gpen.faces.faces_file import FacesFromFile
from gpen.faces.masks.mask import SIZE as MASK_SIZE
from gpen.faces.masks.occlusion import OcclusionModel
from gpen.images.picture import FloatImage
from gpen.network.synthetic import IDENTITY, SHARPEN, synthetic_weights
from tests.made_occluder import write_occluder

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
SPEC = gpen.Spec(in_size=512, out_size=512, channel_multiplier=2, narrow=1 / 8)
SMALL = gpen.Spec(in_size=256, out_size=256, channel_multiplier=2, narrow=1 / 16)
BLUE: dict[str, Any] = {
    "color_matrix": [[0.75 * value for value in row] for row in IDENTITY],
    "color_bias": (-0.2, 0.0, 0.35),
}
"""Arguments for weights that tint everything blue."""
MIXED: dict[str, Any] = {
    "color_matrix": [[0.9, -0.25, 0.1], [0.3, 0.55, 0.1], [-0.2, 0.5, 0.5]],
    "color_bias": (-0.1, 0.05, 0.0),
    "kernel": SHARPEN,
}
"""For weights that sharpen, and tint each colour differently."""
BLUR: dict[str, Any] = {"kernel": [[1 / 16, 1 / 8, 1 / 16], [1 / 8, 1 / 4, 1 / 8], [1 / 16, 1 / 8, 1 / 16]]}
VIEW = slice(0, 256), slice(98, 354)
"""Rows and columns of the portrait that the pictures show."""
CLOSE = slice(40, 200), slice(146, 306)
GRAIN_VIEW = slice(250, 490), slice(650, 890)
"""Of the portrait at three times its size."""
CELL = 320
"""Height and width of each part of a picture."""
QUALITY = 85

HEAD = (
    *((232, 16), (255, 20), (275, 29), (290, 43), (297, 60), (301, 80), (299, 97), (292, 115), (283, 128)),
    *((273, 136), (267, 136), (260, 155), (255, 172), (253, 185), (240, 190), (225, 190), (205, 187), (190, 182)),
    *((187, 165), (183, 148), (180, 132), (173, 125), (172, 118), (160, 110), (155, 98), (153, 80), (155, 62)),
    *((165, 50), (180, 40), (192, 33), (205, 23), (218, 18)),
)
"""The outline of face, neck and hair in the portrait, drawn by hand."""
_FINER = 8
"""How many times larger shapes are drawn, for smooth edges."""


def main(folder: Path) -> None:
    pictures = {
        "mask": mask_picture(),
        "cover": np.vstack([protect_row(), occlusion_row()]),
        "colors": color_picture(),
        "grain": grain_picture(),
    }
    pictures["faces"], table = chosen()
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in pictures.items():
        path = folder / f"options-{name}.jpg"
        gpen.write_picture(path, gpen.Picture(drawing.astype(np.float32) / 255), quality=QUALITY)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    print(table)
    if SHARED.is_dir():
        print(person_table(SHARED, network(SMALL, BLUE)))


def portrait() -> FloatImage:
    photo: FloatImage = data.astronaut().astype(np.float32) / 255
    return photo


def portrait_face() -> Face:
    (face,) = FacesFromFile(HERE / "astronaut_faces.json").faces_for("astronaut.png", 512, 512)
    return face


def network(spec: gpen.Spec, arguments: dict[str, Any]) -> gpen.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.pth"
        torch.save(synthetic_weights(spec, **arguments), path)
        return gpen.load_model(path)


def restored(photo: FloatImage, model: gpen.Model, more: dict[str, Any] | None = None, **options: Any) -> FloatImage:
    """more: arguments of :func:`gpen.restore`. options: fields of Options."""
    result = gpen.restore(photo, model, [portrait_face()], gpen.Options(**options), **(more or {}))
    assert len(result.faces) == 1, result.summary
    return result.photo


def row(parts: Sequence[tuple[str, FloatImage]], view: tuple[slice, slice] = VIEW) -> Drawing:
    """A part of each photo, enlarged, under its caption."""
    drawings = [
        np.asarray(cv2.resize(drawing_of(photo)[view], (CELL, CELL), interpolation=cv2.INTER_CUBIC), np.uint8)
        for _, photo in parts
    ]
    return side_by_side(drawings, [caption for caption, _ in parts])


class DrawnHead:
    """In place of a face-parsing network: the outline drawn by hand, as such a network would answer."""

    def __init__(self, face: Face) -> None:
        head = np.zeros((512, 512), np.uint8)
        cv2.fillPoly(head, [np.array(HEAD, np.int32)], 1)
        matrix = crop_matrix(face, MASK_SIZE, "gpen")
        self._mask = cv2.warpAffine(head, matrix, (MASK_SIZE, MASK_SIZE), flags=cv2.INTER_NEAREST)

    def parse(self, crop: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._mask.astype(np.float32)).to(crop.device)


def mask_picture() -> Drawing:
    photo, model = portrait(), network(SPEC, BLUE)
    head = {"parser": DrawnHead(portrait_face())}
    return row(
        [
            ("naive paste: the square crop", naive_paste(photo)),
            ("--mask box", restored(photo, model, mask="box")),
            ("--mask ellipse", restored(photo, model, mask="ellipse")),
            ("--mask parsed (outline by hand)", restored(photo, model, head, mask="parsed")),
        ]
    )


def naive_paste(photo: FloatImage) -> FloatImage:
    """What the blue network makes of the face's square, by its formula, pasted without a mask."""
    matrix = np.array(BLUE["color_matrix"])
    tinted = np.clip(((photo * 2 - 1) @ matrix.T + BLUE["color_bias"] + 1) / 2, 0, 1).astype(np.float32)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * 512.0
    to_photo = cv2.invertAffineTransform(crop_matrix(portrait_face(), 512, "gpen"))
    square = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(square, [np.rint(cv2.transform(corners[None], to_photo)).astype(np.int32)], 1)
    return np.where(square[..., None] > 0, tinted, photo)


def microphone(color: tuple[float, float, float]) -> tuple[FloatImage, FloatImage]:
    """A drawn microphone in front of the mouth, (512, 512, 3), and how much of each pixel it covers, (512, 512)."""
    rows, columns = np.mgrid[: 512 * _FINER, : 512 * _FINER].astype(np.float32) / _FINER
    center, end, radius = np.array((236.0, 156.0)), np.array((300.0, 262.0)), 25.0
    along = (end - center) / np.linalg.norm(end - center)
    down = (columns - center[0]) * along[0] + (rows - center[1]) * along[1]
    across = (rows - center[1]) * along[0] - (columns - center[0]) * along[1]
    half = 14 - 0.04 * down
    ball = np.hypot(down, across) < radius
    handle = (down > 0) & (np.abs(across) < half)
    mesh = 0.75 + 0.25 * np.cos(down * 1.6) * np.cos(across * 1.6)
    light = 1.15 - 0.9 * np.hypot(down + 8, across - 9) / radius
    shade = np.where(ball, np.clip(light, 0.25, 1) * mesh, 0.55 * np.clip(1 - (across / half) ** 2, 0.2, 1))
    covered = (ball | handle).astype(np.float32)
    size = (512, 512)
    alpha = cv2.resize(covered, size, interpolation=cv2.INTER_AREA)
    shaded = cv2.resize(np.asarray(shade * covered, np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(shaded[..., None] * np.array(color, np.float32)), alpha


def covered_portrait(color: tuple[float, float, float]) -> tuple[FloatImage, FloatImage]:
    """The portrait behind a microphone; and the mask of it, 1 where it is."""
    colored, alpha = microphone(color)
    photo = portrait() * (1 - alpha[..., None]) + colored
    return np.asarray(photo, np.float32), (alpha > 0).astype(np.float32)


def protect_row() -> Drawing:
    photo, mask = covered_portrait((0.85, 0.85, 0.9))
    model = network(SPEC, BLUE)
    return row(
        [
            ("photo", photo),
            ("without --protect", restored(photo, model, mask="ellipse")),
            ("microphone.png", np.repeat(mask[..., None], 3, axis=2)),
            ("--protect microphone.png", restored(photo, model, {"protect": mask}, mask="ellipse")),
        ]
    )


def occlusion_row() -> Drawing:
    """The occlusion model is a made one, which takes green for what covers a face."""
    photo, _ = covered_portrait((0.15, 0.9, 0.2))
    model = network(SPEC, BLUE)
    with tempfile.TemporaryDirectory() as folder:
        occluder = OcclusionModel(write_occluder(Path(folder) / "xseg_3.onnx"))
        auto = gpen.restore(
            photo, model, [portrait_face()], gpen.Options(mask="ellipse", occlusion="auto"), occluder=occluder
        )
    return row(
        [
            ("photo", photo),
            ("without --occlusion", restored(photo, model, mask="ellipse")),
            ("white: what is replaced", np.repeat(auto.mask[..., None], 3, axis=2)),
            ("--occlusion auto", auto.photo),
        ]
    )


def color_picture() -> Drawing:
    photo, model = portrait(), network(SMALL, MIXED)
    before: NDArray[np.float32] = cv2.GaussianBlur(photo, (0, 0), 1.0)
    results = [
        (f"--color-match {choice}", restored(before, model, mask="ellipse", color_match=choice))
        for choice in ("none", "lab", "wavelet")
    ]
    return row([("photo, blurred", before), *results], CLOSE)


def grain_picture() -> Drawing:
    """The portrait is enlarged first, so that the network takes grain from it, and few details."""
    enlarged = cv2.resize(portrait(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    photo, model, face = grainy(enlarged), network(SMALL, BLUR), portrait_face().scaled(3, 3)
    parts = [("photo with grain", photo)]
    for grain in (0, 0.5, 1):
        result = gpen.restore(photo, model, [face], gpen.Options(mask="ellipse", grain=grain))
        parts.append((f"--grain {grain}", result.photo))
    return row(parts, GRAIN_VIEW)


def grainy(photo: FloatImage) -> FloatImage:
    """With the grain of a fast film: coarser than a pixel, mostly grey."""
    rng = np.random.default_rng(0)
    grey, colored = rng.normal(0, 1, (*photo.shape[:2], 1)), rng.normal(0, 0.3, photo.shape)
    noise = cv2.GaussianBlur(grey + colored, (0, 0), 0.8)
    return np.clip(photo + 0.06 * noise / noise.std(), 0, 1).astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs")
