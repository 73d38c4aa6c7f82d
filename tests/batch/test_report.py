"""What is left out of a photo's file is in its entry, and is read back from it."""

from __future__ import annotations

from pathlib import Path

from gpen.batch.plan import Job, PhotoFile
from gpen.batch.report import PhotoResult, Status


def test_what_is_left_out_survives_the_journal() -> None:
    job = Job(PhotoFile(Path("a.jpg"), "a.jpg"), Path("out/a.jpg"), "a")
    said = ("One thing is left out.", "Another one too.")
    result = PhotoResult(job, Status.DONE, "1 face restored. " + " ".join(said), left_out=said)
    assert result.as_json()["left_out"] == list(said)
    assert PhotoResult.from_json(job, result.as_json()).left_out == said
    plain = PhotoResult(job, Status.DONE, "1 face restored.")
    assert "left_out" not in plain.as_json()
    assert PhotoResult.from_json(job, plain.as_json()).left_out == ()
