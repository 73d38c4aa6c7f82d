"""A run that finds results of an earlier one says how that made them, if it would make them differently."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest

from gpen.batch import resume
from gpen.batch.resume import RECORD
from gpen.errors import PhotoError
from tests.cli.test_resume import report_of


@pytest.fixture
def results(restore, album, tmp_path):
    """Results of a first run over two photos, in tmp_path/out."""
    for name in ("a.png", "b.png"):
        album.add(name)
    assert restore(album.folder, "-o", tmp_path / "out").code == 0
    return tmp_path / "out"


def test_the_same_run_again_says_nothing_of_differences(restore, album, results):
    run = restore(album.folder, "-o", results)
    assert (run.code, run.err) == (0, "")
    assert run.out.count("already exists; the photo was skipped. Use --overwrite") == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--strength", 0.3], "strength 1, now 0.3"),
        (["--mask", "box", "--upscale", 2], "mask auto, now box; upscale 1, now 2"),
        (["--quality", 80], "quality none, now 80"),
        (["--no-provenance"], "provenance yes, now no"),
    ],
)
def test_other_options_are_said(restore, album, results, tmp_path, flags, said):
    before = (results / "a.png").read_bytes()
    run = restore(album.folder, "-o", results, "--report", tmp_path / "report.json", *flags)
    assert run.code == 1
    assert run.out.count(f"already exists, made differently ({said}); the photo was skipped. Use --overwrite") == 2
    assert run.err == (
        "gpen: 2 existing results made with other options or models: kept. Use --overwrite to replace the result.\n"
    )
    assert "2 photos: 2 already there; 0 faces restored." in run.out
    assert (results / "a.png").read_bytes() == before
    assert said in report_of(tmp_path / "report.json")["a.png"]["message"]
    # Made anew, they count as made in the new way.
    assert restore(album.folder, "-o", results, "--overwrite", *flags).code == 0
    assert restore(album.folder, "-o", results, *flags).code == 0
    assert said.split(",")[0].split()[0] in restore(album.folder, "-o", results).out


def test_another_model_is_said_even_under_the_same_name(restore, album, results, networks, gpen, tmp_path):
    run = restore(album.folder, "-o", results, model="passthrough")
    assert run.code == 1
    assert "made differently (model negative.pth (" in run.out
    assert ", now passthrough.pth (" in run.out
    (tmp_path / "models").mkdir()
    shutil.copy(networks / "passthrough.pth", tmp_path / "models" / "negative.pth")
    same_name = ["--models-path", tmp_path / "models", "--model", "negative", "--faces", album.faces_file]
    run = gpen("restore", album.folder, "-o", results, *same_name)
    assert run.code == 1
    assert run.out.count("made differently (model negative.pth (") == 2
    assert run.out.count(", now negative.pth (") == 2


def test_photos_may_be_added_to_a_faces_file(restore, album, results):
    album.add("c.png")
    run = restore(album.folder, "-o", results)
    assert (run.code, run.err) == (0, "")
    assert "1 restored, 2 already there" in run.out


def test_an_older_version_is_said_but_no_failure(restore, album, results, monkeypatch):
    really = resume.recipe
    monkeypatch.setattr("gpen.cli.task.recipe", lambda config: really(config) | {"version": "99.0"})
    run = restore(album.folder, "-o", results)
    assert (run.code, run.err) == (0, "")
    assert "made differently (version 0" in run.out
    assert "now 99.0)" in run.out


def test_only_what_differs_is_said(restore, album, results):
    assert restore(album.folder / "a.png", "-o", results, "--overwrite", "--strength", 0.5).code == 0
    run = restore(album.folder, "-o", results, "--strength", 0.5)
    assert run.code == 1
    assert "a.png already exists; the photo was skipped." in run.out
    assert "b.png already exists, made differently (strength 1, now 0.5)" in run.out
    assert "gpen: 1 existing result made with" in run.err


def test_a_file_that_somebody_put_in_its_place_is_just_there(restore, album, results):
    (results / "a.png").write_bytes(b"mine")
    os.utime(results / "b.png", ns=(1, 1))
    run = restore(album.folder, "-o", results, "--strength", 0.5)
    assert (run.code, run.err) == (0, "")


def test_a_single_file_needs_no_record(restore, album, tmp_path):
    photo = album.add("a.png")
    assert restore(photo, "-o", tmp_path / "one" / "result.png").code == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["result.png"]


def test_a_damaged_record_is_passed_over(restore, album, results):
    whole = (results / RECORD).read_bytes()
    for damaged in (b"", b"\0" * 100, b"[" * 100_000, b'{"run": 3}\n[1]\n{"run": "x", "file": 1}\n', whole[:-10]):
        (results / RECORD).write_bytes(damaged)
        assert restore(album.folder, "-o", results, "--strength", 0.5).code in (0, 1)
    assert restore(album.folder / "a.png", "-o", results, "--overwrite", "--strength", 0.5).code == 0
    # Of the cut record, the whole lines count, and so does what was added.
    run = restore(album.folder / "a.png", "-o", results)
    assert "strength 0.5, now 1" in run.out


def test_a_record_with_absurd_numbers_is_read(restore, album, results):
    first, *others = [json.loads(line) for line in (results / RECORD).read_text().splitlines() if line]
    first["recipe"]["strength"] = 10**400
    others.append({"run": first["run"], "file": "c.png", "state": [float("inf"), 1]})
    (results / RECORD).write_text("".join(f"{json.dumps(line)}\n" for line in [first, *others]))
    run = restore(album.folder, "-o", results)
    assert run.code == 1
    assert f"strength {10**400}, now 1" in run.out


@pytest.mark.parametrize("replaced", [False, True])
def test_a_record_that_goes_away_during_a_run_begins_anew(tmp_path, replaced):
    """It was deleted, or another run wrote it anew without a recipe that no result had yet."""
    from gpen.batch.plan import Job, PhotoFile
    from gpen.batch.report import PhotoResult, Status

    record = resume.ResumeRecord(tmp_path, {"strength": 1})
    jobs = [Job(PhotoFile(tmp_path / "in.png", "in.png"), tmp_path / f"{name}.png", "x") for name in "ab"]
    for job in jobs:
        job.target.write_bytes(b"1")
        record.add(PhotoResult(job, Status.DONE, ""))
        if replaced:
            (tmp_path / "other").write_text("{}\n")
            (tmp_path / "other").replace(tmp_path / RECORD)
        elif job is jobs[0]:
            (tmp_path / RECORD).unlink()
    record.add(PhotoResult(jobs[1], Status.DONE, ""))
    after = resume.ResumeRecord(tmp_path, {"strength": 2})
    assert after.differences(jobs[1]) == {"strength": "strength 1, now 2"}


def test_a_record_that_cannot_be_written_does_not_stop_the_run(restore, album, tmp_path, assert_restored, caplog):
    photo = album.add("a.png")
    album.add("b.png")
    (tmp_path / "out" / RECORD).mkdir(parents=True)
    assert restore(album.folder, "-o", tmp_path / "out").code == 0
    assert_restored(tmp_path / "out" / "a.png", photo)
    assert caplog.text.count("Later runs will not know how these results were made.") == 1


def test_the_record_does_not_grow_for_ever(restore, album, results, monkeypatch):
    monkeypatch.setattr(resume, "_SPARE_LINES", 0)
    for _ in range(4):
        assert restore(album.folder, "-o", results, "--overwrite").code == 0
    (results / "b.png").unlink()
    restore(album.folder / "a.png", "-o", results)
    lines = [json.loads(line) for line in (results / RECORD).read_text().splitlines() if line]
    assert [line.get("file") for line in lines] == [None, "a.png"]


def test_a_record_that_cannot_be_made_shorter_stays_as_it_is(restore, album, results, monkeypatch, caplog):
    for _ in range(2):
        assert restore(album.folder, "-o", results, "--overwrite").code == 0
    before = (results / RECORD).read_bytes()

    def fails(path, text, what):
        raise PhotoError(f"{what} cannot be written: no space.")

    monkeypatch.setattr(resume, "_SPARE_LINES", 0)
    monkeypatch.setattr(resume, "write_text", fails)
    assert restore(album.folder, "-o", results, "--overwrite").code == 0
    assert caplog.text.count("no space. Later runs will not know how these results were made.") == 1
    assert (results / RECORD).read_bytes() == before


def test_two_runs_may_share_a_folder(album, tmp_path, one_face):
    """Each appends whole lines, so that none is lost."""
    from gpen.batch.plan import Job, PhotoFile
    from gpen.batch.report import PhotoResult, Status

    def jobs(prefix: str) -> list[Job]:
        return [Job(PhotoFile(tmp_path / "in.png", "in.png"), tmp_path / f"{prefix}{i}.png", "x") for i in range(200)]

    def work(record: resume.ResumeRecord, prefix: str) -> None:
        for job in jobs(prefix):
            job.target.write_bytes(b"1")
            record.add(PhotoResult(job, Status.DONE, ""))

    records = {name: resume.ResumeRecord(tmp_path, {"strength": name}) for name in ("a", "b")}
    threads = [threading.Thread(target=work, args=(record, name)) for name, record in records.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = resume.ResumeRecord(tmp_path, {"strength": "c"})
    for name in records:
        assert {after.differences(job)["strength"] for job in jobs(name)} == {f"strength {name}, now c"}
