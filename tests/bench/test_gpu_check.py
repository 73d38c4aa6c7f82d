"""The check on a GPU, here on the CPU with tiny networks: what differs on a GPU is in bench/gpu_check/device.py."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.gpu_check import __main__ as gpu_check
from bench.gpu_check import marked_tests, results
from bench.gpu_check.part import Figure, Outcome, Part, Setting, run

QUICK = Setting("cpu", quick=True)


def two_figures(setting: Setting) -> Iterator[Figure]:
    yield Figure("one", 1.0)
    yield Figure("other", None, note=setting.device)


def fails_late(setting: Setting) -> Iterator[Figure]:
    yield Figure("before", 1.0)
    raise ValueError("no such kernel")


def hangs(setting: Setting) -> Iterator[Figure]:
    yield Figure("before", 1.0)
    time.sleep(600)


def crashes(setting: Setting) -> Iterator[Figure]:
    yield Figure("before", 1.0)
    os._exit(7)


def wrong(setting: Setting) -> Iterator[Figure]:
    yield Figure("right", 1.0, bound=1.0)
    yield Figure("wrong", float("nan"), bound=1.0)


@pytest.mark.parametrize(
    ("measure", "status", "error"),
    [
        (two_figures, "done", ""),
        (fails_late, "failed", "ValueError: no such kernel"),
        (crashes, "failed", "exit code 7"),
        (wrong, "failed", "wrong is nan, at most 1 is correct"),
    ],
)
def test_a_part_keeps_the_figures_it_had(measure, status: str, error: str) -> None:
    outcome = run(Part("part", "a part", 60, measure), QUICK, 60)
    assert outcome.status == status
    assert error in outcome.error
    assert bool(outcome.error) == bool(error)
    assert outcome.figures[0].value == 1


def test_a_part_that_hangs_is_ended() -> None:
    outcome = run(Part("part", "a part", 60, hangs), QUICK, 10)
    assert outcome.status == "cut off"
    assert [figure.name for figure in outcome.figures] == ["before"]
    assert outcome.seconds < 30


def test_a_failed_part_stops_no_other_and_is_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "gpu.json"
    parts = [Part("bad", "fails", 60, fails_late), Part("good", "works", 60, two_figures)]
    assert not gpu_check.check(parts, QUICK, path)
    written = json.loads(path.read_text())
    assert [part["status"] for part in written["parts"].values()] == ["failed", "done"]
    assert set(written["figures"]) == {"before", "one", "other"}
    assert "no such kernel" in capsys.readouterr().out
    assert gpu_check.check(parts[1:], QUICK, path)


def test_parts_for_which_no_time_is_left_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    assert not gpu_check.check([Part("late", "late", 60, two_figures)], QUICK, path, most_seconds=0)
    assert json.loads(path.read_text())["parts"]["late"]["status"] == "not run"


def test_parts_that_were_measured_before_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpu.json"
    monkeypatch.setattr(gpu_check, "revision", lambda: "0123456789")
    one, two = Part("one", "works", 60, two_figures), Part("two", "fails", 60, fails_late)
    gpu_check.check([one, two], QUICK, path)
    gpu_check.check([two], QUICK, path, most_seconds=0)
    written = json.loads(path.read_text())
    assert [part["status"] for part in written["parts"].values()] == ["done", "failed"]
    gpu_check.check([Part("two", "works now", 60, two_figures)], QUICK, path)
    written = json.loads(path.read_text())
    assert [part["status"] for part in written["parts"].values()] == ["done", "done"]
    assert set(written["figures"]) == {"one", "other"}
    monkeypatch.setattr(gpu_check, "revision", lambda: "9876543210")
    gpu_check.check([two], QUICK, path)
    assert list(json.loads(path.read_text())["parts"]) == ["two"]


def test_targets_are_taken_from_figures_that_the_parts_yield() -> None:
    figures = {
        "512/float16/repeated": {"value": 2.0},
        "512/float16/queued": {"value": 1.9},
        "512/float16/bare convolutions": {"value": 1.6},
    }
    by_name = {target.name: target for target in results.TARGETS}
    assert results.value_of(by_name["gpu-512"], figures) == 2
    assert results.value_of(by_name["gpu-bare-512"], figures) == 1.9 / 1.6
    assert results.verdict(by_name["gpu-bare-512"], 1.25) == results.MET
    assert results.verdict(by_name["gpu-bare-512"], 1.6) == results.NOT_MET
    assert results.value_of(by_name["gpu-onnx-512"], figures) is None
    assert results.verdict(by_name["gpu-onnx-512"], None) == results.UNMEASURED


def test_targets_count_for_the_gpus_that_they_are_for() -> None:
    outcomes = {"network": Outcome("done", figures=[Figure("512/float16/repeated", 2.0)])}
    for gpu, expected in (("NVIDIA H100 80GB HBM3", results.MET), ("NVIDIA T4", "targets are for H100 and H200")):
        targets = results.as_json(outcomes, {"about": {"gpu": gpu}})["targets"]
        assert targets["gpu-512"]["verdict"].startswith(expected)
        assert targets["gpu-2048"]["verdict"] == results.UNMEASURED


@pytest.fixture(scope="module")
def figures(shared: Path) -> dict[str, list[Figure]]:
    """Of every part, on the CPU."""
    setting = Setting("cpu", quick=True, shared=shared)
    return {part.name: list(part.measure(setting)) for part in gpu_check.PARTS}


def test_every_part_yields_figures_that_are_right(figures: dict[str, list[Figure]]) -> None:
    every = [figure for part in figures.values() for figure in part]
    assert all(figures.values())
    assert len({figure.name for figure in every}) == len(every)
    assert not [figure.name for figure in every if figure.is_wrong]
    assert [figure.name for figure in every if figure.value is None and not figure.note] == []


def test_the_parts_yield_what_the_targets_are_made_of(figures: dict[str, list[Figure]]) -> None:
    names = {figure.name for part in figures.values() for figure in part}
    # A CPU has no float16.
    needed = {name.replace("float16", "float32") for target in results.TARGETS for name in target.needs}
    assert needed <= names


def test_the_table_shows_every_figure_and_target(figures: dict[str, list[Figure]]) -> None:
    outcomes = {name: Outcome("done", 1.0, "", part) for name, part in figures.items()}
    table = results.table(results.as_json(outcomes, {"about": {"gpu": "none"}}), gpu_check.PARTS)
    for part in figures.values():
        for figure in part:
            assert figure.name in table
    for target in results.TARGETS:
        assert target.title in table


def test_marked_tests_are_found_by_their_mark() -> None:
    assert Path("tests/network/test_cuda_graph.py") in marked_tests.marked_files()
    assert Path("tests/bench/test_gpu_check.py") not in marked_tests.marked_files()


def test_without_a_gpu_the_check_says_how_to_test_it(capsys: pytest.CaptureFixture) -> None:
    if gpu_check.gpu_name():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SystemExit):
        gpu_check.main([])
    assert "--device cpu --quick" in capsys.readouterr().err
