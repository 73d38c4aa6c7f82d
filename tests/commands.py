"""Fixtures that run the real command on small photos, with networks whose output is known.

The conftest.py of tests/cli and tests/batch import them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen.batch.resume import RECORD
from gpen.cli import main
from gpen.faces.face import Face
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import Picture, read_picture, write_picture
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights

SPEC = Spec(64, 64, channel_multiplier=2, narrow=1 / 16, style_dim=16, n_mlp=2)
ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 96, 112


@dataclass
class Outcome:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def empty_home(tmp_path_factory, monkeypatch):
    """Hide the models and settings in the user's own folders."""
    home = tmp_path_factory.mktemp("home")
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home))
    for variable in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def gpen(capsys):
    """Run the command in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    return run


@pytest.fixture
def start():
    """Start the command in another process, which is killed at the end of the test if it still runs."""
    processes = []

    def run(*arguments: object, **more) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "gpen", *map(str, arguments)]
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
        processes.append(subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **more))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> Path:
    """A folder with passthrough.pth, whose output is its input, and negative.pth, which inverts colours."""
    folder = tmp_path_factory.mktemp("networks")
    torch.save(synthetic_weights(SPEC), folder / "passthrough.pth")
    inverted = -torch.eye(3)
    torch.save(synthetic_weights(SPEC, color_matrix=inverted.tolist()), folder / "negative.pth")
    return folder


def upright_face(x: float, y: float, size: float) -> Face:
    """A face whose box is a square with this top left corner."""
    points = [(0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75)]
    landmarks = np.array([(x + size * a, y + size * b) for a, b in points])
    return Face((x, y, x + size, y + size), 0.9, landmarks)


def picture(seed: int = 0, **more) -> Picture:
    """Soft colours between 0.3 and 0.7, different for each seed; ``alpha=True`` adds an alpha channel."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.3, 0.7, (6, 7, 3)).astype(np.float32)
    photo = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    if more.get("grey"):
        photo = np.repeat(photo[:, :, :1], 3, axis=2)
    if more.pop("alpha", False):
        more["alpha"] = rng.uniform(0.2, 1, (HEIGHT, WIDTH)).astype(np.float32)
    return Picture(photo, **more)


class Album:
    """A folder of photos, and a faces file about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "photos"
        self.faces_file = folder / "faces.json"
        self.faces: dict[str, list[Face]] = {}

    def add(self, name: str, faces: list[Face] | None = None, **more) -> Path:
        """Write a photo; by default it has one face of 40 pixels in its middle."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, picture(len(self.faces), **more))
        self.set_faces(name, [upright_face(36, 28, 40)] if faces is None else faces)
        return path

    def set_faces(self, name: str, faces: list[Face]) -> None:
        """Write the faces of a photo to the faces file."""
        self.faces[name] = faces
        write_faces(self.faces_file, [PhotoFaces(n, WIDTH, HEIGHT, tuple(f)) for n, f in self.faces.items()])


@pytest.fixture
def album(tmp_path) -> Album:
    return Album(tmp_path)


@pytest.fixture
def one_face():
    return upright_face


@pytest.fixture
def restore(gpen, networks, album):
    """Run ``gpen restore`` with the network that inverts colours and the faces of ``album``."""

    def run(*arguments: object, model: str = "negative", faces: bool = True) -> Outcome:
        known = ["--faces", album.faces_file] if faces else []
        return gpen("restore", *arguments, "--models-path", networks, "--model", model, *known)

    return run


@pytest.fixture
def arguments(networks, album):
    """The arguments that ``restore`` adds, for the command in another process."""
    text = f"--models-path {shlex.quote(str(networks))} --model negative --faces {shlex.quote(str(album.faces_file))}"
    return shlex.split(text)


@pytest.fixture
def assert_restored():
    """Check that the face in the middle of a photo is inverted, and its corners are unchanged.

    coding: the largest error that the file formats of photo and result may add, in steps of 1/255.
    """

    def check(result: Path, source: Path, coding: float = 0) -> None:
        before, after = read_picture(source, 1).photo, read_picture(result, 1).photo
        middle = slice(44, 54), slice(50, 62)
        assert np.abs(before[middle] - 0.5).max() > 0.05
        assert np.abs(after[middle] - (1 - before[middle])).max() * 255 <= 3 + coding
        assert np.abs(after - before)[[0, 0, -1, -1], [0, -1, 0, -1]].max() * 255 <= coding

    return check


@pytest.fixture
def files_in():
    """List all files in a folder, including hidden ones, but for the record of how results were made."""

    def tree(folder: Path) -> list[str]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
        return sorted(path.relative_to(folder).as_posix() for path in files)

    return tree
