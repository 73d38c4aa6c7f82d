"""`gpen restore frames/ --video`: faces are tracked through all frames before the first one is restored."""

from __future__ import annotations

import json
import shutil
import weakref

import numpy as np
import pytest

from bench.clip import solvay_clip
from gpen.batch import video
from gpen.faces.detection.detector import NetworkDetector
from gpen.faces.face import Face
from gpen.faces.faces_file import FacesFromFile
from gpen.images import Picture, read_picture, write_picture

COUNT = 12
"""Frames."""


def shaken(face: Face, seed: int) -> Face:
    """The same face, with a detector error of about a pixel."""
    return Face(face.box, face.score, face.landmarks + np.random.default_rng(seed).normal(0, 1, (5, 2)))


@pytest.fixture
def frames(album, one_face):
    """Twelve equal frames, frame1.png to frame12.png; one face is known to move, a larger one to stand still."""
    for number in range(1, COUNT + 1):
        faces = [shaken(one_face(4 + 2 * number, 6, 30), number), shaken(one_face(60, 44, 46), 100 + number)]
        path = album.add(f"frame{number}.png", faces)
        if number > 1:
            shutil.copyfile(album.folder / "frame1.png", path)
    return album


def entries(path) -> dict[str, dict]:
    return {entry["path"].replace("\\", "/").rpartition("/")[2]: entry for entry in json.loads(path.read_text())}


def landmarks(report: dict[str, dict], number: int) -> np.ndarray:
    """The landmarks of one face in the order of the frames, (frames, 5, 2)."""
    found = [
        face["landmarks"]
        for frame in range(1, COUNT + 1)
        for face in report[f"frame{frame}.png"]["faces"]
        if face["number"] == number
    ]
    return np.array(found)


def test_a_folder_of_frames(restore, frames, tmp_path, files_in):
    run = restore(frames.folder, "-o", tmp_path / "out", "--video", "--report", tmp_path / "r.json")
    assert run.code == 0, run.err
    assert "2 tracks of faces in 12 frames with 0 cuts; 0 missing faces bridged." in run.out
    assert len(files_in(tmp_path / "out")) == COUNT
    # frame2 comes before frame10: in another order no face would move steadily.
    assert list(entries(tmp_path / "r.json")) == [f"frame{number}.png" for number in range(1, COUNT + 1)]
    given = np.array([frames.faces[f"frame{n}.png"][0].landmarks for n in range(1, COUNT + 1)])
    smoothed = landmarks(entries(tmp_path / "r.json"), 0)
    assert np.diff(given, 2, axis=0).std() > 10 * np.diff(smoothed, 2, axis=0).std()
    assert np.abs(np.diff(smoothed, axis=0)[..., 0] - 2).max() < 1


def test_without_the_flag_every_photo_is_restored_by_itself(restore, frames, tmp_path):
    run = restore(frames.folder, "-o", tmp_path / "out", "--report", tmp_path / "r.json")
    assert run.code == 0
    assert "bridged" not in run.out
    given = np.array([frames.faces[f"frame{n}.png"][0].landmarks for n in range(1, COUNT + 1)])
    assert np.abs(landmarks(entries(tmp_path / "r.json"), 0) - given).max() < 0.011


def test_a_face_that_is_missing_in_some_frames(restore, frames, tmp_path):
    for number in (5, 6, 7):
        frames.set_faces(f"frame{number}.png", frames.faces[f"frame{number}.png"][1:])
    run = restore(frames.folder, "-o", tmp_path / "out", "--video", "--report", tmp_path / "r.json")
    assert "3 missing faces bridged." in run.out
    assert len(landmarks(entries(tmp_path / "r.json"), 0)) == COUNT


def test_a_person_is_chosen_by_number_through_the_clip(restore, frames, tmp_path, one_face, files_in):
    # From here on the first face is to the right of the other.
    for number in range(1, COUNT + 1):
        frames.set_faces(f"frame{number}.png", [one_face(90 - 7 * number, 8, 30), one_face(30, 40, 46)])
    out = tmp_path / "out"
    chosen = ["--only-faces", "1", "--save-faces", "--report", tmp_path / "r.json"]
    assert restore(frames.folder, "-o", out, "--video", *chosen).code == 0
    report = entries(tmp_path / "r.json")
    assert [face["number"] for entry in report.values() for face in entry["faces"]] == [1] * COUNT
    boxes = np.array([entry["faces"][0]["box"][0] for entry in report.values()])
    assert np.allclose(np.diff(boxes), -7, atol=0.1)
    assert {face["why"] for entry in report.values() for face in entry["skipped"]} == {"not among faces 1"}
    assert [name for name in files_in(out) if "face" in name and "face01" not in name] == []


def test_the_largest_face_is_chosen_for_the_whole_clip(restore, frames, tmp_path, one_face):
    for number in range(1, COUNT + 1):
        changing = 44 if number % 2 else 36
        frames.set_faces(f"frame{number}.png", [one_face(4, 6, changing), one_face(60, 44, 42)])
    report = tmp_path / "r.json"
    assert restore(frames.folder, "-o", tmp_path / "a", "--video", "--select", "largest", "--report", report).code == 0
    assert {face["number"] for entry in entries(report).values() for face in entry["faces"]} == {1}
    assert restore(frames.folder, "-o", tmp_path / "b", "--select", "largest", "--report", report).code == 0
    assert {face["number"] for entry in entries(report).values() for face in entry["faces"]} == {0, 1}


def test_listed_faces_are_restored_whatever_their_score(restore, frames, tmp_path, one_face):
    face = one_face(60, 44, 46)
    for number in range(1, COUNT + 1):
        frames.set_faces(f"frame{number}.png", [Face(face.box, 0.1, face.landmarks)])
    report = tmp_path / "r.json"
    threshold = ["--detection-threshold", "0.9"]
    assert restore(frames.folder, "-o", tmp_path / "out", "--video", *threshold, "--report", report).code == 0
    assert [len(entry["faces"]) for entry in entries(report).values()] == [1] * COUNT


def test_resuming_restores_the_rest_as_a_whole_run_does(restore, frames, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert restore(frames.folder, "-o", first, "--video").code == 0
    assert restore(frames.folder, "-o", second, "--video").code == 0
    for name in ("frame3.png", "frame4.png"):
        (second / name).unlink()
    run = restore(frames.folder, "-o", second, "--video")
    assert "in 12 frames" in run.out
    assert "12 photos: 2 restored, 10 already there" in run.out
    for name in frames.faces:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_faces_are_not_tracked_if_all_results_exist(restore, frames, tmp_path):
    assert restore(frames.folder, "-o", tmp_path / "out", "--video").code == 0
    run = restore(frames.folder, "-o", tmp_path / "out", "--video")
    assert run.code == 0
    assert "bridged" not in run.out
    assert "12 photos: 12 already there" in run.out


def test_an_empty_file_in_place_of_a_result_is_none(restore, frames, tmp_path):
    out = tmp_path / "out"
    assert restore(frames.folder, "-o", out, "--video").code == 0
    whole = (out / "frame5.png").read_bytes()
    (out / "frame5.png").write_bytes(b"")
    run = restore(frames.folder, "-o", out, "--video")
    assert run.code == 0, run.err
    assert (out / "frame5.png").read_bytes() == whole


def test_a_frame_that_cannot_be_read_fails_alone(restore, frames, tmp_path):
    (frames.folder / "frame6.png").write_bytes(b"no picture")
    run = restore(frames.folder, "-o", tmp_path / "out", "--video", "--report", tmp_path / "r.json")
    assert run.code == 1
    assert run.err.count("frame6.png") == 1
    report = entries(tmp_path / "r.json")
    assert {entry["status"] for entry in report.values()} == {"restored", "failed"}
    assert len(landmarks(report, 0)) == COUNT - 1


def test_frames_of_several_sizes_are_refused(restore, frames, tmp_path, files_in):
    write_picture(frames.folder / "frame5.png", Picture(np.zeros((90, 112, 3), np.float32)))
    run = restore(frames.folder, "-o", tmp_path / "out", "--video")
    assert run.code == 1
    assert "frame5.png has 112 x 90 pixels" in run.err
    assert "frame1.png 112 x 96" in run.err
    assert files_in(tmp_path) == [name for name in files_in(tmp_path) if not name.startswith("out")]


def test_several_folders_are_refused(restore, album, tmp_path):
    album.add("a/frame1.png")
    album.add("b/frame1.png")
    run = restore(album.folder, "-o", tmp_path / "out", "--video")
    assert run.code == 1
    assert "These frames are in 2 folders" in run.err


def test_frames_that_the_shell_has_listed(restore, frames, tmp_path):
    listed = sorted(frames.folder.glob("*.png"))
    assert restore(*listed, "-o", tmp_path / "out", "--video").code == 0


def test_aligned_faces_cannot_be_tracked(gpen, frames, tmp_path):
    run = gpen("colorize", frames.folder, "-o", tmp_path / "out", "--video", "--aligned")
    assert run.code == 2
    assert "leave --video out" in run.err


def test_the_region_applies_to_each_frame(restore, frames, tmp_path):
    white = np.zeros((96, 112, 3), np.float32)
    white[:40, :40] = 1
    write_picture(tmp_path / "region.png", Picture(white))
    report = tmp_path / "r.json"
    arguments = ["--video", "--region", tmp_path / "region.png", "--report", report]
    assert restore(frames.folder, "-o", tmp_path / "out", *arguments).code == 0
    found = [len(entry["faces"]) for entry in entries(report).values()]
    assert found == [1] * 10 + [0] * 2
    write_picture(tmp_path / "region.png", Picture(white[:50]))
    run = restore(frames.folder, "-o", tmp_path / "other", *arguments)
    assert run.code == 1
    assert "The mask of the region is" in run.err


def test_every_frame_is_searched_once(restore, frames, tmp_path, monkeypatch):
    """And no picture is kept: what is left of a frame until all are read is small."""
    asked = []
    really = FacesFromFile.faces_for

    def noted(self, photo, width, height):
        asked.append(str(photo))
        return really(self, photo, width, height)

    monkeypatch.setattr(FacesFromFile, "faces_for", noted)
    assert restore(frames.folder, "-o", tmp_path / "out", "--video").code == 0
    assert len(asked) == len(set(asked)) == COUNT


def test_no_more_than_two_frames_are_held_while_faces_are_detected(restore, frames, tmp_path, monkeypatch):
    held: list[weakref.ref] = []
    alive: list[int] = []

    def noted(*arguments, **options):
        picture = read_picture(*arguments, **options)
        held.append(weakref.ref(picture.photo))
        alive.append(sum(photo() is not None for photo in held))
        return picture

    monkeypatch.setattr(video, "read_picture", noted)
    assert restore(frames.folder, "-o", tmp_path / "out", "--video").code == 0
    assert len(held) == COUNT
    # The one being searched, the one being read, and one about to be released.
    assert max(alive) <= 3


def test_faces_are_coloured_in_the_same_way(gpen, frames, networks, tmp_path):
    arguments = ["--models-path", networks, "--model", "passthrough", "--faces", frames.faces_file]
    run = gpen("colorize", frames.folder, "-o", tmp_path / "out", "--video", *arguments)
    assert run.code == 0, run.err
    assert "2 tracks of faces in 12 frames" in run.out
    assert "12 photos: 12 colorized; 24 faces colorized." in run.out


def test_a_bad_model_file_is_refused_before_faces_are_detected(gpen, frames, tmp_path):
    (tmp_path / "bad.pth").write_text("no weights")
    arguments = ["--model", tmp_path / "bad.pth", "--faces", frames.faces_file]
    run = gpen("restore", frames.folder, "-o", tmp_path / "out", "--video", *arguments)
    assert run.code == 1
    assert "bridged" not in run.out
    assert "bad.pth" in run.err


def test_with_the_real_detector(restore, photos, detector_weights, tmp_path, monkeypatch):
    """With passthrough weights frames do not change, and the detector sees each of them once."""
    seen = []
    really = NetworkDetector.detect
    monkeypatch.setattr(NetworkDetector, "detect", lambda self, *photo: seen.append(len(photo)) or really(self, *photo))
    photo = read_picture(photos / "Solvay_conference_1927.png", 100).photo
    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    for number, frame in enumerate(solvay_clip(photo, 8)):
        write_picture(folder / f"{number}.png", Picture(frame.picture))
    arguments = ["--models-path", detector_weights, "--detector", "yunet", "--report", tmp_path / "r.json"]
    run = restore(folder, "-o", out, "--video", *arguments, model="passthrough", faces=False)
    assert run.code == 0, run.err
    assert len(seen) == 8
    report = entries(tmp_path / "r.json")
    numbers = [{face["number"] for face in entry["faces"]} for entry in report.values()]
    assert len(set.intersection(*numbers)) >= 4
    for path in folder.iterdir():
        before, after = read_picture(path, 1).photo, read_picture(out / path.name, 1).photo
        assert np.abs(after - before).max() < 0.3
        assert np.abs(after - before).mean() < 0.02
