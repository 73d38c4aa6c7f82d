"""Which faces `gpen restore` chooses, and by which network: a picture for docs/options.md, and a table of the report.

Runs the command itself, on one photo made of three copies of the portrait.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors.torch import save_file
from skimage import data

import gpen
from gpen.cli import main as command
from gpen.faces.drawing import Drawing, draw_faces, grid
from gpen.faces.face import Face
from gpen.faces.faces_file import FacesFromFile, PhotoFaces, write_faces
from gpen.images.picture import FloatImage
from gpen.network.synthetic import IDENTITY, synthetic_weights

HERE = Path(__file__).resolve().parent
DULL = [[0.75 * value for value in row] for row in IDENTITY]
TINTS = {512: (-0.2, 0.0, 0.35), 1024: (0.3, 0.05, -0.3)}
"""What the networks add to every colour: GPEN-BFR-512.safetensors blue, GPEN-BFR-1024.safetensors orange."""
RUNS = (
    ("--skip-sharp 0.6", "--model GPEN-BFR-512 --skip-sharp 0.6"),
    ("--max-face-size 120", "--model GPEN-BFR-512 --max-face-size 120"),
    ("--min-face-size 100", "--model GPEN-BFR-512 --min-face-size 100"),
    ("--model auto: 512 blue, 1024 orange", "--model auto"),
)
"""The caption of each run, and its flags."""
WIDTH = 560
"""Of each part of the picture."""


@dataclass(frozen=True)
class Copy:
    """A copy of the portrait in the photo."""

    scale: float
    blur: float
    """Standard deviation in pixels of the portrait."""
    corner: tuple[int, int]
    """Column and row of the photo where it begins."""
    region: tuple[slice, slice] = (slice(0, 270), slice(90, 370))
    """Rows and columns of the portrait that are copied."""


WHOLE = (slice(0, 512), slice(0, 512))
COPIES = (Copy(3, 0, (0, 0)), Copy(1.5, 2, (840, 0)), Copy(420 / 512, 0, (840, 405), WHOLE))
HEIGHT, FULL_WIDTH = 810, 1260


def chosen() -> tuple[Drawing, str]:
    """The picture, and the table in Markdown."""
    photo, faces = group()
    rows, drawings = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpen.write_picture(folder / "group.png", gpen.Picture(photo))
        write_faces(folder / "faces.json", [PhotoFaces("group.png", FULL_WIDTH, HEIGHT, faces)])
        for size, tint in TINTS.items():
            spec = gpen.Spec(size, size, 2, 1 / 4 if size == 1024 else 1 / 8)
            weights = synthetic_weights(spec, color_matrix=DULL, color_bias=tint)
            save_file(weights, folder / f"GPEN-BFR-{size}.safetensors")
        for caption, flags in RUNS:
            entry = run(folder, flags)
            result = gpen.read_picture(folder / "out.png", max_megapixels=10).photo
            drawings.append(numbered(result, entry))
            rows.append((caption.split(":")[0], entry))
    captions = [caption for caption, _ in RUNS]
    halves = [grid([drawings[first : first + 2]], [[text] for text in captions[first : first + 2]]) for first in (0, 2)]
    return np.vstack(halves), table(rows)


def group() -> tuple[FloatImage, tuple[Face, ...]]:
    (face,) = FacesFromFile(HERE / "astronaut_faces.json").faces_for("astronaut.png", 512, 512)
    portrait = data.astronaut().astype(np.float32) / 255
    photo = np.zeros((HEIGHT, FULL_WIDTH, 3), np.float32)
    faces = []
    for copy in COPIES:
        (left, top), (rows, columns) = copy.corner, copy.region
        blurred = cv2.GaussianBlur(portrait, (0, 0), copy.blur) if copy.blur else portrait
        how = cv2.INTER_CUBIC if copy.scale > 1 else cv2.INTER_AREA
        part = cv2.resize(blurred[rows, columns], None, fx=copy.scale, fy=copy.scale, interpolation=how)
        part = np.clip(part[: HEIGHT - top], 0, 1)
        photo[top : top + part.shape[0], left : left + part.shape[1]] = part
        moved = np.array((left - columns.start * copy.scale, top - rows.start * copy.scale))
        x0, y0, x1, y1 = (np.array(face.box).reshape(2, 2) * copy.scale + moved).ravel().tolist()
        faces.append(Face((x0, y0, x1, y1), face.score, face.landmarks * copy.scale + moved))
    return photo, tuple(faces)


def run(folder: Path, flags: str) -> dict[str, Any]:
    """Run the command, and return its report of the photo."""
    report = folder / "report.json"
    code = command(
        [
            *("restore", str(folder / "group.png"), "-o", str(folder / "out.png"), "--overwrite", "--device", "cpu"),
            *("--faces", str(folder / "faces.json"), "--models-path", str(folder), "--mask", "ellipse"),
            *("--report", str(report), *flags.split()),
        ]
    )
    assert code == 0, f"{flags} ended with {code}"
    (entry,) = json.loads(report.read_text("utf-8"))
    return dict(entry)


def numbered(photo: FloatImage, entry: dict[str, Any]) -> Drawing:
    done, left = ([(face["number"], Face.from_json(face)) for face in entry[key]] for key in ("faces", "skipped"))
    drawing = draw_faces(photo, done, skipped=left, landmarks=False)
    size = (WIDTH, round(WIDTH * HEIGHT / FULL_WIDTH))
    return np.asarray(cv2.resize(drawing, size, interpolation=cv2.INTER_AREA), np.uint8)


def table(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """What the reports say of each face, in Markdown."""
    lines = ["| run | face | box | sharpness | outcome |", "|---|---|---|---|---|"]
    for flag, entry in rows:
        faces = sorted((*entry["faces"], *entry["skipped"]), key=lambda face: int(face["number"]))
        for face in faces:
            x0, y0, x1, y1 = face["box"]
            outcome = face.get("why", "restored")
            if "network" in face:
                made = face["network"]
                outcome = f"restored by {made['name'].split('.')[0]}, at {made['face_size']} pixels"
            sharpness = f"{face['sharpness']:.2f}" if "sharpness" in face else ""
            box = f"{round(x1 - x0)} x {round(y1 - y0)}"
            lines.append(f"| `{flag}` | {face['number']} | {box} | {sharpness} | {outcome} |")
    return "\n".join(lines)
