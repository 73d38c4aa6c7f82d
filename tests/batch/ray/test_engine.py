"""`gpen restore --engine ray` on a real cluster of two machines, simulated by two Ray node processes.

A photo that is a named pipe stops a worker exactly where the test wants: opening it for writing blocks until a worker
opens it for reading.
"""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from pathlib import Path

import pytest
from safetensors.torch import save_file

from gpen.batch.ray import engine
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.threads import thread_variables
from tests.batch.ray.conftest import LONG, finish
from tests.restoration.upscalers import known_upscaler

pytest.importorskip("ray", reason="needs Ray: make test-ray runs this")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs named pipes")


@pytest.fixture
def on_ray(cluster, start, arguments, monkeypatch):
    """Start the command on the cluster, in another process."""
    monkeypatch.setenv("RAY_ADDRESS", cluster)

    def run(*more: object):
        return start("restore", *more, *arguments, "--engine", "ray")

    return run


class Pipe:
    """A photo on which a worker blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._picture = path.read_bytes()
        path.unlink()
        os.mkfifo(path)

    def wait_for_reader(self) -> tuple[int, int]:
        """Wait until a worker reads it; returns its process id, and a descriptor that blocks it until closed."""
        opened: list[int] = []
        opening = threading.Thread(target=lambda: opened.append(os.open(self.path, os.O_WRONLY)), daemon=True)
        opening.start()
        opening.join(LONG)
        assert opened, "no worker came"
        pids = [int(process.name) for process in Path("/proc").iterdir() if process.name.isdecimal()]
        readers = [pid for pid in pids if self._is_open_in(pid)]
        assert len(readers) == 1
        return readers[0], opened[0]

    def kill_reader(self) -> int:
        """Kill the worker that reads it, and wait until it is gone."""
        pid, descriptor = self.wait_for_reader()
        os.kill(pid, signal.SIGKILL)
        self.wait_for_end(descriptor)
        return pid

    @staticmethod
    def wait_for_end(descriptor: int) -> None:
        """Wait until the reader is gone."""
        poll = select.poll()
        poll.register(descriptor, select.POLLERR)
        assert poll.poll(LONG * 1000)
        os.close(descriptor)

    def become_a_picture(self) -> None:
        new = self.path.with_name("new")
        new.write_bytes(self._picture)
        new.replace(self.path)

    def _is_open_in(self, pid: int) -> bool:
        folder = Path(f"/proc/{pid}/fd")
        try:
            return pid != os.getpid() and any(os.path.realpath(link) == str(self.path) for link in folder.iterdir())
        except OSError:
            return False


def entries_of(report: Path) -> dict[str, dict]:
    entries = json.loads(report.read_text(encoding="utf-8"))
    return {Path(entry["path"]).name: {**entry, "seconds": 0} for entry in entries}


def test_results_and_report_are_those_of_one_machine(on_ray, restore, album, tmp_path, files_in, monkeypatch, one_face):
    monkeypatch.chdir(tmp_path)
    album.add("a.png", alpha=True)
    album.add("deep/b.jpg", faces=[one_face(5, 5, 40), one_face(60, 40, 30)])
    album.add("c 合影.png")
    album.add("d.jpg", faces=[])
    album.add("e.png")
    (album.folder / "e.png").write_text("no picture")
    for number in range(12):
        album.add(f"f{number}.webp")
    flags = ["--save-faces", "--compare", "--min-face-size", 35, "--upscale", 1.5]
    here = restore("photos", "gone.png", "-o", "here", "--report", "here.json", *flags)
    out, err = finish(on_ray("photos", "gone.png", "-o", "there", "--report", "there.json", *flags), 1)
    assert here.code == 1
    assert out.splitlines()[0].startswith(
        "GPEN 64 (negative.pth) on 2 Ray workers, each on cpu with 1 CPU, faces from "
    )
    assert out.splitlines()[-1] == here.out.splitlines()[-1]
    assert "e.png is not a picture" in err
    assert "gone.png does not exist." in err
    assert "All machines of a Ray cluster have to see photos, models and results under the same paths." in err
    assert files_in(tmp_path / "there") == files_in(tmp_path / "here")
    for name in files_in(tmp_path / "here"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
    expected, got = entries_of(tmp_path / "here.json"), entries_of(tmp_path / "there.json")
    assert list(got) == list(expected)
    for name, entry in expected.items():
        entry["output"] = entry["output"].replace("here", "there")
        if entry["status"] != "failed":
            assert got[name] == entry


def test_every_worker_gives_each_face_the_network_of_its_size(
    cluster, start, gpen, album, tmp_path, monkeypatch, one_face
):
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for size in (512, 1024):
        weights = synthetic_weights(Spec(size // 8, size // 8, 2, 1 / 16, 16, 2))
        save_file(weights, tmp_path / "models" / f"GPEN-BFR-{size}.safetensors")
    for number in range(4):
        album.add(f"{number}.png", faces=[one_face(5, 5, 20), one_face(60, 40, 45)])
    flags = ["--models-path", "models", "--model", "auto", "--skip-sharp", 0.9, "--max-face-size", 44]
    flags += ["--faces", album.faces_file]
    assert gpen("restore", "photos", "-o", "here", "--report", "here.json", *flags).code == 0
    there = start("restore", "photos", "-o", "there", "--report", "there.json", *flags, "--engine", "ray")
    out, _ = finish(there)
    assert out.startswith("GPEN 64 or 128 by the size of each face on 2 Ray workers")
    expected, got = entries_of(tmp_path / "here.json"), entries_of(tmp_path / "there.json")
    for name, entry in expected.items():
        assert got[name]["faces"] == entry["faces"]
        assert got[name]["skipped"] == entry["skipped"]
        assert {"network", "sharpness"} <= set(entry["faces"][0])
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_a_video_whose_faces_were_tracked_here(on_ray, restore, album, tmp_path, monkeypatch, one_face):
    monkeypatch.chdir(tmp_path)
    for number in range(1, 13):
        path = album.add(f"{number}.png", faces=[one_face(4 + 3 * number, 20 + number % 2, 40)])
        path.write_bytes((album.folder / "1.png").read_bytes())
    album.set_faces("6.png", [])
    flags = ["--video", "--report"]
    assert restore("photos", "-o", "here", *flags, "here.json").code == 0
    out, _ = finish(on_ray("photos", "-o", "there", *flags, "there.json"))
    assert "1 track of faces in 12 frames with 0 cuts; 1 missing face bridged." in out
    expected, got = entries_of(tmp_path / "here.json"), entries_of(tmp_path / "there.json")
    assert list(got) == list(expected) == [f"{number}.png" for number in range(1, 13)]
    for name, entry in expected.items():
        assert got[name]["faces"] == entry["faces"] != []
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_every_worker_has_the_background_model(on_ray, restore, album, tmp_path, files_in, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known_upscaler(tmp_path / "x2.pth")
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        album.add(name)
    flags = ["--background-model", "x2.pth"]
    assert restore("photos", "-o", "here", *flags).code == 0
    out, _ = finish(on_ray("photos", "-o", "there", *flags))
    assert out.splitlines()[0].endswith(", background from x2.pth.")
    assert files_in(tmp_path / "there") == names
    for name in names:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_nothing_is_lost_or_done_twice_when_a_worker_is_killed(on_ray, album, tmp_path, files_in):
    paths = [album.add(f"{number:02d}.png") for number in range(16)]
    pipe = Pipe(paths[9])
    out, report = tmp_path / "out", tmp_path / "report.json"
    process = on_ray(*paths, "-o", out, "--report", report)
    pid, descriptor = pipe.wait_for_reader()
    done = {path.name: path.stat().st_ino for path in out.glob("*.png") if not path.name.startswith(".")}
    (writer,) = {
        entry["writer"]
        for entry in map(json.loads, map(Path.read_text, out.glob(".gpen-ray/*.json")))
        if entry["writer"].endswith(f"-{pid}-")
    }
    (out / f"{writer}half.png").write_bytes(b"what it was writing")
    os.kill(pid, signal.SIGKILL)
    pipe.become_a_picture()
    pipe.wait_for_end(descriptor)
    said, _ = finish(process)
    assert "16 photos: 16 restored; 16 faces restored." in said
    assert said.count(" -> ") == 16
    names = [path.name for path in paths]
    assert files_in(out) == names
    assert {name: (out / name).stat().st_ino for name in done} == done
    entries = entries_of(report)
    assert list(entries) == names
    assert {entry["status"] for entry in entries.values()} == {"restored"}
    assert all(len(entry["faces"]) == 1 for entry in entries.values())


def test_a_photo_that_kills_every_worker_does_not_stop_the_others(on_ray, album, tmp_path, files_in):
    paths = [album.add(f"{number:02d}.png") for number in range(8)]
    pipe = Pipe(paths[2])
    process = on_ray(*paths, "-o", tmp_path / "out")
    workers = {pipe.kill_reader() for _ in range(3)}
    out, err = finish(process, 1)
    assert len(workers) == 3
    assert "8 photos: 7 restored, 1 failed; 7 faces restored." in out
    assert "02.png: Workers died 3 times while processing this photo" in err
    assert files_in(tmp_path / "out") == [path.name for path in paths if path != pipe.path]


def test_a_run_whose_command_was_killed_is_resumed(on_ray, album, tmp_path, files_in):
    paths = [album.add(f"{number:02d}.png") for number in range(16)]
    pipe = Pipe(paths[13])
    out, report = tmp_path / "out", tmp_path / "report.json"
    process = on_ray(*paths, "-o", out, "--report", report)
    assert " on 2 Ray workers" in process.stdout.readline()
    assert " -> " in process.stdout.readline()
    _, descriptor = pipe.wait_for_reader()
    process.kill()
    process.communicate(timeout=LONG)
    pipe.wait_for_end(descriptor)  # Ray ends the workers of a command that was killed
    assert not report.exists()
    pipe.become_a_picture()
    done = {path.name: path.stat().st_ino for path in out.glob("[0-9]*.png")}
    assert 1 <= len(done) < 16
    said, _ = finish(on_ray(*paths, "-o", out, "--report", report))
    assert f"16 photos: {16 - len(done)} restored, {len(done)} already there" in said
    assert files_in(out) == [path.name for path in paths]
    assert {name: (out / name).stat().st_ino for name in done} == done
    entries = entries_of(report)
    assert {entry["status"] for entry in entries.values()} == {"restored"}
    assert all(len(entry["faces"]) == 1 for entry in entries.values())


def test_interrupted_with_control_c(on_ray, album, tmp_path):
    paths = [album.add(f"{number:02d}.png") for number in range(16)]
    pipe = Pipe(paths[13])
    report = tmp_path / "report.json"
    process = on_ray(*paths, "-o", tmp_path / "out", "--report", report)
    process.stdout.readline()
    first = process.stdout.readline()
    _, descriptor = pipe.wait_for_reader()
    process.send_signal(signal.SIGINT)
    out, err = finish(process, 130)
    pipe.wait_for_end(descriptor)
    assert "gpen: Interrupted; finished results stay." in err
    # It may have been interrupted between recording a result and printing it.
    assert 1 <= (first + out).count(" -> ") <= len(entries_of(report)) < 16


def test_workers_find_the_same_detector_as_the_command(
    cluster, start, networks, photos, detector_weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.setenv("GPEN_DETECTORS_PATH", str(detector_weights))  # the workers were started without
    more = ["--models-path", networks, "--model", "negative", "--detector", "yunet", "--engine", "ray"]
    out, _ = finish(start("restore", photos / "ffhq_00000_lq.png", "-o", tmp_path / "out", *more))
    assert "1 photo: 1 restored; 1 face restored." in out


def test_threads_of_workers_sleep_soon(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")  # as a user may set it
    ray = engine.connected()
    try:
        found = ray.get(ray.remote(lambda: dict(os.environ)).remote(), timeout=LONG)
    finally:
        ray.shutdown()
    assert found["OPENBLAS_NUM_THREADS"] == "3"
    assert found["GOMP_SPINCOUNT"] == thread_variables()["GOMP_SPINCOUNT"]


def test_more_cpus_than_any_machine_has(on_ray, album, tmp_path):
    album.add("a.png")
    _, err = finish(on_ray(album.folder, "-o", tmp_path / "out", "--cpus-per-worker", 2), 1)
    assert "No machine of the Ray cluster has 2 CPUs for a worker; the largest has 1." in err


def test_an_unreachable_cluster(start, album, arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    album.add("a.png")
    process = start("restore", album.folder, "-o", tmp_path / "out", *arguments, "--engine", "ray")
    _, err = finish(process, 1)
    assert "The Ray cluster at 127.0.0.1:1 (RAY_ADDRESS) cannot be reached: " in err
    assert "Traceback" not in err
