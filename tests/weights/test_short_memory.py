"""Where memory is too short for a model file, that is what is said: nothing is wrong with the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gpen.errors import OutOfMemoryError
from gpen.faces.facexlib import load_weights
from gpen.weights import convert as conversion
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.convert import convert, convert_folder
from tests.memory_errors import OUT_OF_MEMORY
from tests.weights.checkpoint_files import random_state


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(random_state(), tmp_path / "a.pth")
    return tmp_path / "a.pth"


def failing(error: BaseException) -> object:
    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_while_a_file_is_read(error: BaseException, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", failing(error))
    for call in (load_model, convert):
        with pytest.raises(OutOfMemoryError):
            call(source)
    network = nn.Linear(2, 2)
    other = source.with_name("b.pth")
    monkeypatch.undo()
    torch.save(network.state_dict(), other)
    monkeypatch.setattr(torch, "load", failing(error))
    with pytest.raises(OutOfMemoryError):
        load_weights(network, other, "a small network")


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_while_weights_are_rounded(error: BaseException, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_stored", failing(error))
    with pytest.raises(OutOfMemoryError, match=r"too little memory to load a\.pth"):
        convert(source, half=True)
    result = convert_folder(source.parent, half=True)
    assert [path.name for path, _ in result.failed] == ["a.pth"]
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_while_a_network_is_built(error: BaseException, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpen.network.gpen.GPEN.lay_out", failing(error))
    with pytest.raises(OutOfMemoryError, match="more than cpu has free"):
        load_model(source)


def test_while_a_header_is_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpen.weights.headers_torch.read_zip", failing(MemoryError()))
    with pytest.raises(OutOfMemoryError):
        inspect(source)
