"""What is done with each face of a photo besides running the network; :mod:`gpen.tasks` has more of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .faces.align import Placement
from .faces.face import Face
from .faces.identity import IdentityGuard
from .faces.mask import face_mask
from .faces.paste import Join, Weights
from .faces.resample import Image
from .options import Options


class Parser(Protocol):
    """What tells face from background in a crop, as :class:`gpen.faces.parsing.FaceParser` does."""

    def parse(self, crop: NDArray[np.float32]) -> NDArray[np.float32]:
        """Crop (S, S, 3), RGB, [0, 1], to (512, 512): 1 where there is face, else 0."""
        ...


class FaceTask:
    """What is done with each face of a photo besides running the network. This one restores it.

    done: what the face is then, in a word. guard: keeps it the same person's; None where that is not looked at.
    """

    done = "restored"

    def __init__(self, guard: IdentityGuard | None = None) -> None:
        self.guard = guard

    @property
    def join(self) -> Join | None:
        """What has the last word about pixels that faces were laid over."""
        return None

    def source(self, photo: Image) -> Image:
        """The picture (H, W, 3) that crops are cut out of."""
        return photo

    def before(self, crop: Image) -> Image:
        """What the network is given of a crop (S, S, 3)."""
        return crop

    def needless(self, placement: Placement) -> str:
        """Why there is nothing to do for a face; empty where there is."""
        return ""

    def mask(self, crop: Image, placement: Placement, options: Options, parser: Parser | None) -> Image:
        """Where the crop that the network returned counts, as :func:`~gpen.faces.mask.face_mask`."""
        parsed = parser.parse(crop) if options.mask == "parsed" and parser is not None else None
        return face_mask(options.mask, placement.landmarks, options.feather, parsed)

    def weights(self, face: Face, options: Options) -> Weights | None:
        """Where it counts in the photo; None: everywhere."""
        return None

    def priority(self, placement: Placement) -> Image | None:
        """How much it counts where other faces reach as well, as :meth:`~gpen.faces.paste.Canvas.add` takes it."""
        return None

    def note(self, mask: Image, options: Options) -> str:
        """What else is to be said, given how much (H, W) of each pixel is face."""
        return ""
