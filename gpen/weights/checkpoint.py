"""Loads any GPEN model file, or says in an error that a user can act on why not."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..device import dtype_name, is_out_of_memory, pick_device, without_autocast
from ..errors import CheckpointError, GpenError, OptionError, OutOfMemoryError
from ..network.gpen import GPEN
from ..network.spec import Spec
from ..tasks import find_task
from ..wording import first_line
from .catalog import published_by_file_name, published_in_onnx
from .download import FileVersion, file_version, sha256_of
from .headers import Header, read_header
from .state_dict import Located, locate, standard_kernel
from .tensors import read_tensors

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointInfo:
    """What a model file contains."""

    path: Path
    """The file."""
    what: str
    """A description, such as "GPEN 512 face restoration network"."""
    spec: Spec
    """The shape of the network."""
    task: str
    """The task that it is for: a name in :data:`gpen.tasks.TASKS`."""
    value_range: tuple[float, float]
    """Smallest and largest value of the network's input and output."""
    parameters: int
    """Number of learnt parameters, without the fixed FIR filters."""
    dtypes: tuple[str, ...]
    """Names of the dtypes, the one of most parameters first."""
    container: str
    """"safetensors", "torch-zip", "torch-legacy", or "onnx" for a graph that is being converted."""
    wrapper: str
    """Keys and prefix around the network in the file; "" if there are none."""
    file_size: int
    """Bytes."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What the file says about itself."""
    is_task_known: bool = True
    """Whether the file, its name or the caller named the task; otherwise it is assumed to be "restore"."""

    def sha256(self) -> str:
        """SHA256 of the file, 64 hex digits. Reads the whole file, unlike everything else in this class."""
        try:
            return sha256_of(self.path)
        except OSError as e:
            raise CheckpointError(f"{self.path} cannot be read: {e.strerror or e}.") from e


class Model:
    """A GPEN network that is ready to use."""

    network: GPEN
    """The torch.nn.Module."""
    spec: Spec
    """Its shape."""
    task: str
    """The task that it is for: a name in :data:`gpen.tasks.TASKS`."""
    value_range: tuple[float, float]
    """Smallest and largest value of its input and output."""
    path: Path
    """The file that it was loaded from."""
    is_task_known: bool
    """Whether the file, its name or the caller named the task; otherwise it is assumed to be "restore"."""
    version: FileVersion | None
    """That of the file when it was loaded; None if it was made otherwise."""

    def __init__(
        self, network: GPEN, task: str, path: Path, is_task_known: bool = True, version: FileVersion | None = None
    ) -> None:
        row = find_task(task)
        self.network = network
        self.spec = network.spec
        self.task = row.name
        self.value_range = row.value_range
        self.path = path
        self.is_task_known = is_task_known
        self.version = version

    def for_task(self, task: str) -> Model:
        """The same network for ``task``, which the user asks for, unless it is known to be for another.

        GpenError if it is.
        """
        if self.is_task_known:
            require_task(self, task)
            return self
        return Model(self.network, task, self.path, version=self.version)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the network computes."""
        return self.network.final_linear[0].weight.dtype  # type: ignore[return-value]

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return self.network.final_linear[0].weight.device  # type: ignore[return-value]

    def __call__(self, pictures: Tensor) -> Tensor:
        """Run the network.

        pictures: (N, 3, in_size, in_size), RGB in ``value_range``, any floating-point dtype, any device.
        Returns (N, 3, out_size, out_size), float32 in the same range, on the network's device. GpenError for another
        shape or an integer dtype.
        """
        size = self.spec.in_size
        shape = tuple(pictures.shape)
        if len(shape) != 4 or shape[0] < 1 or shape[1:] != (3, size, size):
            raise GpenError(
                f"{self.spec.title} was given pictures of shape {shape}; pass pictures of shape (N, 3, {size}, {size})."
            )
        if not pictures.is_floating_point():
            raise GpenError(
                f"{self.spec.title} was given pictures of dtype {pictures.dtype}; pass floating-point numbers from "
                f"{self.value_range[0]:g} to {self.value_range[1]:g}."
            )
        with torch.inference_mode(), without_autocast(self.device):
            out: Tensor = self.network(pictures.to(device=self.device, dtype=self.dtype))
            return out.float()

    def __repr__(self) -> str:
        return f"<Model {self.spec.title}, {self.task}, {self.dtype}, {self.device}, {self.path.name}>"


def require_task(model: Model | CheckpointInfo, task: str = "restore") -> None:
    """GpenError if a network, loaded or still in its file, is for another task than ``task``."""
    wanted, found = find_task(task), find_task(model.task)
    if found is not wanted:
        example = f", such as {wanted.example}" if wanted.example else ""
        raise GpenError(
            f"{model.path.name} is a {model.spec.title} {found.network_title}, for the task {found.name}. Choose a "
            f"model for the task {wanted.name}{example}."
        )


def inspect(path: Path | str, task: str | None = None) -> CheckpointInfo:
    """Say what a model file contains, reading no more than its table of contents.

    task: the task to assume whatever the file says; None: the one in its metadata or file name, else "restore".
    CheckpointError when the file is not a GPEN model.
    """
    header = read_header(Path(path))
    return info_of(header, locate(header), task)


def load_model(
    path: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    task: str | None = None,
    *,
    runs_on: torch.device | str | None = None,
) -> Model:
    """Load the GPEN network in a model file.

    device: as PyTorch names it, or "auto": the first GPU that PyTorch can use, else the CPU.
    dtype: float32, bfloat16 or float16; None: float32 on a CPU, elsewhere the dtype in the file. If float16 cannot hold
    a weight, the network is loaded in float32, and the log says so.
    task: as for :func:`inspect`.
    runs_on: the device that the caller moves the network to before each use, if not ``device``: a network in float16
    may wait on a CPU, which cannot compute in it.

    CheckpointError when the file is not a GPEN model, GpenError for a device or dtype that cannot be used,
    OutOfMemoryError when the device has too little memory.
    """
    path = Path(path)
    version = file_version(path)
    header = read_header(path)
    located = locate(header)
    info = info_of(header, located, task)
    device = _device(device)
    dtype = _dtype(dtype, device if runs_on is None else _device(runs_on), info.dtypes[0])
    with torch.inference_mode(False), torch.no_grad(), _reporting_memory(device, info, dtype):
        with torch.device("meta"):
            network = GPEN(located.spec)
        network.load_state_dict(_state_dict(header, located, device, dtype), assign=True)
        # Now rather than in the first call: what that frees would lie between the blocks that it needs.
        network.lay_out(in_place=True)
    return Model(network.requires_grad_(False).eval(), info.task, info.path, info.is_task_known, version)


def _state_dict(header: Header, located: Located, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """The network's tensors, converted; to float32 if ``dtype`` is float16 and cannot hold one of them."""
    state: dict[str, Tensor] = {}
    for name, tensor in read_tensors(header, located):
        if dtype == torch.float16 and max(map(abs, tensor.aminmax())) > torch.finfo(dtype).max:
            _log.warning("%s has weights that are too large for float16; it runs in float32.", header.path.name)
            state.clear()
            return _state_dict(header, located, device, torch.float32)
        state[name] = tensor.to(device, dtype)
    return state | {name: standard_kernel(name).to(device, dtype) for name in located.kernels}


def info_of(header: Header, located: Located, task: str | None) -> CheckpointInfo:
    """Describe a file whose tensors were located; task: as for :func:`inspect`."""
    metadata = header.metadata or _plain_metadata(header.tree)
    named = _named_task(header, metadata, task)
    row = find_task(named or "restore")
    counts: Counter[str] = Counter()
    for name, tensor in located.tensors.items():
        if not name.endswith(".kernel"):
            counts[tensor.dtype] += tensor.numel
    return CheckpointInfo(
        path=header.path,
        what=f"{located.spec.title} {row.network_title}",
        spec=located.spec,
        task=row.name,
        value_range=row.value_range,
        parameters=counts.total(),
        dtypes=tuple(dtype for dtype, _ in counts.most_common()),
        container=header.container,
        wrapper=located.wrapper,
        file_size=header.size,
        metadata=metadata,
        is_task_known=named is not None,
    )


def _named_task(header: Header, metadata: dict[str, str], asked: str | None) -> str | None:
    if asked is not None:
        return find_task(asked).name
    if "task" in metadata and header.container == "safetensors":
        with contextlib.suppress(OptionError):  # a program of another version may know more tasks
            return find_task(metadata["task"]).name
    name = header.path.name
    published = published_in_onnx(name) if header.container == "onnx" else published_by_file_name(name)
    return None if published is None else published.task


def _plain_metadata(tree: dict[str, Any]) -> dict[str, str]:
    """Numbers and strings beside the tensors, and those in an argparse.Namespace called args."""
    values = dict(tree)
    if isinstance(tree.get("args"), dict):
        values |= {f"args.{key}": value for key, value in tree["args"].items()}
    plain = {key: value for key, value in values.items() if isinstance(value, str | int | float | bool)}
    return {key[:100]: str(value)[:200] for key, value in list(plain.items())[:100]}


def _device(device: torch.device | str) -> torch.device:
    try:
        return pick_device() if str(device) == "auto" else torch.device(device)
    except (RuntimeError, TypeError) as e:
        raise GpenError(
            f"PyTorch does not know the device {str(device)!r}. Choose auto, or one such as cpu, cuda, cuda:1 or mps."
        ) from e


def _dtype(asked: torch.dtype | None, device: torch.device, stored: str) -> torch.dtype:
    cpu = device.type == "cpu"
    if asked is None:
        # No GPEN was trained in float64; as stored it would only cost time and memory.
        kept: torch.dtype = torch.float32 if cpu or stored == "float64" else getattr(torch, stored)
        return kept
    if asked not in _DTYPES:
        raise GpenError(
            f"A GPEN network cannot compute in {asked!r}. Choose torch.float32, torch.bfloat16 or torch.float16."
        )
    if cpu and asked == torch.float16:
        raise GpenError(
            "float16 cannot be used on a CPU: its arithmetic is emulated there, slow and inexact. Choose float32, "
            "bfloat16, or a GPU."
        )
    return asked


@contextlib.contextmanager
def _reporting_memory(device: torch.device, info: CheckpointInfo, dtype: torch.dtype) -> Iterator[None]:
    needed = info.parameters * torch.empty((), dtype=dtype, device="cpu").element_size() / 1e6
    try:
        yield
    except (RuntimeError, AssertionError, NotImplementedError, MemoryError) as e:
        if is_out_of_memory(e):
            raise OutOfMemoryError(
                f"{info.what} needs {needed:.0f} MB in {dtype_name(dtype)}, more than {device} has free. "
                "Close other programs, choose float16 on a GPU, or use the CPU."
            ) from e
        # PyTorch raises these for a device that it was not built for, or that this computer lacks.
        if device.type == "cpu":
            raise
        raise GpenError(f"The model cannot be moved to the device {device}: {first_line(e)}. Choose cpu.") from e
