"""Everything that needs a GPU, in at most six minutes: `python -m bench.gpu_check`.

On a bare machine with an NVIDIA GPU, from the project's folder:

    python -m pip install . pytest onnx onnxruntime-gpu && python -m bench.gpu_check

facexlib, onnx, onnxruntime-gpu and pytest may be missing: what needs them is then reported as not measured. The folder
of photos, detector weights and references is looked for in ./shared and ../shared; --shared names another one. Weights
of networks are random numbers: nothing is downloaded.

Parts run in order of value, each in a process of its own and for a share of the time, so that a run that is cut off
has the figures that matter most. The JSON file is written again after each part; what it holds of other parts, measured
on the same GPU at the same commit, stays there. The exit status is 1 if a part failed, was cut off or did not run;
targets that are not met are reported, not failures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..machine import now, revision, versions
from ..worker import ROOT
from . import clean, fused, marked_tests, memory, network, onnx_runtime, parity, photo
from .device import gpu_name
from .part import Outcome, Part, Setting, run
from .results import RESULTS, as_json, earlier, save, table

PARTS = (
    Part("network", "the network at 512 and 2048", 75, network.targets),
    Part("photo", "from decoded photo to decoded photo", 75, photo.measure),
    Part("parity", "parity with the published implementation", 60, parity.measure),
    Part("tests", "the tests marked cuda", 75, marked_tests.measure),
    Part("clean", "what waits for the device", 30, clean.measure),
    Part("onnx", "ONNX Runtime", 45, onnx_runtime.measure),
    Part("fused", "with and without the fused kernels", 60, fused.measure),
    Part("ladder", "out of memory", 45, memory.ladder),
    Part("flat", "1,000 photos", 45, memory.flat),
    Part("sizes", "all sizes and precisions", 120, network.everything),
)
MOST_SECONDS = 360.0
SHARED = (ROOT / "shared", ROOT.parent / "shared")


def check(parts: Sequence[Part], setting: Setting, path: Path | None, most_seconds: float = MOST_SECONDS) -> bool:
    """Run the parts, write the JSON file after each, and print the table; whether all were done and right."""
    start = time.monotonic()
    about = {
        "about": {
            "gpu": gpu_name() or "none",
            "device": setting.device,
            "quick": setting.quick,
            "shared": setting.shared is not None,
            "measured": now(),
            "commit": revision(),
        }
        | versions("torch", "numpy", "onnxruntime-gpu", "triton")
    }
    outcomes: dict[str, Outcome] = {}
    before = {} if path is None else earlier(path, about)

    def results() -> dict[str, Any]:
        return as_json(outcomes, about, before)

    for part in parts:
        left = most_seconds - (time.monotonic() - start)
        if left <= 0:
            outcomes[part.name] = Outcome("not run", error="no time was left")
        else:
            outcomes[part.name] = run(part, setting, min(part.seconds, left))
        print(f"{part.name}: {outcomes[part.name].status} in {outcomes[part.name].seconds:.0f} s", flush=True)
        if path is not None:
            save(path, results())
    print(f"\n{table(results(), tuple(parts))}")
    return all(outcome.status == "done" for outcome in outcomes.values())


def shared_folder(given: Path | None) -> Path | None:
    """The folder of photos, weights and references: the one given, or the first that is there."""
    return given or next((folder for folder in SHARED if folder.is_dir()), None)


def main(arguments: list[str]) -> int:
    """Check; 1 if a part failed, was cut off or did not run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(part.name for part in PARTS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tests the script")
    parser.add_argument("--quick", action="store_true", help="tiny networks and few calls, to test the script")
    parser.add_argument("--shared", type=Path, help="the folder of photos, detector weights and references")
    parser.add_argument("--json", type=Path, help=f"the file to write; {RESULTS.relative_to(ROOT)} by default")
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help="at most; 360 by default")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - {part.name for part in PARTS}:
        parser.error(f"There is no part {', '.join(sorted(unknown))}. Choose from {', '.join(p.name for p in PARTS)}.")
    if given.device == "cuda" and not gpu_name():
        parser.error("There is no CUDA device. Run it where there is one; --device cpu --quick tests the script.")
    setting = Setting(given.device, given.quick, shared_folder(given.shared))
    chosen = [part for part in PARTS if not given.parts or part.name in given.parts]
    # What is measured on a CPU, or of tiny networks, is nobody's result.
    real = given.device == "cuda" and not given.quick
    path = given.json or (RESULTS if real and not given.parts else None)
    return 0 if check(chosen, setting, path, given.seconds) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
