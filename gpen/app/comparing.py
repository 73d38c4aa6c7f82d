"""Several models side by side: each does the same to the open photo, and one of the results is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..errors import GpenError
from ..restoration.pipeline import OnProgress
from .engine import Engine
from .session import Compared, PhotoSession, WorkRequest, compute, show

MOST_MODELS = 3
"""The most models that are shown side by side."""


def compare(
    engine: Engine,
    session: PhotoSession,
    request: WorkRequest,
    models: Sequence[str],
    on_progress: Callable[[str], OnProgress | None] = lambda model: None,
) -> None:
    """Do a task with each of two or three models; the session keeps the results beside its last one.

    on_progress: called with a model before it begins; returns what is called after each face. GpenError for another
    number of models, and for what a user can cause; the session then stays as it is.
    """
    if not 2 <= len(models) <= MOST_MODELS:
        raise GpenError(f"{len(models)} of the models are ticked. Tick two or three to compare.")
    task = request.task
    made = {
        model: compute(engine, session, dataclasses.replace(request, model=model), on_progress(model))
        for model in models
    }
    session.compared = {
        model: Compared(result, task, show(session, task, result, f"compared{number}"))
        for number, (model, result) in enumerate(made.items())
    }


def keep(session: PhotoSession, model: str | None) -> None:
    """Make what a model made the session's last result; None: leave the one before. GpenError for another model."""
    if model is not None:
        if model not in session.compared:
            raise GpenError("This comparison is over: compare again.")
        kept = session.compared[model]
        session.restoration, session.task = kept.restoration, kept.task
    session.compared = {}


def blend_compared(session: PhotoSession, strength: float) -> bool:
    """Blend what is compared at another strength; False where nothing is, or the task has no strength."""
    if not session.compared or any(each.restoration.layers is None for each in session.compared.values()):
        return False
    session.compared = {model: _again(session, each, strength) for model, each in session.compared.items()}
    return True


def _again(session: PhotoSession, compared: Compared, strength: float) -> Compared:
    result = compared.restoration.with_strength(strength)
    return dataclasses.replace(
        compared, restoration=result, shown=show(session, compared.task, result, compared.shown.stem)
    )
