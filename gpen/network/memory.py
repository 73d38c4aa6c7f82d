"""The size of strips of feature maps, and the memory that a call of the network takes."""

from __future__ import annotations

import itertools

import torch

from .spec import Spec

CPU_STRIP_BYTES = 16 << 20
"""Largest strip on a CPU: its caches are small, and the C library reuses blocks of up to twice this size instead of
returning them to the system."""
GPU_STRIP_BYTES = 256 << 20
"""Largest strip elsewhere: enough to keep a GPU busy."""

_STRIPS = 4
# In float32, for the widest kernels, out x in = w x 2 w: their energies, one in Winograd's form, one modulated. On a
# GPU, copies of the styles' weights take the place of the latter two.
_DERIVED_BYTES = 4 * 2 * (9 + 16 + 3 * 9)


def strip_bytes_on(device: torch.device) -> int:
    """The default size of the largest strips, in bytes."""
    return CPU_STRIP_BYTES if device.type == "cpu" else GPU_STRIP_BYTES


def largest_map_bytes(spec: Spec, dtype: torch.dtype, batch: int = 1) -> int:
    """Size of the encoder's largest map. One of at most a strip's size is kept for the generator."""
    return batch * dtype.itemsize * spec.channels(spec.in_size) * spec.in_size**2


def memory_estimate(spec: Spec, dtype: torch.dtype, batch: int = 1, strip_bytes: int = GPU_STRIP_BYTES) -> int:
    """Approximate bytes that one call of the network takes, without its weights and the workspaces of libraries.

    The encoder's maps wait for the generator, the largest only if a strip can be as large. At each of its levels there
    are the map of the level below, the level's own map, and strips: the input and output of the convolutions, a
    filter's and an encoder's. In addition there are pictures, and the tensors derived from the weights.
    """
    itemsize = torch.empty((), dtype=dtype).element_size()

    def of_map(size: int) -> int:
        return batch * itemsize * spec.channels(size) * size**2

    encoder = sum(of_map(size) for size in spec.encoder_sizes[1:])
    if largest_map_bytes(spec, dtype, batch) <= strip_bytes:
        encoder += of_map(spec.in_size)
    largest = 0
    for below, size in itertools.pairwise(spec.generator_sizes):
        strip = min(strip_bytes, 2 * of_map(size))
        own = 2 * of_map(size) if size < spec.out_size else strip
        largest = max(largest, 2 * of_map(below) + own + _STRIPS * strip)
    pictures = 3 * batch * itemsize * 3 * spec.out_size**2
    wide = max(spec.channels(size) for size in spec.generator_sizes)
    return encoder + largest + pictures + _DERIVED_BYTES * wide**2
