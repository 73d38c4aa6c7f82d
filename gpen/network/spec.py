"""The hyperparameters that distinguish one GPEN network from another."""

from __future__ import annotations

from dataclasses import dataclass

BOTTOM_SIZE = 4
"""Height and width of the smallest feature map, where encoder and generator meet."""


@dataclass(frozen=True)
class Spec:
    """The shape of a GPEN network."""

    in_size: int
    """Height and width of the input in pixels, a power of two."""
    out_size: int
    """Height and width of the output in pixels, a power of two, at least in_size."""
    channel_multiplier: float = 2
    """Scales the channels of the levels from 64 x 64 up."""
    narrow: float = 1
    """Scales the channels of all levels."""
    style_dim: int = 512
    """Length of the style vector."""
    n_mlp: int = 8
    """Layers of the mapping network."""

    def channels(self, size: int) -> int:
        """Channels of the feature maps of ``size`` x ``size``, by the published rule with its truncation."""
        if size <= 32:
            return int(512 * self.narrow)
        return int(16384 // size * self.channel_multiplier * self.narrow)

    @property
    def encoder_sizes(self) -> tuple[int, ...]:
        """Sizes of the encoder's feature maps, from ``in_size`` down to 4."""
        return _powers_of_two(BOTTOM_SIZE, self.in_size)[::-1]

    @property
    def generator_sizes(self) -> tuple[int, ...]:
        """Sizes of the generator's feature maps, from 4 up to ``out_size``."""
        return _powers_of_two(BOTTOM_SIZE, self.out_size)

    @property
    def title(self) -> str:
        """The name of the network, such as "GPEN 512" or "GPEN 256 to 1024"."""
        if self.in_size == self.out_size:
            return f"GPEN {self.in_size}"
        return f"GPEN {self.in_size} to {self.out_size}"


def _powers_of_two(first: int, last: int) -> tuple[int, ...]:
    return tuple(1 << e for e in range(first.bit_length() - 1, last.bit_length()))
