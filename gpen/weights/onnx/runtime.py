"""The package onnxruntime, imported without its telemetry."""

from __future__ import annotations

import importlib
import os
from typing import Any

_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


def onnx_runtime() -> Any:
    """Import onnxruntime. Raises whatever the import raises.

    Since version 1.32 it reports to its makers from the moment of its import, unless this environment variable is set;
    a user's own value stays.
    """
    os.environ.setdefault(_NO_TELEMETRY, "1")
    return importlib.import_module("onnxruntime")
