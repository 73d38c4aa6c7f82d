"""What is missing before a task can be done at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..faces.detection.detector import available_detectors
from ..tasks import Task
from ..weights.catalog import Published, find_published
from ..weights.search import by_preference


def missing_models(task: Task, *, has_network: bool, folders: Sequence[Path]) -> list[Published]:
    """The published models that a task still needs: a network, a detector, both or nothing.

    folders: the host's, searched for detectors before those of the environment and the user's cache.
    """
    needed = [] if has_network else by_preference(task.name)[:1]
    if task.looks_for_faces and available_detectors(folders)["auto"] is not None:
        needed.append(find_published("yunet"))
    return needed
