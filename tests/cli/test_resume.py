"""Runs that are repeated, interrupted, or include a photo that cannot be restored."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal

import pytest

from gpen.batch import stages


def report_of(path) -> dict[str, dict]:
    entries = json.loads(path.read_text(encoding="utf-8"))
    by_name = {entry["path"].replace("\\", "/").rpartition("/")[2]: entry for entry in entries}
    assert len(by_name) == len(entries)
    return by_name


def test_existing_results_are_skipped_without_overwrite(restore, album, assert_restored, tmp_path):
    photo = album.add("a.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("mine")
    run = restore(photo, "-o", out)
    assert run.code == 0
    assert "already exists; the photo was skipped. Use --overwrite to replace the result." in run.out
    assert "1 photo: 1 already there; 0 faces restored." in run.out
    assert (out / "a.png").read_text() == "mine"
    assert restore(photo, "-o", out, "--overwrite").code == 0
    assert_restored(out / "a.png", photo)


def test_a_resumed_run_does_the_rest_and_keeps_the_earlier_report(restore, album, tmp_path):
    album.add("a.png")
    report, out = tmp_path / "new" / "report.json", tmp_path / "out"
    assert restore(album.folder, "-o", out, "--report", report).code == 0
    first = report_of(report)
    album.add("b.png", faces=[])
    run = restore(album.folder, "-o", out, "--report", report)
    assert "2 photos: 1 unchanged, 1 already there; 0 faces restored." in run.out
    second = report_of(report)
    assert second["a.png"] == first["a.png"]
    assert len(second["a.png"]["faces"]) == 1
    assert second["b.png"]["faces"] == []
    # Restored again, a photo gets a new entry.
    restore(album.folder, "-o", out, "--report", report, "--overwrite", "--only-faces", "5")
    assert report_of(report)["a.png"]["faces"] == []


def test_a_failure_is_not_reported_once_the_photo_was_restored(restore, album, tmp_path):
    photo, report, out = album.folder / "a.png", tmp_path / "report.json", tmp_path / "out"
    album.add("a.png")
    photo.write_text("no picture")
    assert restore(photo, "-o", out, "--report", report).code == 1
    album.add("a.png")
    assert restore(photo, "-o", out).code == 0
    restore(photo, "-o", out, "--report", report)
    assert report_of(report)["a.png"]["status"] == "already there"


def test_a_damaged_report_is_replaced(restore, album, tmp_path):
    album.add("a.png")
    for text in ("{", "{}", "[1]", '[{"path": []}]', "\0"):
        (tmp_path / "report.json").write_text(text)
        assert restore(album.folder, "-o", tmp_path / "out", "--report", tmp_path / "report.json").code == 0
        assert report_of(tmp_path / "report.json")["a.png"]["output"] == str(tmp_path / "out" / "a.png")


def test_a_bad_file_does_not_stop_the_batch(restore, album, assert_restored, tmp_path, files_in):
    for name in ("a.png", "c.png"):
        album.add(name)
    (album.folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    run = restore(album.folder, "-o", tmp_path / "out", "--report", tmp_path / "report.json")
    assert run.code == 1
    assert run.err.startswith("gpen: ")
    assert run.err.count("b.png") == 1
    assert run.err.count("\n") == 1
    assert "3 photos: 2 restored, 1 failed; 2 faces restored." in run.out
    assert files_in(tmp_path / "out") == ["a.png", "c.png"]
    report = report_of(tmp_path / "report.json")
    assert [report[name]["status"] for name in ("a.png", "b.png", "c.png")] == ["restored", "failed", "restored"]
    assert report["b.png"]["message"] in run.err
    # The next run tries it again.
    album.add("b.png")
    assert restore(album.folder, "-o", tmp_path / "out", "--report", tmp_path / "report.json").code == 0
    assert report_of(tmp_path / "report.json")["b.png"]["status"] == "restored"
    assert_restored(tmp_path / "out" / "b.png", album.folder / "b.png")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a mistake of ours")])
def test_an_unexpected_error_does_not_stop_the_batch(restore, album, tmp_path, files_in, monkeypatch, error):
    for name in ("a.png", "b.png"):
        album.add(name)
    really = stages.run_task

    def fails_once(*args, **more):
        monkeypatch.setattr(stages, "run_task", really)
        raise error

    monkeypatch.setattr(stages, "run_task", fails_once)
    run = restore(album.folder, "-o", tmp_path / "out")
    assert run.code == 1
    assert "a.png: " in run.err
    assert str(error) in run.err
    assert files_in(tmp_path / "out") == ["b.png"]


def test_a_missing_file(restore, album, tmp_path, files_in):
    photo = album.add("a.png")
    run = restore(photo, album.folder / "lost.png", "-o", tmp_path / "out")
    assert run.code == 1
    assert "lost.png does not exist." in run.err
    assert files_in(tmp_path / "out") == ["a.png"]


def test_a_full_disk(restore, album, tmp_path, files_in, monkeypatch):
    album.add("a.png")
    album.add("b.png")
    really = os.fsync

    def full_once(descriptor):
        monkeypatch.setattr(os, "fsync", really)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    monkeypatch.setattr(os, "fsync", full_once)
    run = restore(album.folder, "-o", tmp_path / "out", "--overwrite")
    assert run.code == 1
    assert "the disk is full" in run.err
    assert files_in(tmp_path / "out") == ["a.png", "b.png"]
    assert (tmp_path / "out" / "a.png").read_text() == "mine"


def test_a_full_disk_when_the_copy_or_the_report_is_written(restore, album, tmp_path, files_in, monkeypatch):
    album.add("a.png", faces=[])

    def full(descriptor):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    run = restore(album.folder, "-o", tmp_path / "out", "--report", tmp_path / "out" / "report.json")
    assert run.code == 1
    assert "a.png cannot be written: no space." in run.err
    assert "report.json cannot be written: no space." in run.err
    # What a run has finished is in its journal until the report is written.
    assert files_in(tmp_path / "out") == [".report.json.jsonl"]


def test_interrupted_while_writing(restore, album, tmp_path, files_in, monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        album.add(name)
    out, report = tmp_path / "out", tmp_path / "report.json"
    restore(album.folder, "-o", out, "--report", report)
    (out / "b.png").unlink()
    (out / "c.png").unlink()
    written = []
    really = os.fsync

    def stopped(descriptor):
        written.append(files_in(out))
        monkeypatch.setattr(os, "fsync", really)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    run = restore(album.folder, "-o", out, "--report", report)
    assert len(written[0]) == 2  # the first result, and a temporary file
    assert run.code == 130
    assert run.err == "gpen: Interrupted; finished results stay.\n"
    assert files_in(out) == ["a.png"]
    # What an earlier run said about the others is not forgotten.
    assert sorted(report_of(report)) == ["a.png", "b.png", "c.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGINT for one process")
def test_control_c(start, restore, arguments, album, tmp_path, files_in):
    first = album.add("00.png")
    for number in range(1, 40):
        shutil.copy(first, album.folder / f"{number:02d}.png")
        album.set_faces(f"{number:02d}.png", album.faces["00.png"])
    out = tmp_path / "out"
    process = start("restore", album.folder, "-o", out, *arguments, "--save-faces")
    for line in process.stdout:
        if "->" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "gpen: Interrupted; finished results stay.\n"
    left = files_in(out)
    results = [name for name in left if "face" not in name]
    assert 1 <= len(results) < 40
    assert not [name for name in left if name.startswith(".")]
    when = {name: (out / name).stat().st_mtime_ns for name in results}
    run = restore(album.folder, "-o", out)
    assert run.code == 0
    assert f"{40 - len(results)} restored, {len(results)} already there" in run.out
    assert {name: (out / name).stat().st_mtime_ns for name in results} == when
    assert len([name for name in files_in(out) if "face" not in name]) == 40


def test_a_result_that_another_run_wrote_meanwhile_is_kept(restore, album, tmp_path, monkeypatch):
    from gpen.batch import stages

    album.add("a.png")
    target, process = tmp_path / "out" / "a.png", stages.PhotoProcessor.process

    def slow(self, loaded, *more):
        result = process(self, loaded, *more)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"by another run")
        return result

    monkeypatch.setattr(stages.PhotoProcessor, "process", slow)
    run = restore(album.folder, "-o", target.parent)
    assert target.read_bytes() == b"by another run"
    assert "already exists" in run.out
    assert restore(album.folder, "-o", target.parent, "--overwrite").code == 0
    assert target.read_bytes() != b"by another run"
