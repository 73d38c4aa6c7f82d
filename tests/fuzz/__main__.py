"""``python -m tests.fuzz MINUTES``: further inputs, from other numbers each time; ``TARGET NUMBER``: one again."""

from __future__ import annotations

import secrets
import sys
import time

from tests.fuzz.attack import attack
from tests.fuzz.targets import TARGETS

_PART = 10  # rounds that a target's inputs of the test are divided into


def main(arguments: list[str]) -> int:
    """The number of escapes, at most 1."""
    if len(arguments) == 2:
        print(attack(arguments[0], int(arguments[1]), 1))
        return 0
    end = time.monotonic() + 60 * float(arguments[0])
    found = 0
    while time.monotonic() < end:
        first = 1_000_000 + secrets.randbelow(1 << 40)
        for name, target in TARGETS.items():
            if target.missing:
                print(f"{name} is left out: it needs the package {target.missing[0]}", flush=True)
                continue
            outcome = attack(name, first, max(target.inputs // _PART, 1))
            print(f"{name} from {first}: {dict(outcome.counts)}, {outcome.megabytes} MB", flush=True)
            for number, what in outcome.escapes.items():
                print(f"ESCAPE {name} {number}: {what}", flush=True)
            found += len(outcome.escapes)
            if time.monotonic() > end:
                break
    print(f"{found} escapes")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
