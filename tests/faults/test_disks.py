"""Full disks, folders that may not be written to, short memory, and files that others change meanwhile."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.commands import Album
from tests.faults.children import Children, Fault
from tests.faults.conftest import Reference, Work, assert_plain, entries, report_of, tree
from tests.faults.server import NAME


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    path = folder / "small"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path], capture_output=True, text=True)
    if made.returncode:
        path.rmdir()
        pytest.skip(f"needs the right to mount a small file system: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)
    path.rmdir()


def test_a_full_disk(children: Children, work: Work, reference: Reference, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40_000))
    out = small_disk / "out"
    first = children.run(*work.command(out))
    assert first.code == 1
    assert_plain(first)
    assert "the disk is full" in first.err
    found = tree(out)
    assert 0 < len(found) < len(reference.files)
    assert found.items() <= reference.files.items()
    ballast.unlink()
    second = children.run(*work.command(out))
    if sum(map(len, reference.files.values())) < 50_000:
        assert second.code == 0, second.err
        assert tree(out) == reference.files
        assert entries(out) == reference.report
    else:
        assert tree(out).items() <= reference.files.items()


def test_files_that_may_not_grow(children: Children, work: Work, weights: Path, folder: Path) -> None:
    """The limit of a quota: every write fails beyond a size."""
    for limit in (0, 1000, 5000):
        out = folder / f"limit-{limit}" / "out"
        out.parent.mkdir()
        # The report of what happened grows as well.
        ended = children.run(*work.command(out)[:4], *work.arguments, fault=Fault(file_size=max(limit, 4000)))
        assert ended.code in (0, 1)
        assert_plain(ended)
        assert not [name for name in tree(out) if Path(name).name.startswith(".gpen-")]
    into = folder / "limited"
    into.mkdir()
    shutil.copyfile(weights / "negative.pth", into / "negative.pth")
    ended = children.run("convert", into / "negative.pth", fault=Fault(file_size=4000))
    assert ended.code == 1
    assert_plain(ended)
    assert "could not be written" in ended.err
    assert list(tree(into)) == ["negative.pth"]


def test_folders_that_are_read_only(children: Children, work: Work, weights: Path, server: Any, folder: Path) -> None:
    fault = Fault(obeys_permissions=True, addresses={NAME: server.address})
    locked = folder / "locked"
    locked.mkdir()
    shutil.copyfile(weights / "negative.pth", locked / "negative.pth")
    locked.chmod(0o555)
    commands = [
        ["restore", work.photos, "-o", locked, *work.arguments],
        ["restore", work.photos, "-o", locked / "out", *work.arguments],
        ["restore", work.photos, "-o", folder / "out", "--report", locked / "report.json", *work.arguments],
        ["convert", locked],
        ["convert", locked / "negative.pth"],
        ["download", NAME, "--accept-licence", "-o", locked],
    ]
    try:
        for command in commands:
            ended = children.run(*command, fault=fault)
            assert ended.code == 1, command
            assert_plain(ended)
            assert str(locked) in ended.err
            assert list(tree(locked)) == ["negative.pth"], command
    finally:
        locked.chmod(0o755)


@pytest.fixture(scope="module")
def large(folder: Path) -> Work:
    """A photo whose pixels take some memory."""
    photos = folder / "large"
    photos.mkdir()
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.uniform(60, 200, (30, 40, 3)).astype(np.float32), (2000, 2000))
    cv2.imwrite(str(photos / "large.jpg"), soft.astype(np.uint8))
    return Work(photos, ("--models-path", folder / "weights", "--model", "negative", "--aligned"))


def test_short_memory_is_called_short_memory(children: Children, weights: Path, large: Work, folder: Path) -> None:
    codes: dict[str, list[int]] = {"colorize": [], "convert": []}
    for megabytes in (1, 4, 12, 24, 48, 96, 160, 256, 1024):
        out = folder / f"memory-{megabytes}" / "out"
        out.parent.mkdir()
        copy = out.parent / "one.pth"
        shutil.copyfile(weights / "one.pth", copy)
        commands = ["colorize", large.photos, "-o", out, *large.arguments], ["convert", copy]
        for command in commands:
            ended = children.run(*command, fault=Fault(memory=megabytes << 20))
            codes[str(command[0])].append(ended.code)
            assert ended.code in (0, 1), (megabytes, ended.err)
            assert_plain(ended)
            assert "memory" in ended.err or ended.code == 0, (megabytes, ended.err)
            assert not [name for name in tree(out.parent) if Path(name).name.startswith(".gpen-")]
        assert copy.exists()
    for each in codes.values():
        assert each[0] == 1
        assert each[-1] == 0


def test_two_runs_into_one_folder(children: Children, work: Work, reference: Reference, folder: Path) -> None:
    out = folder / "two" / "out"
    out.parent.mkdir()
    for more in ((), ("--overwrite",)):
        running = [children.start(*work.command(out, *more)) for _ in range(2)]
        ended = [children.wait(process) for process in running]
        for each in ended:
            assert each.code == 0, each.err
            assert_plain(each)
        assert tree(out) == reference.files
        assert {entry["path"] for entry in entries(out)} == {entry["path"] for entry in reference.report}
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", report_of(out).name]


@pytest.fixture
def moving(folder: Path, work: Work) -> Iterator[Path]:
    """A copy of the photos that changes."""
    copy = folder / "moving"
    shutil.copytree(work.photos, copy)
    yield copy
    shutil.rmtree(copy)


def test_a_photo_that_is_removed_during_the_run(
    children: Children, work: Work, reference: Reference, moving: Path, folder: Path
) -> None:
    out = folder / "removed" / "out"
    ended = children.run("restore", moving, "-o", out, *work.arguments, fault=Fault(path="moving/c.png", do="remove"))
    assert ended.code == 1
    assert_plain(ended)
    assert "c.png does not exist" in ended.err
    assert tree(out) == {name: content for name, content in reference.files.items() if name != "c.png"}


def test_a_photo_that_is_replaced_during_the_run(
    children: Children, work: Work, reference: Reference, moving: Path, folder: Path
) -> None:
    """The result is that of one of the two photos, whole."""
    out = folder / "replaced" / "out"
    Album(folder / "other").add("x.png")
    shutil.copyfile(moving / "a.png", moving / "c.png.other")
    ended = children.run("restore", moving, "-o", out, *work.arguments, fault=Fault(path="moving/c.png", do="replace"))
    assert ended.code == 0, ended.err
    found = tree(out)
    # The name and the size of the file are the same, the pixels are those of a.png.
    assert found["c.png"] in (reference.files["c.png"], found["a.png"])
    assert {**found, "c.png": b""} == {**reference.files, "c.png": b""}
