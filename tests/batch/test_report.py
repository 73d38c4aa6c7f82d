"""What is left out of a photo's file is in its entry, and is read back from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpen.batch.plan import Job, PhotoFile
from gpen.batch.report import PhotoResult, Status, write_report
from gpen.faces.face import Face
from gpen.restoration.result import FaceNetwork, SkippedFace


def test_what_is_left_out_survives_the_journal() -> None:
    job = Job(PhotoFile(Path("a.jpg"), "a.jpg"), Path("out/a.jpg"), "a")
    said = ("One thing is left out.", "Another one too.")
    result = PhotoResult(job, Status.DONE, "1 face restored. " + " ".join(said), left_out=said)
    assert result.as_json()["left_out"] == list(said)
    assert PhotoResult.from_json(job, result.as_json()).left_out == said
    plain = PhotoResult(job, Status.DONE, "1 face restored.")
    assert "left_out" not in plain.as_json()
    assert PhotoResult.from_json(job, plain.as_json()).left_out == ()


def test_all_that_is_known_survives_the_journal() -> None:
    job = Job(PhotoFile(Path("a.jpg"), "a.jpg"), Path("out/a.jpg"), "a")
    first, second, third = (Face((0.0, 1.0, 9.0, 9.0), score, np.full((5, 2), 2.0)) for score in (0.9, 0.8, 0.7))
    result = PhotoResult(
        job,
        Status.DONE,
        "2 faces restored.",
        1.5,
        faces=((0, first), (2, second)),
        skipped=(SkippedFace(1, third, "It is sharp.", 0.25, 0.875),),
        identities={2: (0.5, 0.75)},
        mask="ellipse",
        sharpness={0: 0.125},
        networks={0: FaceNetwork("GPEN-BFR-512.pth", 512, 640)},
        is_salvageable=True,
    )
    entry = json.loads(json.dumps(result.as_json()))
    assert entry["salvageable"] is True
    again = PhotoResult.from_json(job, entry)
    assert again.as_json() == entry
    for name in ("status", "message", "seconds", "identities", "mask", "sharpness", "networks", "is_salvageable"):
        assert getattr(again, name) == getattr(result, name), name
    assert [number for number, _ in again.faces] == [0, 2]
    (left,) = again.skipped
    assert (left.number, left.reason, left.identity, left.sharpness) == (1, "It is sharp.", 0.25, 0.875)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[[[]]]", "[1]", "{}", '[{"path": []}]'])
def test_an_earlier_report_that_makes_no_sense_is_replaced(content: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content)
    job = Job(PhotoFile(Path("a.jpg"), "a.jpg"), Path("out/a.jpg"), "a")
    write_report(tmp_path / "report.json", [job], [PhotoResult(job, Status.DONE, "1 face restored.")])
    assert [entry["path"] for entry in json.loads((tmp_path / "report.json").read_text())] == ["a.jpg"]


def test_an_empty_file_is_no_result(tmp_path: Path) -> None:
    job = Job(PhotoFile(Path("a.jpg"), "a.jpg"), tmp_path / "a.png", "a")
    assert not job.has_result
    job.target.touch()
    assert not job.has_result
    job.target.write_bytes(b"a picture")
    assert job.has_result
