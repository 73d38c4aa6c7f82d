"""`gpen restore --skip-sharp`: faces that need nothing stay as they are, and the report says how sharp each is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.demo import HERE
from gpen.faces.faces_file import FacesFromFile, PhotoFaces, write_faces
from gpen.images import Picture, read_picture, write_picture
from gpen.images.picture import FloatImage

data = pytest.importorskip("skimage.data")
SIZE = 512


def portrait(deviation: float = 0.0) -> FloatImage:
    photo = data.astronaut().astype(np.float32) / 255
    return cv2.GaussianBlur(photo, (0, 0), deviation) if deviation else photo


def write(folder: Path, names: list[str], photos: list[FloatImage]) -> tuple[Path, Path]:
    """Photos of one portrait beside another, each of 512 pixels, and a faces file about them."""
    (face,) = FacesFromFile(HERE / "astronaut_faces.json").faces_for("astronaut.png", SIZE, SIZE)
    moved = type(face)(
        (face.box[0] + SIZE, face.box[1], face.box[2] + SIZE, face.box[3]),
        face.score,
        face.landmarks + np.array([SIZE, 0]),
    )
    (folder / "photos").mkdir()
    for name, photo in zip(names, photos, strict=True):
        write_picture(folder / "photos" / name, Picture(photo))
    write_faces(folder / "faces.json", [PhotoFaces(name, 2 * SIZE, SIZE, (face, moved)) for name in names])
    return folder / "photos", folder / "faces.json"


def entries(path: Path) -> list[dict]:
    return json.loads(path.read_text("utf-8"))


def test_a_sharp_face_beside_a_blurred_one(gpen, networks, tmp_path):
    photos, faces = write(tmp_path, ["a.png"], [np.hstack([portrait(), portrait(2)])])
    arguments = ["restore", photos, "--models-path", networks, "--model", "negative", "--faces", faces, "--overwrite"]
    report = tmp_path / "report.json"

    run = gpen(*arguments, "-o", tmp_path / "out", "--skip-sharp", 0.6, "--report", report)
    assert run.code == 0, run.err
    (entry,) = entries(report)
    assert entry["message"] == "1 face restored, 1 skipped."
    (blurred,), (sharp,) = entry["faces"], entry["skipped"]
    assert (blurred["number"], sharp["number"]) == (1, 0)
    assert blurred["sharpness"] < 0.5
    assert 0.8 < sharp["sharpness"] <= 1
    assert sharp["why"] == f"sharp enough: its sharpness is {sharp['sharpness']:.2f}, above 0.6"
    before, after = (read_picture(folder / "a.png", 10).photo for folder in (photos, tmp_path / "out"))
    assert (before[:, :SIZE] == after[:, :SIZE]).all()
    assert np.abs(before[:, SIZE:] - after[:, SIZE:]).max() > 0.3

    # Without the option both are restored, and measured for the report alone.
    assert gpen(*arguments, "-o", tmp_path / "out", "--report", report).code == 0
    (entry,) = entries(report)
    assert [face["sharpness"] for face in entry["faces"]] == [sharp["sharpness"], blurred["sharpness"]]

    # Nothing is left to do.
    run = gpen(*arguments, "-o", tmp_path / "out", "--skip-sharp", 0.6, "--only-faces", 0, "--report", report)
    assert run.code == 0
    assert entries(report)[0]["message"].startswith("None of 2 faces was chosen (sharp enough: its sharpness is 0.9")
    assert [face["sharpness"] for face in entries(report)[0]["skipped"]] == [sharp["sharpness"], blurred["sharpness"]]


def test_largest_face(gpen, networks, tmp_path):
    photos, faces = write(tmp_path, ["a.png"], [np.hstack([portrait(), portrait()])])
    report = tmp_path / "report.json"
    arguments = ["--models-path", networks, "--model", "negative", "--faces", faces, "--max-face-size", 100]
    assert gpen("restore", photos, "-o", tmp_path / "out", *arguments, "--report", report).code == 0
    assert [face["why"] for face in entries(report)[0]["skipped"]] == ["88 x 104 pixels, larger than 100"] * 2


def test_one_decision_for_each_face_of_a_video(gpen, networks, tmp_path):
    """The face that is sharp in most frames is left alone in all of them."""
    names = [f"{number}.png" for number in range(5)]
    blurs = [(0, 2), (0, 2), (2, 0), (0, 2), (0, 2)]
    frames = [np.hstack([portrait(left), portrait(right)]) for left, right in blurs]
    photos, faces = write(tmp_path, names, frames)
    report = tmp_path / "report.json"
    run = gpen(
        *("restore", photos, "-o", tmp_path / "out", "--models-path", networks, "--model", "negative"),
        *("--faces", faces, "--video", "--skip-sharp", 0.6, "--report", report),
    )
    assert run.code == 0, run.err
    for entry in entries(report):
        assert [face["number"] for face in entry["faces"]] == [1]
        assert [face["number"] for face in entry["skipped"]] == [0]
        assert entry["skipped"][0]["sharpness"] > 0.8
