"""Networks of the published implementation, exported with the settings of its own script.

Its code is not part of this project: the tests run if the environment variable GPEN_REFERENCE names a checkout of it.
GPEN_REFERENCE_SIZES replaces the sizes 64 and 512, separated by commas.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gpen.weights.convert import convert

REFERENCE = os.environ.get("GPEN_REFERENCE", "")
SIZES = [int(size) for size in os.environ.get("GPEN_REFERENCE_SIZES", "64,512").split(",")]

pytestmark = pytest.mark.skipif(
    not REFERENCE, reason="GPEN_REFERENCE does not name a checkout of the published implementation"
)

EXPORT = """
import sys, warnings
warnings.simplefilter("ignore")
root, size, onnx, weights = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sys.path[:0] = [root, root + "/face_model"]
import torch
from safetensors.torch import save_file
from face_model.gpen_model import FullGenerator
torch.manual_seed(1)
network = FullGenerator(size, 512, 8, 2, narrow=1 if size > 64 else 1 / 16).eval()
state = {name: value.contiguous() for name, value in network.state_dict().items()}
for name, value in state.items():
    if name.endswith((".bias", "noise.weight")):
        value.add_(torch.randn(value.shape), alpha=0.3)
save_file(state, weights)
torch.onnx.export(
    network, torch.randn(1, 3, size, size), onnx, input_names=["input"], output_names=["output"], verbose=False,
    opset_version=10, operator_export_type=torch.onnx.OperatorExportTypes.ONNX_ATEN_FALLBACK, dynamo=False,
)
"""


@pytest.mark.parametrize("size", SIZES)
def test_published_implementation(size: int, tmp_path: Path) -> None:
    graph, weights = tmp_path / f"GPEN-BFR-{size}.onnx", tmp_path / "published.safetensors"
    subprocess.run(
        [sys.executable, "-c", EXPORT, REFERENCE, str(size), str(graph), str(weights)],
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    result = convert(graph)
    expected, found = load_file(weights), load_file(result.target)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-6, atol=0, err_msg=name)
    assert result.comparison is not None
    assert result.comparison.difference is not None
    print(f"{size}: {result.comparison}")
    assert result.comparison.difference < 1e-4
