"""Photos are read and written while the network works, within bounds, with the same results."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gpen.batch import stages
from gpen.batch.faces import SameSource
from gpen.batch.plan import plan
from gpen.batch.prefetch import MEMORY_BUDGET, PrefetchPipeline
from gpen.batch.report import Status
from gpen.batch.stages import PhotoProcessor
from gpen.faces.selection.select import FaceChoice
from gpen.faces.source import DetectedFaces, GivenFaces
from gpen.images import Picture, read_picture, write_picture
from gpen.options import Options
from gpen.restoration import finish
from gpen.restoration.components import Components
from gpen.tasks import RESTORE
from gpen.weights.checkpoint import load_model

LONG = 60  # seconds; reached only in a deadlock


@pytest.fixture
def run(processor, album, tmp_path):
    """Run a PrefetchPipeline over all photos as the command does; gives the results."""

    def prefetched(workers: int, memory_budget: int = MEMORY_BUDGET, **output):
        jobs, _ = plan([str(album.folder)], tmp_path / "out")
        results = []
        pipeline = PrefetchPipeline(processor(**output), workers, memory_budget)
        pipeline.run(jobs, lambda job: lambda *_: None, results.append)
        assert [result.job for result in results] == jobs
        return results

    return prefetched


@pytest.mark.parametrize("workers", [1, 4])
def test_results_are_those_of_one_photo_after_the_other(restore, run, album, tmp_path, files_in, one_face, workers):
    album.add("a.png", alpha=True)
    album.add("b.jpg")
    album.add("c.tif", faces=[one_face(5, 5, 40), one_face(60, 40, 30)], bits=16)
    album.add("d.jpg", faces=[])
    album.add("e.png", grey=True)
    for number in range(10):
        album.add(f"f{number}.webp")
    for name in sorted(album.faces):
        alone = tmp_path / "alone" / name
        assert restore(album.folder / name, "-o", alone, "--compare", "--save-faces").code == 0
    results = run(workers, compare=True, save_faces=True)
    assert {result.status for result in results} == {Status.DONE, Status.UNCHANGED}
    names = files_in(tmp_path / "alone")
    assert len(names) > 3 * len(album.faces)
    assert files_in(tmp_path / "out") == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name


def test_reading_and_writing_go_on_while_the_network_works(restore, album, tmp_path, monkeypatch):
    for name in ("0.png", "1.png", "2.png"):
        album.add(name)
    read, found, wrote, working = (threading.Event() for _ in range(4))
    really_read, really_write, really_restore = stages.read_picture, finish.write_picture, stages.run_task
    really_find = stages.PhotoProcessor.find
    calls, waited = [], {}

    def reading(path, *more, **options):
        picture = really_read(path, *more, **options)
        if path.name == "2.png":
            read.set()
        return picture

    def finding(processor, loaded):
        with_faces = really_find(processor, loaded)
        if loaded.job.photo.path.name == "2.png":
            found.set()
        return with_faces

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
            waited["the faces of 2.png are found"] = found.wait(LONG)
            waited["0.png is written"] = wrote.wait(LONG)
        return really_restore(*arguments, **more)

    monkeypatch.setattr(stages, "read_picture", reading)
    monkeypatch.setattr(stages.PhotoProcessor, "find", finding)
    monkeypatch.setattr(stages, "run_task", restoring)
    monkeypatch.setattr(finish, "write_picture", writing)
    assert restore(album.folder, "-o", tmp_path / "out").code == 0
    assert waited == dict.fromkeys(waited, True)
    assert len(waited) == 4


def test_on_a_cpu_each_stage_stays_in_one_thread(restore, album, tmp_path, monkeypatch):
    for number in range(4):
        album.add(f"{number}.png")
    seen = {"run_task": set(), "read_picture": set(), "find": set(), "write_picture": set()}
    modules = {"write_picture": finish, "find": stages.PhotoProcessor}
    for name, threads in seen.items():
        module = modules.get(name, stages)
        really = getattr(module, name)

        def noted(*arguments, really=really, threads=threads, **more):
            threads.add(threading.get_ident())
            return really(*arguments, **more)

        monkeypatch.setattr(module, name, noted)
    assert restore(album.folder, "-o", tmp_path / "out").code == 0
    assert seen["run_task"] == {threading.get_ident()}
    assert [len(threads) for threads in seen.values()] == [1, 1, 1, 1]
    assert len(set().union(*seen.values())) == 4


@pytest.mark.parametrize("workers", [1, 3])
def test_only_so_many_photos_are_in_flight(run, album, monkeypatch, workers):
    for number in range(20):
        album.add(f"{number:02d}.png")
    lock, flying, most = threading.Lock(), set(), []
    really_read, really_write = stages.read_picture, finish.write_picture

    def reading(path, *more, **options):
        with lock:
            flying.add(path.name)
            most.append(len(flying))
        return really_read(path, *more, **options)

    def writing(path, *more, **options):
        really_write(path, *more, **options)
        with lock:
            flying.remove(path.name)

    monkeypatch.setattr(stages, "read_picture", reading)
    monkeypatch.setattr(finish, "write_picture", writing)
    run(workers)
    assert 1 < max(most) <= 2 * workers + 1


def test_large_photos_are_in_flight_alone(networks, album, tmp_path, monkeypatch):
    """A photo that exceeds the memory budget is decoded only when all others are written."""
    small, large = (96, 112), (400, 500)
    sizes = [small, small, large, small, large, large, small, small]
    for number, size in enumerate(sizes):
        path = album.add(f"{number}.png", faces=[])
        write_picture(path, Picture(np.full((*size, 3), 0.5, np.float32)))
    lock, flying, seen = threading.Lock(), {}, []
    really_read, really_write = stages.read_picture, PhotoProcessor.write

    def reading(path, limit, on_size, **options):
        def decoding(width, height):
            on_size(width, height)
            with lock:
                flying[path.name] = height
                seen.append(sorted(flying.values()))

        return really_read(path, limit, decoding, **options)

    def writing(self, processed):
        result = really_write(self, processed)
        with lock:
            del flying[processed.job.target.name]
        return result

    monkeypatch.setattr(stages, "read_picture", reading)
    monkeypatch.setattr(PhotoProcessor, "write", writing)
    jobs, _ = plan([str(album.folder)], tmp_path / "out")
    components = Components(model=load_model(networks / "negative.pth"))
    processor = PhotoProcessor(RESTORE, components, SameSource(GivenFaces([], FaceChoice()), "none"), Options())
    results = []
    PrefetchPipeline(processor, 4, memory_budget=1_000_000).run(jobs, lambda job: lambda *_: None, results.append)
    assert [result.status for result in results] == [Status.UNCHANGED] * len(sizes)
    assert [heights for heights in seen if 400 in heights] == [[400]] * 3
    # The small ones do fit together.
    assert [96, 96] in seen


def test_what_waits_to_be_written_counts_as_well(run, album, monkeypatch, one_face):
    """Crops kept for --save-faces may be larger than the photo; the next photo waits until they are written."""
    for number in range(4):
        album.add(f"{number}.png", faces=[one_face(10 * n, 28, 40) for n in range(7)])
    order = []
    really_restore, really_write = stages.run_task, PhotoProcessor.write

    def restoring(*arguments, **more):
        order.append("restore")
        return really_restore(*arguments, **more)

    def writing(self, processed):
        result = really_write(self, processed)
        order.append("written")
        return result

    monkeypatch.setattr(stages, "run_task", restoring)
    monkeypatch.setattr(PhotoProcessor, "write", writing)
    run(1, memory_budget=500_000, save_faces=True)  # a photo has 215 kB, its crops 688 kB
    assert order == ["restore", "written"] * 4


def test_failures_in_threads_keep_their_message_and_order(run, album, tmp_path, monkeypatch):
    for number in range(6):
        album.add(f"{number}.png")
    (album.folder / "1.png").write_text("no picture")
    (tmp_path / "out" / "3.png").mkdir(parents=True)
    really = stages.read_picture

    def reading(path, *more, **options):
        if path.name == "4.png":
            raise MemoryError
        return really(path, *more, **options)

    monkeypatch.setattr(stages, "read_picture", reading)
    results = run(3)
    done, failed = Status.DONE, Status.FAILED
    assert [result.status for result in results] == [done, failed, done, failed, failed, done]
    assert "1.png is not a picture in a supported format." in results[1].message
    assert "a folder has that name" in results[3].message
    assert results[4].message.startswith("There is not enough memory for this photo.")


def test_faces_are_detected_in_a_thread_of_their_own(networks, album, tmp_path, assert_restored):
    album.add("a.png")
    album.add("b.png")
    threads = []

    class Detector:
        name = "yunet"

        def detect(self, photo, threshold=0.5):
            threads.append(threading.current_thread().name)
            return album.faces["a.png"]

    detector = Detector()
    components = Components(model=load_model(networks / "negative.pth"), detector=detector)
    faces = SameSource(DetectedFaces(detector, FaceChoice(), 0.5), detector.name)
    processor = PhotoProcessor(RESTORE, components, faces, Options())
    jobs, _ = plan([str(album.folder)], tmp_path / "out")
    results = []
    PrefetchPipeline(processor, 2).run(jobs, lambda job: lambda *_: None, results.append)
    assert [result.status for result in results] == [Status.DONE, Status.DONE]
    assert threads == ["gpen-finder_0", "gpen-finder_0"]
    for name in ("a.png", "b.png"):
        assert_restored(tmp_path / "out" / name, album.folder / name)
        assert read_picture(tmp_path / "out" / name, 1).width == 112
