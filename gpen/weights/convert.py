"""Converts model files and ONNX graphs to .safetensors: faster to open, unable to contain code, and labelled.

The reverse is not offered: the safety checks of common host programs refuse a .pth that current PyTorch writes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_path, remove_left_over
from ..device import is_out_of_memory
from ..errors import CheckpointError, FilesError, OutOfMemoryError
from ..network.spec import Spec
from .catalog import NETWORK_SUFFIXES, ONNX_SUFFIX, is_half
from .checkpoint import CheckpointInfo, inspect
from .download import sha256_of
from .headers import Header, is_onnx, read_header
from .limited import too_little_memory
from .onnx.network import read_network
from .onnx.verify import Comparison
from .pickle_types import ITEM_SIZES
from .state_dict import locate, standard_kernel
from .tensors import read_tensors

FORMAT_VERSION = "1"
"""Version of the metadata that is written; no reader depends on it."""

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ConvertResult:
    """A file that was converted and verified."""

    source: Path
    """The file that was read."""
    target: Path
    """The file that was written."""
    spec: Spec
    """The shape of the network."""
    task: str
    """Name of the task that it is for."""
    dtypes: tuple[str, ...]
    """Names of the dtypes in the target."""
    tensors: int
    """Number of tensors that were written and verified."""
    source_size: int
    """Bytes."""
    target_size: int
    """Bytes."""
    source_sha256: str
    """64 hex digits."""
    comparison: Comparison | None = None
    """For an ONNX file, the comparison of the network with the graph that it was recovered from."""


@dataclass(frozen=True)
class FolderResult:
    """The outcome for each file in a folder."""

    converted: list[ConvertResult] = field(default_factory=list)
    """Files that were converted and verified."""
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """Files that were left alone, each with the reason: not a GPEN network, or already converted."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """Files whose target could not be written or that did not fit into memory, each with the reason."""


def convert(
    source: Path | str,
    target: Path | str | None = None,
    *,
    half: bool = False,
    overwrite: bool = False,
    task: str | None = None,
) -> ConvertResult:
    """Write the network in ``source`` as .safetensors, verified bit for bit before it gets its final name.

    source: a model file, or an ONNX graph from which the tensors are recovered as float32; if ONNX Runtime is
    installed, the graph and the network have to agree.
    target: a file or a folder; None: the source's folder.
    half: store float16, at half the size; weights too large for it are refused.
    overwrite: replace an existing target.
    task: as for :func:`gpen.weights.checkpoint.inspect`.

    CheckpointError when the source is not a GPEN network or cannot be converted, FilesError when the target cannot be
    written, OutOfMemoryError when memory is short. After any failure nothing half-written is left, and an existing
    target is unchanged.
    """
    try:
        return _convert(Path(source), target, half, overwrite, task)
    except (MemoryError, RuntimeError) as e:
        if is_out_of_memory(e):
            raise too_little_memory(Path(source)) from e
        raise


def _convert(source: Path, target: Path | str | None, half: bool, overwrite: bool, task: str | None) -> ConvertResult:
    graph = read_network(source, task) if is_onnx(source) else None
    info = inspect(source, task) if graph is None else graph.info
    target = _target(source, target, half)
    remove_left_over(target.parent)
    with _writing(target):
        _check_target(info, target, half, overwrite)
    if graph is None:
        comparison = None
        digest, tensors = _read(info, half)
    else:
        comparison = graph.compare()
        digest, tensors = graph.sha256, {n: _stored(info.path, n, t, half) for n, t in graph.tensors.items()}
    metadata = _metadata(info, digest)
    with _writing(target), atomic_path(target, overwrite=overwrite) as temporary:
        _write(temporary, tensors, metadata)
        verify_written(temporary, tensors, metadata)
        written = inspect(temporary)
    return ConvertResult(
        source=source,
        target=target,
        spec=info.spec,
        task=info.task,
        dtypes=written.dtypes,
        tensors=len(tensors),
        source_size=info.file_size,
        target_size=written.file_size,
        source_sha256=digest,
        comparison=comparison,
    )


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a new .safetensors file, the same bytes for the same tensors and metadata, as others may read it."""
    with path.open("xb"):
        mode = path.stat().st_mode  # safetensors makes files that only their owner may read
    save_file(tensors, path, metadata)
    path.chmod(mode)
    # It writes the metadata in an order that differs from time to time.
    with path.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


def _read(info: CheckpointInfo, half: bool) -> tuple[str, dict[str, Tensor]]:
    """SHA256 and tensors of a model file; CheckpointError if it changes while it is read."""
    before = _identity(info.path)
    digest = info.sha256()
    tensors = tensors_to_write(read_header(info.path), half)
    if _identity(info.path) != before:
        raise CheckpointError(f"{info.path.name} changed while it was converted. Nothing was written; try again.")
    return digest, tensors


def target_of(source: Path, *, half: bool = False) -> Path:
    """The file that :func:`convert` writes without a target: beside the source."""
    return _target(source, None, half)


def converted(source: Path, *, half: bool = False) -> Path | None:
    """The file beside the source whose metadata says that it was converted from exactly these bytes, or None.

    CheckpointError if the source is not a GPEN network, unless it is an ONNX file, whose content is not examined.
    """
    target = target_of(source, half=half)
    digest = partial(sha256_of, source) if is_onnx(source) else inspect(source).sha256
    if not target.is_file() or target == source:
        return None
    try:
        recorded = inspect(target).metadata.get("source_sha256")
    except CheckpointError:  # not a converted file
        return None
    return target if recorded == digest() else None


def convert_folder(
    folder: Path | str,
    *,
    half: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Path, int, int], None] | None = None,
) -> FolderResult:
    """Convert every GPEN network in a folder (but not in its subfolders), each beside its source.

    on_progress(file, index from 0, count) is called before each file. A file that cannot be converted does not stop
    the others. FilesError when the folder cannot be read.
    """
    folder = Path(folder)
    remove_left_over(folder)
    try:
        # ONNX graphs come last: a model file of the same name has the weights as they were trained.
        files = sorted(
            (p for p in folder.iterdir() if _is_candidate(p, half)), key=lambda p: (_suffix(p) == ONNX_SUFFIX, p)
        )
    except OSError as e:
        raise FilesError(f"The folder {folder} cannot be read: {e.strerror or e}.") from e
    result = FolderResult()
    written: set[Path] = set()
    for number, path in enumerate(files):
        if on_progress is not None:
            on_progress(path, number, len(files))
        target = _target(path, None, half)
        if target in written or (target.exists() and not overwrite):
            result.skipped.append((path, f"{target.name} already exists."))
            continue
        try:
            result.converted.append(convert(path, target, half=half, overwrite=overwrite))
            written.add(target)
        except CheckpointError as e:
            result.skipped.append((path, str(e)))
        except (FilesError, OutOfMemoryError) as e:
            result.failed.append((path, str(e)))
    return result


def _is_candidate(path: Path, half: bool) -> bool:
    suffix = _suffix(path)
    wanted = suffix in (*NETWORK_SUFFIXES, ONNX_SUFFIX) and (half or suffix != SUFFIX)
    return wanted and not path.name.startswith(".") and path.is_file()


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _target(source: Path, target: Path | str | None, half: bool) -> Path:
    # Never under the name of the full precision, which a search would then find first.
    mark = "-fp16" if half and not is_half(source.name) else ""
    beside = source.with_name(f"{source.stem}{mark}{SUFFIX}")
    if target is None:
        return beside
    target = Path(target)
    return target / beside.name if target.is_dir() else target


def _check_target(info: CheckpointInfo, target: Path, half: bool, overwrite: bool) -> None:
    """Check before the work what would fail after it."""
    name = info.path.name
    if info.container == "safetensors" and (not half or info.dtypes == ("float16",)):
        kind = "a float16 .safetensors" if half else "a .safetensors"
        raise CheckpointError(f"{name} is already {kind} file: there is nothing to convert.")
    if target.suffix.lower() != SUFFIX:
        raise FilesError(
            f"The new file would be called {target.name}, but programs recognise the format by the suffix. Give a name "
            f"that ends in {SUFFIX}."
        )
    if target.exists() and target.samefile(info.path):
        raise FilesError(f"{target} is the source itself. Give the new file another name.")
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)
    if not target.parent.is_dir():
        raise FilesError(f"{target} cannot be written: there is no folder {target.parent}. Create it first.")
    needed = info.parameters * 2 if half else info.parameters * ITEM_SIZES[info.dtypes[0]]
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise FilesError(
            f"{target} needs {needed / 1e6:.0f} MB, but only {free / 1e6:.0f} MB are free there. Free some space, or "
            "choose another folder."
        )


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}.") from e
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def tensors_to_write(header: Header, half: bool) -> dict[str, Tensor]:
    """Every tensor of the network as it will be written, in the order of the source."""
    located = locate(header)
    tensors = {}
    with torch.inference_mode(False), torch.no_grad():
        for name, tensor in read_tensors(header, located):
            tensors[name] = _stored(header.path, name, tensor, half)
        for name in located.kernels:
            tensors[name] = standard_kernel(name).to(next(iter(tensors.values())).dtype)
    return tensors


def _stored(path: Path, name: str, tensor: Tensor, half: bool) -> Tensor:
    if not half:
        return tensor
    rounded = tensor.half()
    if bool((rounded.isinf() & ~tensor.isinf()).any()):
        raise CheckpointError(
            f"{path.name} cannot be stored in float16: the tensor {name} has values up to "
            f"{float(tensor.abs().max()):g}, and float16 ends at 65504. Nothing was written; convert it in full "
            "precision."
        )
    return rounded


def _metadata(info: CheckpointInfo, digest: str) -> dict[str, str]:
    spec = {name: str(value) for name, value in asdict(info.spec).items()}
    return {
        "format": "pt",
        "format_version": FORMAT_VERSION,
        "architecture": "GPEN",
        **spec,
        # Without a task in the file, its user chooses it.
        **({"task": info.task} if info.is_task_known else {}),
        "source_file": info.path.name,
        "source_sha256": digest,
    }


def verify_written(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Read the file back, with another reader than wrote it, and compare every bit."""
    try:
        header = read_header(path)
        located = locate(header)
        same = header.metadata == metadata and set(located.tensors) == set(tensors)
        for name, found in read_tensors(header, located):
            same = same and _same_bits(found, tensors[name])
    except CheckpointError as e:
        raise OSError(errno.EIO, f"what was written cannot be read back ({e})") from e
    if not same:
        raise OSError(errno.EIO, "what was read back differs from what was written")


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _exists(target: Path) -> FilesError:
    return FilesError(f"{target} already exists. Delete it, give another name, or allow overwriting.")


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as e:
        raise _exists(target) from e
    except (OSError, SafetensorError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise FilesError(
            f"{target} could not be written: {reason}. Nothing was left behind, and an existing file is unchanged. "
            "Free some space, or choose another folder."
        ) from e
