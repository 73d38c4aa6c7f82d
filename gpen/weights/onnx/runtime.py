"""The package onnxruntime: imported without its telemetry, and its sessions on the CPU."""

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


def cpu_session(model: bytes, threads: int) -> Any:
    """A session that runs a model on the CPU. Raises whatever onnxruntime raises."""
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    # Threads that spin while they wait would take the cores from PyTorch's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
