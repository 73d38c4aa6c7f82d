"""Ctrl+C and closed pipes: what is being written is finished and reported, and nothing else is begun."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gpen.batch import prefetch, stages
from gpen.batch.plan import plan
from gpen.batch.prefetch import PrefetchPipeline
from gpen.batch.report import Status

LONG = 60  # seconds; reached only in a deadlock


@pytest.fixture
def on_queued(monkeypatch):
    """Have a function called with the future of each photo whose writing is queued."""

    def install(call):
        class Pool(ThreadPoolExecutor):
            def __init__(self, workers, name):
                super().__init__(workers, name)
                self.writes = name == "gpen-writer"

            def submit(self, *arguments):
                future = super().submit(*arguments)
                if self.writes:
                    call(future)
                return future

        monkeypatch.setattr(prefetch, "ThreadPoolExecutor", Pool)

    return install


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGINT for one process")
@pytest.mark.parametrize("during", ["the network", "the start of a thread"])
def test_what_is_being_written_when_a_run_is_interrupted_is_finished_and_reported(
    restore, album, tmp_path, files_in, monkeypatch, during
):
    for number in range(6):
        album.add(f"{number}.png")
    out, report = tmp_path / "out", tmp_path / "report.json"
    really_sync, really_restore, really_start = os.fsync, stages.run_task, threading.Thread.start
    stopping = threading.Event()
    calls = []

    def syncing(descriptor):
        if not stopping.is_set():
            stopping.set()
            os.kill(os.getpid(), signal.SIGINT)
        really_sync(descriptor)

    def restoring(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            stopping.wait(LONG)
        return really_restore(*arguments, **more)

    def starting(thread):
        really_start(thread)
        if during == "the start of a thread" and thread.name.startswith("gpen-writer"):
            stopping.wait(LONG)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(stages, "run_task", restoring)
    monkeypatch.setattr(threading.Thread, "start", starting)
    run = restore(album.folder, "-o", out, "--report", report)
    assert run.code == 130
    assert run.err == "gpen: Interrupted; finished results stay.\n"
    assert files_in(out) == ["0.png"]
    assert [(entry["path"], entry["status"]) for entry in json.loads(report.read_text())] == [
        (str(album.folder / "0.png"), "restored")
    ]
    assert "0.png -> " in run.out
    for thread in threading.enumerate():
        if thread.name.startswith(("gpen-reader", "gpen-writer")):
            thread.join(LONG)
            assert not thread.is_alive()


def test_queued_photos_are_not_written_once_a_writer_was_interrupted(
    restore, album, tmp_path, files_in, monkeypatch, on_queued
):
    for number in range(3):
        album.add(f"{number}.png")
    queued = threading.Semaphore(0)
    on_queued(lambda future: queued.release())

    def stopped(descriptor):
        assert queued.acquire(timeout=LONG)
        assert queued.acquire(timeout=LONG)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    assert restore(album.folder, "-o", tmp_path / "out").code == 130
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("where", ["ends", "on_progress"])
def test_a_closed_stdout_is_not_a_failure_of_the_photo_in_the_network(
    processor, album, tmp_path, files_in, monkeypatch, on_queued, where
):
    """As with `gpen restore ... | head`: printing raises while the network works on the second photo."""
    for name in ("0.png", "1.png", "2.png"):
        album.add(name)
    queued, calls, reported = [], [], []
    really_restore = stages.run_task
    on_queued(queued.append)

    def restoring(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            queued[0].result(LONG)
        return really_restore(*arguments, **more)

    def ends(result):
        reported.append((result.job.photo.name, result.status))
        if where == "ends":
            raise BrokenPipeError

    def on_progress(*_):
        if where == "on_progress" and len(calls) == 2:
            raise BrokenPipeError

    monkeypatch.setattr(stages, "run_task", restoring)
    jobs, _ = plan([str(album.folder)], tmp_path / "out")
    with pytest.raises(BrokenPipeError):
        PrefetchPipeline(processor()).run(jobs, lambda job: on_progress, ends)
    assert set(reported) == {("0.png", Status.DONE)}
    assert files_in(tmp_path / "out") == ["0.png"]
