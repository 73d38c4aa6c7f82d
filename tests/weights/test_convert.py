"""The converter: what it writes, what it verifies, and what remains when it fails."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpen.errors import CheckpointError, FilesError
from gpen.weights import convert as converter
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.convert import convert, convert_folder, converted, target_of
from tests.weights.checkpoint_files import TINY, random_state

ROOT = Path(__file__).resolve().parents[2]


def state_in(dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.to(dtype) for name, tensor in random_state().items()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save({"g_ema": random_state(), "iter": 5}, tmp_path / "GPEN-Inpainting-1024.pth")
    return tmp_path / "GPEN-Inpainting-1024.pth"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def bits(tensor: Tensor) -> bytes:
    return bytes(tensor.contiguous().view(-1).view(torch.uint8).tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("legacy", [False, True])
def test_conversion_preserves_every_bit(dtype: torch.dtype, legacy: bool, tmp_path: Path) -> None:
    state = state_in(dtype)
    state["generator.style.1.bias"][:4] = torch.tensor([0.0, -0.0, float("nan"), 1e-7]).to(dtype)
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    result = convert(tmp_path / "a.pth")
    assert result.target == tmp_path / "a.safetensors"
    # With safetensors' own reader, not the one that verified.
    found = load_file(result.target)
    assert set(found) == set(state)
    assert all(found[name].dtype == dtype and bits(found[name]) == bits(state[name]) for name in state)


def test_same_output(source: Path) -> None:
    result = convert(source)
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    before, after = load_model(source), load_model(result.target)
    assert torch.equal(before(x), after(x))
    assert before.task == after.task == "inpaint"


def test_metadata_and_result(source: Path) -> None:
    result = convert(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    with safe_open(result.target, "pt") as file:
        metadata = file.metadata()
    assert metadata == {
        "format": "pt",
        "format_version": "1",
        "architecture": "GPEN",
        "in_size": "8",
        "out_size": "8",
        "channel_multiplier": "2",
        "narrow": "0.015625",
        "style_dim": "16",
        "n_mlp": "2",
        "task": "inpaint",
        "source_file": "GPEN-Inpainting-1024.pth",
        "source_sha256": digest,
    }
    assert result == converter.ConvertResult(
        source=source,
        target=source.with_suffix(".safetensors"),
        spec=TINY,
        task="inpaint",
        dtypes=("float32",),
        tensors=len(random_state()),
        source_size=source.stat().st_size,
        target_size=result.target.stat().st_size,
        source_sha256=digest,
    )


def test_the_task_survives_renaming(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "renamed.safetensors")
    assert inspect(tmp_path / "renamed.safetensors").task == "inpaint"
    convert(source, tmp_path / "other.safetensors", task="synthesize")
    assert inspect(tmp_path / "other.safetensors").value_range == (0.0, 1.0)


def test_half(source: Path) -> None:
    result = convert(source, half=True)
    found = load_file(result.target)
    assert result.dtypes == ("float16",)
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in random_state().items())
    assert result.target_size < 0.6 * result.source_size
    again = convert(source, source.parent / "full.safetensors")
    halved = convert(again.target, half=True)
    assert halved.target.name == "full-fp16.safetensors"
    assert all(torch.equal(t, found[n]) for n, t in load_file(halved.target).items())


@pytest.mark.parametrize("value", [65520.0, -1e30])
def test_half_refuses_what_float16_cannot_hold(value: float, tmp_path: Path) -> None:
    state = random_state()
    state["generator.conv1.conv.weight"][0, 1, 2, 0, 0] = value
    torch.save(state, tmp_path / "a.pth")
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match=r"generator\.conv1\.conv\.weight.*65504"):
        convert(tmp_path / "a.pth", half=True)
    assert contents(tmp_path) == before
    state["generator.conv1.conv.weight"][0, 1, 2, 0, 0] = 65504.0
    torch.save(state, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", half=True)


def test_missing_kernels_are_filled_in(tmp_path: Path) -> None:
    state = random_state()
    torch.save({n: t for n, t in state.items() if not n.endswith(".kernel")}, tmp_path / "a.pth")
    found = load_file(convert(tmp_path / "a.pth").target)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_overwrites_only_when_allowed(source: Path) -> None:
    target = source.with_suffix(".safetensors")
    target.write_bytes(b"precious")
    with pytest.raises(FilesError, match="already exists"):
        convert(source)
    assert target.read_bytes() == b"precious"
    convert(source, overwrite=True)
    assert inspect(target).spec == TINY


def test_a_converted_file_is_recognised(source: Path) -> None:
    assert converted(source) is None
    result = convert(source)
    assert converted(source) == target_of(source) == result.target
    assert converted(source, half=True) is None
    assert converted(result.target) is None
    result.target.write_bytes(b"something else")
    assert converted(source) is None
    result.target.unlink()
    convert(source)
    torch.save(state_in(torch.float16), source)
    assert converted(source) is None


def test_a_target_that_appears_meanwhile_is_kept(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = source.with_suffix(".safetensors")

    def slow_verify(*_: object) -> None:
        target.write_bytes(b"precious")

    monkeypatch.setattr(converter, "verify_written", slow_verify)
    with pytest.raises(FilesError, match="already exists"):
        convert(source)
    assert target.read_bytes() == b"precious"
    assert {path.name for path in source.parent.iterdir()} == {source.name, target.name}


def test_targets(source: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert convert(source, tmp_path / "sub").target == tmp_path / "sub" / "GPEN-Inpainting-1024.safetensors"
    done = convert(source).target
    for target, pattern in (
        (tmp_path / "x.pth", r"ends in \.safetensors"),
        (tmp_path / "none" / "x.safetensors", "no folder"),
    ):
        with pytest.raises(FilesError, match=pattern):
            convert(source, target)
    with pytest.raises(FilesError, match="itself"):
        convert(done, done, half=True, overwrite=True)
    with pytest.raises(CheckpointError, match=r"already a \.safetensors file"):
        convert(done, tmp_path / "y.safetensors")
    with pytest.raises(CheckpointError, match="no file"):
        convert(tmp_path / "absent.pth")


@pytest.mark.parametrize("damage", ["bit", "dtype", "name", "metadata", "length"])
def test_the_written_file_is_read_back_and_compared(damage: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that returns something other than what was written."""

    def faulty(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        if damage == "bit":
            tensors["ecd0.0.1.bias"].view(torch.uint8)[0] ^= 1
        elif damage == "dtype":
            tensors["ecd0.0.1.bias"] = tensors["ecd0.0.1.bias"].half()
        elif damage == "name":
            del tensors["ecd1.0.0.kernel"]
        elif damage == "metadata":
            metadata = {**metadata, "task": "restore"}
        save_file(tensors, path, metadata)
        if damage == "length":
            os.truncate(path, path.stat().st_size - 1)

    monkeypatch.setattr(converter, "save_file", faulty)
    before = contents(source.parent)
    with pytest.raises(FilesError, match=r"read back.*Nothing was left behind"):
        convert(source)
    assert contents(source.parent) == before


@pytest.mark.parametrize("previous", [None, b"the old state"])
def test_full_disk(previous: bytes | None, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if previous:
        source.with_suffix(".safetensors").write_bytes(previous)
    before = contents(source.parent)
    monkeypatch.setattr(converter, "save_file", full)
    with pytest.raises(FilesError, match=r"No space left on device.*Free some space"):
        convert(source, overwrite=True)
    assert contents(source.parent) == before


def test_too_little_disk_space_is_noticed_before_the_work(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = converter.shutil.disk_usage(source.parent)._replace(free=1000)
    monkeypatch.setattr(converter.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FilesError, match=r"needs 0 MB.*Free some space"):
        convert(source)


def run_apart(source: Path, setup: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"import os, sys\nfrom pathlib import Path\nfrom gpen.weights import convert as converter\n{setup}\n"
        f"converter.convert(Path(sys.argv[1]), overwrite=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(source)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_the_operating_systems_limit_on_file_size(source: Path) -> None:
    """Writing really fails inside safetensors' writer, not in a mock."""
    target = source.with_suffix(".safetensors")
    target.write_bytes(b"the old state")
    before = contents(source.parent)
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))"
    done = run_apart(source, limit)
    assert done.returncode == 1
    assert "gpen.errors.FilesError" in done.stderr
    assert "could not be written" in done.stderr
    assert contents(source.parent) == before


def test_killed_between_write_and_rename(source: Path) -> None:
    target = source.with_suffix(".safetensors")
    target.write_bytes(b"the old state")
    verified = "verify = converter.verify_written\n"
    verified += "converter.verify_written = lambda *a: (verify(*a), os._exit(9))"
    assert run_apart(source, verified).returncode == 9
    assert target.read_bytes() == b"the old state"
    # Remains of the killed run do not disturb the next one.
    convert(source, overwrite=True)
    assert inspect(target).spec == TINY


def test_interrupted(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(converter, "verify_written", stop)
    before = contents(source.parent)
    with pytest.raises(KeyboardInterrupt):
        convert(source)
    assert contents(source.parent) == before


def test_a_source_that_changes_meanwhile(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable[..., dict[str, Tensor]] = converter.tensors_to_write

    def touching(*args: object) -> dict[str, Tensor]:
        tensors = original(*args)
        os.utime(source, (1, 1))
        return tensors

    monkeypatch.setattr(converter, "tensors_to_write", touching)
    with pytest.raises(CheckpointError, match="changed while"):
        convert(source)
    assert not source.with_suffix(".safetensors").exists()


def test_folder(source: Path, tmp_path: Path) -> None:
    torch.save(random_state(), tmp_path / "b.ckpt")
    torch.save(random_state(), tmp_path / "b.pth")
    (tmp_path / "c.pt").write_bytes(b"<html>")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "sub.pth").mkdir()
    torch.save(random_state(), tmp_path / "done.pth")
    convert(tmp_path / "done.pth")
    seen: list[tuple[str, int, int]] = []
    result = convert_folder(tmp_path, on_progress=lambda path, n, count: seen.append((path.name, n, count)))
    assert [r.target.name for r in result.converted] == ["GPEN-Inpainting-1024.safetensors", "b.safetensors"]
    reasons = {path.name: reason for path, reason in result.skipped}
    assert set(reasons) == {"b.pth", "c.pt", "done.pth"}
    assert "already exists" in reasons["b.pth"]
    assert "already exists" in reasons["done.pth"]
    assert "web page" in reasons["c.pt"]
    assert result.failed == []
    names = ["GPEN-Inpainting-1024.pth", "b.ckpt", "b.pth", "c.pt", "done.pth"]
    assert seen == [(name, number, 5) for number, name in enumerate(names)]
    again = convert_folder(tmp_path)
    assert again.converted == []
    halved = convert_folder(tmp_path, half=True, overwrite=True)
    assert [r.target.name for r in halved.converted] == [
        "GPEN-Inpainting-1024-fp16.safetensors",
        "b-fp16.safetensors",
        "done-fp16.safetensors",
    ]
    assert inspect(tmp_path / "b.safetensors").dtypes == ("float32",)  # stays as it was
    assert convert_folder(tmp_path, half=True).converted == []


def test_folder_continues_after_a_failure(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(random_state(), tmp_path / "b.pth")

    def failing(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if metadata["source_file"] != "b.pth":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        save_file(tensors, path, metadata)

    monkeypatch.setattr(converter, "save_file", failing)
    result = convert_folder(tmp_path)
    assert [r.source.name for r in result.converted] == ["b.pth"]
    assert [path for path, _ in result.failed] == [source]
    with pytest.raises(FilesError, match="cannot be read"):
        convert_folder(tmp_path / "absent")


def test_the_same_conversion_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(5)]
    for file in files:
        convert(source, file)
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_converted_files_may_be_read_by_whom_the_umask_says(source: Path, tmp_path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            convert(source, tmp_path / f"{mask}.safetensors")
        finally:
            os.umask(before)
        assert (tmp_path / f"{mask}.safetensors").stat().st_mode & 0o777 == mode
