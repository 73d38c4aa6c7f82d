"""Hashes of what the commands write, to prove that a refactoring changes no bit of any result.

    python -m bench.outputs prepare INPUTS
    python -m bench.outputs record INPUTS before.json
    python -m bench.outputs record INPUTS after.json --checkout OTHER
    python -m bench.outputs compare before.json after.json

The inputs are made once, so that both records see the same bytes; that needs ../shared. Recording and comparing import
nothing of the project. What the commands print is recorded for reading, but not compared. Expect equal hashes on one
machine only: another one rounds differently.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
THREADS = 2
LONGEST = 300
"""Time limit of a command, in seconds."""

TEXTS = frozenset({"message", "why", "output", "photo", "seconds", "seconds_per_face"})
"""Keys in JSON files with sentences, paths or times, which may change."""
NAMES = frozenset({"path"})
"""Keys in JSON files with paths, of which only the last part is compared."""

CELL, GAP = 160, 2
"""Pixels of a face's cell, and between two, in the sheet that `gpen compare` writes."""


@dataclass(frozen=True)
class Command:
    """A command, and what is special about its outputs."""

    name: str
    """Its name in records."""
    words: str
    """Its arguments; {in} and {out} stand for the folders of the inputs and of its results."""
    into: str = ""
    """Name of the command whose results it continues with."""
    copies: tuple[str, ...] = ()
    """Folders of inputs that are copied to its results before it starts."""
    bare: bool = False
    """Whether it runs without any folder of model files."""
    numbers: bool = False
    """Whether the numbers that it prints are compared."""
    rows: int = 0
    """Number of rows in the sheet that it writes."""


_GROUP = "restore {in}/photos/group.png -o {out}/a.png"
_SMALL = f"{_GROUP} --model small --precision fp32"
_KNOWN = f"{_SMALL} --faces {{in}}/faces.json"
_PORTRAIT = "restore {in}/photos/portrait.png -o {out}/a.png --precision fp32"
_TREE = "restore {in}/tree -o {out} --model small --precision fp32 --report {out}/report.json"
_VIDEO = "restore {in}/frames -o {out} --model small --precision fp32 --report {out}/report.json --video"
_GREY = "colorize {in}/photos/grey_group.png -o {out}/a.png --precision fp32"
_ALIGNED = "{in}/photos/aligned.png -o {out}/a.png --precision fp32 --aligned"
_DAMAGED = "inpaint {in}/photos/group.png -o {out}/a.png --precision fp32 --damage {in}/masks/damage.png"
_GUARD = f"{_SMALL} --only-faces 1,4 --report {{out}}/report.json --identity-guard"
_COMPARE = f"compare {{in}}/photos/group.png -o {{out}}/a.png --cell {CELL} --precision fp32 --json {{out}}/table.json"
_CONVERT = "convert {in}/networks/"

COMMANDS = (
    Command("restore", _GROUP),
    Command("ellipse", f"{_SMALL} --mask ellipse --report {{out}}/report.json"),
    Command("box", f"{_GROUP} --model middle --precision fp32 --mask box --feather 0.25"),
    Command("parsed", f"{_SMALL} --only-faces 2,3 --mask parsed"),
    Command("ffhq", f"{_SMALL} --template ffhq --strength 0.6"),
    Command("larger", f"{_SMALL} --upscale 1.5 --color-match"),
    Command("color match", f"{_PORTRAIT} --model GPEN-BFR-256 --color-match"),
    Command("only faces", f"{_SMALL} --only-faces 1,4-6 --report {{out}}/report.json"),
    Command("region", f"{_SMALL} --region {{in}}/masks/region.png --min-face-size 34 --report {{out}}/report.json"),
    Command("largest", f"{_SMALL} --select largest --detection-threshold 0.9"),
    Command("central", f"{_SMALL} --select central --detector retinaface_mobile0.25"),
    Command("known faces", f"{_KNOWN} --report {{out}}/report.json"),
    Command("everything written", f"{_KNOWN} --compare --save-faces --report {{out}}/report.json"),
    Command("wide network", f"{_SMALL} --model wide"),
    Command("growing network", f"{_SMALL} --model growing --only-faces 0-3"),
    Command("large network", f"{_PORTRAIT} --model GPEN-BFR-512"),
    Command("bfloat16", f"{_SMALL} --model middle --precision bf16"),
    Command("bfloat16, large", f"{_PORTRAIT} --precision bf16"),
    Command("float16", f"{_SMALL} --precision fp16 --only-faces 0"),
    Command("guard blends", f"{_GUARD} 0.05"),
    Command("guard keeps", f"{_GUARD} 0.07 --identity-action keep"),
    Command("guard without weights", f"{_KNOWN} --models-path {{in}}/networks --identity-guard 0.1", bare=True),
    Command("background", f"{_SMALL} --background-model {{in}}/others/upscaler.pth"),
    Command("background, smaller", f"{_SMALL} --background-model {{in}}/others/upscaler.pth --upscale 1.5 --compare"),
    Command("selfie", f"{_GROUP} --selfie"),
    Command("selfie, otherwise", f"{_GROUP} --selfie --upscale 1 --model small --precision fp32"),
    Command("formats", "restore {in}/formats -o {out} --model middle --precision fp32 --report {out}/report.json"),
    Command("formats, larger", "restore {in}/formats/*.* -o {out} --model small --precision fp32 --upscale 1.25"),
    Command("JPEG", "restore {in}/formats/sixteen.png -o {out}/a.jpg --model small --precision fp32 --quality 70"),
    Command("WebP", "restore {in}/formats/sixteen.png -o {out}/a.webp --model small --precision fp32 --quality 100"),
    Command("TIFF", "restore {in}/formats/alpha.png -o {out}/a.tif --model small --precision fp32"),
    Command("tree", _TREE),
    Command("tree, again", _TREE, into="tree"),
    Command("tree, overwritten", f"{_TREE} --strength 0.5 --overwrite", into="tree"),
    Command("video", f"{_VIDEO} --compare"),
    Command("video, two tracks", f"{_VIDEO} --only-faces 1,2 --mask box"),
    Command("colorize", f"{_GREY} --compare --save-faces --report {{out}}/report.json"),
    Command("colorize, box", f"{_GREY} --mask box --strength 0.7 --upscale 2"),
    Command("colorize, background", f"{_GREY} --background-model {{in}}/others/upscaler.pth"),
    Command("colorize, video", "colorize {in}/frames -o {out} --precision bf16 --video --select largest"),
    Command("colorize, aligned", f"colorize {_ALIGNED}"),
    Command("inpaint", f"{_DAMAGED} --compare --save-faces --report {{out}}/report.json"),
    Command("inpaint, known faces", f"{_DAMAGED} --faces {{in}}/faces.json --damage-feather 0.2 --strength 0.8"),
    Command("inpaint, tree", "inpaint {in}/tree -o {out} --precision fp32 --damage {in}/masks/tree"),
    Command("inpaint, aligned", f"inpaint {_ALIGNED} --damage {{in}}/masks/square.png --save-faces"),
    Command("synthesize", "synthesize {in}/masks/map64.png {in}/masks/map150.png -o {out} --precision fp32 --compare"),
    Command(
        "detect",
        "detect {in}/photos {in}/tree -o {out}/drawn --draw --json {out}/faces.json --detector yunet",
        numbers=True,
    ),
    Command(
        "detect, RetinaFace",
        "detect {in}/photos -o {out}/drawn --draw --json {out}/faces.json --detector retinaface_mobile0.25",
        numbers=True,
    ),
    Command(
        "detected faces",
        "restore {in}/tree -o {out}/restored --model small --precision fp32 --faces {out}/faces.json",
        into="detect",
    ),
    Command(
        "compare",
        f"{_COMPARE} --model middle --with {{in}}/others/restoreformer.pth --with GPEN-BFR-256 --only-faces 0,5",
        rows=2,
    ),
    Command("compare, known faces", f"{_COMPARE} --with small --mask box --faces {{in}}/faces.json", rows=4),
    Command("convert", f"{_CONVERT}middle.pth -o {{out}}/a.safetensors --task restore"),
    Command("convert, half", f"{_CONVERT}GPEN-Colorization-1024.pth -o {{out}} --half"),
    Command("convert, graph", "convert {in}/others/GPEN-Seg2face-512.onnx -o {out}"),
    Command("convert, folder", "convert {out}/mixed", copies=("others/mixed",)),
    Command("inspect", "inspect {in}/networks/middle.pth", numbers=True),
    Command("inspect, half", "inspect {in}/networks/wide.safetensors", numbers=True),
    Command("inspect, other network", "inspect {in}/others/restoreformer.pth"),
    Command("inspect, code", "inspect {in}/others/code.pth"),
    Command("models", "models"),
    Command("download, licence", "download GPEN-BFR-1024 -o {out}"),
    Command("download, there", "download GPEN-BFR-512"),
    Command("no photograph", "restore {in}/none.png {in}/empty*.png -o {out}/results --model small"),
    Command("no face", "restore {in}/photos/place.png -o {out}/a.png --model small --report {out}/report.json"),
    Command("no face to compare", "compare {in}/photos/place.png -o {out}/a.png --with small"),
    Command("no network", _GROUP, bare=True),
    Command("no transparency", "restore {in}/formats/alpha.png -o {out}/a.jpg --model small"),
    Command("network for another task", "colorize {in}/photos/grey.png -o {out}/a.png --model GPEN-BFR-256"),
    Command("no network at all", f"{_GROUP} --model {{in}}/others/mixed/short.pth"),
    Command("too many pixels", f"{_SMALL} --max-megapixels 0.1"),
    Command("bad value", f"{_SMALL} --strength 2"),
    Command("aligned and faces", f"colorize {_ALIGNED} --faces {{in}}/faces.json"),
    Command("frames of two sizes", "restore {in}/photos/g*.png -o {out} --video"),
)


def main(arguments: list[str]) -> int:
    """Prepare, record or compare; 1 if the compared records differ, else 0."""
    given = _parser().parse_args(arguments)
    if given.action == "prepare":
        from .outputs_inputs import prepare

        prepare(given.inputs)
        return 0
    if given.action == "record":
        commands = [command for command in COMMANDS if given.only is None or command.name in given.only]
        with _folder(given.keep) as results:
            content = Recorder(given.inputs.resolve(), results.resolve(), given.checkout.resolve()).run(commands)
        content["only"] = given.only
        given.record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return 0
    return compare(*(json.loads(path.read_text(encoding="utf-8")) for path in (given.before, given.after)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.outputs", description=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="make the inputs")
    prepare.add_argument("inputs", type=Path, help="a folder that does not exist yet")
    record = actions.add_parser("record", help="run the commands and write the hashes of their outputs")
    record.add_argument("inputs", type=Path, help="the prepared folder")
    record.add_argument("record", type=Path, help="JSON file to write")
    record.add_argument("--checkout", type=Path, default=ROOT, help="checkout whose code is run (default: this one)")
    record.add_argument("--keep", type=Path, metavar="DIR", help="empty folder to keep the outputs in")
    names = [command.name for command in COMMANDS]
    text = "run only this command; may be given several times"
    record.add_argument("--only", action="append", choices=names, metavar="NAME", help=text)
    comparison = actions.add_parser("compare", help="print what differs")
    comparison.add_argument("before", type=Path, help="a record")
    comparison.add_argument("after", type=Path, help="a record; with --only, missing commands are no difference")
    return parser


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        if any(kept.iterdir()):
            raise SystemExit(f"{kept} is not empty.")
        yield kept


class Recorder:
    """Runs commands on inputs, with the code of a checkout; each has a folder for its results."""

    def __init__(self, inputs: Path, results: Path, checkout: Path) -> None:
        self._inputs = inputs
        self._results = results
        self._checkout = checkout

    def run(self, commands: Iterable[Command]) -> dict[str, Any]:
        """The record of these commands."""
        inputs = _hash_of_folder(self._inputs)
        record: dict[str, Any] = {"machine": machine(), "inputs": inputs, "commands": {}}
        for command in commands:
            entry = self._entry(command)
            record["commands"][command.name] = entry
            print(f"{entry['seconds']:5.1f} s  exit code {entry['exit']}  {command.name}", flush=True)
        if _hash_of_folder(self._inputs) != inputs:
            raise SystemExit("A command has changed the inputs, so the record would be worthless.")
        return record

    def _entry(self, command: Command) -> dict[str, Any]:
        out = self._results / (command.into or command.name).replace(", ", "-").replace(" ", "-")
        out.mkdir(exist_ok=bool(command.into))
        for copied in command.copies:
            shutil.copytree(self._inputs / copied, out / Path(copied).name)
        words = [word.format_map({"in": self._inputs, "out": out}) for word in command.words.split()]
        start = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "gpen", *words],
            cwd=self._checkout,
            env=self._environment(command.bare),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=LONGEST,
        )
        seconds = round(time.monotonic() - start, 1)
        entry: dict[str, Any] = {"words": command.words, "exit": run.returncode, "seconds": seconds}
        entry["outputs"] = {
            name: digest for path in files_in(out) for name, digest in hashes(path, out, command.rows).items()
        }
        stdout, stderr = (self._without_paths(text, out) for text in (run.stdout, run.stderr))
        if command.numbers:
            entry["outputs"]["numbers that are printed"] = digest_of(NUMBER.findall(stdout))
        return entry | {"stdout": stdout, "stderr": stderr}

    def _environment(self, bare: bool) -> dict[str, str]:
        """Independent of the user: an empty home folder, no other models, no GPU, a fixed number of threads."""
        home = self._results / "home"
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPEN_", "PYTHON"))}
        own = dict.fromkeys(("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"), str(home))
        own |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
        own |= {"OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"}
        if not bare:
            own["GPEN_MODELS_PATH"] = str(self._inputs / "networks")
            own["GPEN_DETECTORS_PATH"] = str(self._inputs / "detectors")
        return kept | own

    def _without_paths(self, text: str, out: Path) -> str:
        paths = {out: "{out}", self._results: "{results}", self._inputs: "{in}", self._checkout: "{checkout}"}
        for path, name in paths.items():
            text = text.replace(str(path), name)
        return text


NUMBER = re.compile(r"\b[0-9a-f]{64}\b|\d+(?:[.,]\d+)*")
"""A SHA256, or a number."""


def hashes(path: Path, folder: Path, rows: int) -> dict[str, str]:
    """Hashes of a file, or of its parts, by name."""
    name = path.relative_to(folder).as_posix()
    if path.suffix == ".json":
        return {name: digest_of(without_texts(json.loads(path.read_text(encoding="utf-8"))))}
    if path.suffix == ".safetensors":
        tensors, metadata = _tensors(path.read_bytes())
        return {f"{name}, tensors": digest_of(tensors), f"{name}, metadata": digest_of(metadata)}
    if rows:
        # Seconds are written above the faces; their height depends on the number of digits.
        pixels = np.asarray(Image.open(path))[-(rows * CELL + (rows - 1) * GAP) :]
        return {f"{name}, faces": digest_of([pixels.shape, hashlib.sha256(pixels.tobytes()).hexdigest()])}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()}


def without_texts(content: Any) -> Any:
    """Parsed JSON without sentences, times and folders of paths."""
    if isinstance(content, list):
        return [without_texts(item) for item in content]
    if isinstance(content, dict):
        return {
            key: Path(value).name if key in NAMES else without_texts(value)
            for key, value in content.items()
            if key not in TEXTS
        }
    return content


def _tensors(packed: bytes) -> tuple[dict[str, Any], Any]:
    """Of a .safetensors file: dtype, shape and hash of each tensor, and the metadata."""
    length = int.from_bytes(packed[:8], "little")
    header: dict[str, Any] = json.loads(packed[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    data = memoryview(packed)[8 + length :]
    tensors = {
        name: [tensor["dtype"], tensor["shape"], hashlib.sha256(data[slice(*tensor["data_offsets"])]).hexdigest()]
        for name, tensor in header.items()
    }
    return tensors, metadata


def digest_of(content: Any) -> str:
    """Hash of JSON-serialisable content, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def files_in(folder: Path) -> list[Path]:
    """All files in a folder and below it, including hidden ones."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash_of_folder(folder: Path) -> str:
    files = files_in(folder)
    if not files:
        raise SystemExit(f"There are no inputs in {folder}; make them with prepare.")
    return digest_of([(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])


def machine() -> dict[str, str]:
    """The processor and versions, on which the last digits of a result depend."""
    packages = ("torch", "numpy", "opencv-python", "pillow", "tifffile", "facexlib", "spandrel")
    versions = {name: importlib.metadata.version(name) for name in packages}
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else [platform.processor()]
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return {"processor": digest_of(processor or lines), "python": platform.python_version(), **versions}


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Print the differences; returns 1 if there are any, else 0."""
    if before["machine"] != after["machine"]:
        print("note: the records come from different machines or versions of packages")
    differences = [] if before["inputs"] == after["inputs"] else ["the inputs"]
    for name, entry in after["commands"].items():
        if name in before["commands"]:
            differences += [f"{name}: {what}" for what in _differing(before["commands"][name], entry)]
        else:
            differences.append(f"{name} is new")
    if not after["only"]:
        differences += [f"{name} is gone" for name in before["commands"] if name not in after["commands"]]
    for difference in differences:
        print(difference)
    print(f"{len(after['commands'])} of {len(before['commands'])} commands, {len(differences)} differences")
    return int(bool(differences))


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    if one["words"] != other["words"]:
        yield "the arguments"
    if one["exit"] != other["exit"]:
        yield f"exit code {one['exit']} became {other['exit']}"
    for file in sorted({*one["outputs"], *other["outputs"]}):
        first, second = one["outputs"].get(file), other["outputs"].get(file)
        if first is None or second is None:
            yield f"{file} is {'new' if first is None else 'gone'}"
        elif first != second:
            yield f"{file} differs"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
