"""Photographs are read and written while the network works, within bounds, and nothing comes out differently."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest
import torch

from gpen import batch
from gpen.batch import DONE, FAILED
from gpen.batch.plan import plan
from gpen.batch.prefetch import PrefetchPipeline
from gpen.batch.stages import OutputOptions, PhotoProcessor
from gpen.faces.faces_file import FacesFromFile
from gpen.images import Picture, read_picture, write_picture
from gpen.options import Options
from gpen.weights.checkpoint import Model, load_model

LONG = 60  # seconds that nothing here takes unless it waits in vain


@pytest.fixture
def run(networks, photographs, tmp_path):
    """Run PrefetchPipeline over all photographs as the command does; gives the entries."""

    def overlap(workers: int, out: str = "out", options: Options | None = None, **more):
        jobs, _ = plan([str(photographs.folder)], tmp_path / out)
        model = load_model(networks / "negative.pth")
        restorer = PhotoProcessor(
            model, FacesFromFile(photographs.list), options or Options(), extras=OutputOptions(**more)
        )
        entries = []
        PrefetchPipeline(restorer, workers).run(jobs, lambda job: lambda *_: None, entries.append)
        assert [entry.job for entry in entries] == jobs
        return entries

    return overlap


@pytest.mark.parametrize("workers", [1, 4])
def test_results_are_those_of_one_photograph_after_the_other(
    restore, run, photographs, tmp_path, files_in, one_face, workers
):
    photographs.add("a.png", alpha=True)
    photographs.add("b.jpg")
    photographs.add("c.tif", faces=[one_face(5, 5, 40), one_face(60, 40, 30)], bits=16)
    photographs.add("d.jpg", faces=[])
    photographs.add("e.png", grey=True)
    for number in range(10):
        photographs.add(f"f{number}.webp")
    for name in sorted(photographs.faces):
        alone = tmp_path / "alone" / name
        assert restore(photographs.folder / name, "-o", alone, "--compare", "--save-faces").code == 0
    assert {entry.status for entry in run(workers, compare=True, save_faces=True)} == {"restored", "unchanged"}
    names = files_in(tmp_path / "alone")
    assert len(names) > 3 * len(photographs.faces)
    assert files_in(tmp_path / "out") == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name


def test_reading_and_writing_go_on_while_the_network_works(restore, photographs, tmp_path, monkeypatch):
    for name in ("0.png", "1.png", "2.png"):
        photographs.add(name)
    read, wrote, working = threading.Event(), threading.Event(), threading.Event()
    really_read, really_write, really_restore = batch.read_picture, batch.write_picture, batch.run
    calls, waited = [], {}

    def reading(path, *more):
        picture = really_read(path, *more)
        if path.name == "2.png":
            read.set()
        return picture

    def writing(path, *more, **options):
        if path.name == "0.png":
            waited["the network begins with 1.png"] = working.wait(LONG)
        really_write(path, *more, **options)
        wrote.set()

    def restoring(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:  # 1.png: the one before is being written, the one after is being read
            working.set()
            waited["2.png is read"] = read.wait(LONG)
            waited["0.png is written"] = wrote.wait(LONG)
        return really_restore(*arguments, **more)

    for name, stand_in in (("read_picture", reading), ("write_picture", writing), ("run", restoring)):
        monkeypatch.setattr(batch, name, stand_in)
    assert restore(photographs.folder, "-o", tmp_path / "out").code == 0
    assert waited == dict.fromkeys(waited, True)
    assert len(waited) == 3


def test_the_network_and_detectors_on_a_cpu_stay_in_one_thread(restore, photographs, tmp_path, monkeypatch):
    for number in range(4):
        photographs.add(f"{number}.png")
    seen = {"run": set(), "read_picture": set(), "write_picture": set()}
    for name, threads in seen.items():
        really = getattr(batch, name)

        def noted(*arguments, really=really, threads=threads, **more):
            threads.add(threading.get_ident())
            return really(*arguments, **more)

        monkeypatch.setattr(batch, name, noted)
    assert restore(photographs.folder, "-o", tmp_path / "out").code == 0
    assert seen["run"] == {threading.get_ident()}
    assert [len(threads) for threads in seen.values()] == [1, 1, 1]
    assert len(set().union(*seen.values())) == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_only_so_many_photographs_are_in_flight(run, photographs, monkeypatch, workers):
    for number in range(20):
        photographs.add(f"{number:02d}.png")
    lock, flying, most = threading.Lock(), set(), []
    really_read, really_write = batch.read_picture, batch.write_picture

    def reading(path, *more):
        with lock:
            flying.add(path.name)
            most.append(len(flying))
        return really_read(path, *more)

    def writing(path, *more, **options):
        really_write(path, *more, **options)
        with lock:
            flying.remove(path.name)

    monkeypatch.setattr(batch, "read_picture", reading)
    monkeypatch.setattr(batch, "write_picture", writing)
    run(workers)
    assert 1 < max(most) <= 2 * workers + 1


def test_large_photographs_are_in_flight_alone(networks, photographs, tmp_path, monkeypatch):
    """A photograph that does not fit into the room is decoded when all others are written, and no earlier."""
    small, large = (96, 112), (400, 500)
    sizes = [small, small, large, small, large, large, small, small]
    for number, size in enumerate(sizes):
        path = photographs.add(f"{number}.png", faces=[])
        write_picture(path, Picture(np.full((*size, 3), 0.5, np.float32)))
    lock, flying, seen = threading.Lock(), {}, []
    really_read, really_write = batch.read_picture, PhotoProcessor.write

    def reading(path, limit, on_size):
        def decoding(width, height):
            on_size(width, height)
            with lock:
                flying[path.name] = height
                seen.append(sorted(flying.values()))

        return really_read(path, limit, decoding)

    def writing(self, made):
        entry = really_write(self, made)
        with lock:
            del flying[made.job.target.name]
        return entry

    monkeypatch.setattr(batch, "read_picture", reading)
    monkeypatch.setattr(PhotoProcessor, "write", writing)

    class NoFaces:
        name = "none"

        def detect(self, photo, threshold=0.5):
            return []

    jobs, _ = plan([str(photographs.folder)], tmp_path / "out")
    restorer = PhotoProcessor(load_model(networks / "negative.pth"), NoFaces(), Options())
    entries = []
    PrefetchPipeline(restorer, 4, room=1_000_000).run(jobs, lambda job: lambda *_: None, entries.append)
    assert [entry.status for entry in entries] == ["unchanged"] * len(sizes)
    assert [heights for heights in seen if 400 in heights] == [[400]] * 3
    # The small ones do fit together.
    assert [96, 96] in seen


def test_what_waits_to_be_written_counts_as_well(run, photographs, monkeypatch, one_face):
    """Crops that --save-faces keeps may be larger than the photograph; the next one waits until they are written."""
    for number in range(4):
        photographs.add(f"{number}.png", faces=[one_face(10 * n, 28, 40) for n in range(7)])
    monkeypatch.setattr(PrefetchPipeline.__init__, "__defaults__", (1, 500_000))  # one has 215 kB, and 688 kB of crops
    order = []
    really_restore, really_write = batch.run, PhotoProcessor.write

    def restoring(*arguments, **more):
        order.append("restore")
        return really_restore(*arguments, **more)

    def writing(self, made):
        entry = really_write(self, made)
        order.append("written")
        return entry

    monkeypatch.setattr(batch, "run", restoring)
    monkeypatch.setattr(PhotoProcessor, "write", writing)
    run(1, save_faces=True)
    assert order == ["restore", "written"] * 4


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGINT for one process")
def test_what_is_being_written_when_a_run_is_stopped_is_finished_and_reported(
    restore, photographs, tmp_path, files_in, monkeypatch
):
    for number in range(6):
        photographs.add(f"{number}.png")
    out, report = tmp_path / "out", tmp_path / "report.json"
    really_sync, really_restore = os.fsync, batch.run
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

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(batch, "run", restoring)
    run = restore(photographs.folder, "-o", out, "--report", report)
    assert run.code == 130
    assert run.err == "gpen: stopped; what is finished stays.\n"
    assert files_in(out) == ["0.png"]
    assert [(entry["path"], entry["status"]) for entry in json.loads(report.read_text())] == [
        (str(photographs.folder / "0.png"), "restored")
    ]
    assert "0.png -> " in run.out
    for thread in threading.enumerate():
        if thread.name.startswith("gpen-"):
            thread.join(LONG)
            assert not thread.is_alive()


def test_what_waits_to_be_written_is_not_begun_once_a_writer_was_stopped(
    restore, photographs, tmp_path, files_in, monkeypatch
):
    for number in range(3):
        photographs.add(f"{number}.png")
    queued = threading.Semaphore(0)
    really = PrefetchPipeline._write

    def queueing(*arguments):
        future = really(*arguments)
        queued.release()
        return future

    def stopped(descriptor):
        assert queued.acquire(timeout=LONG)
        assert queued.acquire(timeout=LONG)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(PrefetchPipeline, "_write", queueing)
    monkeypatch.setattr(os, "fsync", stopped)
    assert restore(photographs.folder, "-o", tmp_path / "out").code == 130
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("where", ["ends", "on_progress"])
def test_an_output_that_was_closed_is_no_fault_of_the_photograph_in_the_network(
    networks, photographs, tmp_path, files_in, monkeypatch, where
):
    """As with `gpen restore ... | head`: what prints raises while the network works on the second photograph."""
    for name in ("0.png", "1.png", "2.png"):
        photographs.add(name)
    queued, calls, told = [], [], []
    really_queue, really_restore = PrefetchPipeline._write, batch.run

    def queueing(*arguments):
        really_queue(*arguments)
        queued.append(arguments[-1])

    def restoring(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            queued[0].result(LONG)
        return really_restore(*arguments, **more)

    def ends(entry):
        told.append((entry.job.photograph.name, entry.status))
        if where == "ends":
            raise BrokenPipeError

    def on_progress(*_):
        if where == "on_progress" and len(calls) == 2:
            raise BrokenPipeError

    monkeypatch.setattr(PrefetchPipeline, "_write", queueing)
    monkeypatch.setattr(batch, "run", restoring)
    jobs, _ = plan([str(photographs.folder)], tmp_path / "out")
    restorer = PhotoProcessor(load_model(networks / "negative.pth"), FacesFromFile(photographs.list), Options())
    with pytest.raises(BrokenPipeError):
        PrefetchPipeline(restorer).run(jobs, lambda job: on_progress, ends)
    assert set(told) == {("0.png", DONE)}
    assert files_in(tmp_path / "out") == ["0.png"]


def test_errors_of_workers_keep_their_sentence_and_their_place(run, photographs, tmp_path, monkeypatch):
    for number in range(6):
        photographs.add(f"{number}.png")
    (photographs.folder / "1.png").write_text("no picture")
    (tmp_path / "out" / "3.png").mkdir(parents=True)
    really = batch.read_picture

    def reading(path, *more):
        if path.name == "4.png":
            raise MemoryError
        return really(path, *more)

    monkeypatch.setattr(batch, "read_picture", reading)
    entries = run(3)
    assert [entry.status for entry in entries] == [DONE, FAILED, DONE, FAILED, FAILED, DONE]
    assert "1.png is not a picture in a format that can be read." in entries[1].message
    assert "there is a folder of that name" in entries[3].message
    assert entries[4].message.startswith("There is not enough memory for this photograph.")


class OnGpu(Model):
    """A network that says that it is on a GPU, where there is none."""

    @property
    def device(self):
        return torch.device("cuda")


@pytest.mark.parametrize(("name", "early"), [("yunet", True), ("retinaface_resnet50", False)])
def test_beside_a_gpu_yunet_looks_for_faces_while_the_network_works(
    networks, photographs, tmp_path, monkeypatch, assert_restored, name, early
):
    photographs.add("a.png")
    photographs.add("b.png")
    threads = []

    class Detector:
        def __init__(self, name):
            self.name = name

        def detect(self, photo, threshold=0.5):
            threads.append(threading.current_thread() is not threading.main_thread())
            return photographs.faces["a.png"]

    loaded = load_model(networks / "negative.pth")
    restorer = PhotoProcessor(OnGpu(loaded.network, loaded.task, loaded.path), Detector(name), Options())
    really = batch.run
    monkeypatch.setattr(batch, "run", lambda task, photo, model, *a, **named: really(task, photo, loaded, *a, **named))
    jobs, _ = plan([str(photographs.folder)], tmp_path / "out")
    entries = []
    PrefetchPipeline(restorer, 2).run(jobs, lambda job: lambda *_: None, entries.append)
    assert [entry.status for entry in entries] == [DONE, DONE]
    assert threads == [early, early]
    for name in ("a.png", "b.png"):
        assert_restored(tmp_path / "out" / name, photographs.folder / name)
        assert read_picture(tmp_path / "out" / name, 1).width == 112
