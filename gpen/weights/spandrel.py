"""Loads networks other than GPEN through the package spandrel, from files that are not trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..device import is_out_of_memory, pick_device, pick_dtype, without_autocast
from ..errors import CheckpointError, GpenError, OutOfMemoryError
from ..wording import first_line, pip_install
from .allocations import AllocationLimit, TooMuchError
from .headers import Header, TensorInfo
from .headers_torch import code_complaint
from .limited import too_little_memory
from .other_networks import describe
from .state_dict import network_names
from .tensors import read_everything

_FEWEST_LAYERS = 1000  # that a name may count to, however few tensors there are
_SPARE_NUMBERS = 1 << 26  # that a network may take while it is built, however few the file has: masks and tables
_MOST_COPIES = 4  # of the numbers in the file


@dataclass(frozen=True)
class Role:
    """What a network is needed for, in the words of the error messages."""

    name: str
    """Such as "background model"."""
    kind: str
    """What it has to be, such as "an upscaler"."""
    wanted: str
    """A sentence that says what to use."""
    extra: str = "upscale"
    """The optional dependency of this package that installs spandrel."""


def load_descriptor(
    header: Header,
    role: Role,
    check: Callable[[Any], None],
    device: str,
    precision: str,
    registry: Any = None,
) -> Any:
    """Load the network in a file: spandrel's descriptor, on the device, in evaluation mode, without gradients.

    check: raises CheckpointError for a network of the wrong kind; called before memory of the device is used.
    device: a name that PyTorch understands, or "auto".
    precision: a value of the option of that name; float32 on a CPU and for networks that support no other dtype.
    registry: the architectures to try; spandrel's own by default.

    CheckpointError when the file is of another kind, damaged or unsafe; GpenError when spandrel is missing or broken,
    or the device cannot be used; OutOfMemoryError when the device has too little memory.
    """
    name = header.path.name
    refuse_code(header)
    _refuse_absurd(header)
    spandrel = import_spandrel(role)
    known = describe(network_names(header)) or "another network"
    target = pick_device(device)
    state = read_everything(header)
    with torch.inference_mode(False), torch.no_grad():
        try:
            loader = spandrel.ModelLoader(registry=spandrel.MAIN_REGISTRY if registry is None else registry)
            with AllocationLimit(_SPARE_NUMBERS + _MOST_COPIES * _stored(header)):
                descriptor = loader.load_from_state_dict(state)
        except spandrel.UnsupportedModelError:
            raise CheckpointError(
                f"{name} is {known}, which spandrel does not read as {role.kind}. {role.wanted}"
            ) from None
        except TooMuchError as error:
            raise CheckpointError(
                f"{name} is damaged or malicious: its tensors stand for a network that is far larger than the file. "
                "It was not loaded; get it again from a source you trust."
            ) from error
        except Exception as error:  # each architecture fails in its own way on foreign tensors
            if is_out_of_memory(error):
                raise too_little_memory(header.path) from error
            raise CheckpointError(
                f"{name} is {known}, and spandrel cannot load it as {role.kind} ({first_line(error)}). {role.wanted}"
            ) from error
        if not isinstance(descriptor, spandrel.ImageModelDescriptor):
            raise CheckpointError(
                f"{kind_of(header, descriptor)}, which fills in masked parts of pictures. {role.wanted}"
            )
        check(descriptor)
        descriptor.model.requires_grad_(False).eval()
        try:
            descriptor.to(target, usable_dtype(precision, target, descriptor))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{name} does not fit into the free memory of {target}. Close other programs that use it, or choose a "
                f"smaller {role.name}."
            ) from error
    return descriptor


def _refuse_absurd(header: Header) -> None:
    """CheckpointError for a file of few tensors that stand for a network of any size.

    Architectures count their layers by the numbers in names, and their channels by shapes.
    """
    tensors = list(_tensors(header.tree))
    most = max(_FEWEST_LAYERS, 4 * len(tensors))
    for name, info in tensors:
        numbers = [int(part[:9]) for part in name.split(".") if part.isdecimal()]
        if 0 in info.shape or max(numbers, default=0) > most:
            raise CheckpointError(
                f"{header.path.name} is damaged or malicious: its tensor {name} stands for far more layers or numbers "
                "than it has. It was not loaded; get it again from a source you trust."
            )


def _stored(header: Header) -> int:
    """Numbers in the file."""
    return sum(info.numel for _, info in _tensors(header.tree))


def _tensors(tree: Mapping[str, Any]) -> Iterator[tuple[str, TensorInfo]]:
    for name, value in tree.items():
        if isinstance(value, TensorInfo):
            yield name, value
        elif isinstance(value, dict):
            yield from _tensors(value)


def refuse_code(header: Header) -> None:
    """CheckpointError for a file that would run code when it is opened."""
    if header.code:
        raise CheckpointError(code_complaint(header.path, header.code))


def kind_of(header: Header, descriptor: Any) -> str:
    """What a file contains, as the beginning of a sentence."""
    return f"{header.path.name} is a network of the kind {descriptor.architecture.name}"


def import_spandrel(role: Role) -> Any:
    """Import the package; GpenError that says how to install it when it is missing or broken."""
    try:
        import spandrel
    except Exception as error:  # torchvision, which it needs, breaks in many ways
        if isinstance(error, ModuleNotFoundError) and error.name == "spandrel":
            raise GpenError(
                f"A {role.name} needs the Python package spandrel, which is not installed. Install it: "
                f"{pip_install(role.extra)}"
            ) from error
        raise GpenError(
            f"The Python package spandrel cannot be used here ({type(error).__name__}: {first_line(error)}). "
            f"Only {role.name}s need it. Install it again: "
            f"{pip_install(role.extra, '--force-reinstall ')}"
        ) from error
    return spandrel


def usable_dtype(precision: str, device: torch.device, descriptor: Any) -> torch.dtype:
    """The dtype that the option "precision" names if the network supports it, else float32."""
    supports = {torch.float16: descriptor.supports_half, torch.bfloat16: descriptor.supports_bfloat16}
    dtype = pick_dtype(precision, device)
    return dtype if device.type != "cpu" and supports.get(dtype, True) else torch.float32


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let a network compute in its own dtype and return the same result each time.

    Some architectures add noise: the seed is fixed, and the host program's random state stays as it was, on the CPU and
    on the device.
    """
    module = None if device.type == "cpu" else getattr(torch, device.type, None)
    with without_autocast(device), torch.random.fork_rng(devices=()), _forked(module, device):
        # Not torch.manual_seed, which seeds all devices.
        torch.default_generator.manual_seed(0)
        yield


@contextlib.contextmanager
def _forked(module: Any, device: torch.device) -> Iterator[None]:
    """Seed the generator of a device, such as that of torch.cuda, and restore its state; None where it has none."""
    if not hasattr(module, "get_rng_state"):
        yield
        return
    # There is one of Apple's GPUs.
    which = () if device.type == "mps" else (device,)
    before = module.get_rng_state(*which)
    with contextlib.nullcontext() if device.type == "mps" else module.device(device):
        module.manual_seed(0)
    try:
        yield
    finally:
        module.set_rng_state(before, *which)
