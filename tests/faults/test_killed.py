"""A run that is killed or interrupted at any moment leaves whole files only, and the next run does the rest."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from gpen.atomic import process_tag
from tests.faults.children import Children, Fault
from tests.faults.conftest import Reference, Work, assert_plain, entries, report_of, tree
from tests.faults.server import NAME, SEED

MOMENTS = 12


def moments(events: int, most: int = MOMENTS) -> list[int]:
    """Some of all moments, the same each time, and the last."""
    return sorted({*random.Random(SEED).sample(range(events), min(most, events)), events - 1})


def assert_whole(found: dict[str, bytes], reference: dict[str, bytes]) -> None:
    """Every file that has a final name is that of the undisturbed run."""
    final = {name: content for name, content in found.items() if not Path(name).name.startswith(".")}
    assert final.items() <= reference.items()


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_restore(children: Children, work: Work, reference: Reference, folder: Path, signal: str) -> None:
    killed, halfway = 0, 0
    for moment in moments(reference.events):
        out = folder / f"{signal}-{moment}" / "out"
        out.parent.mkdir()
        first = children.run(*work.command(out), fault=Fault(at=moment, do=signal))
        found = tree(out)
        assert_whole(found, reference.files)
        halfway += 0 < len(found) < len(reference.files)
        if signal == "SIGKILL":
            assert first.code == -9, moment
            killed += 1
        else:
            killed += first.code == 130
            assert first.code in (0, 130), (moment, first.err)
            assert_plain(first)
            assert found.keys() <= reference.files.keys(), moment
        second = children.run(*work.command(out))
        assert second.code == 0, (moment, second.err)
        assert tree(out) == reference.files, moment
        assert entries(out) == reference.report, moment
        assert sorted(path.name for path in out.parent.iterdir()) == ["out", report_of(out).name], moment
    assert killed >= MOMENTS - 1
    assert halfway >= 3


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_a_report_keeps_what_a_killed_run_with_overwrite_finished(
    children: Children, work: Work, reference: Reference, folder: Path, signal: str
) -> None:
    """Its entries are those of the newest results, not those in the report of the run before."""
    out = folder / f"overwritten-{signal}" / "out"
    out.parent.mkdir()
    assert children.run(*work.command(out, "--only-faces", 5)).code == 0
    old = {entry["path"]: entry for entry in entries(out)}
    new = {entry["path"]: entry for entry in reference.report}
    assert all(old[path] != new[path] for path in old)
    moment = reference.events * 2 // 3
    children.run(*work.command(out, "--overwrite"), fault=Fault(at=moment, do=signal))
    found = tree(out)
    replaced = {str(work.photos / name) for name, content in found.items() if reference.files.get(name) == content}
    assert 0 < len(replaced) < len(new)
    assert children.run(*work.command(out)).code == 1  # some results are those of other options
    expected = [(new if entry["path"] in replaced else old)[entry["path"]] for entry in reference.report]
    assert entries(out) == expected


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_convert(children: Children, weights: Path, folder: Path, signal: str) -> None:
    def copy(name: str) -> Path:
        target = folder / name
        target.mkdir()
        for file in weights.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return target

    whole = copy(f"convert-{signal}")
    ended = children.run("convert", whole)
    assert ended.code == 0, ended.err
    reference = tree(whole)
    assert len(reference) == 6
    for moment in moments(ended.events, 6):
        cut = copy(f"convert-{signal}-{moment}")
        first = children.run("convert", cut, fault=Fault(at=moment, do=signal))
        assert_whole(tree(cut), reference)
        if signal == "SIGINT":
            assert_plain(first)
            assert tree(cut).keys() <= reference.keys()
        second = children.run("convert", cut)
        assert second.code == 0, second.err
        assert tree(cut) == reference, moment


def test_temporaries_of_the_living_stay(children: Children, work: Work, reference: Reference, folder: Path) -> None:
    """What is cleaned up is what dead processes left, and nothing that only looks like it."""
    out = folder / "clean" / "out"
    (out / "d").mkdir(parents=True)
    tag = process_tag()
    machine = tag.split("-")[1]
    ours, theirs = f"{tag}0123456789ab", f".gpen-00000000-{os.getpid()}-0123456789ab"
    kept = [f"{ours}.png", f"{theirs}.png", ".gpen-notes.png", ".hidden.png", f"{out.name}-{ours}.png"]
    gone = [f".gpen-{machine}-{process}-0123456789ab.png" for process in (4194305, 10**12)]
    for name in (*kept, *gone, f"{theirs}.tif"):
        (out / name).write_bytes(b"x")
    os.utime(out / f"{theirs}.tif", (0, 0))
    assert children.run(*work.command(out)).code == 0
    assert sorted(set(tree(out)) - reference.files.keys()) == sorted(kept)


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_download(children: Children, server: Any, folder: Path, signal: str) -> None:
    """Killed while bytes arrive, at seeded moments; the next call asks for the rest only."""
    fault = Fault(addresses={NAME: server.address})
    for stops_at in sorted(random.Random(SEED).sample(range(1 << 16, 7 << 17), 4)):
        into = folder / f"download-{signal}-{stops_at}"
        server.stops_at, server.starts = stops_at, []
        server.stopped.clear()
        process = children.start("download", NAME, "--accept-licence", "-o", into, fault=fault)
        part, expected = into / "GPEN-BFR-256.pth.part", (stops_at >> 16) << 16
        deadline = time.monotonic() + 60
        while not part.exists() or part.stat().st_size < expected:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process, Signals[signal])
        ended = children.wait(process)
        assert ended.code == (-9 if signal == "SIGKILL" else 130)
        if signal == "SIGINT":
            assert_plain(ended)
        assert not (into / "GPEN-BFR-256.pth").exists()
        server.stops_at = None
        server.stopped.set()
        assert children.run("download", NAME, "--accept-licence", "-o", into, fault=fault).code == 0
        assert tree(into) == {"GPEN-BFR-256.pth": server.body}
        first, second = server.starts
        assert first == 0 < expected <= second


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_download_around_its_files(children: Children, server: Any, folder: Path, signal: str) -> None:
    """Killed at every single change of a file."""
    whole = folder / f"download-{signal}"
    addresses = {NAME: server.address}
    command = ["download", NAME, "--accept-licence", "-o"]
    events = children.run(*command, whole, fault=Fault(addresses=addresses)).events
    assert events >= 6
    for moment in range(events):
        into = folder / f"download-{signal}-{moment}"
        first = children.run(*command, into, fault=Fault(at=moment, do=signal, addresses=addresses))
        assert first.code in ((-9,) if signal == "SIGKILL" else (0, 130))
        if signal == "SIGINT":
            assert_plain(first)
        assert_whole(tree(into), {"GPEN-BFR-256.pth": server.body} | _beside(into))
        assert children.run(*command, into, fault=Fault(addresses=addresses)).code == 0
        assert tree(into) == {"GPEN-BFR-256.pth": server.body}, moment


def _beside(into: Path) -> dict[str, bytes]:
    """What a broken download keeps on purpose."""
    return {name: content for name, content in tree(into).items() if ".part" in name}
