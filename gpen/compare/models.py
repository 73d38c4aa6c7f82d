"""One interface for face restoration networks, GPEN's and others: crop in, crop out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..device import finite_output, is_out_of_memory, pick_device, pick_dtype
from ..errors import CheckpointError, GpenError, OutOfMemoryError
from ..images.picture import FloatImage
from ..images.tensors import as_array, as_tensor
from ..restoration.inference import restore_crops
from ..weights.checkpoint import Model, inspect, load_model, require_task
from ..weights.headers import Header, read_header
from ..weights.other_networks import describe
from ..weights.spandrel import Role, import_spandrel, kind_of, load_descriptor, repeatable
from ..weights.state_dict import is_gpen, network_names
from ..wording import first_line, pip_install

SIZE = 512
"""Edge of the crops of GFPGAN, RestoreFormer and CodeFormer, in pixels."""

FIDELITY = 0.5
"""CodeFormer's fidelity weight: 0 for quality, 1 for likeness. The default of its authors and of spandrel."""

_ARGUMENTS: dict[str, dict[str, Any]] = {"GFPGAN": {}, "RestoreFormer": {}, "CodeFormer": {"weight": FIDELITY}}
"""By spandrel's name of the architecture: the arguments of the network besides the crop."""

_ROLE = Role(
    "face model",
    "a face model",
    "A face model to compare with has to be GPEN, GFPGAN, RestoreFormer or CodeFormer, such as GFPGANv1.4.pth.",
)


class FaceModel(Protocol):
    """A network that restores a face in an aligned crop."""

    @property
    def title(self) -> str:
        """Its kind, such as "GPEN 512"."""
        ...

    @property
    def path(self) -> Path:
        """Its file."""
        ...

    @property
    def in_size(self) -> int:
        """Edge of the crop that it takes, in pixels."""
        ...

    @property
    def out_size(self) -> int:
        """Edge of the crop that it returns, in pixels."""
        ...

    @property
    def template(self) -> str | None:
        """How its crops are aligned, as option "template" names it; None if that option decides."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that it computes in."""
        ...

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        ...

    def __call__(self, crop: FloatImage) -> FloatImage:
        """Restore a crop, float32 (in_size, in_size, 3), RGB, [0, 1]; returns (out_size, out_size, 3), same range.

        Raises GpenError if the network returns NaN or Inf, OutOfMemoryError if memory runs out.
        """
        ...


class GpenModel:
    """A GPEN network as a :class:`FaceModel`."""

    template = None

    def __init__(self, model: Model) -> None:
        self._model = model
        self.title = model.spec.title
        self.path = model.path
        self.in_size, self.out_size = model.spec.in_size, model.spec.out_size

    @property
    def dtype(self) -> torch.dtype:
        return self._model.dtype

    @property
    def device(self) -> torch.device:
        return self._model.device

    def __call__(self, crop: FloatImage) -> FloatImage:
        return as_array(restore_crops(self._model, [as_tensor(crop).to(self.device)])[0])


class SpandrelModel:
    """A network that spandrel loaded, as a :class:`FaceModel`."""

    in_size = out_size = SIZE
    template = "ffhq"

    descriptor: Any
    """spandrel's ImageModelDescriptor, which holds the network."""

    def __init__(self, descriptor: Any, path: Path) -> None:
        self.title: str = descriptor.architecture.name
        self.path = path
        self.descriptor = descriptor
        self._arguments = _ARGUMENTS[descriptor.architecture.id]

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.descriptor.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        device: torch.device = self.descriptor.device
        return device

    def __call__(self, crop: FloatImage) -> FloatImage:
        # All three networks were trained on -1 to 1. The network is called itself, since spandrel's own call converts
        # that range for RestoreFormer only.
        pixels = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None] * 2 - 1

        def run() -> Tensor:
            with torch.inference_mode(), repeatable(self.device):
                out: Tensor = self.descriptor.model(pixels.to(self.device, self.dtype), **self._arguments)[0][0]
                return out.float()

        try:
            out = finite_output(run, self.descriptor.model, f"{self.title} ({self.path.name})")
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{self.title} ({self.path.name}) needs more memory than is free on {self.device}. Close other "
                "programs that use it, or use the CPU."
            ) from error
        restored: FloatImage = out.add(1).div(2).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return restored


def load_face_model(path: Path | str, device: torch.device | str = "cpu", precision: str = "auto") -> FaceModel:
    """Load a face restoration network: GPEN of any size or, through spandrel, GFPGAN, RestoreFormer or CodeFormer.

    device: as PyTorch names it, or "auto". precision: as the option of that name; networks other than GPEN use float32
    on a CPU, and where they support no other dtype.

    Raises CheckpointError if the file is another network, damaged or unsafe; GpenError if a GPEN network is for
    another task, a package is missing or broken, or the device cannot be used; OutOfMemoryError if the device has too
    little memory.
    """
    header = read_header(Path(path))
    if is_gpen(header):
        require_task(inspect(header.path))
        target = pick_device(str(device))
        return GpenModel(load_model(header.path, target, pick_dtype(precision, target)))

    def check(descriptor: Any) -> None:
        if descriptor.architecture.id not in _ARGUMENTS:
            raise CheckpointError(f"{kind_of(header, descriptor)}, which does not restore faces. {_ROLE.wanted}")

    registry = _extra_architectures(header) if describe(network_names(header)) == "a CodeFormer network" else None
    return SpandrelModel(load_descriptor(header, _ROLE, check, str(device), precision, registry), header.path)


def _extra_architectures(header: Header) -> Any:
    """spandrel's registry of CodeFormer, which is a separate package because its licence differs."""
    import_spandrel(_ROLE)
    try:
        import spandrel_extra_arches
    except Exception as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == "spandrel_extra_arches"
        why = "which is not installed" if is_missing else f"which does not import here ({first_line(error)})"
        raise GpenError(
            f"{header.path.name} is a CodeFormer network, which needs the Python package spandrel-extra-arches, {why}. "
            "CodeFormer's licence (S-Lab License 1.0) allows non-commercial use only; if that suits you, install it: "
            f"{pip_install('codeformer')}"
        ) from error
    return spandrel_extra_arches.EXTRA_REGISTRY
