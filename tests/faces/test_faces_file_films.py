"""Films in a faces file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpen.errors import FaceError
from gpen.faces.faces_file import FacesFromFile, FilmFaces, FrameFaces, PhotoFaces, read_faces, write_faces
from tests.faces.test_faces_file import FACE, face, written

FILM = {"path": "a/film.mp4", "width": 200, "height": 150, "frames": [{"frame": 3, "seconds": 0.12, "faces": [FACE]}]}


def test_films_beside_photos(tmp_path):
    path = tmp_path / "faces.json"
    frames = (FrameFaces(0, 0.0, (face(),)), FrameFaces(7, 1 / 3, (face(), face(1.23456))))
    write_faces(path, [PhotoFaces("a.png", 200, 150, (face(),))], [FilmFaces("b/film.mp4", 200, 150, frames)])
    file = FacesFromFile(path)
    assert len(file.faces_for("a.png", 200, 150)) == 1
    read = file.faces_of_film(Path("/x/b/film.mp4"), "film.mp4", 200, 150)
    assert [(frame.frame, frame.seconds, len(frame.faces)) for frame in read.frames] == [(0, 0.0, 1), (7, 0.333, 2)]
    assert read.frames[1].faces[1].box[0] == 31.23
    with pytest.raises(FaceError, match="NaN"):
        write_faces(path, [], [FilmFaces("f.mp4", 9, 9, (FrameFaces(0, 0.0, (face(np.nan),)),))])


def test_a_file_of_films_alone(tmp_path):
    path = written(tmp_path / "faces.json", {"format": "gpen-faces", "version": 1, "films": [FILM]})
    assert read_faces(path) == []
    (film,) = FacesFromFile(path).films
    assert [frame.frame for frame in film.frames] == [3]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"path": 3}, r'film 0: "path" is 3 instead of the path of a film'),
        ({"width": 0}, r'film 0 \(a/film.mp4\): "width" is 0'),
        ({"frames": None}, '"frames" is missing instead of a list'),
        ({"frames": [3]}, "entry 0 of its frames: it is 3 instead of an object with frame and faces"),
        ({"frames": [{"frame": -1, "faces": []}]}, '"frame" is -1 instead of the number of a frame, from 0'),
        ({"frames": [{"frame": True, "faces": []}]}, '"frame" is true instead of the number'),
        ({"frames": 2 * [{"frame": 1, "faces": []}]}, '"frame" is 1 after 1; each frame has one entry, in order'),
        ({"frames": [{"frame": 1, "seconds": "x", "faces": []}]}, '"seconds" is "x" instead of a number'),
        ({"frames": [{"frame": 1}]}, '"faces" is missing instead of a list'),
        ({"frames": [{"frame": 1, "faces": [{}]}]}, 'entry 0 of its frames, face 0: "landmarks" is missing'),
    ],
)
def test_bad_films(change, why, tmp_path):
    content = {"format": "gpen-faces", "version": 1, "films": [{**FILM, **change}]}
    with pytest.raises(FaceError, match=why):
        FacesFromFile(written(tmp_path / "faces.json", content))
    with pytest.raises(FaceError, match='"films" is 3 instead of a list'):
        FacesFromFile(written(tmp_path / "faces.json", {**content, "films": 3}))
