"""Event handlers of the tab for one photo."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import GpenError
from ..options import ALIGNED, OPTIONS, Options
from ..restoration.result import RestoredFace
from ..tasks import RESTORE, Task, find_task
from ..video.plan import is_film
from ..wording import count, time_left
from .actions import CONTROLS, Actions
from .browser_pictures import looks_like_photo
from .browser_storage import kept_settings
from .comparing import blend_compared
from .painted import KINDS, PEOPLE, strokes
from .session import (
    PhotoSession,
    WorkRequest,
    blend,
    find,
    open_photo,
    open_result,
    show_mask,
    show_result,
    work,
)
from .session import write_result as write
from .texts import NOT_A_MAP, error_text
from .viewer import EMPTY, View, chosen_faces, marked, seen, thumbnail

_ONE_FACE = "The whole picture is one face."
_AGAIN = "The options have changed: press the button again to see the difference."


class PhotoActions:
    """The handlers. A view is the value of the viewer."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    def open(
        self,
        photo: str,
        key: str | None,
        people: list[str] | None,
        damage: str | None,
        protect: str | None,
        aligned: bool,
        task: str,
        *values: Any,
    ) -> Any:
        """Open a photo instead of the one before, and find its faces; a film is not for here."""
        if is_film(Path(photo)):
            return [gr.skip()] * 4
        actions = self._actions
        options = _options(actions, task, values)
        actions.limits.check(Path(photo))
        session = actions.engine.call(open_photo, Path(photo), actions.folder, actions.limits.megapixels)
        return self._opened(session, key, people, damage, protect, aligned, task, options)

    def _opened(
        self,
        session: PhotoSession,
        before: str | None,
        people: Sequence[str] | None,
        damage: str | None,
        protect: str | None,
        aligned: bool,
        task: str,
        options: Options,
    ) -> Any:
        """What the page shows of a photo that takes the place of the one before. before: the key of that."""
        actions, row = self._actions, find_task(task)
        for kind, file in zip(KINDS, (damage, protect), strict=True):
            try:
                self._show_mask(session, kind, file)
            except GpenError as error:
                gr.Warning(error_text(error))
        actions.sessions.drop(before)
        key = actions.sessions.put(session)
        absent = [each.name for each in actions.engine.locator.missing(row) if each.kind == "detector"]
        if absent:
            text = f"The faces are looked for as soon as {absent[0]} is here."
            gr.Info(text)
            return key, seen(key, session, [], row), text, no_file()
        try:
            view, text = self._found(key, session, people, aligned, task, options)
        except GpenError as error:
            # The photo itself is fine: other options may find its faces.
            gr.Warning(error_text(error))
            view, text = seen(key, session, [], row), ""
        return key, view, text, no_file()

    def go_on(
        self,
        key: str | None,
        people: list[str] | None,
        damage: str | None,
        protect: str | None,
        aligned: bool,
        task: str,
        *values: Any,
    ) -> Any:
        """Open the last result as a photo, to do something else to it."""
        actions = self._actions
        before = actions.sessions.get(key)
        options = _options(actions, task, values)
        session = actions.engine.call(
            partial(open_result, before, actions.folder, actions.limits.megapixels, note=actions.provenance)
        )
        key, view, text, off = self._opened(session, key, people, damage, protect, aligned, task, options)
        return key, view, f"The result is the photo now. {text}", off

    def show_masks(self, key: str | None, view: View, damage: str | None, protect: str | None) -> Any:
        """Show the masks that were given as pictures over the photo, and say that the result had others."""
        if key is None:
            return gr.skip(), gr.skip()
        session = self._actions.sessions.get(key)
        for kind, file in zip(KINDS, (damage, protect), strict=True):
            self._show_mask(session, kind, file)
        return {**view, "marked": marked(session)}, self.change_options(key)

    def _show_mask(self, session: PhotoSession, kind: str, file: str | None) -> None:
        path = None if file is None else Path(file)
        session.given[kind] = [] if path is None else [path]
        self._actions.engine.call(show_mask, session, kind, path, self._actions.limits.megapixels)

    def find_faces(self, key: str | None, people: list[str] | None, aligned: bool, task: str, *values: Any) -> Any:
        """Find the faces with the current options, and choose those that the options choose.

        people: photos of those whose faces are chosen; none for everybody's.
        """
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        session = self._actions.sessions.get(key)
        session.forget_result()
        return *self._found(key, session, people, aligned, task, _options(self._actions, task, values)), no_file()

    def look_again(self, key: str | None, people: list[str] | None, aligned: bool, task: str, *values: Any) -> Any:
        """Find the faces of a photo that was dropped before a detector was downloaded."""
        missing = self._actions.engine.locator.missing(find_task(task))
        if any(published.kind == "detector" for published in missing):
            return gr.skip(), gr.skip(), gr.skip()
        return self.find_faces(key, people, aligned, task, *values)

    def _found(
        self, key: str, session: PhotoSession, people: Sequence[str] | None, aligned: bool, task: str, options: Options
    ) -> tuple[View, str]:
        """The photo with its faces, and a sentence about them."""
        row, actions = find_task(task), self._actions
        session.given[PEOPLE] = shown = [Path(one) for one in people or ()]
        if _is_one_face(row, aligned):
            if row.always_aligned and looks_like_photo(session.picture.photo):
                gr.Warning(NOT_A_MAP)
                return seen(key, session, [], row, with_faces=False), NOT_A_MAP
            return seen(key, session, [], row, with_faces=False), _ONE_FACE
        chosen = actions.engine.call(find, actions.engine, session, options, shown)
        actions.sessions.evict()
        found = len(session.faces)
        text = f"{count(found, 'face')} found, {len(chosen)} chosen."
        if not found:
            text = "No face was found. Lower the detection threshold under Advanced."
        elif row.needs_damage_mask and "damage" not in session.marked:
            text += " Paint over the damage."
        return seen(key, session, chosen, row), text

    def choose(self, key: str | None, view: View) -> Any:
        """What the page says once other faces are chosen; the result is one of those before, so it goes."""
        session = self._actions.sessions.get(key)
        session.forget_result()
        return chosen_text(session, view), no_file()

    def change_options(self, key: str | None) -> Any:
        """Say that the result was made with other options."""
        if key is None or self._actions.sessions.get(key).restoration is None:
            return gr.skip()
        return _AGAIN

    def restore_photo(
        self,
        key: str | None,
        model: str | None,
        view: View,
        damage: str | None,
        protect: str | None,
        aligned: bool,
        request: gr.Request,
        *values: Any,
    ) -> Iterator[Any]:
        """Do a task to the chosen faces of the open photo. values: the background model, the task, and the controls.

        The view also holds what was painted. Yields the view, what the page says, and the file to download.
        """
        # Without it, an error before the first of them would empty the page.
        yield gr.skip(), gr.skip(), gr.skip()
        actions = self._actions
        session, stop = actions.sessions.get(key), actions.stop_of(request)
        session.compared = {}
        asked = self.asked(model, view, damage, protect, aligned, values)
        task, chosen = asked.task, chosen_faces(view)
        with_faces = not task.is_aligned(asked.aligned)
        begun = running(view)

        def run(show: Callable[[tuple[int, int, str | None, int]], None]) -> Any:
            def on_progress(done: int, total: int, face: RestoredFace | None) -> bool:
                made = None if face is None else thumbnail(face)
                show((done, total, made, -1 if face is None else face.number))
                return not stop.is_set()

            work(actions.engine, session, asked, on_progress)
            actions.sessions.evict()
            return self.made(key, session, chosen, with_faces)

        # What there was stays until there is a new result, or for good if there is none.
        yield begun, "Loading the model ...", gr.skip()
        steps = actions.engine.follow(run)
        started = 0.0
        try:
            while True:
                done, total, made, number = next(steps)
                before, begun = begun["running"], dict(begun)
                begun["running"] = {"done": done, "total": total, "made": dict(before["made"])}
                if made is not None and with_faces:
                    begun["running"]["made"][str(number)] = made
                text = f"{done} of {count(total, 'face')}"
                if done > 1 and done < total:
                    text += f", {time_left((time.monotonic() - started) / (done - 1) * (total - done))}"
                elif done == 1:
                    started = time.monotonic()
                yield begun, text, gr.skip()
        except StopIteration as end:
            yield end.value
        except (GpenError, MemoryError):
            said = "" if session.said is None else session.said[0]
            yield {**begun, "running": None}, said, gr.skip()
            raise

    def asked(
        self,
        model: str | None,
        view: View,
        damage: str | None,
        protect: str | None,
        aligned: bool,
        values: Sequence[Any],
    ) -> WorkRequest:
        """What is asked for. view: with what was painted. values: the background model, the task, and the controls."""
        background, name, *controls = values
        task, painted = find_task(name), strokes(view.get("painted"))
        if task.needs_damage_mask and damage is None and not any(stroke.kind == "damage" for stroke in painted):
            raise GpenError(
                "To fill in damage, a mask is needed: paint over the damage with the brush, or give a picture that is "
                "white where the photo is damaged."
            )
        return WorkRequest(
            task=task,
            options=_options(self._actions, name, controls),
            model=model or "",
            background=background or "",
            chosen=chosen_faces(view),
            damage=Path(damage) if damage else None,
            protect=Path(protect) if protect else None,
            strokes=painted,
            # The checkbox keeps its value while it is hidden.
            aligned=aligned and task.accepts_aligned,
        )

    def change_strength(self, key: str | None, view: View, strength: float) -> Any:
        """Blend the last result again at another strength, without running the network."""
        if key is None:
            return gr.skip(), gr.skip(), gr.skip()
        session = self._actions.sessions.get(key)
        return self._actions.engine.call(
            self._blended, key, session, chosen_faces(view), OPTIONS["strength"].check(strength)
        )

    def _blended(self, key: str, session: PhotoSession, chosen: Sequence[int], strength: float) -> Any:
        row = session.task
        if blend_compared(session, strength):
            return seen(key, session, chosen, row), gr.skip(), no_file()
        if blend(session, strength) is None:
            return gr.skip(), gr.skip(), gr.skip()
        return self.made(key, session, chosen, with_faces=True)

    def made(self, key: str | None, session: PhotoSession, chosen: Sequence[int], with_faces: bool) -> Any:
        """The viewer, a sentence and the download, for the last result."""
        result, text = write(session, note=self._actions.provenance)
        show_result(session)
        session.said = text, result
        view = seen(key, session, chosen, session.task, with_faces=with_faces)
        return view, text, gr.update(value=result, interactive=True)

    def come_back(self, saved: str | None) -> Any:
        """What was on the page before it was loaded again.

        saved: see :func:`kept_settings`. Returns the key, the view, a sentence, the download, the masks and people, the
        task, whether the photo is one face, and the values of the controls.
        """
        nothing = [gr.skip()] * (7 + 2 + len(CONTROLS))
        values = kept_settings(saved)
        if values is None:
            return nothing
        # What is as the page begins is left alone: a user may have changed it already.
        begins = [RESTORE.name, ALIGNED.default, *(OPTIONS[name].default for name in CONTROLS)]
        settings = [
            gr.skip() if value == start else value
            for value, start in zip([values["task"], values["aligned"], *values["controls"]], begins, strict=True)
        ]
        try:
            key = values["key"]
            session = self._actions.sessions.get(key)
        except GpenError:
            return [*nothing[:7], *settings]
        uploads = self._uploads(session)
        chosen = [number for number in values["chosen"] if number < len(session.faces)]
        row = find_task(values["task"])
        is_one_face = _is_one_face(row, values["aligned"])
        view = seen(key, session, chosen, row, with_faces=not is_one_face)
        if session.after is None or session.said is None:
            text = _ONE_FACE if is_one_face else f"{count(len(session.faces), 'face')} found, {len(chosen)} chosen."
            return [key, view, text, no_file(), *uploads, *settings]
        text, result = session.said
        return [key, view, text, gr.update(value=result, interactive=True), *uploads, *settings]

    def _uploads(self, session: PhotoSession) -> list[Any]:
        """The masks and the people of a photo, for uploads that are empty again; those that are gone are named."""
        shown: list[Any] = []
        for kind in (*KINDS, PEOPLE):
            files = session.given.get(kind, [])
            if lost := [file for file in files if not file.exists()]:
                names = " and ".join(file.name for file in lost)
                gr.Warning(html.escape(f"Newer uploads needed the room of {names}. Choose it again."))
                files = session.given[kind] = [file for file in files if file not in lost]
                session.marked.pop(kind, None)
            uploaded = [str(file) for file in files]
            shown.append(gr.skip() if not files else uploaded if kind == PEOPLE else uploaded[0])
        return shown


def chosen_text(session: PhotoSession, view: View) -> str:
    """How many of the faces are chosen."""
    return f"{len(chosen_faces(view))} of {count(len(session.faces), 'face')} chosen."


def running(view: View) -> View:
    """The view while something runs. view: with what was painted, which stays in the browser."""
    begun = {**EMPTY, **view, "compared": [], "running": {"done": 0, "total": len(chosen_faces(view)), "made": {}}}
    begun.pop("painted", None)
    return begun


def _options(actions: Actions, task: str, values: Sequence[Any]) -> Options:
    return actions.options(find_task(task), dict(zip(CONTROLS, values, strict=True)))


def _is_one_face(task: Task, aligned: bool) -> bool:
    """Whether the whole photo is one face. aligned: of a control, which counts only where the task has it."""
    return task.is_aligned(aligned and task.accepts_aligned)


def no_file() -> Any:
    """A download that is off."""
    return gr.update(value=None, interactive=False)
