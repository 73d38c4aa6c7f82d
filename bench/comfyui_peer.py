"""Seconds for one face at 512 in ComfyUI: GPEN Restore Faces beside another node pack on the same weights.

`python bench/comfyui_peer.py PEER DETECTORS`, in an environment that ComfyUI runs in. PEER: a checkout of
SparknightLLC/ComfyUI-GPENO, whose network is the published one. DETECTORS: a folder with facexlib's
detection_mobilenet0.25_Final.pth. Both packs run in one server, on the CPU, with random weights for the network and
for ParseNet; what is timed is one prompt in which only the restoring node and the preview of its result are
executed. The peer parses every face; ours is timed with its default mask and with a parsed one.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from facexlib.parsing.parsenet import ParseNet
from skimage import data

from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import OPTIONS
from tests.hosts.comfyui.server import PACK, ComfyUIServer

RUNS = 5
DETECTOR = "detection_mobilenet0.25_Final.pth"


def restoring(mask: str) -> dict[str, dict[str, Any]]:
    """The nodes of this pack; the last one is timed."""
    values = {name: option.default for name, option in OPTIONS.items() if name not in ("precision", "detector")}
    wires = {"image": ["1", 0], "model": ["2", 0], "detector": ["3", 0]}
    return {
        "2": {"class_type": "GPENLoadModel", "inputs": {"model_name": "GPEN-BFR-512.pth", "precision": "fp32"}},
        "3": {"class_type": "GPENLoadFaceDetector", "inputs": {"detector": "retinaface_mobile0.25"}},
        "4": {"class_type": "GPENRestoreFaces", "inputs": values | wires | {"mask": mask}},
    }


def peer() -> dict[str, dict[str, Any]]:
    """The peer's only node, with its defaults."""
    values = {"use_global_cache": True, "unload": False, "backbone": "mobilenet0.25_Final", "alpha": 1.0}
    values |= {"resolution_preset": "512", "downscale_method": "Bilinear", "channel_multiplier": 2, "narrow": 1.0}
    values |= {"device": "cpu", "aligned": False, "colorize": False}
    return {"4": {"class_type": "GPENO Face Restoration", "inputs": values | {"image": ["1", 0]}}}


def seconds(server: ComfyUIServer, picture: str, nodes: dict[str, dict[str, Any]], changed: str) -> list[float]:
    """Times of RUNS prompts after one that loads; changing the input ``changed`` makes the node run again."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture}},
        **nodes,
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
    }
    times = []
    for run in range(RUNS + 1):
        graph["4"]["inputs"][changed] = 1 - run / 100
        said = dict(server.run(graph, 600).messages)
        times.append((said["execution_success"]["timestamp"] - said["execution_start"]["timestamp"]) / 1000)
    return times[1:]


def main(peer_folder: Path, detectors: Path) -> None:
    """Print one line for each, and the ratios."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(synthetic_weights(Spec(512, 512)), folder / "GPEN-BFR-512.pth")
        torch.save(ParseNet(in_size=512, out_size=512, parsing_ch=19).state_dict(), folder / "parsenet.pth")
        paths = folder / "paths.yaml"
        paths.write_text(f"peer:\n  custom_nodes: {peer_folder.resolve().parent}\n", encoding="utf-8")
        models = {
            "facerestore_models/GPEN-BFR-512.pth": folder / "GPEN-BFR-512.pth",
            "facerestore_models/ParseNet-latest.pth": folder / "parsenet.pth",
            "facedetection/parsing_parsenet.pth": folder / "parsenet.pth",
            f"facedetection/{DETECTOR}": detectors / DETECTOR,
        }
        arguments = ["--extra-model-paths-config", str(paths), "--whitelist-custom-nodes", PACK, peer_folder.name]
        server = ComfyUIServer(folder / "base", models, arguments=arguments)
        try:
            picture = server.upload_image(data.astronaut(), "astronaut.png")
            times = {
                "GPEN Restore Faces": seconds(server, picture, restoring("ellipse"), "strength"),
                "GPEN Restore Faces, parsed mask": seconds(server, picture, restoring("parsed"), "strength"),
                "the peer": seconds(server, picture, peer(), "alpha"),
            }
        finally:
            server.stop()
    slowest = statistics.median(times["the peer"])
    for what, measured in times.items():
        each = ", ".join(f"{second:.2f}" for second in measured)
        median = statistics.median(measured)
        print(f"{what:32} {median:6.2f} s  ({each})  peer / this: {slowest / median:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
