"""What each reader of a format returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .metadata.metadata import Metadata
from .picture import Samples


@dataclass(frozen=True, eq=False)
class Decoded:
    """The contents of a picture file, as they are stored."""

    samples: Samples
    """uint8 or uint16 (H, W, 1 to 4 channels), in the whole range of the type."""
    orientation: int = 1
    """1 to 8, as EXIF numbers them: that of the photo as it is stored."""
    is_upright: bool = False
    """Whether the decoder has turned the samples upright already; the metadata are as stored in any case."""
    icc: bytes | None = None
    """The colour profile; None if the colours were converted to sRGB."""
    colors_by_exif: bool = True
    """Whether, without a profile, EXIF says what colours mean: not if they were converted, or the format says it."""
    exif: bytes | None = None
    """An EXIF block; its orientation does not count."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontally and vertically, as stored."""
    metadata: Metadata = field(default_factory=Metadata)
    """XMP, IPTC, comments and texts."""


def whole_range(samples: Samples, bits: int) -> Samples:
    """Samples of 1 to 16 bits, stretched to the range of uint8, or of uint16 where they have more than 8 bits."""
    kind: type[np.uint8 | np.uint16] = np.uint8 if bits <= 8 else np.uint16
    top, most = 2**bits - 1, int(np.iinfo(kind).max)
    if top == most:
        return samples.astype(kind, copy=False)
    table = (np.arange(top + 1, dtype=np.uint64) * most + top // 2) // top
    return np.asarray(table.astype(kind)[np.minimum(samples, top)])
