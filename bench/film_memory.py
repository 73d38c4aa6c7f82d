"""Memory over a long film, measured: ``gpen restore`` of a made clip, and its resident memory frame by frame.

``python -m bench.film_memory --folder DIR`` makes ten minutes of 1920 x 1080 from the photos in ../shared, restores
them with a network that returns its input, and prints the figures of docs/video.md; DIR then holds the measurements
as ``memory.csv``: seconds, pass, frame, MiB. What the network of a published model takes comes on top, the same for
every frame.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpen.faces.detection.detector import make_detector
from gpen.faces.resampling.transforms import Matrix, apply
from gpen.images import read_picture

from .photos import DETECTORS, PHOTO, SHARED
from .worker import ROOT

RATE = 24
SIZE = (1920, 1080)
SHOT = 5 * RATE
"""Frames from one cut to the next."""
EVERY = 3
"""Seconds from one look at the memory to the next."""
PASSES = ("finding faces in", "restoring")
_FACE = SHARED / "photos" / "ffhq_00000_hq.png"
_OTHER_FACE = SHARED / "photos" / "ffhq_00001_hq.png"
_SHOTS = ((_FACE, 0.3, (512, 512)), (PHOTO, 2.0, (500, 300)), (_OTHER_FACE, 0.4, (512, 480)), (PHOTO, 2.4, (700, 310)))
"""Photo, enlargement, and the pixel of the photo in the middle of the frame."""


@dataclass(frozen=True)
class Look:
    """The memory at a moment."""

    seconds: float
    film_pass: int
    """0 or 1; -1 before the first."""
    frame: int
    mebibytes: float
    """Resident, of the process and its children."""


def cameras() -> Iterator[tuple[Path, Matrix]]:
    """Of each frame of one round: the photo, and the matrix from its pixels to those of the frame. It moves slowly."""
    for path, scale, (x, y) in _SHOTS:
        for frame in range(SHOT):
            zoom, shift = scale * (1 + 0.0005 * frame), 0.4 * frame
            across, down = SIZE[0] / 2 + shift, SIZE[1] / 2 + 0.3 * shift
            yield path, np.array([[zoom, 0, across - zoom * x], [0, zoom, down - zoom * y]])


def shots() -> Iterator[NDArray[np.uint8]]:
    """The frames of one round, BGR."""
    photos = {path: cv2.imread(str(path)) for path, _, _ in _SHOTS}
    for path, camera in cameras():
        yield cv2.warpAffine(photos[path], camera, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def make_clip(path: Path, frames: int) -> None:
    """Write a film of the shots, over and over: they are encoded once, and their packets repeated."""
    import av

    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        packets = []
        for number, picture in enumerate(shots()):
            frame = av.VideoFrame.from_ndarray(picture, "bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            if number % SHOT == 0:
                frame.pict_type = av.video.frame.PictureType.I
            packets += stream.encode(frame)
        packets += stream.encode(None)
        data = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(frames):
            content, is_key = data[number % len(data)]
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, RATE), is_key, stream
            file.mux_one(packet)


def list_faces(film: Path, frames: int, target: Path) -> None:
    """Write the faces of a film: in each frame the one nearest to its middle, found in the photo."""
    detector = make_detector("yunet", [DETECTORS])
    found = {path: detector.detect(read_picture(path, 100).photo) for path, _, _ in _SHOTS}
    middle = np.array(SIZE) / 2
    of_round = []
    for path, camera in cameras():
        places = [(face.score, apply(camera, face.landmarks)) for face in found[path]]
        score, landmarks = min(places, key=lambda place: float(np.linalg.norm(place[1].mean(axis=0) - middle)))
        of_round.append({"score": round(score, 3), "landmarks": landmarks.round(2).tolist()})
    listed = [{"frame": number, "faces": [of_round[number % len(of_round)]]} for number in range(frames)]
    about = {"path": film.name, "width": SIZE[0], "height": SIZE[1], "frames": listed}
    target.write_text(json.dumps({"format": "gpen-faces", "version": 1, "films": [about]}))


def measured(command: list[str], report: Path) -> list[Look]:
    """Run a command that shows progress bars, and look at its memory; RuntimeError if it fails."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    start = time.monotonic()
    environment = os.environ | {"GPEN_DETECTORS_PATH": str(DETECTORS)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    bar = _Bar(ours)
    looks = []
    with report.open("w", newline="") as file:
        rows = csv.writer(file)
        while process.poll() is None:
            film_pass, frame = bar.at
            look = Look(time.monotonic() - start, film_pass, frame, _resident(process.pid) / 2**20)
            looks.append(look)
            rows.writerow([f"{look.seconds:.1f}", look.film_pass, look.frame, f"{look.mebibytes:.1f}"])
            file.flush()
            time.sleep(EVERY)
    if process.returncode != 0:
        raise RuntimeError(f"The command ended with {process.returncode}:\n{bar.text[-2000:]}")
    return looks


class _Bar:
    """Reads a terminal in a thread of its own."""

    def __init__(self, terminal: int) -> None:
        self.at = (-1, 0)
        """The pass and the frame that were last shown."""
        self.text = ""
        """The end of what was shown."""
        self._terminal = terminal
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._terminal, 1 << 14)
            except OSError:  # its other end is closed
                return
            self.text = (self.text + read.decode(errors="replace"))[-(1 << 14) :]
            found = re.findall(rf"({'|'.join(PASSES)}) frame (\d+)", self.text)
            if found:
                self.at = PASSES.index(found[-1][0]), int(found[-1][1])


def _resident(process: int) -> int:
    """Bytes of a process and its children; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return (int(found[1]) * 1024 if found else 0) + sum(_resident(int(child)) for child in children)


def summary(looks: list[Look], minutes: int) -> str:
    """The figures: before the film, the most, and the first and the last minute of each pass."""
    before = max(look.mebibytes for look in looks if look.film_pass < 0)
    lines = [f"before the first frame {before:.0f} MiB; at most {max(look.mebibytes for look in looks):.0f} MiB"]
    for number, name in enumerate(PASSES):
        of_pass = [look for look in looks if look.film_pass == number]
        for minute in (1, minutes):
            held = [look.mebibytes for look in of_pass if (look.frame - 1) // (60 * RATE) == minute - 1]
            if held:
                lines.append(f"{name}, minute {minute}: {np.mean(held):.0f} MiB, at most {max(held):.0f} MiB")
    return "\n".join(lines)


def main() -> None:
    """Make the clip, unless it is there, restore it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for the clip, its result and the measurements")
    parser.add_argument("--frames", type=int, default=10 * 60 * RATE)
    parser.add_argument("--known-faces", action="store_true", help="give the faces in a file instead of finding them")
    parser.add_argument("more", nargs="*", help="further arguments of gpen restore, after --")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    film, weights = folder / f"film-{arguments.frames}.mkv", folder / "passthrough.pth"
    if not film.exists():
        make_clip(film, arguments.frames)
    import torch

    from gpen.network.spec import Spec
    from gpen.network.synthetic import synthetic_weights

    torch.save(synthetic_weights(Spec(64, 64, 2, 1 / 16, 16, 2)), weights)
    command = [sys.executable, "-m", "gpen", "restore", str(film), "-o", str(folder / "restored.mkv"), "--overwrite"]
    command += ["--model", str(weights), *arguments.more]
    if arguments.known_faces:
        faces = folder / "faces.json"
        list_faces(film, arguments.frames, faces)
        command += ["--faces", str(faces)]
    print(summary(measured(command, folder / "memory.csv"), max(1, arguments.frames // (60 * RATE))))


if __name__ == "__main__":
    main()
