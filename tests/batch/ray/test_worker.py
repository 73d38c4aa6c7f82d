"""The parts of the Ray engine that need no Ray: errors, workers, the choice of workers."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gpen.batch import stages
from gpen.batch.config import RunConfig
from gpen.batch.plan import plan
from gpen.batch.ray.engine import Pool, plan_pool
from gpen.batch.ray.journal import Journal
from gpen.batch.ray.worker import MOST_ATTEMPTS, Worker, as_row
from gpen.batch.report import PhotoResult, Status, write_report
from gpen.batch.stages import OutputOptions
from gpen.errors import GpenError, OptionError
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import Picture, read_picture, write_picture
from gpen.options import Options
from tests.commands import HEIGHT, WIDTH
from tests.face_parsers import write_parser

SAME_PATHS = "All machines of a Ray cluster have to see photos, models and results under the same paths."


@pytest.fixture
def config(networks, album):
    write_faces(album.faces_file, [PhotoFaces("none.png", 1, 1, ())])
    return RunConfig(weights=networks / "negative.pth", options=Options(), faces=album.faces_file)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "out", "run")
    journal.open()
    return journal


@pytest.fixture
def jobs(album, tmp_path):
    def planned():
        return plan([str(album.folder)], tmp_path / "out")[0]

    return planned


def work(worker: Worker, jobs) -> dict[str, dict]:
    """Have a worker process jobs; its report entries by the name of the photo."""
    rows = [as_row(number, job) for number, job in enumerate(jobs)]
    result = worker({column: [row[column] for row in rows] for column in ("number", "job")})
    by_number = dict(zip(result["number"], map(json.loads, result["entry"]), strict=True))
    assert len(by_number) == len(jobs) == len(result["number"])
    return {jobs[number].photo.name: entry for number, entry in by_number.items()}


def test_without_ray_the_error_says_what_to_install(restore, album, tmp_path, files_in, monkeypatch):
    album.add("a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    run = restore(album.folder, "-o", tmp_path / "out", "--engine", "ray")
    assert run.code == 1
    assert run.err.startswith("gpen: The Ray engine needs Ray (")
    assert run.err.endswith('Install it: pip install "gpen-face-restore[ray]"\n')
    assert files_in(tmp_path / "out") == []


def test_mistakes_in_the_command_are_reported_before_ray_is_imported(restore, album, tmp_path, monkeypatch):
    album.add("a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    run = restore(album.folder, "-o", tmp_path / "out", "--engine", "ray", "--region", tmp_path / "lost.png")
    assert "lost.png does not exist." in run.err
    album.faces_file.write_text("{}")
    run = restore(album.folder, "-o", tmp_path / "out", "--engine", "ray")
    assert "faces.json is not a faces file" in run.err


@pytest.mark.parametrize("flag", ["--workers", "--cpus-per-worker"])
def test_flags_for_a_cluster_are_refused_without_one(restore, album, tmp_path, flag):
    album.add("a.png")
    run = restore(album.folder, "-o", tmp_path / "out", flag, 2)
    assert run.code == 2
    assert run.err == f"gpen: {flag} is for --engine ray only.\n"
    assert restore(album.folder, "-o", tmp_path / "out", "--engine", "ray", flag, 0).code == 2


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
def test_the_workers_of_a_cluster(nodes, asked, pool):
    assert plan_pool(nodes, *asked) == pool


@pytest.mark.parametrize(
    ("nodes", "asked", "error", "text"),
    [
        ([node(8)], ("cuda", None, None), GpenError, "No machine of the Ray cluster has a GPU."),
        ([node(8), node(2)], ("auto", None, 9), GpenError, "has 9 CPUs for a worker; the largest has 8."),
        ([node(0)], ("auto", None, None), GpenError, "start a larger machine with `ray start`"),
        ([node(8)], ("mps", None, None), OptionError, "it has to be auto, cpu or cuda"),
        ([node(8, gpus=2)], ("cuda:1", None, None), OptionError, "Ray chooses among the GPUs."),
    ],
)
def test_clusters_on_which_no_worker_could_start(nodes, asked, error, text):
    with pytest.raises(error) as raised:
        plan_pool(nodes, *asked)
    assert text in str(raised.value)


def test_a_worker_uses_the_cores_it_was_given(config, journal, monkeypatch):
    import cv2

    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(cv2, "setNumThreads", given.append)
    Worker(config, journal, 3)
    assert given == [3, 3]


def test_every_worker_has_the_mask_that_the_first_machine_chose(config, journal, album, jobs, tmp_path):
    album.add("a.png")
    assert config.with_mask_chosen().options.mask == "ellipse"
    (tmp_path / "parsers").mkdir()
    parser = write_parser(tmp_path / "parsers")
    chosen = dataclasses.replace(config, folders=(parser.parent,)).with_mask_chosen()
    assert chosen.options.mask == "parsed"
    assert work(Worker(chosen, journal, 1), jobs())["a.png"]["mask"] == "parsed"
    # On a machine without it, a photo fails rather than looking different.
    parser.unlink()
    failed = work(Worker(chosen, journal, 1), jobs())
    assert failed["a.png"]["status"] == "failed"
    assert "The parsed mask needs a face-parsing model" in failed["a.png"]["message"]


def test_a_worker_protects_what_is_white_in_each_photos_mask(config, journal, album, jobs, tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        album.add(name)
    (tmp_path / "masks").mkdir()
    mask = np.ones((HEIGHT, WIDTH, 3), np.float32)
    write_picture(tmp_path / "masks/a.png", Picture(mask))
    # Relative, as the user types it; workers run in other folders.
    monkeypatch.chdir(tmp_path)
    given = dataclasses.replace(config, protect=Path("masks")).absolute()
    monkeypatch.chdir(journal.results)
    made = work(Worker(given, journal, 1), jobs())
    assert made["a.png"]["status"] == "restored"
    before, after = (read_picture(folder / "a.png", 1).photo for folder in (album.folder, journal.results))
    assert np.array_equal(after, before)
    assert made["b.png"]["status"] == "failed"
    assert "There is no protection mask for this photo" in made["b.png"]["message"]


@pytest.mark.parametrize("missing", ["weights", "journal"])
def test_a_worker_that_cannot_start_says_why_for_each_photo(config, journal, album, jobs, missing):
    for name in ("a.png", "b.png"):
        album.add(name)
    if missing == "weights":
        config = dataclasses.replace(config, weights=config.weights.with_name("lost.pth"))
    else:
        journal.remove()
    entries = work(Worker(config, journal, 1), jobs())
    assert [entry["status"] for entry in entries.values()] == ["failed", "failed"]
    for entry in entries.values():
        assert ("lost.pth" if missing == "weights" else ".gpen-ray does not exist.") in entry["message"]
        assert entry["message"].count("This is what the worker on ") == 1
        assert entry["message"].endswith(SAME_PATHS)


def test_only_the_photo_that_a_worker_does_not_see_fails(config, journal, album, jobs):
    for name in ("a.png", "b.png"):
        album.add(name)
    planned = jobs()
    planned[0].photo.path.unlink()
    entries = work(Worker(config, journal, 1), planned)
    assert entries["a.png"]["status"] == "failed"
    assert "a.png does not exist." in entries["a.png"]["message"]
    assert SAME_PATHS in entries["a.png"]["message"]
    assert entries["b.png"]["status"] == "restored"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_attempt_does_only_what_the_first_did_not_finish(
    config, journal, album, jobs, tmp_path, monkeypatch, overwrite
):
    """Ray repeats a task whose worker died, with all its photos."""
    for name in ("a.png", "b.png", "c.png"):
        album.add(name)
    planned = jobs()
    if overwrite:
        for job in planned:
            job.target.write_text("old")
    config = dataclasses.replace(config, output=OutputOptions(overwrite=overwrite))
    first = work(Worker(config, journal, 1), planned[:2])
    written = planned[0].target.stat().st_ino
    # The worker died after b.png was restored and before it was written.
    planned[1].target.unlink()
    half = tmp_path / "out" / ".gpen-00000000-1-half.png"
    half.touch()
    entry = dataclasses.replace(journal.read(planned[1]), attempts=1, writer=half.name.removesuffix("half.png"))
    journal.write(planned[1], entry)
    if overwrite:
        planned[1].target.write_text("old")
        status = planned[1].target.stat()
        journal.write(planned[1], dataclasses.replace(entry, before=[status.st_ino, status.st_mtime_ns]))
        half.unlink()
    calls = []
    really = stages.run_task
    monkeypatch.setattr(stages, "run_task", lambda *a, **more: calls.append(a) or really(*a, **more))
    second = work(Worker(config, journal, 1), planned)
    assert len(calls) == 2
    assert second["a.png"] | {"seconds": 0} == first["a.png"] | {"seconds": 0}
    assert second["b.png"] | {"seconds": 0} == first["b.png"] | {"seconds": 0}
    assert [entry["status"] for entry in second.values()] == ["restored"] * 3
    assert planned[0].target.stat().st_ino == written
    assert planned[1].target.read_bytes() != b"old"
    assert not half.exists()
    assert journal.attempts(planned[1]) == 2


@pytest.mark.parametrize("writer", ["", "?", ".gpen-", ".gpen-*-1-", "../out/", None])
def test_a_damaged_journal_entry_removes_no_files(config, journal, album, jobs, tmp_path, files_in, writer):
    album.add("a.png")
    (job,) = jobs()
    journal.begin(job)
    journal.write(job, dataclasses.replace(journal.read(job), writer=writer))
    others = ["b.png", ".hidden", ".gpen-00000000-1-half.png"]
    for name in others:
        (tmp_path / "out" / name).touch()
    assert work(Worker(config, journal, 1), [job])["a.png"]["status"] == "restored"
    assert set(files_in(tmp_path / "out")) >= {"a.png", *others}


def test_what_a_killed_run_finished_replaces_an_earlier_failure(config, journal, album, jobs, tmp_path):
    album.add("a.png")
    (job,) = jobs()
    report, name = tmp_path / "report.json", str(job.photo.path)
    existing, failed = PhotoResult(job, Status.EXISTS, "exists"), PhotoResult(job, Status.FAILED, "no picture")
    write_report(report, [job], [failed])
    work(Worker(config, journal, 1), [job])
    known = {name: journal.done(job, earlier=True).as_json()}
    write_report(report, [job], [existing], known)
    assert json.loads(report.read_text(encoding="utf-8")) == list(known.values())
    # A failure in the journal does not override a finished entry in the report.
    write_report(report, [job], [existing], {name: failed.as_json()})
    assert json.loads(report.read_text(encoding="utf-8")) == list(known.values())


def test_a_new_run_with_overwrite_does_everything_again(config, journal, album, jobs):
    album.add("a.png")
    config = dataclasses.replace(config, output=OutputOptions(overwrite=True))
    work(Worker(config, journal, 1), jobs())
    first = jobs()[0].target.stat().st_ino
    later = Journal(journal.results, "later")
    later.open()
    assert work(Worker(config, later, 1), jobs())["a.png"]["status"] == "restored"
    assert jobs()[0].target.stat().st_ino != first


def test_a_photo_is_given_up_after_some_attempts_of_one_run(config, journal, album, jobs):
    album.add("a.png")
    (job,) = jobs()
    for _ in range(MOST_ATTEMPTS):
        journal.begin(job)
    assert work(Worker(config, journal, 1), [job])["a.png"]["message"].startswith("Workers died 3 times")
    assert not job.target.exists()
    later = Journal(journal.results, "later")
    later.open()
    assert work(Worker(config, later, 1), [job])["a.png"]["status"] == "restored"


def test_photos_with_which_a_worker_died_are_retried_alone(config, journal, album, jobs, monkeypatch):
    for number in range(4):
        album.add(f"{number}.png")
    planned = jobs()
    for job in planned[1:3]:
        journal.begin(job)
    together = []
    really = Journal.begin
    flying: set[str] = set()

    def begin(self, job):
        flying.add(job.photo.name)
        together.append(sorted(flying))
        really(self, job)

    def finish(self, job, entry):
        flying.discard(job.photo.name)

    monkeypatch.setattr(Journal, "begin", begin)
    monkeypatch.setattr(Journal, "finish", finish)
    work(Worker(config, journal, 1), planned)
    assert ["1.png"] in together
    assert ["2.png"] in together


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_any_name_survives_the_way_to_a_worker_and_back(config, journal, album, jobs):
    album.add("a.png")
    name = os.fsdecode(b"caf\xe9 \"'{}.png")
    try:
        (album.folder / "a.png").rename(album.folder / name)
    except OSError:
        pytest.skip("this file system takes only names that are Unicode")
    album.set_faces(name, album.faces.pop("a.png"))
    entry = work(Worker(config, journal, 1), jobs())[name]
    assert entry["status"] == "restored"
    assert jobs()[0].target.is_file()
