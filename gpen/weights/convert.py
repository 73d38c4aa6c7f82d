"""Turns weight files and ONNX graphs into .safetensors: faster to open, unable to hold code, and labelled.

The reverse is not offered: a .pth that current PyTorch writes is refused by the safety checks of programs
that people use GPEN in.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_path
from ..errors import CheckpointError, FilesError
from ..network.spec import Spec
from .catalog import NETWORK_SUFFIXES, ONNX_SUFFIX, is_half
from .checkpoint import CheckpointInfo, inspect
from .download import sha256_of
from .headers import Header, is_onnx, read_header
from .onnx.network import read_network
from .onnx.verify import Comparison
from .pickle_types import ITEM_SIZES
from .state_dict import locate, standard_kernel
from .tensors import read_tensors

FORMAT_VERSION = "1"
"""Of the metadata that is written; a reader needs none of it."""

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ConvertResult:
    """A file that was converted and verified.

    source_sha256: of the file that was read. dtypes: number formats in the file that was written. tensors:
    how many were verified. source_size, target_size: bytes. comparison: of the network with the graph that it was
    recovered from, for ONNX files.
    """

    source: Path
    target: Path
    spec: Spec
    task: str
    dtypes: tuple[str, ...]
    tensors: int
    source_size: int
    target_size: int
    source_sha256: str
    comparison: Comparison | None = None


@dataclass(frozen=True)
class FolderResult:
    """What became of a folder's files.

    converted: verified. skipped: left as they are, each with the reason (no GPEN network, or already
    converted). failed: could not be written, each with the reason.
    """

    converted: list[ConvertResult] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)


def convert(
    source: Path | str,
    target: Path | str | None = None,
    *,
    half: bool = False,
    overwrite: bool = False,
    task: str | None = None,
) -> ConvertResult:
    """Write the network in ``source`` as .safetensors, verified bit for bit before it gets its name.

    source: a weight file, or an ONNX graph, of which the tensors are recovered as float32; where ONNX Runtime is
    installed, the graph and the network then have to agree.

    target: a file, or a folder to put it into; None for the source's folder. half: store float16, a file of
    half the size; numbers too large for it are refused. overwrite: replace a target that is there. task: as
    for :func:`gpen.weights.checkpoint.inspect`.

    CheckpointError when the source is not a GPEN network or cannot be converted, FilesError when the target
    cannot be written. Whatever goes wrong, nothing half-written is left, and a file that was there stays.
    """
    source = Path(source)
    graph = read_network(source, task) if is_onnx(source) else None
    info = inspect(source, task) if graph is None else graph.info
    target = _target(source, target, half)
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
        save_file(tensors, temporary, metadata)
        _verify(temporary, tensors, metadata)
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


def _read(info: CheckpointInfo, half: bool) -> tuple[str, dict[str, Tensor]]:
    """SHA256 and tensors of a weight file; CheckpointError where it changes meanwhile."""
    before = _identity(info.path)
    digest = info.sha256()
    tensors = _tensors(read_header(info.path), half)
    if _identity(info.path) != before:
        raise CheckpointError(f"{info.path.name} changed while it was converted. Nothing was written; try again.")
    return digest, tensors


def target_of(source: Path, *, half: bool = False) -> Path:
    """Where :func:`convert` writes without a target: beside the source."""
    return _target(source, None, half)


def converted(source: Path, *, half: bool = False) -> Path | None:
    """The file beside the source that says it was converted from just these bytes of it, or None.

    CheckpointError where the source is no GPEN network. An ONNX file is not looked into.
    """
    target = target_of(source, half=half)
    digest = partial(sha256_of, source) if is_onnx(source) else inspect(source).sha256
    if not target.is_file() or target == source:
        return None
    try:
        said = inspect(target).metadata.get("source_sha256")
    except CheckpointError:  # whatever it is, it is not ours
        return None
    return target if said == digest() else None


def convert_folder(
    folder: Path | str,
    *,
    half: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[Path, int, int], None] | None = None,
) -> FolderResult:
    """Convert every GPEN network in a folder (not in the folders inside it), each beside its source.

    on_progress(file, number from 0, count) is called before each file. One file that cannot be converted does
    not stop the others.

    FilesError when the folder cannot be read.
    """
    folder = Path(folder)
    try:
        # A graph after the weight files: where both hold the same network, those hold its numbers as they were trained.
        files = sorted(
            (p for p in folder.iterdir() if _is_candidate(p, half)), key=lambda p: (_suffix(p) == ONNX_SUFFIX, p)
        )
    except OSError as e:
        raise FilesError(f"The folder {folder} cannot be read: {e.strerror or e}.") from e
    result = FolderResult()
    made: set[Path] = set()
    for number, path in enumerate(files):
        if on_progress is not None:
            on_progress(path, number, len(files))
        target = _target(path, None, half)
        if target in made or (target.exists() and not overwrite):
            result.skipped.append((path, f"{target.name} is already there."))
            continue
        try:
            result.converted.append(convert(path, target, half=half, overwrite=overwrite))
            made.add(target)
        except CheckpointError as e:
            result.skipped.append((path, str(e)))
        except FilesError as e:
            result.failed.append((path, str(e)))
    return result


def _is_candidate(path: Path, half: bool) -> bool:
    suffix = _suffix(path)
    wanted = suffix in (*NETWORK_SUFFIXES, ONNX_SUFFIX) and (half or suffix != SUFFIX)
    return wanted and not path.name.startswith(".") and path.is_file()


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _target(source: Path, target: Path | str | None, half: bool) -> Path:
    # Never under the name that the full precision would have: that is what people look for, and find first.
    mark = "-fp16" if half and not is_half(source.name) else ""
    beside = source.with_name(f"{source.stem}{mark}{SUFFIX}")
    if target is None:
        return beside
    target = Path(target)
    return target / beside.name if target.is_dir() else target


def _check_target(info: CheckpointInfo, target: Path, half: bool, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it."""
    name = info.path.name
    if info.container == "safetensors" and (not half or info.dtypes == ("float16",)):
        kind = "a float16 .safetensors" if half else "a .safetensors"
        raise CheckpointError(f"{name} is already {kind} file: there is nothing to convert.")
    if target.suffix.lower() != SUFFIX:
        raise FilesError(
            f"The file to write is called {target.name}; programs tell the format by the name, so it has "
            f"to end in {SUFFIX}."
        )
    if target.exists() and target.samefile(info.path):
        raise FilesError(f"{target} is the file to convert itself. Give the new file another name.")
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)
    if not target.parent.is_dir():
        raise FilesError(f"{target} cannot be written: there is no folder {target.parent}. Make it first.")
    needed = info.parameters * 2 if half else info.parameters * ITEM_SIZES[info.dtypes[0]]
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise FilesError(
            f"{target} needs {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free there. Make room, or "
            "choose another folder."
        )


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}.") from e
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _tensors(header: Header, half: bool) -> dict[str, Tensor]:
    """Every tensor of the network as it is to be written, in the order of the source."""
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
            f"{path.name} cannot be stored in float16: the tensor {name} has numbers up to "
            f"{float(tensor.abs().max()):g}, and float16 ends at 65504. Nothing was written; convert it "
            "without halving."
        )
    return rounded


def _metadata(info: CheckpointInfo, digest: str) -> dict[str, str]:
    spec = {name: str(value) for name, value in asdict(info.spec).items()}
    return {
        "format": "pt",
        "format_version": FORMAT_VERSION,
        "architecture": "GPEN",
        **spec,
        # Left out, the task is what the file is used for.
        **({"task": info.task} if info.is_task_known else {}),
        "source_file": info.path.name,
        "source_sha256": digest,
    }


def _verify(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Read the file back, with a reader of its own, and compare every bit."""
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
    return FilesError(f"{target} is already there. Delete it, give another name, or allow it to be overwritten.")


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as e:
        raise _exists(target) from e
    except (OSError, SafetensorError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise FilesError(
            f"{target} could not be written: {reason}. Nothing was left behind, and a file that was there is "
            f"unchanged. Make room, or choose another folder."
        ) from e
