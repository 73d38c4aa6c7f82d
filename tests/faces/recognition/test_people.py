"""People by example: who is recognised, with which network, and what is said about the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gpen.errors import FaceError, FilesError, PhotoError
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.faces.recognition.identity import TEMPLATE, find_recognizer
from gpen.faces.recognition.people import People, people_in
from gpen.faces.recognition.sface import SFaceRecognizer
from gpen.faces.selection.select import FaceChoice, select_tracked
from gpen.faces.selection.traits import FaceTraits
from gpen.faces.source import GivenFaces
from gpen.faces.tracking.tracks import track_faces
from gpen.images.picture import FloatImage
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration.components import ComponentLoader
from gpen.restoration.needs import Needs
from gpen.tasks import COLORIZE, RESTORE
from tests.recognizers import FILE, embedding, write_sface

LANDMARKS = TEMPLATES["gpen"]


class ColorRecognizer:
    """Takes the mean colour of a face for its person."""

    same_person = 0.9

    def align(self, crop: Any, landmarks: Any) -> Any:
        # The face is where the landmarks say, in the middle of the crop.
        assert np.abs(landmarks - (LANDMARKS * 256 - [32, 40])).max() < 1e-6
        return crop

    def embed(self, faces: Sequence[torch.Tensor]) -> Any:
        means = np.array([face[64:128, 64:128].mean(dim=(0, 1)).tolist() for face in faces], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


class Detector:
    name = "made"

    def __init__(self, *faces: Face) -> None:
        self._faces = list(faces)

    def detect(self, photo: Any, threshold: float = 0.7) -> list[Face]:
        return [face for face in self._faces if face.score >= threshold]


RED, GREEN, BLUE = (1.0, 0.1, 0.1), (0.1, 1.0, 0.1), (0.1, 0.1, 1.0)


def face_at(x: float, size: float = 100, score: float = 0.9) -> Face:
    """A face whose crop is a square with this left edge, at the top."""
    box = (x + 0.25 * size, 0.25 * size, x + 0.75 * size, 0.8 * size)
    return Face(box, score, LANDMARKS * size + [x, 0])


def colors(*people: tuple[float, float, float]) -> tuple[FloatImage, list[Face]]:
    """A face of each colour, from left to right."""
    photo = np.concatenate([np.full((100, 100, 3), person, np.float32) for person in people], axis=1)
    return photo, [face_at(100.0 * number) for number in range(len(people))]


def people(*examples: tuple[float, float, float]) -> People:
    photos = [(f"photo {number}", colors(example)[0]) for number, example in enumerate(examples)]
    return people_in(photos, Detector(face_at(0)), 0.7, ColorRecognizer())


def skipped(photo: FloatImage, faces: list[Face], **choice: Any) -> dict[int, str]:
    found = GivenFaces(faces, FaceChoice(**choice)).find(photo)
    return {face.number: face.skip_reason for face in found if face.skip_reason}


def test_only_the_people_are_chosen(each_implementation: str) -> None:
    photo, faces = colors(RED, GREEN, BLUE, RED)
    reason = "none of the people asked for: the cosine similarity is 0.21, less than 0.9"
    assert skipped(photo, faces, people=people(RED)) == {1: reason, 2: reason}
    assert skipped(photo, faces, people=people(RED, BLUE)) == {1: reason}
    # Another reason comes first, and the largest is chosen of those who are left.
    both = skipped(
        photo, [face_at(0, 90), *faces[1:]], people=people(RED), numbers=frozenset({0, 1, 3}), select="largest"
    )
    assert both == {0: "not the largest face", 1: reason, 2: "not among faces 0-1,3"}


def test_the_largest_face_of_a_person_s_photo_counts() -> None:
    photo, faces = colors(GREEN, RED)
    small = Face((*faces[0].box[:2], 60.0, 60.0), 0.99, faces[0].landmarks)
    found = people_in([("group.jpg", photo)], Detector(small, faces[1]), 0.7, ColorRecognizer())
    assert skipped(*colors(RED, GREEN), people=found).keys() == {1}


def test_a_photo_without_a_face_is_named() -> None:
    photo, (face,) = colors(RED)
    with pytest.raises(FaceError, match=r"No face was found in mum\.jpg, which is to show a person"):
        people_in([("mum.jpg", photo)], Detector(), 0.7, ColorRecognizer())
    with pytest.raises(FaceError, match=r"mum\.jpg"):
        people_in([("mum.jpg", photo)], Detector(Face(face.box, 0.5, face.landmarks)), 0.7, ColorRecognizer())


def test_a_face_that_cannot_be_aligned_is_nobody() -> None:
    photo, faces = colors(RED, RED)
    degenerate = Face(faces[1].box, 0.9, np.zeros((5, 2)))
    reason = "its landmarks cannot be aligned, so nobody can be recognised"
    assert skipped(photo, [faces[0], degenerate], people=people(RED)) == {1: reason}


def test_one_decision_for_a_track() -> None:
    frames = [[face_at(float(x))] for x in range(5)]
    wanted = FaceChoice(people=people(RED))
    for values, is_chosen in (((0.95, 0.95, 0.95, 0.1, 0.1), True), ((0.1, 0.1, 0.1, 0.95, 0.95), False)):
        traits = [[FaceTraits(likeness=value)] for value in values]
        for tracked in track_faces(frames, (), traits):
            assert (not select_tracked(tracked, wanted, (300, 100))) == is_chosen


@pytest.fixture
def no_other_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))


def test_sface_sees_faces_as_opencv_gives_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = SFaceRecognizer(write_sface(tmp_path, monkeypatch))
    samples = np.random.default_rng(1).integers(0, 256, (2, 112, 112, 3)).astype(np.uint8)
    found = recognizer.embed([torch.from_numpy(face / np.float32(255)) for face in samples])
    assert found.shape == (2, 128)
    assert np.abs(found - [embedding(face) for face in samples]).max() < 1e-4
    with pytest.raises(FaceError, match="SFace returned"):
        recognizer.embed([torch.full((112, 112, 3), 0.0)])


def test_sface_sees_the_landmarks_at_its_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = SFaceRecognizer(write_sface(tmp_path, monkeypatch))
    y, x = np.mgrid[:256, :256].astype(np.float32) / 255
    crop = torch.from_numpy(np.stack([x, y, 0 * x], axis=2))
    # An exact similarity of the template.
    aligned = recognizer.align(crop, TEMPLATE * 1.5 + [20, 30])
    for column, row in np.rint(TEMPLATE).astype(int):
        red, green, _ = aligned[row, column].tolist()
        assert abs(red * 255 - (column * 1.5 + 20)) < 0.5
        assert abs(green * 255 - (row * 1.5 + 30)) < 0.5


def test_opencv_is_given_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sface(tmp_path, monkeypatch)
    content = path.read_bytes()
    for other in (content + b"\0", content[:-1] + bytes([content[-1] ^ 1]), b""):
        path.write_bytes(other)
        with monkeypatch.context() as patch:
            patch.setattr("cv2.FaceRecognizerSF", None)  # would fail in another way
            with pytest.raises(FaceError, match="is not the published file of the face recogniser SFace"):
                SFaceRecognizer(path)
    path.unlink()
    with pytest.raises(FilesError, match="cannot be read"):
        SFaceRecognizer(path)


def test_an_old_opencv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sface(tmp_path, monkeypatch)
    monkeypatch.delattr("cv2.FaceRecognizerSF")
    with pytest.raises(FaceError, match=r"Install opencv-python 4\.10 or newer"):
        SFaceRecognizer(path)


@pytest.mark.usefixtures("no_other_folders")
def test_arcface_comes_first_and_sface_does_without_facexlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FilesError, match=r"(?s)gpen download arcface.*Or run \"gpen download sface\""):
        find_recognizer([tmp_path])
    (tmp_path / FILE).write_bytes(b"unread")
    assert find_recognizer([tmp_path]) == ("sface", tmp_path / FILE)
    arcface = tmp_path / "recognition_arcface_ir_se50.pth"
    arcface.write_bytes(b"unread")
    monkeypatch.setattr("gpen.faces.recognition.identity.facexlib_module", lambda name: None)
    assert find_recognizer([tmp_path]) == ("arcface", arcface)

    def broken(name: str) -> None:
        raise FaceError("facexlib cannot be used here.")

    monkeypatch.setattr("gpen.faces.recognition.identity.facexlib_module", broken)
    assert find_recognizer([tmp_path]) == ("sface", tmp_path / FILE)
    (tmp_path / FILE).unlink()
    with pytest.raises(FaceError, match="facexlib cannot be used here"):
        find_recognizer([tmp_path])


@pytest.mark.usefixtures("no_other_folders")
def test_sface_guards_identities_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sface(tmp_path, monkeypatch)
    guard, problem = ComponentLoader([tmp_path], "cpu").guard(Options(identity_guard=0.3, identity_action="keep"))
    assert problem == ""
    assert guard is not None
    before, after = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype(np.float32).repeat(64, 1).repeat(64, 2)
    landmarks = LANDMARKS + 0.5 / 512
    same = guard.judge(torch.from_numpy(before), torch.from_numpy(before), landmarks, 1.0)
    assert same.distance == pytest.approx(0, abs=1e-5)
    other = guard.judge(torch.from_numpy(before), torch.from_numpy(after), landmarks, 1.0)
    assert other.distance > 0.3
    assert other.factor == 0


def test_people_are_needed_where_faces_are_looked_for() -> None:
    photos = (Path("a.jpg"), Path("b.jpg"))
    assert Needs.of(RESTORE, Options(), people=photos).people == photos
    assert Needs.of(RESTORE, Options(), people=photos, faces_given=True).people == photos
    assert Needs.of(COLORIZE, Options(), people=photos, aligned=True).people == ()


@pytest.mark.usefixtures("no_other_folders")
def test_what_is_missing_is_said_before_the_run(tmp_path: Path, detector_weights: Path) -> None:
    spec = Spec(64, 64, 2, 1 / 16, 16, 2)
    save_file(synthetic_weights(spec), tmp_path / "network.safetensors")
    needs = Needs(people=(tmp_path / "mum.jpg",))
    with pytest.raises(FilesError, match="arcface"):
        ComponentLoader([detector_weights], "cpu").check(RESTORE, tmp_path / "network.safetensors", Options(), needs)
    (tmp_path / FILE).write_bytes(b"unread")
    with pytest.raises(PhotoError, match=r"mum\.jpg, which is to show a person, is not a file"):
        ComponentLoader([detector_weights, tmp_path], "cpu").check(
            RESTORE, tmp_path / "network.safetensors", Options(), needs
        )
    assert ComponentLoader([], "cpu").people([], Options()) is None
