"""What of `gpen restore --engine ray` needs no Ray: its refusals, its workers, how machines are divided."""

from __future__ import annotations

import json
import os
import sys

import pytest
import torch

from gpen import batch
from gpen.batch.config import RunConfig
from gpen.batch.plan import plan
from gpen.batch.ray.engine import Pool, plan_pool
from gpen.batch.ray.journal import Journal
from gpen.batch.ray.worker import MOST_ATTEMPTS, Worker, as_row
from gpen.batch.report import PhotoResult, Status, write_report
from gpen.batch.stages import OutputOptions
from gpen.errors import GpenError, OptionError
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.options import Options


@pytest.fixture
def recipe(networks, photographs):
    write_faces(photographs.list, [PhotoFaces("none.png", 1, 1, ())])
    return RunConfig(networks / "negative.pth", Options(), OutputOptions(), photographs.list)


@pytest.fixture
def notes(tmp_path):
    notes = Journal(tmp_path / "out", "run")
    notes.open()
    return notes


@pytest.fixture
def jobs(photographs, tmp_path):
    def planned():
        return plan([str(photographs.folder)], tmp_path / "out")[0]

    return planned


def work(worker: Worker, jobs) -> dict[str, dict]:
    """Let a worker restore jobs; its entries by the name of the photograph."""
    rows = [as_row(number, job) for number, job in enumerate(jobs)]
    result = worker({column: [row[column] for row in rows] for column in ("number", "job")})
    by_number = dict(zip(result["number"], map(json.loads, result["entry"]), strict=True))
    assert len(by_number) == len(jobs) == len(result["number"])
    return {jobs[number].photograph.name: entry for number, entry in by_number.items()}


def test_without_ray_it_says_what_to_install(restore, photographs, tmp_path, files_in, monkeypatch):
    photographs.add("a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    run = restore(photographs.folder, "-o", tmp_path / "out", "--engine", "ray")
    assert run.code == 1
    assert run.err.startswith("gpen: --engine ray needs Ray (")
    assert run.err.endswith("Install it: pip install gpen-face-restore[ray]\n")
    assert files_in(tmp_path / "out") == []


def test_what_is_wrong_with_the_command_is_said_before_ray_is_looked_for(restore, photographs, tmp_path, monkeypatch):
    photographs.add("a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    run = restore(photographs.folder, "-o", tmp_path / "out", "--engine", "ray", "--region", tmp_path / "lost.png")
    assert "lost.png does not exist." in run.err
    photographs.list.write_text("{}")
    run = restore(photographs.folder, "-o", tmp_path / "out", "--engine", "ray")
    assert "faces.json is not a file of faces" in run.err


@pytest.mark.parametrize("flag", ["--workers", "--cpus-per-worker"])
def test_flags_of_the_cluster_are_refused_without_it(restore, photographs, tmp_path, flag):
    photographs.add("a.png")
    run = restore(photographs.folder, "-o", tmp_path / "out", flag, 2)
    assert run.code == 2
    assert run.err == f"gpen: {flag} is for --engine ray only.\n"
    assert restore(photographs.folder, "-o", tmp_path / "out", "--engine", "ray", flag, 0).code == 2


def node(cpus: int, gpus: int = 0, alive: bool = True) -> dict:
    resources = {"CPU": float(cpus), "GPU": float(gpus), "memory": 1e9}
    return {"Alive": alive, "Resources": {name: value for name, value in resources.items() if value}}


@pytest.mark.parametrize(
    ("nodes", "asked", "pool"),
    [
        ([node(0), node(16)], ("auto", None, None), Pool(4, 4, "cpu")),
        ([node(2), node(8)], ("auto", None, None), Pool(5, 2, "cpu")),
        ([node(2), node(8)], ("cpu", None, 3), Pool(2, 3, "cpu")),
        ([node(8)], ("auto", 7, None), Pool(7, 4, "cpu")),
        ([node(8), node(64, alive=False)], ("auto", None, None), Pool(2, 4, "cpu")),
        ([node(64), node(16, gpus=2)], ("auto", None, None), Pool(2, 4, "cuda")),
        ([node(4, gpus=4), node(32, gpus=1)], ("cuda", None, None), Pool(5, 1, "cuda")),
        ([node(16, gpus=2)], ("auto", None, 16), Pool(1, 16, "cuda")),
        ([node(16, gpus=2)], ("cpu", None, None), Pool(4, 4, "cpu")),
    ],
)
def test_how_machines_are_divided(nodes, asked, pool):
    assert plan_pool(nodes, *asked) == pool


@pytest.mark.parametrize(
    ("nodes", "asked", "error", "text"),
    [
        ([node(8)], ("cuda", None, None), GpenError, "No machine of the Ray cluster has a GPU."),
        ([node(8), node(2)], ("auto", None, 9), GpenError, "has 9 CPUs for a worker; the largest has 8."),
        ([node(0)], ("auto", None, None), GpenError, "start a worker with ray start"),
        ([node(8)], ("mps", None, None), OptionError, "it has to be auto, cpu or cuda"),
        ([node(8, gpus=2)], ("cuda:1", None, None), OptionError, "Ray chooses among the GPUs."),
    ],
)
def test_clusters_on_which_no_worker_would_start(nodes, asked, error, text):
    with pytest.raises(error) as raised:
        plan_pool(nodes, *asked)
    assert text in str(raised.value)


def test_a_worker_uses_the_cores_it_was_given(recipe, notes, monkeypatch):
    import cv2

    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(cv2, "setNumThreads", given.append)
    Worker(recipe, notes, 3)
    assert given == [3, 3]


@pytest.mark.parametrize("missing", ["weights", "notes"])
def test_a_worker_that_lacks_something_says_so_for_each_photograph(recipe, notes, photographs, jobs, missing):
    for name in ("a.png", "b.png"):
        photographs.add(name)
    if missing == "weights":
        recipe = RunConfig(recipe.weights.with_name("lost.pth"), Options(), OutputOptions(), photographs.list)
    else:
        notes.remove()
    entries = work(Worker(recipe, notes, 1), jobs())
    assert [entry["status"] for entry in entries.values()] == ["failed", "failed"]
    for entry in entries.values():
        assert ("lost.pth" if missing == "weights" else ".gpen-ray is not there.") in entry["message"]
        assert entry["message"].count("So the worker on ") == 1
        assert entry["message"].endswith("have to be where all machines see them under the same path.")


def test_a_photograph_that_a_worker_does_not_see_fails_alone(recipe, notes, photographs, jobs):
    for name in ("a.png", "b.png"):
        photographs.add(name)
    planned = jobs()
    planned[0].photograph.path.unlink()
    entries = work(Worker(recipe, notes, 1), planned)
    assert entries["a.png"]["status"] == "failed"
    assert "a.png does not exist." in entries["a.png"]["message"]
    assert "have to be where all machines see them under the same path." in entries["a.png"]["message"]
    assert entries["b.png"]["status"] == "restored"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_attempt_does_only_what_the_first_did_not_finish(
    recipe, notes, photographs, jobs, tmp_path, monkeypatch, overwrite
):
    """As Ray repeats a task whose worker died: with all its photographs."""
    for name in ("a.png", "b.png", "c.png"):
        photographs.add(name)
    planned = jobs()
    if overwrite:
        for job in planned:
            job.target.write_text("old")
    recipe = RunConfig(recipe.weights, Options(), OutputOptions(overwrite=overwrite), photographs.list)
    first = work(Worker(recipe, notes, 1), planned[:2])
    written = planned[0].target.stat().st_ino
    # The worker died when b.png was restored, and not yet written.
    planned[1].target.unlink()
    half = tmp_path / "out" / ".gpen-00000000-1-half.png"
    half.touch()
    note = notes._read(planned[1])
    notes._write(planned[1], type(note)(note.run, 1, note.before, half.name.removesuffix("half.png"), note.entry))
    if overwrite:
        planned[1].target.write_text("old")
        status = planned[1].target.stat()
        before = [status.st_ino, status.st_mtime_ns]
        notes._write(planned[1], type(note)(note.run, 1, before, note.writer, note.entry))
        half.unlink()
    calls = []
    really = batch.run
    monkeypatch.setattr(batch, "run", lambda *a, **more: calls.append(a) or really(*a, **more))
    second = work(Worker(recipe, notes, 1), planned)
    assert len(calls) == 2
    assert second["a.png"] | {"seconds": 0} == first["a.png"] | {"seconds": 0}
    assert second["b.png"] | {"seconds": 0} == first["b.png"] | {"seconds": 0}
    assert [entry["status"] for entry in second.values()] == ["restored"] * 3
    assert planned[0].target.stat().st_ino == written
    assert planned[1].target.read_bytes() != b"old"
    assert not half.exists()
    assert notes.attempts(planned[1]) == 2


@pytest.mark.parametrize("writer", ["", "?", ".gpen-", ".gpen-*-1-", "../out/", None])
def test_a_note_that_was_damaged_removes_no_files(recipe, notes, photographs, jobs, tmp_path, files_in, writer):
    photographs.add("a.png")
    (job,) = jobs()
    notes.begin(job)
    begun = notes._read(job)
    notes._write(job, type(begun)(begun.run, 1, None, writer))
    others = ["b.png", ".hidden", ".gpen-00000000-1-half.png"]
    for name in others:
        (tmp_path / "out" / name).touch()
    assert work(Worker(recipe, notes, 1), [job])["a.png"]["status"] == "restored"
    assert set(files_in(tmp_path / "out")) >= {"a.png", *others}


def test_what_a_killed_run_finished_takes_the_place_of_an_earlier_failure(recipe, notes, photographs, jobs, tmp_path):
    photographs.add("a.png")
    (job,) = jobs()
    report, name = tmp_path / "report.json", str(job.photograph.path)
    there, failed = PhotoResult(job, Status.EXISTS, "is there already"), PhotoResult(job, Status.FAILED, "no picture")
    write_report(report, [job], [failed])
    work(Worker(recipe, notes, 1), [job])
    known = {name: notes.done(job, earlier=True).as_json()}
    write_report(report, [job], [there], known)
    assert json.loads(report.read_text(encoding="utf-8")) == list(known.values())
    # A failure in the notes says nothing against what the report calls finished.
    write_report(report, [job], [there], {name: failed.as_json()})
    assert json.loads(report.read_text(encoding="utf-8")) == list(known.values())


def test_a_new_run_with_overwrite_does_everything_anew(recipe, notes, photographs, jobs):
    photographs.add("a.png")
    recipe = RunConfig(recipe.weights, Options(), OutputOptions(overwrite=True), photographs.list)
    work(Worker(recipe, notes, 1), jobs())
    first = jobs()[0].target.stat().st_ino
    later = Journal(notes.results, "later")
    later.open()
    assert work(Worker(recipe, later, 1), jobs())["a.png"]["status"] == "restored"
    assert jobs()[0].target.stat().st_ino != first


def test_a_photograph_is_given_up_after_some_attempts_of_one_run(recipe, notes, photographs, jobs):
    photographs.add("a.png")
    (job,) = jobs()
    for _ in range(MOST_ATTEMPTS):
        notes.begin(job)
    assert work(Worker(recipe, notes, 1), [job])["a.png"]["message"].startswith("Its worker died 3 times")
    assert not job.target.exists()
    later = Journal(notes.results, "later")
    later.open()
    assert work(Worker(recipe, later, 1), [job])["a.png"]["status"] == "restored"


def test_those_with_which_a_worker_died_are_tried_alone(recipe, notes, photographs, jobs, monkeypatch):
    for number in range(4):
        photographs.add(f"{number}.png")
    planned = jobs()
    for job in planned[1:3]:
        notes.begin(job)
    together = []
    really = Journal.begin
    flying: set[str] = set()

    def begin(self, job):
        flying.add(job.photograph.name)
        together.append(sorted(flying))
        really(self, job)

    def finish(self, job, entry):
        flying.discard(job.photograph.name)

    monkeypatch.setattr(Journal, "begin", begin)
    monkeypatch.setattr(Journal, "finish", finish)
    work(Worker(recipe, notes, 1), planned)
    assert ["1.png"] in together
    assert ["2.png"] in together


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_any_name_survives_the_way_to_a_worker_and_back(recipe, notes, photographs, jobs):
    photographs.add("a.png")
    name = os.fsdecode(b"caf\xe9 \"'{}.png")
    try:
        (photographs.folder / "a.png").rename(photographs.folder / name)
    except OSError:
        pytest.skip("this file system takes only names that are Unicode")
    photographs.known(name, photographs.faces.pop("a.png"))
    entry = work(Worker(recipe, notes, 1), jobs())[name]
    assert entry["status"] == "restored"
    assert jobs()[0].target.is_file()
