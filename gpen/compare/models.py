"""Networks that restore faces, GPEN's and others, behind one call: a crop goes in, a crop comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..device import check_finite, is_out_of_memory, pick_device, pick_dtype
from ..errors import CheckpointError, GpenError, OutOfMemoryError
from ..images.picture import FloatImage
from ..restoration.inference import restore_crops
from ..weights.checkpoint import Model, inspect, load_model, require_task
from ..weights.headers import Header, read_header
from ..weights.other_networks import describe
from ..weights.spandrel import Role, import_spandrel, kind_of, load_descriptor, repeatable
from ..weights.state_dict import is_gpen, network_names
from ..wording import first_line

SIZE = 512
"""Edge of the crops that GFPGAN, RestoreFormer and CodeFormer were trained with, in pixels."""

FIDELITY = 0.5
"""CodeFormer's fidelity weight: from 0, a clean face, to 1, the given one. Its authors' default, and spandrel's."""

_ARGUMENTS: dict[str, dict[str, Any]] = {"GFPGAN": {}, "RestoreFormer": {}, "CodeFormer": {"weight": FIDELITY}}
"""The architectures by spandrel's names, and what each network is called with besides the crop."""

_ROLE = Role(
    "face model",
    "a face model",
    "A face model to compare with has to be GPEN, GFPGAN, RestoreFormer or CodeFormer, such as GFPGANv1.4.pth.",
)


class FaceModel(Protocol):
    """A network that restores a face in an aligned crop.

    title: what it is, such as "GPEN 512". path: its file. in_size, out_size: edges of the crop that it takes and gives,
    in pixels. template: how that crop is aligned, as option "template" names it; None where the option decides. dtype,
    device: how and where it computes.
    """

    @property
    def title(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def in_size(self) -> int: ...
    @property
    def out_size(self) -> int: ...
    @property
    def template(self) -> str | None: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...

    def __call__(self, crop: FloatImage) -> FloatImage:
        """Restore a crop, float32 (in_size, in_size, 3), RGB, [0, 1]: (out_size, out_size, 3) in the same range.

        GpenError where the output holds values that are no numbers, OutOfMemoryError where memory is short.
        """
        ...


class GpenModel:
    """A GPEN network as :class:`FaceModel`."""

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
        return restore_crops(self._model, [crop])[0]


class SpandrelModel:
    """A network that spandrel read, as :class:`FaceModel`."""

    in_size = out_size = SIZE
    template = "ffhq"

    def __init__(self, descriptor: Any, path: Path) -> None:
        self.title: str = descriptor.architecture.name
        self.path = path
        self._descriptor = descriptor
        self._arguments = _ARGUMENTS[descriptor.architecture.id]

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self._descriptor.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        device: torch.device = self._descriptor.device
        return device

    def __call__(self, crop: FloatImage) -> FloatImage:
        pixels = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None]
        try:
            with torch.inference_mode(), repeatable(self.device):
                # The network itself: it takes and gives -1 to 1, as all three were trained, and spandrel's own call
                # converts that for RestoreFormer only.
                out = self._descriptor.model((pixels * 2 - 1).to(self.device, self.dtype), **self._arguments)[0][0]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{self.title} ({self.path.name}) needs more memory than is free on {self.device}. Close other "
                "programs that use it, or use the CPU."
            ) from error
        out = out.float().add(1).div(2)
        check_finite(out, f"{self.title} ({self.path.name})", self.dtype)
        restored: FloatImage = out.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return restored


def load_face_model(path: Path | str, device: torch.device | str = "cpu", precision: str = "auto") -> FaceModel:
    """Load a network that restores faces: GPEN of any size, or, through spandrel, GFPGAN, RestoreFormer or CodeFormer.

    device: as PyTorch names it, or "auto". precision: as the option of that name; the others compute in float32 on a
    CPU and where they cannot in another number format.

    CheckpointError when the file is another network, damaged or unsafe; GpenError where a GPEN network is for another
    task, a package that is needed is missing or broken, or the device cannot be used; OutOfMemoryError when it has too
    little memory.
    """
    header = read_header(Path(path))
    if is_gpen(header):
        require_task(inspect(header.path))
        place = pick_device(str(device))
        return GpenModel(load_model(header.path, place, pick_dtype(precision, place)))

    def check(descriptor: Any) -> None:
        if descriptor.architecture.id not in _ARGUMENTS:
            raise CheckpointError(f"{kind_of(header, descriptor)}, which restores no faces. {_ROLE.wanted}")

    registry = _extra_architectures(header) if describe(network_names(header)) == "a CodeFormer network" else None
    return SpandrelModel(load_descriptor(header, _ROLE, check, str(device), precision, registry), header.path)


def _extra_architectures(header: Header) -> Any:
    """Where CodeFormer is: a package of its own, since its licence is another one than spandrel's."""
    import_spandrel(_ROLE)
    try:
        import spandrel_extra_arches
    except Exception as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == "spandrel_extra_arches"
        why = "which is not installed" if is_missing else f"which does not import here ({first_line(error)})"
        raise GpenError(
            f"{header.path.name} is a CodeFormer network, which needs the Python package spandrel-extra-arches, {why}. "
            "CodeFormer's licence (S-Lab License 1.0) allows non-commercial use only; if that suits you, install it: "
            "pip install gpen-face-restore[codeformer]"
        ) from error
    return spandrel_extra_arches.EXTRA_REGISTRY
