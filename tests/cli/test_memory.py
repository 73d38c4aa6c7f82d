"""Memory stays flat, however many photographs there are."""

from __future__ import annotations

import gc
import shutil
import tracemalloc
from pathlib import Path

import cv2
import pytest

from gpen import photo_commands
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import Picture, write_picture

PHOTOGRAPHS, SETTLED = 60, 15


@pytest.fixture
def copies(photographs, one_face):
    """Makes copies of a photograph of that width and height, with a face each."""

    def make(width: int, height: int) -> Path:
        first = photographs.add("00.png")
        image = cv2.resize(cv2.imread(str(first)), (width, height))[:, :, ::-1].astype("float32") / 255
        write_picture(first, Picture(image))
        for number in range(1, PHOTOGRAPHS):
            shutil.copy(first, photographs.folder / f"{number:02d}.png")
        faces = (one_face(0.3 * width, 0.3 * height, 0.4 * height),)
        names = [f"{number:02d}.png" for number in range(PHOTOGRAPHS)]
        write_faces(photographs.list, [PhotoFaces(name, width, height, faces) for name in names])
        return photographs.folder

    return make


@pytest.mark.parametrize("flags", [[], ["--compare", "--save-faces", "--report", "report.json"]])
def test_nothing_is_kept_of_a_photograph(restore, copies, tmp_path, monkeypatch, flags):
    """Not even an entry where no report is asked for; with one, no more than the report says."""
    folder, out = copies(224, 192), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    out.mkdir()
    # Where memory is measured, those before and after are there already: none is in flight.
    moments = (SETTLED, PHOTOGRAPHS - 3)
    for moment in moments:
        for number in range(moment - 3, moment + 3):
            (out / f"{number:02d}.png").touch()
    held = []
    really = photo_commands._Progress.ends

    def ends(self, entry):
        really(self, entry)
        if entry.job.photograph.name in [f"{moment:02d}.png" for moment in moments]:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(photo_commands._Progress, "ends", ends)
    tracemalloc.start()
    try:
        assert restore(folder, "-o", out, *flags).code == 0
    finally:
        tracemalloc.stop()
    grown = (held[1] - held[0]) / (moments[1] - moments[0])
    # The line that was printed, and the texts of its paths.
    assert grown < (3000 if flags else 800), f"{grown:.0f} bytes for each photograph"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to tell a process's memory")
def test_the_process_does_not_grow(start, arguments, copies, tmp_path):
    process = start("restore", copies(448, 384), "-o", tmp_path / "out", *arguments)
    resident = []
    for line in process.stdout:
        if " -> " in line:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            resident.append(pages * 4096 / 1e6)
    assert process.wait(timeout=60) == 0
    assert len(resident) == PHOTOGRAPHS
    # One array of a photograph kept each time would make it 90 MB and more.
    assert max(resident[SETTLED:]) - max(resident[:SETTLED]) < 30
