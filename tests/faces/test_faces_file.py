"""Faces files: written, corrected by hand, read."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpen.errors import FaceError
from gpen.faces.face import Face
from gpen.faces.faces_file import FacesFromFile, PhotoFaces, read_faces, write_faces

LANDMARKS = [[40.0, 50.0], [70.0, 50.0], [55.0, 65.0], [43.0, 80.0], [67.0, 80.0]]
FACE = {"box": [30, 30, 80, 95.5], "score": 0.93, "landmarks": LANDMARKS}
CONTENT = {
    "format": "gpen-faces",
    "version": 1,
    "photos": [{"path": "a/group.png", "width": 200, "height": 150, "faces": [FACE]}],
}


def face(x: float = 0, score: float = 0.9) -> Face:
    return Face((30 + x, 30, 80 + x, 95), score, np.array(LANDMARKS) + np.array([x, 0]))


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def changed(**changes: object) -> dict:
    """Valid content with fields of its only face changed; None removes a field."""
    content = copy.deepcopy(CONTENT)
    entry = content["photos"][0]["faces"][0]
    for name, value in changes.items():
        entry[name] = value
        if value is None:
            del entry[name]
    return content


def test_write_and_read(tmp_path):
    path = tmp_path / "faces.json"
    entries = [
        PhotoFaces("a/group.png", 1328, 568, (face(), face(100.123456, 0.876))),
        PhotoFaces("nobody.png", 10, 20, ()),
        PhotoFaces('Ünï "x" 顔.png', 300, 200, (face(),)),
    ]
    write_faces(path, iter(entries))
    back = read_faces(path)
    assert [(e.path, e.width, e.height, len(e.faces)) for e in back] == [
        (e.path, e.width, e.height, len(e.faces)) for e in entries
    ]
    second = back[0].faces[1]
    assert second.box == (130.12, 30.0, 180.12, 95.0)
    assert second.score == 0.88
    assert second.landmarks[0].tolist() == [140.12, 50.0]
    assert second.landmarks.dtype == np.float64


def test_the_file_is_easy_to_read_and_edit(tmp_path):
    path = tmp_path / "faces.json"
    write_faces(path, [PhotoFaces("顔.png", 200, 150, (face(), face(1)))])
    text = path.read_text(encoding="utf-8")
    assert text == (
        '{\n  "format": "gpen-faces",\n  "version": 1,\n  "photos": [\n    {\n'
        '      "path": "顔.png",\n      "width": 200,\n      "height": 150,\n      "faces": [\n'
        '        {\n          "box": [30.0, 30.0, 80.0, 95.0],\n          "score": 0.9,\n'
        '          "landmarks": [[40.0, 50.0], [70.0, 50.0], [55.0, 65.0], [43.0, 80.0], [67.0, 80.0]]\n'
        '        },\n        {\n          "box": [31.0, 30.0, 81.0, 95.0],\n          "score": 0.9,\n'
        '          "landmarks": [[41.0, 50.0], [71.0, 50.0], [56.0, 65.0], [44.0, 80.0], [68.0, 80.0]]\n'
        "        }\n      ]\n    }\n  ]\n}\n"
    )


def test_an_empty_list(tmp_path):
    write_faces(tmp_path / "faces.json", [])
    assert read_faces(tmp_path / "faces.json") == []


def test_a_file_name_that_is_not_unicode(tmp_path):
    write_faces(tmp_path / "faces.json", [PhotoFaces("caf\udce9.png", 200, 150, ())])
    assert read_faces(tmp_path / "faces.json")[0].path == "caf\udce9.png"


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1),
            st.integers(1, 10**6),
            st.lists(st.lists(st.floats(0, 1), min_size=15, max_size=15), max_size=3),
        ),
        max_size=3,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path, entries):
    made = []
    for path, size, faces in entries:
        rows = [np.array(row) * size for row in faces]
        rows = [row for row in rows if np.ptp(row[5:].reshape(5, 2), axis=0).max() > 1.02]
        made.append(
            PhotoFaces(
                path,
                size,
                size,
                tuple(
                    Face(
                        (min(r[0], r[2]), min(r[1], r[3]), max(r[0], r[2]) + 1, max(r[1], r[3]) + 1),
                        r[4] / size,
                        r[5:].reshape(5, 2),
                    )
                    for r in rows
                ),
            )
        )
    write_faces(tmp_path / "faces.json", made)
    for entry, back in zip(made, read_faces(tmp_path / "faces.json"), strict=True):
        assert (entry.path, entry.width) == (back.path, back.width)
        for a, b in zip(entry.faces, back.faces, strict=True):
            assert np.abs(np.subtract(a.box, b.box)).max() <= 0.00501
            assert abs(a.score - b.score) <= 0.00501
            assert np.abs(a.landmarks - b.landmarks).max() <= 0.00501


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["path", "width", "faces", "box"]), inner)
        ),
        max_leaves=12,
    ),
    st.sampled_from(["", "photos", "path", "width", "faces", "face", "box", "score", "landmarks", "point"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_may_be_in_the_file(tmp_path, value, where):
    """Any value at any position is either read as faces with finite numbers or refused with a FaceError."""
    content = copy.deepcopy(CONTENT)
    photo = content["photos"][0]
    entry = photo["faces"][0]
    if where == "":
        content = value
    elif where == "photos":
        content["photos"] = value
    elif where in photo:
        photo[where] = value
    elif where == "face":
        photo["faces"] = [value]
    elif where == "point":
        entry["landmarks"][2] = value
    else:
        entry[where] = value
    try:
        read = read_faces(written(tmp_path / "faces.json", content))
    except FaceError as error:
        read, refusal = [], str(error)
    else:
        refusal = ""
    assert not refusal or str(tmp_path / "faces.json") in refusal
    for found in (f for e in read for f in e.faces):
        assert np.isfinite(found.landmarks).all()
        assert np.isfinite(found.box).all()
        assert 0 <= found.score <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"landmarks": LANDMARKS[:4]}, "five points"),
        ({"landmarks": None}, '"landmarks" is missing'),
        ({"landmarks": [*LANDMARKS[:2], [1], *LANDMARKS[3:]]}, "the nose is [1] instead of a list of 2"),
        ({"landmarks": [*LANDMARKS[:4], [1, "2"]]}, 'number 1 of the right mouth corner is "2"'),
        ({"landmarks": [*LANDMARKS[:4], [1, True]]}, "is true instead of a number"),
        ({"landmarks": [[4000, 50], *LANDMARKS[1:]]}, "the left eye is at 4000, 50, far outside"),
        ({"landmarks": [[5, 5]] * 5}, "landmarks coincide"),
        ({"box": [30, 30, 80]}, '"box" is [30, 30, 80] instead of a list of 4'),
        ({"box": [80, 30, 30, 95]}, "[left, top, right, bottom]"),
        ({"box": [30, 30, 80, 10**400]}, "instead of a number"),
        ({"score": 1.5}, '"score" is 1.5'),
        ({"score": "high"}, '"score" is "high" instead of a number'),
    ],
)
def test_mistakes_of_a_face_are_named(tmp_path, changes, said):
    path = written(tmp_path / "faces.json", changed(**changes))
    with pytest.raises(FaceError) as raised:
        read_faces(path)
    assert said in str(raised.value)
    assert f"{path}, photo 0 (a/group.png), face 0: " in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("path", "", '"path" is ""'),
        ("path", None, '"path" is missing'),
        ("width", 0, '"width" is 0'),
        ("width", 12.5, '"width" is 12.5'),
        ("height", True, '"height" is true'),
        ("height", "150", '"height" is "150"'),
        ("faces", None, '"faces" is missing'),
        ("faces", [7], "face 0: it is 7"),
    ],
)
def test_mistakes_of_a_photo_are_named(tmp_path, field, value, said):
    content = copy.deepcopy(CONTENT)
    content["photos"].append({**content["photos"][0], field: value})
    with pytest.raises(FaceError) as raised:
        read_faces(written(tmp_path / "faces.json", content))
    assert said in str(raised.value)
    assert "photo 1" in str(raised.value)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_nan_and_inf_are_refused(tmp_path, constant):
    path = tmp_path / "faces.json"
    path.write_text(json.dumps(CONTENT).replace("95.5", constant))
    with pytest.raises(FaceError, match=r"not a number|instead of a number"):
        read_faces(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\x00", b'{"format": "gpen-faces",}', b"[" * 100_000, b"9" * 10_000, b"[]", b'{"faces": []}'],
)
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "faces.json"
    path.write_bytes(data)
    with pytest.raises(FaceError, match="not a faces file"):
        read_faces(path)


@pytest.mark.parametrize("version", [2, 0, "1", None, True])
def test_other_versions_are_refused(tmp_path, version):
    with pytest.raises(FaceError, match="version"):
        read_faces(written(tmp_path / "faces.json", {**CONTENT, "version": version}))


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "faces.json"
    path.write_text(json.dumps(CONTENT), encoding="utf-8-sig")
    assert len(read_faces(path)[0].faces) == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FaceError, match="cannot be read"):
        read_faces(tmp_path / "none.json")


def test_box_and_score_may_be_omitted(tmp_path, detector_weights, photos):
    import cv2

    from gpen.faces.detection.detector import make_detector

    (read,) = read_faces(written(tmp_path / "faces.json", changed(box=None, score=None)))[0].faces
    assert read.score == 1.0
    # The derived box resembles a detector's.
    data = np.fromfile(photos / "Solvay_conference_1927.png", np.uint8)
    photo = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].astype(np.float32) / 255
    faces = make_detector("yunet", [detector_weights]).detect(photo)
    height, width = photo.shape[:2]
    content = copy.deepcopy(CONTENT)
    content["photos"][0] |= {
        "width": width,
        "height": height,
        "faces": [{"landmarks": found.landmarks.tolist()} for found in faces],
    }
    derived = read_faces(written(tmp_path / "faces.json", content))[0].faces
    errors = np.array([np.subtract(d.box, f.box) / f.height for d, f in zip(derived, faces, strict=True)])
    assert np.abs(errors.mean(axis=0)).max() < 0.06
    assert np.abs(errors).max() < 0.35


def test_a_derived_box_turns_with_the_face(tmp_path):
    def box(landmarks: np.ndarray) -> np.ndarray:
        path = written(tmp_path / "faces.json", changed(box=None, landmarks=landmarks.tolist()))
        return np.array(read_faces(path)[0].faces[0].box)

    upright = np.array(LANDMARKS)
    x0, y0, x1, y1 = box(upright)
    assert y1 - y0 > 1.1 * (x1 - x0)
    lying = np.stack([150 - upright[:, 1], upright[:, 0]], axis=1)
    assert np.allclose(box(lying), (150 - y1, x0, 150 - y0, x1))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "faces.json"
    write_faces(path, [PhotoFaces("a.png", 200, 150, (face(),))])
    before = path.read_bytes()
    with pytest.raises(FaceError, match="NaN or Inf"):
        write_faces(path, [PhotoFaces("a.png", 200, 150, (face(float("nan")),))])
    assert path.read_bytes() == before
    with pytest.raises(FaceError, match="cannot be written"):
        write_faces(tmp_path / "no such folder" / "faces.json", [])
    assert [p.name for p in tmp_path.iterdir()] == ["faces.json"]


# Which entry belongs to which photo


def faces_file(path: Path, *photos: str) -> FacesFromFile:
    write_faces(path, [PhotoFaces(name, 200, 150, (face(i),)) for i, name in enumerate(photos)])
    return FacesFromFile(path)


def entry_of(source: FacesFromFile, photo: str | Path) -> int:
    (found,) = source.faces_for(photo, 200, 150)
    return round(found.box[0] - 30)


def test_photos_are_matched_by_path_then_by_name(tmp_path):
    source = faces_file(tmp_path / "f.json", "a/1.png", "b/1.png", "b/2.png", "1.png")
    assert entry_of(source, "a/1.png") == 0
    assert entry_of(source, "./b/1.png") == 1
    assert entry_of(source, "b\\1.png") == 1
    assert entry_of(source, Path("/home/me/b/1.png")) == 1
    assert entry_of(source, "elsewhere/2.png") == 2
    assert entry_of(source, "1.png") == 3


def test_a_name_in_other_case_or_composition_is_the_same_unless_the_very_name_is_there(tmp_path):
    source = faces_file(tmp_path / "faces.json", "x/Mu\u0308ller.JPG", "x/b.png", "y/B.png")
    assert entry_of(source, "x/M\u00fcller.jpg") == 0
    assert entry_of(source, "/photos/X/B.PNG") == 1
    assert entry_of(source, "z/B.png") == 2
    with pytest.raises(FaceError, match="2 entries that may be"):
        entry_of(source, "z/B.PNG")


def test_a_name_that_matches_twice_is_refused(tmp_path):
    source = faces_file(tmp_path / "f.json", "a/1.png", "b/1.png")
    with pytest.raises(FaceError, match=r"2 entries that may be c/1.png: a/1.png, b/1.png"):
        source.faces_for("c/1.png", 200, 150)


def test_a_photo_that_is_not_in_the_file(tmp_path):
    with pytest.raises(FaceError, match=r"no entry for 3.png"):
        faces_file(tmp_path / "f.json", "1.png", "2.png").faces_for("3.png", 200, 150)
    with pytest.raises(FaceError, match="no entry"):
        faces_file(tmp_path / "f.json").faces_for("3.png", 200, 150)


def test_the_only_entry_serves_a_renamed_photo(tmp_path):
    assert entry_of(faces_file(tmp_path / "f.json", "1.png"), "renamed.jpg") == 0


def test_a_photo_of_another_size(tmp_path):
    with pytest.raises(FaceError, match=r"200 x 150 pixels, but 1.png has 400 x 300"):
        faces_file(tmp_path / "f.json", "1.png").faces_for("1.png", 400, 300)


def test_faces_come_from_left_to_right(tmp_path):
    write_faces(tmp_path / "f.json", [PhotoFaces("1.png", 200, 150, (face(50), face(0), face(90)))])
    boxes = [f.box[0] for f in FacesFromFile(tmp_path / "f.json").faces_for("1.png", 200, 150)]
    assert boxes == [30, 80, 120]
