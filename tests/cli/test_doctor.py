"""gpen doctor: what works and what does not, without a word that is nobody's business."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tomllib
import torch

from demo.portrait import PORTRAIT, portrait
from gpen.images import read_picture
from gpen.network.synthetic import synthetic_weights
from tests.commands import ROOT, SPEC


@pytest.fixture
def models(tmp_path, networks) -> Path:
    """A folder with a network that returns its input, and something by the name of a detector."""
    folder = tmp_path / "grandmother ada"
    folder.mkdir()
    (folder / "passthrough.pth").write_bytes((networks / "passthrough.pth").read_bytes())
    (folder / "face_detection_yunet_2023mar.onnx").write_bytes(b"found by its name")
    return folder


def lines(out: str, state: str) -> list[str]:
    return [line.strip() for line in out.splitlines() if line.strip().startswith(f"{state} ")]


def test_where_everything_works(gpen, models):
    run = gpen("doctor", "--models-path", models)
    assert (run.code, run.err) == (0, "")
    assert lines(run.out, "WRONG") == []
    assert run.out.endswith("Everything that is needed works.\n")
    for text in (f"PyTorch {torch.__version__}", "device cpu", "of memory free on cpu", "detector: yunet"):
        assert any(text in line for line in lines(run.out, "ok")), text
    (network,) = (line for line in run.out.splitlines() if "passthrough.pth" in line)
    assert "loaded in" in network
    assert "the result is the portrait (off by 0.0" in network
    # Paths are shown only where that is asked for.
    assert "ada" not in run.out
    assert str(Path.home()) not in run.out
    assert str(models) in gpen("doctor", "--models-path", models, "--paths").out


def test_without_models_it_says_how_to_get_them(gpen, tmp_path):
    run = gpen("doctor", "--models-path", tmp_path)
    assert run.code == 1
    wrong = lines(run.out, "WRONG")
    assert len(wrong) == 2
    assert "gpen download yunet" in wrong[0]
    assert "gpen download GPEN-BFR-512" in wrong[1]
    assert run.out.endswith("2 problems found: see WRONG.\n")


def test_a_network_whose_answer_is_not_the_portrait(gpen, models, networks):
    (models / "negative.pth").write_bytes((networks / "negative.pth").read_bytes())
    run = gpen("doctor", "--models-path", models)
    assert run.code == 1
    (wrong,) = lines(run.out, "WRONG")
    assert "negative.pth" in wrong
    assert "the result is not the portrait" in wrong


def test_networks_of_other_tasks(gpen, models):
    for name in ("GPEN-Colorization-1024.pth", "GPEN-Inpainting-1024.pth", "GPEN-Seg2face-512.pth"):
        torch.save(synthetic_weights(SPEC), models / name)
    run = gpen("doctor", "--models-path", models)
    assert run.code == 0, run.out
    assert run.out.count("the result is the portrait") == 3


def test_files_that_are_no_networks_are_noted(gpen, models):
    (models / "other.pth").write_bytes(b"something else")
    run = gpen("doctor", "--models-path", models)
    assert run.code == 0
    (note,) = (line for line in lines(run.out, "note") if "other.pth" in line)
    assert str(models) not in note


@pytest.mark.parametrize(("module", "state"), [("facexlib", "WRONG"), ("spandrel", "note")])
def test_packages_that_are_missing_or_broken(gpen, models, monkeypatch, module, state):
    monkeypatch.setitem(sys.modules, module, None)
    out = gpen("doctor", "--models-path", models).out
    assert any(line.split()[1] == module for line in lines(out, state)), out


def test_every_package_of_an_extra_is_looked_for(gpen, models):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    packages = {re.split(r"[\[<>=]", needed)[0] for extra in extras.values() for needed in extra}
    out = gpen("doctor", "--models-path", models).out
    assert {name for name in packages if f" {name} " not in out} == set()


def test_a_device_that_cannot_be_used(gpen, models):
    run = gpen("doctor", "--models-path", models, "--device", "quantum")
    assert run.code == 1
    assert any("quantum" in line for line in lines(run.out, "WRONG"))


def test_the_portrait_is_the_one_that_its_script_makes(tmp_path):
    assert PORTRAIT.stat().st_size < 20_000
    (tmp_path / "made.jpg").write_bytes(portrait())
    made, kept = (read_picture(path, 1).photo for path in (tmp_path / "made.jpg", PORTRAIT))
    assert np.abs(made - kept).max() < 0.05
