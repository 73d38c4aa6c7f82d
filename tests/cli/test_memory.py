"""Memory use does not grow with the number of photos."""

from __future__ import annotations

import gc
import shutil
import tracemalloc
from pathlib import Path

import cv2
import pytest

from gpen.cli.progress import Progress
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import Picture, write_picture

PHOTOS, SETTLED = 120, 15


@pytest.fixture
def copies(album, one_face):
    """Make copies of a photo of that width and height, with one face each."""

    def make(width: int, height: int) -> Path:
        first = album.add("000.png")
        image = cv2.resize(cv2.imread(str(first)), (width, height))[:, :, ::-1].astype("float32") / 255
        write_picture(first, Picture(image))
        for number in range(1, PHOTOS):
            shutil.copy(first, album.folder / f"{number:03d}.png")
        faces = (one_face(0.3 * width, 0.3 * height, 0.4 * height),)
        names = [f"{number:03d}.png" for number in range(PHOTOS)]
        write_faces(album.faces_file, [PhotoFaces(name, width, height, faces) for name in names])
        return album.folder

    return make


@pytest.mark.parametrize("flags", [[], ["--compare", "--save-faces", "--report", "report.json"]])
def test_nothing_is_kept_of_a_photo(restore, copies, tmp_path, monkeypatch, flags):
    """Without a report not even the result; with one, no more than goes into the report."""
    folder, out = copies(224, 192), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    out.mkdir()
    # Around the moments of measuring, results exist already, so that no photo is in flight.
    moments = (SETTLED, PHOTOS - 3)
    for moment in moments:
        for number in range(moment - 3, moment + 3):
            (out / f"{number:03d}.png").write_bytes(b"a result")
    held = []
    really = Progress.ends

    def ends(self, result):
        really(self, result)
        if result.job.photo.name in [f"{moment:03d}.png" for moment in moments]:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(Progress, "ends", ends)
    tracemalloc.start()
    try:
        assert restore(folder, "-o", out, *flags).code == 0
    finally:
        tracemalloc.stop()
    grown = (held[1] - held[0]) / (moments[1] - moments[0])
    # The captured line of output, and its paths.
    assert grown < (3000 if flags else 800), f"{grown:.0f} bytes for each photo"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_the_process_does_not_grow(start, arguments, copies, tmp_path):
    process = start("restore", copies(448, 384), "-o", tmp_path / "out", *arguments)
    resident = []
    for line in process.stdout:
        if " -> " in line:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            resident.append(pages * 4096 / 1e6)
    assert process.wait(timeout=60) == 0
    assert len(resident) == PHOTOS
    # One leaked array per photo would add 90 MB or more.
    assert max(resident[SETTLED:]) - max(resident[:SETTLED]) < 30
