"""Randomly damaged or random files: refused with a message, or read correctly."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from gpen.errors import CheckpointError
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.headers import read_header
from tests.weights.checkpoint_files import FORMS, STATE, TINY


def zip_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"g_ema": STATE, "iter": 3}, buffer)
    return buffer.getvalue()


def legacy_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"g_ema": STATE, "iter": 3}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


WHOLE = {"zip": zip_file(), "legacy": legacy_file(), "safetensors": save(STATE, {"a": "b"})}
# Offsets of the structure; flips in tensor data only change numbers.
STRUCTURE = {
    "zip": [*range(20_000), *range(len(WHOLE["zip"]) - 20_000, len(WHOLE["zip"]))],
    "legacy": range(12_000),
    "safetensors": range(6_000),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("container", WHOLE)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage(container: str, data: st.DataObject, tmp_path: Path) -> None:
    whole = WHOLE[container]
    offsets = [offset for offset in STRUCTURE[container] if 0 <= offset < len(whole)]
    flips = data.draw(st.dictionaries(st.sampled_from(offsets), st.integers(0, 255), max_size=4))
    cut = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    damaged = bytearray(whole)
    for offset, value in flips.items():
        damaged[offset] = value
    path = tmp_path / "x.pth"
    path.write_bytes(damaged[:cut])
    try:
        header = read_header(path)
        model = load_model(path)
    except CheckpointError as e:
        assert str(e).endswith(".")  # noqa: PT017
    else:
        assert header.size == cut
        assert model.spec == TINY


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
@pytest.mark.parametrize("form", FORMS)
def test_random_pickles(form: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(FORMS[form](b"\x80\x02" + data))
    with pytest.raises(CheckpointError):
        inspect(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "dtype", "shape"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a"]), inner)
        ),
        max_leaves=12,
    )
)
def test_random_safetensors_headers(header: object, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(CheckpointError):
        inspect(path)
