"""`gpen restore --person`: only faces of the people in the photos given, in a video by track."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpen.faces.recognition.sface import SFaceRecognizer
from gpen.images import Picture, read_picture, write_picture
from gpen.images.picture import FloatImage
from tests.recognizers import write_sface

data = pytest.importorskip("skimage.data")


@pytest.fixture
def models(tmp_path, detector_weights, networks, monkeypatch) -> list[object]:
    """Flags for the folders of the detector, of a recogniser that tells faces apart by colours, and of a network."""
    folder = tmp_path / "models"
    folder.mkdir()
    write_sface(folder, monkeypatch)
    # Faces have more in common than what it was made for.
    monkeypatch.setattr(SFaceRecognizer, "same_person", 0.9)
    folders = [flag for path in (folder, detector_weights, networks) for flag in ("--models-path", path)]
    return [*folders, "--model", "negative", "--detector", "yunet"]


def astronaut() -> FloatImage:
    return data.astronaut()[:300, 80:380].astype(np.float32) / 255


def other(photos: Path) -> FloatImage:
    return read_picture(photos / "ffhq_00000_hq.png", 10).photo[::3, ::3][:300, :300]


def write(path: Path, *pictures: FloatImage) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_picture(path, Picture(np.ascontiguousarray(np.hstack(pictures))))
    return path


def faces_in(report: Path) -> list[tuple[list[int], list[str]]]:
    """For each photo the numbers of the restored faces, and why the others were skipped."""
    return [
        ([face["number"] for face in entry["faces"]], [face["why"] for face in entry["skipped"]])
        for entry in json.loads(report.read_text("utf-8"))
    ]


def test_only_the_person_is_restored(gpen, models, tmp_path, photos):
    group = write(tmp_path / "in" / "group.png", astronaut(), other(photos))
    # Not the same picture: mirrored would be another person to this recogniser, so darker.
    person = write(tmp_path / "person.png", astronaut() * np.float32(0.8))
    report, out = tmp_path / "r.json", tmp_path / "out"
    run = gpen("restore", group, "-o", out, "--person", person, "--report", report, *models)
    assert run.code == 0, run.err
    ((restored, (why,)),) = faces_in(report)
    assert restored == [0]
    assert why.startswith("none of the people asked for: the cosine similarity is ")
    before, after = read_picture(group, 10).photo, read_picture(out / "group.png", 10).photo
    assert (before[:, 300:] == after[:, 300:]).all()
    assert np.abs(before[:, :300] - after[:, :300]).max() > 0.3
    # Of both people.
    second = write(tmp_path / "second.png", other(photos))
    run = gpen(
        *("restore", group, "-o", out, "--overwrite", "--person", person, "--person", second),
        *("--report", report, *models),
    )
    assert run.code == 0, run.err
    assert faces_in(report) == [([0, 1], [])]


def test_one_decision_for_each_face_of_a_video(gpen, models, tmp_path, photos):
    """In one frame the person cannot be recognised, and is restored all the same."""
    scrambled = astronaut()
    scrambled[..., :] = scrambled[..., ::-1] ** 3
    for number, left in enumerate((astronaut(), astronaut(), scrambled, astronaut())):
        write(tmp_path / "in" / f"{number}.png", left, other(photos))
    person = write(tmp_path / "person.png", astronaut())
    report = tmp_path / "r.json"
    flags = ["--person", person, "--report", report, "--overwrite", *models]
    assert gpen("restore", tmp_path / "in", "-o", tmp_path / "out", *flags).code == 0
    assert [numbers for numbers, _ in faces_in(report)] == [[0], [0], [], [0]]
    assert gpen("restore", tmp_path / "in", "-o", tmp_path / "out", "--video", *flags).code == 0
    assert [numbers for numbers, _ in faces_in(report)] == [[0]] * 4


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: write(path, np.full((200, 200, 3), 0.5, np.float32)), "No face was found in"),
        (lambda path: path, "person.png"),
    ],
    ids=["no face", "no file"],
)
def test_a_person_s_photo_that_cannot_be_used(gpen, models, tmp_path, made, said):
    group = write(tmp_path / "in" / "group.png", astronaut())
    run = gpen("restore", group, "-o", tmp_path / "out", "--person", made(tmp_path / "person.png"), *models)
    assert run.code != 0
    assert said in run.err
    assert not (tmp_path / "out" / "group.png").exists()


def test_without_a_recogniser_nothing_is_restored(gpen, tmp_path, networks, detector_weights):
    group = write(tmp_path / "in" / "group.png", astronaut())
    run = gpen(
        *("restore", group, "-o", tmp_path / "out", "--person", group, "--model", "negative"),
        *("--models-path", networks, "--models-path", detector_weights),
    )
    assert run.code != 0
    assert "gpen download arcface" in run.err
    assert "gpen download sface" in run.err


def test_a_result_does_not_replace_the_person_s_photo(gpen, models, tmp_path):
    person = write(tmp_path / "in" / "person.png", astronaut())
    run = gpen("restore", person, "-o", tmp_path / "in", "--person", person, *models)
    assert run.code != 0


def test_aligned_portraits_are_not_chosen(gpen, models, tmp_path):
    person = write(tmp_path / "in" / "person.png", astronaut())
    run = gpen("colorize", person, "-o", tmp_path / "out", "--aligned", "--person", person, *models)
    assert run.code != 0
    assert "leave --faces, --region and --person out" in run.err
