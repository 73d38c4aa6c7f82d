"""A process that searches for inputs by coverage: ``python -m tests.fuzz.guided TARGET FOLDER SECONDS CORPUS ESCAPES``.

atheris, which is libFuzzer for Python, keeps the inputs that reach new lines and branches of ``gpen/``, and changes
those further: files as the target's mutators do and byte by byte, for other targets the random numbers that their
inputs are made from. The corpus is a folder of such inputs, which later runs begin with.

It writes lines of JSON as ``tests.fuzz.child`` does, and each input with an escape into the folder ESCAPES. The file
``now`` in FOLDER is the input that it is at.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from functools import partial
from pathlib import Path
from random import Random

import atheris

from tests.fuzz.mutators import changed_inside
from tests.fuzz.replay import calls_of, kept
from tests.fuzz.runner import MOST_SHOWN, Runner
from tests.fuzz.targets import FileInput, Target

_LONGEST = 1 << 20  # bytes of an input
_FIRST = 40  # inputs to begin with
_TELLS_EVERY = 5  # seconds


def main(name: str, folder: Path, seconds: float, corpus: Path, escapes: Path) -> None:
    """Search for so many seconds; it ends the process."""
    end = time.monotonic() + seconds
    with atheris.instrument_imports(include=["gpen"]):
        runner = Runner(name, folder)
        _imported(runner.target, folder / "first")
    _begun(runner.target, corpus)
    told = time.monotonic()

    def one(data: bytes) -> None:
        nonlocal told
        (folder / "now").write_bytes(data)
        found = runner.give(partial(calls_of, runner.target, data))
        if found:
            runner.tell_escapes(kept(data, escapes, name).name, found)
        now = time.monotonic()
        over = now > end or runner.escapes >= MOST_SHOWN
        if over or now > told + _TELLS_EVERY:
            runner.tell_outcomes()
            told = now
        if over:
            os._exit(0)  # libFuzzer would end it as abruptly, at a time of its own

    # Limits are those of the oracle. A timeout of 0 is none for libFuzzer, but one of 0 seconds for atheris.
    options = [
        f"-max_len={_LONGEST}",
        "-rss_limit_mb=0",
        "-timeout=86400",
        f"-artifact_prefix={folder}{os.sep}",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=partial(_changed, runner.target))
    atheris.Fuzz()


def _imported(target: Target, folder: Path) -> None:
    """Have everything imported that calls import, while imports are being instrumented."""
    folder.mkdir()
    for number in range(_FIRST):
        for call in target.make(Random(f"{target.name} {number}"), folder):
            with contextlib.suppress(Exception):  # the oracle is for later
                call()


def _begun(target: Target, corpus: Path) -> None:
    """Put inputs into a corpus that is empty."""
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        for number in range(_FIRST):
            rng = Random(f"{target.name} {number}")
            kept(target.make.make(rng) if isinstance(target.make, FileInput) else rng.randbytes(400), corpus, "first")


def _changed(target: Target, data: bytes, longest: int, seed: int) -> bytes:
    rng = Random(seed)
    kind = rng.random()
    if not isinstance(target.make, FileInput) or kind < 0.1:
        out = atheris.Mutate(data, longest)
    elif kind < 0.15:
        out = target.make.make(rng)
    elif kind < 0.6:
        out = target.make.change(rng, data)
    else:
        out = changed_inside(rng, data, lambda part: atheris.Mutate(part, longest))
    return out if len(out) <= longest else data


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
