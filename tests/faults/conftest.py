"""Children, what they work on (photos, small networks with a known answer), and what an undisturbed run writes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from gpen.batch.resume import RECORD
from gpen.network.synthetic import synthetic_weights
from tests.commands import SPEC, Album
from tests.faults.children import Children, Ended
from tests.faults.server import serve

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all files of a module's tests."""
    return tmp_path_factory.mktemp("faults").resolve()


@pytest.fixture(scope="module")
def children(folder: Path) -> Iterator[Children]:
    patch = pytest.MonkeyPatch()
    for variable in ("HOME", "XDG_CACHE_HOME"):
        patch.setenv(variable, str(folder / "home"))
    for variable in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        patch.delenv(variable, raising=False)
    children = Children(folder)
    yield children
    children.close()
    patch.undo()


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    """A folder with three networks, of which negative.pth inverts colours."""
    weights = folder / "weights"
    weights.mkdir()
    inverted = (-torch.eye(3)).tolist()
    torch.save(synthetic_weights(SPEC, color_matrix=inverted), weights / "negative.pth")
    torch.save(synthetic_weights(SPEC), weights / "one.pth")
    torch.save(synthetic_weights(SPEC, seed=1), weights / "two.pth")
    return weights


@pytest.fixture
def server() -> Iterator[Any]:
    yield from serve()


@dataclass(frozen=True)
class Work:
    """A folder of photos, and how to restore it."""

    photos: Path
    arguments: tuple[object, ...]

    def command(self, out: Path, *more: object) -> list[object]:
        """The arguments that restore the photos into a folder, with a report beside it."""
        return ["restore", self.photos, "-o", out, "--report", report_of(out), *self.arguments, *more]


@pytest.fixture(scope="module")
def work(folder: Path, weights: Path) -> Work:
    album = Album(folder)
    for name in ("a.png", "b.jpg", "c.png", "d/e.png", "d/f.webp", "g.tif"):
        album.add(name)
    return Work(album.folder, ("--models-path", weights, "--model", "negative", "--faces", album.faces_file))


def report_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def tree(out: Path) -> dict[str, bytes]:
    """The content of all files in a folder, hidden ones too, but for the record of how results were made."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def entries(out: Path) -> list[dict[str, Any]]:
    """The report, without what differs from run to run."""
    content = json.loads(report_of(out).read_text())
    return [{**entry, "seconds": 0, "output": Path(entry["output"]).relative_to(out).as_posix()} for entry in content]


def assert_no_bug(ended: Ended) -> None:
    """Nothing of Python's is seen by the user, nothing that a terminal would obey, and no fault of ours."""
    text = ended.out + ended.err
    assert not re.search(r"Traceback|Error:|Unexpected|\bbug\b|\x1b", text), text


def assert_plain(ended: Ended) -> None:
    """And no fault of the machine is called damage of a file."""
    assert_no_bug(ended)
    assert "damaged" not in ended.out + ended.err, ended.err


@pytest.fixture(scope="module")
def reference(children: Children, work: Work, folder: Path) -> Reference:
    """What an undisturbed run writes."""
    out = folder / "reference" / "out"
    out.parent.mkdir()
    ended = children.run(*work.command(out))
    assert ended.code == 0, ended.err
    assert ended.events > 40
    return Reference(tree(out), entries(out), ended.events)


@dataclass(frozen=True)
class Reference:
    """The files, the report, and the number of events."""

    files: dict[str, bytes]
    report: list[dict[str, Any]]
    events: int
