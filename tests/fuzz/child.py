"""A process that gives inputs to a target: ``python -m tests.fuzz.child TARGET FIRST COUNT FOLDER``.

It writes a line of JSON for each input that did what none may do, and at the end one that counts the outcomes. The
file ``now`` in the folder holds the number of the input that it is at, for whoever finds that it ended early.
"""

from __future__ import annotations

import json
import logging
import resource
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.oracle import EscapeError, Oracle
from tests.fuzz.targets import TARGETS

_MOST_SHOWN = 5


def main(name: str, first: int, count: int, folder: Path) -> None:
    """Inputs ``first`` to ``first + count - 1``, each made from its number and the target's name alone."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    target, work, outcomes = TARGETS[name], folder / "work", Counter[str]()
    oracle = Oracle(folder)
    target.make(Random(0), _emptied(work))  # imports are not what is measured
    resource.setrlimit(resource.RLIMIT_DATA, (target.memory, target.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    escapes = 0
    for number in range(first, first + count):
        (folder / "now").write_text(str(number))
        for call in target.make(Random(f"{name} {number}"), _emptied(work)):
            try:
                outcomes[oracle.check(call)] += 1
            except EscapeError as error:
                escapes += 1
                print(json.dumps({"number": number, "escape": str(error)[-1500:]}), flush=True)
        if escapes >= _MOST_SHOWN:
            break
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"outcomes": outcomes, "megabytes": most}), flush=True)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
