"""Gives inputs to a target in this process, within limits, and writes what comes of them as lines of JSON."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.oracle import EscapeError, Oracle
from tests.fuzz.targets import TARGETS, Calls

MOST_SHOWN = 5
"""Escapes after which the rest is not worth the time."""


class Runner:
    """A target in this process, which gets its limit on memory. folder: the only one that may be written to."""

    def __init__(self, name: str, folder: Path) -> None:
        # What libraries print is not for whoever reads the lines.
        self._lines = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        self.target, self._work = TARGETS[name], folder / "work"
        self._oracle, self._outcomes = Oracle(folder), Counter[str]()
        self.escapes = 0
        self.target.make(Random(0), self._emptied())  # imports are not what is measured
        resource.setrlimit(resource.RLIMIT_DATA, (self.target.memory, self.target.memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def give(self, make: Callable[[Path], Calls]) -> list[str]:
        """Give it an input, which ``make`` writes into a folder. What it did that none may do."""
        escapes = []
        for call in make(self._emptied()):
            try:
                self._outcomes[self._oracle.check(call)] += 1
            except EscapeError as error:
                escapes.append(str(error)[-1500:])
        return escapes

    def tell_escapes(self, name: str, escapes: list[str]) -> None:
        """Write a line for each that an input had."""
        self.escapes += len(escapes)
        for escape in escapes:
            self._tell({"input": name, "escape": escape})

    def tell_outcomes(self) -> None:
        """Write a line that counts the outcomes since the last one."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self._tell({"outcomes": self._outcomes, "megabytes": most})
        self._outcomes.clear()

    def _tell(self, line: dict[str, object]) -> None:
        print(json.dumps(line), file=self._lines, flush=True)

    def _emptied(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        return self._work
