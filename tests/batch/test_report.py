"""What is left out of a photo's file is in its entry, and is read back from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpen.batch.plan import Job, PhotoFile
from gpen.batch.report import PhotoResult, Status, write_report


def test_what_is_left_out_survives_the_journal() -> None:
    job = Job(PhotoFile(Path("a.jpg"), "a.jpg"), Path("out/a.jpg"), "a")
    said = ("One thing is left out.", "Another one too.")
    result = PhotoResult(job, Status.DONE, "1 face restored. " + " ".join(said), left_out=said)
    assert result.as_json()["left_out"] == list(said)
    assert PhotoResult.from_json(job, result.as_json()).left_out == said
    plain = PhotoResult(job, Status.DONE, "1 face restored.")
    assert "left_out" not in plain.as_json()
    assert PhotoResult.from_json(job, plain.as_json()).left_out == ()


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
