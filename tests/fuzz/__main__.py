"""``python -m tests.fuzz MINUTES``: further inputs, others each time; ``TARGET NUMBER`` or ``TARGET FILE``: one again.

Where atheris is installed, inputs are searched for by coverage. What was found is kept in ``.fuzz``, so that the next
run goes on from there. Elsewhere they are made from random numbers, as those of the test are.
"""

from __future__ import annotations

import importlib.util
import secrets
import sys
import time

from tests.fuzz.attack import ROOT, Outcome, again, attack, search
from tests.fuzz.targets import TARGETS, Target

_FOLDER = ROOT / ".fuzz"
_PART = 10  # rounds that a target's inputs of the test are divided into


def main(arguments: list[str]) -> int:
    """The number of escapes, at most 1."""
    if len(arguments) == 2:
        return _told(arguments[0], again(*arguments))
    targets = []
    for target in TARGETS.values():
        if target.missing:
            print(f"{target.name} is left out: it needs the package {target.missing[0]}", flush=True)
        else:
            targets.append(target)
    has_atheris = importlib.util.find_spec("atheris") is not None
    print("Inputs are", "searched for by coverage." if has_atheris else "made from random numbers.", flush=True)
    found = (_guided if has_atheris else _random)(targets, time.monotonic() + 60 * float(arguments[0]))
    print(f"{found} escapes")
    return min(found, 1)


def _guided(targets: list[Target], end: float) -> int:
    """Each target gets the same share of the time."""
    found = 0
    for place, target in enumerate(targets):
        seconds = (end - time.monotonic()) / (len(targets) - place)
        found += _told(target.name, search(target.name, seconds, _FOLDER))
    return found


def _random(targets: list[Target], end: float) -> int:
    found = 0
    while time.monotonic() < end:
        first = 1_000_000 + secrets.randbelow(1 << 40)
        for target in targets:
            outcome = attack(target.name, first, max(target.inputs // _PART, 1))
            found += _told(f"{target.name} from {first}", outcome)
            if time.monotonic() > end:
                break
    return found


def _told(what: str, outcome: Outcome) -> int:
    print(f"{what}: {dict(outcome.counts)}, {outcome.megabytes} MB", flush=True)
    for name, escape in outcome.escapes.items():
        print(f"ESCAPE {name}: {escape}", flush=True)
    return len(outcome.escapes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
