"""The inputs of a node that decide which faces are worked on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from ...gpen.errors import OptionError
from ...gpen.faces.detection.detector import FaceDetector
from ...gpen.options import ALIGNED, Options
from . import host
from .found_faces import FoundFaces


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceInputs:
    """Those that are connected, and whether faces are looked for at all."""

    detector: FaceDetector | None = None
    """Finds the faces; None for the automatic choice."""
    faces: FoundFaces | None = None
    """Faces from another node; None to find them."""
    region: Tensor | None = None
    """(1 or B, h, w), where faces are chosen; None: everywhere."""
    person: Tensor | None = None
    """(N, h, w, C), a photo of each person whose faces are chosen; None: everybody's."""
    aligned: bool = False
    """Whether each photo is one face."""

    @classmethod
    def taken_from(cls, values: dict[str, Any]) -> FaceInputs:
        """Those among a node's values, which are removed from them: what is left are options."""
        return cls(**{field.name: values.pop(field.name) for field in fields(cls) if field.name in values})

    def find(self, image: Tensor, options: Options) -> FoundFaces | None:
        """The faces to work on; None where each photo is one face."""
        if not self.aligned:
            return self.faces if self.faces is not None else self.find_anew(image, options)
        if self.faces is not None or self.region is not None or self.person is not None:
            raise OptionError(
                f'"{ALIGNED.label}" is on, so each photo is one face, but faces, region or person are connected. '
                "Disconnect them."
            )
        return None

    def find_anew(self, image: Tensor, options: Options) -> FoundFaces:
        """Find the faces of photos, and choose among them."""
        return host.faces_of(image, self.detector, options, self.region, self.person)
