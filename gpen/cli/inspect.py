"""`gpen inspect`: describes a model file."""

from __future__ import annotations

import argparse

from ..weights.checkpoint import inspect


def run(arguments: argparse.Namespace) -> int:
    """Print what is in a model file; CheckpointError if it is not a GPEN network."""
    info = inspect(arguments.path)
    spec = info.spec
    lines = {
        "file": f"{info.path} ({info.file_size:,} bytes)",
        "what": info.what,
        "task": f"{info.task}, values from {info.value_range[0]:g} to {info.value_range[1]:g}",
        "size": f"{spec.in_size} in, {spec.out_size} out",
        "channels": f"channel multiplier {spec.channel_multiplier:g}, narrow {spec.narrow:g}",
        "style": f"{spec.style_dim} dimensions, {spec.n_mlp} mapping layers",
        "parameters": f"{info.parameters:,}",
        "dtype": ", ".join(info.dtypes),
        "container": info.container + (f", network under {info.wrapper}" if info.wrapper else ""),
        "sha256": info.sha256(),
    }
    for name, value in lines.items():
        print(f"{name:<11}{value}")
    for name, value in info.metadata.items():
        print(f"  {name} = {value}")
    return 0
