"""Runs an ONNX model once, in a process of its own: the script that :mod:`.limited` starts. Imports nothing from here.

Standard input: a line of JSON with "path" (sys.path), "engine" (onnxruntime or opencv), "output" (a name, or null for
the first one), "memory" (bytes), "seconds", and "shape" of a picture; then the picture in float32; then the model.
Standard output: what the model returns, as NumPy saves it. If it fails, the error is the last line of the standard
error.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
from typing import Any


def main() -> None:
    """Read, run, write."""
    # What a library prints must not come among the numbers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    given = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = given["path"]
    import numpy as np

    size = 4 * math.prod(given["shape"])
    picture = np.frombuffer(sys.stdin.buffer.read(size), np.float32).reshape(given["shape"])
    model = sys.stdin.buffer.read()
    run = _opencv if given["engine"] == "opencv" else _onnxruntime
    returned = run(model, picture, given)
    packed = io.BytesIO()  # NumPy would look for its place in a pipe
    np.save(packed, np.asarray(returned, np.float32), allow_pickle=False)
    out.write(packed.getbuffer())
    out.flush()


def _onnxruntime(model: bytes, picture: Any, given: dict[str, Any]) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    _limit(given)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the exception says what failed
    options.enable_cpu_mem_arena = False  # it takes memory in powers of two
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs")
    fed = picture.astype("float16") if inputs[0].type == "tensor(float16)" else picture
    return session.run([given["output"]] if given["output"] else None, {inputs[0].name: fed})[0]


def _opencv(model: bytes, picture: Any, given: dict[str, Any]) -> Any:
    import cv2
    import numpy as np

    _limit(given)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    network.setInput(picture)
    return network.forward()


def _limit(given: dict[str, Any]) -> None:
    """Limit memory and processor time: the process ends by itself even if the one that waits for it is killed."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetErrorMode(3)  # no window that waits for somebody when it crashes
        return
    import resource

    seconds = given["seconds"] * (os.cpu_count() or 1)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_CPU: seconds, resource.RLIMIT_DATA: given["memory"]}
    for kind, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # a lower one that is set already, or a system without it
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
