"""`make demo`: degrades a portrait, restores its face, and writes a before/after picture.

The portrait is NASA's photo of the astronaut Eileen Collins, in the public domain, which scikit-image ships. Nothing is
downloaded. Without a trained model on disk, synthetic weights that only sharpen are used, and the picture says so.
Without the YuNet detector on disk, the face is read from astronaut_faces.json.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cv2  # noqa: E402 - needs the checkout on sys.path
import numpy as np  # noqa: E402
import torch  # noqa: E402
from skimage import data  # noqa: E402

import gpen  # noqa: E402
from gpen.faces.drawing import Drawing, side_by_side  # noqa: E402
from gpen.faces.faces_file import FacesFromFile  # noqa: E402
from gpen.images.picture import FloatImage  # noqa: E402
from gpen.network.synthetic import SHARPEN, synthetic_weights  # noqa: E402
from gpen.weights.catalog import find_published  # noqa: E402
from gpen.weights.search import default_network, find_file, search_folders  # noqa: E402

OUTPUT = HERE.parent / "demo-output"
SYNTHETIC = gpen.Spec(in_size=256, out_size=256, channel_multiplier=2, narrow=1 / 16)


def main() -> None:
    before = degrade(data.astronaut())
    model, caption, real = load_best()
    faces = find_faces(before)
    start = time.perf_counter()
    restoration = gpen.restore(before, model, faces)
    print(f"{restoration.summary} {time.perf_counter() - start:.1f} s on {model.device}.")
    OUTPUT.mkdir(exist_ok=True)
    gpen.write_picture(OUTPUT / "before.png", gpen.Picture(before))
    gpen.write_picture(OUTPUT / "after.png", gpen.Picture(restoration.photo))
    sheet = np.vstack([compare(before, restoration.photo, caption), closer(before, restoration, caption)])
    gpen.write_picture(OUTPUT / "before_after.png", gpen.Picture((sheet / 255).astype(np.float32)))
    print(f"Look at {OUTPUT / 'before_after.png'}\n{real}")


def degrade(photo: Drawing) -> FloatImage:
    """Add blur, noise and JPEG artefacts, as in a bad scan: uint8 (H, W, 3) to float32 [0, 1]."""
    rng = np.random.default_rng(0)
    blurred = cv2.GaussianBlur(photo, (0, 0), 1.3).astype(np.float32)
    noisy = np.clip(blurred + rng.normal(0, 1.5, blurred.shape), 0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(decoded, dtype=np.float32) / 255


def load_best() -> tuple[gpen.Model, str, str]:
    """The best trained model on disk, else synthetic weights that sharpen; a caption; what is real in the picture."""
    weights = default_network(search_folders())
    if weights is not None:
        model = gpen.load_model(weights)
        print(f"Restoring with {weights}.")
        real = (
            "Real in it: the portrait, and how this model restores its face. Blur, noise and JPEG artefacts were added."
        )
        return model, f"after ({model.spec.title})", real
    print(
        "No trained GPEN model is on disk (docs/weights.md says how to get one). Restoring with SYNTHETIC WEIGHTS that "
        "only sharpen, not with a trained model."
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.pth"
        torch.save(synthetic_weights(SYNTHETIC, kernel=SHARPEN), path)
        real = "Real in it: the portrait, and how its face is cropped, masked and pasted; sharpening is no restoration."
        return gpen.load_model(path), "after: SYNTHETIC weights that only sharpen, no trained model", real


def find_faces(photo: FloatImage) -> list[gpen.Face]:
    """The faces that YuNet detects, or those in astronaut_faces.json if it is not on disk or finds none."""
    if find_file(find_published("yunet"), search_folders(kind="detector")) is not None:
        print("Detecting faces with YuNet.")
        faces = gpen.make_detector("yunet").detect(photo)
        if faces:
            return faces
    path = HERE / "astronaut_faces.json"
    print(f"YuNet is not on disk, or found no face: reading the face from {path.name}.")
    height, width = photo.shape[:2]
    return FacesFromFile(path).faces_for("astronaut.png", width, height)


def compare(before: FloatImage, after: FloatImage, caption: str) -> Drawing:
    return side_by_side([drawing_of(before), drawing_of(after)], ["before", caption])


def closer(before: FloatImage, restoration: gpen.Restoration, caption: str) -> Drawing:
    """The surroundings of the first face, before and after, at the size of the whole photo."""
    height, width = before.shape[:2]
    face = restoration.faces[0].face
    side = round(1.6 * face.height)
    x, y = (round(v - side / 2) for v in face.center)
    x, y = min(max(x, 0), width - side), min(max(y, 0), height - side)
    parts = [
        cv2.resize(drawing_of(photo)[y : y + side, x : x + side], (width, height), interpolation=cv2.INTER_CUBIC)
        for photo in (before, restoration.photo)
    ]
    return side_by_side([np.asarray(part, dtype=np.uint8) for part in parts], ["before, closer", caption])


def drawing_of(photo: FloatImage) -> Drawing:
    return np.rint(photo * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
