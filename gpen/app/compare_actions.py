"""Event handlers of the comparison of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from ..errors import GpenError
from ..restoration.pipeline import OnProgress
from ..restoration.result import RestoredFace
from ..wording import count
from .actions import Actions
from .comparing import compare, keep
from .photo_actions import PhotoActions, chosen_text, no_file, running
from .texts import model_label
from .viewer import View, chosen_faces, seen


class CompareActions:
    """The handlers."""

    def __init__(self, actions: Actions, photos: PhotoActions) -> None:
        self._actions = actions
        self._photos = photos

    def compare(
        self,
        key: str | None,
        models: list[str] | None,
        view: View,
        damage: str | None,
        protect: str | None,
        aligned: bool,
        request: gr.Request,
        *values: Any,
    ) -> Iterator[Any]:
        """Do a task to the chosen faces of the open photo with each of several models.

        values: the background model, the task, and the controls. The view also holds what was painted. Yields the view,
        what the page says, and the file to download.
        """
        # Without it, an error before the first of them would empty the page.
        yield gr.skip(), gr.skip(), gr.skip()
        actions = self._actions
        session, stop = actions.sessions.get(key), actions.stop_of(request)
        session.compared = {}
        asked = self._photos.asked(None, view, damage, protect, aligned, values)
        begun = running(view)

        def run(show: Callable[[tuple[str, int, int]], None]) -> None:
            def on_progress(model: str) -> OnProgress:
                show((model, 0, 0))

                def on_face(done: int, total: int, face: RestoredFace | None) -> bool:
                    show((model, done, total))
                    if stop.is_set():
                        raise GpenError("The comparison was stopped.")
                    return True

                return on_face

            compare(actions.engine, session, asked, models or (), on_progress)
            actions.sessions.evict()

        yield begun, "Loading the models ...", gr.skip()
        try:
            for model, done, total in actions.engine.follow(run):
                text = f", {done} of {count(total, 'face')}" if total else ""
                yield (
                    {**begun, "running": {"done": done, "total": total, "made": {}}},
                    f"{model_label(model)}{text}",
                    gr.skip(),
                )
        except (GpenError, MemoryError):
            yield {**begun, "running": None}, "", gr.skip()
            raise
        compared = seen(
            key, session, asked.chosen or (), asked.task, with_faces=not asked.task.is_aligned(asked.aligned)
        )
        yield compared, f"{count(len(session.compared), 'model')} side by side: keep one, or close.", no_file()

    def keep(self, key: str | None, view: View) -> Any:
        """Keep what one of the models made, or go back to what there was.

        Returns the view, what the page says, the file to download, and the model.
        """
        actions = self._actions
        session = actions.sessions.get(key)
        model = None if view.get("kept") is None else str(view["kept"])
        task = next((each.task for each in session.compared.values()), session.task)
        keep(session, model)
        if session.restoration is None:
            before = seen(key, session, chosen_faces(view), task, with_faces=bool(view["faces"]))
            return before, chosen_text(session, view), no_file(), gr.skip()
        made = actions.engine.call(self._photos.made, key, session, chosen_faces(view), bool(view["faces"]))
        return *made, gr.skip() if model is None else model
