"""A tiny network, and pickles in the containers that PyTorch writes."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable

import torch
from torch import Tensor

from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.weights.headers_torch import LEGACY_MAGIC, LEGACY_PROTOCOL

TINY = Spec(8, 8, 2, 1 / 64, style_dim=16, n_mlp=2)
STATE: dict[str, Tensor] = GPEN(TINY).state_dict()


def random_state(spec: Spec = TINY, seed: int = 0) -> dict[str, Tensor]:
    """Weights in which every number matters."""
    rng = torch.Generator().manual_seed(seed)
    state = GPEN(spec).state_dict()
    return {n: t if n.endswith(".kernel") else torch.randn(t.shape, generator=rng) for n, t in state.items()}


def as_zip(data: bytes, **records: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
        for name, content in records.items():
            archive.writestr(f"archive/data/{name}", content)
    return buffer.getvalue()


def as_legacy(data: bytes) -> bytes:
    start = b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, LEGACY_PROTOCOL, {}))
    return start + data + pickle.dumps([], 2)


def as_legacy_sys_info(data: bytes) -> bytes:
    start = b"".join(pickle.dumps(part, 2) for part in (LEGACY_MAGIC, LEGACY_PROTOCOL))
    return start + data + pickle.dumps({}, 2) + pickle.dumps([], 2)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "zip": as_zip,
    "legacy": as_legacy,
    "legacy, in the system information": as_legacy_sys_info,
    "bare": lambda data: data,
}
