"""`make demo`, second part: a picture with one row each for colour, damage, a segmentation map and a background.

Nothing is downloaded. Without trained models on disk, synthetic weights are used that only tint, fill, return the map
or sharpen, and the picture says so. The upscaler always has synthetic weights, which repeat pixels. The portrait is
that of demo.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from drawings import scratches, segmentation_map
from skimage import data
from spandrel.architectures.Compact import Compact

import gpen
from demo import OUTPUT, drawing_of, find_faces
from gpen.faces.drawing import Drawing, side_by_side
from gpen.images.picture import FloatImage
from gpen.network.synthetic import IDENTITY, SHARPEN, synthetic_weights
from gpen.weights.search import default_network, search_folders

SYNTHETIC = gpen.Spec(in_size=512, out_size=512, channel_multiplier=2, narrow=1 / 8)
TINT = (0.25, -0.05, -0.22)
WEIGHTS: dict[str, dict[str, Any]] = {
    "colorize": {"color_matrix": [[0.8 * value for value in row] for row in IDENTITY], "color_bias": TINT},
    "inpaint": {"color_matrix": [[0.05 * value for value in row] for row in IDENTITY], "color_bias": TINT},
    "synthesize": {},
    "restore": {"kernel": SHARPEN},
}
"""Arguments for synthetic weights that tint every grey, fill damage with that tint, return the map, or sharpen."""


def main() -> None:
    grey = np.repeat(gpen.luma(data.astronaut().astype(np.float32) / 255)[..., None], 3, axis=2)
    faces = find_faces(grey)
    damage = scratches(grey.shape[:2])
    painted = np.where(damage[..., None] > 0, np.float32(0.9), grey)
    rows = [
        row("colorize", grey, lambda model: gpen.colorize(grey, model, faces)),
        row("inpaint", painted, lambda model: gpen.inpaint(painted, damage, model, faces)),
        row("synthesize", segmentation_map(), lambda model: gpen.synthesize(segmentation_map(), model)),
        background_row(faces),
    ]
    OUTPUT.mkdir(exist_ok=True)
    sheet = np.vstack(rows).astype(np.float32) / 255
    gpen.write_picture(OUTPUT / "tasks.png", gpen.Picture(sheet))
    print(f"Look at {OUTPUT / 'tasks.png'}")


def row(task: str, before: FloatImage, work: Callable[[gpen.Model], gpen.Restoration]) -> Drawing:
    weights = default_network(search_folders(), task)
    if weights is not None:
        model, caption = gpen.load_model(weights), f"{task}: {weights.name}"
    else:
        model, caption = synthetic_model(task), f"{task}: SYNTHETIC weights, no trained model"
    result = work(model)
    print(f"{caption}. {result.summary}")
    return side_by_side([drawing_of(before), drawing_of(result.photo)], ["before", caption])


def background_row(faces: Sequence[gpen.Face]) -> Drawing:
    """Part of the portrait at twice its size: the face from the network, the background from an upscaler."""
    photo = data.astronaut().astype(np.float32) / 255
    weights = default_network(search_folders())
    model = gpen.load_model(weights) if weights is not None else synthetic_model("restore")
    result = gpen.restore(photo, model, faces, background=repeating_upscaler()(photo))
    x, y = (round(2 * v - 256) for v in faces[0].center)
    part = slice(max(y, 0), max(y, 0) + 512), slice(max(x, 0), max(x, 0) + 512)
    enlarged = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    name = weights.name if weights is not None else "SYNTHETIC"
    captions = ["before, enlarged", f"face: {name}; background: SYNTHETIC upscaler"]
    print(f"background: {captions[1]}. {result.summary}")
    return side_by_side([drawing_of(enlarged[part]), drawing_of(result.photo[part])], captions)


def repeating_upscaler() -> gpen.Upscaler:
    """A published architecture with a zero last convolution, so that each pixel is repeated."""
    network = Compact(num_feat=8, num_conv=2, upscale=2)
    for parameter in network.body[-1].parameters():
        torch.nn.init.zeros_(parameter)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic-x2.pth"
        torch.save({"params": network.state_dict()}, path)
        return gpen.load_upscaler(path)


def synthetic_model(task: str) -> gpen.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.pth"
        torch.save(synthetic_weights(SYNTHETIC, **WEIGHTS[task]), path)
        return gpen.load_model(path, task=task)


if __name__ == "__main__":
    main()
