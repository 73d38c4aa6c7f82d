"""The hidden folder beside a film's result that holds what is done of it until it is finished."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..atomic import atomic_path, make_folder, write_json
from ..errors import OptionError, PhotoError
from ..file_lock import Holder, file_lock
from ..filenames import fitting

_RECIPE, _FACES = "recipe.json", "faces.jsonl"
_END = ".gpen"


class WorkFolder:
    """What is done of a film. PhotoError where it cannot be written."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{fitting(target.name, '.' + _END)}{_END}")
        self.whole = self.path / f"whole{target.suffix}"
        """Where the result lies until it is complete."""

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs away from it during the block. PhotoError where one is at work on the same result."""
        with file_lock(self.path.with_suffix(".lock")) as holder:
            if holder is Holder.ANOTHER:
                raise PhotoError(
                    f"Another run is at work on {self.target}. Wait for it, or choose another name for the result."
                )
            yield

    def open(self, recipe: Mapping[str, Any], *, anew: bool) -> None:
        """Begin the work, or go on with it.

        recipe: what decides how the result looks. OptionError where the work was begun with another one; anew: drop
        that work instead.
        """
        before = self._recipe()
        now = json.loads(json.dumps(recipe))
        if before is not None and before != now:
            if not anew:
                raise OptionError(
                    f"{self.path} holds an unfinished run with other options or models ({_difference(before, now)}). "
                    "Repeat its command to finish it, or add --overwrite to begin anew."
                )
            self.remove()
            before = None
        if before is None:
            self.remove()
            make_folder(self.path)
            write_json(self.path / _RECIPE, now, "The record of the film")

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def records(self) -> Iterator[dict[str, Any]]:
        """What :meth:`record` has added, in order; a record that was cut off ends it."""
        with contextlib.suppress(OSError), (self.path / _FACES).open("rb") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    return

    def record(self, content: Mapping[str, Any]) -> None:
        """Add a record about the faces that were found."""
        try:
            with (self.path / _FACES).open("ab") as file:
                file.write(json.dumps(content).encode() + b"\n")
        except OSError as error:
            raise PhotoError(
                f"{self.path} cannot be written: {error.strerror or error}. Check the folder and the disk."
            ) from error

    def restart_records(self, records: list[dict[str, Any]]) -> None:
        """Write the records anew, without what was cut off."""
        (self.path / _FACES).unlink(missing_ok=True)
        for content in records:
            self.record(content)

    def segment(self, number: int) -> Path:
        """The file of a segment."""
        return self.path / f"segment-{number:06}.video"

    def finished(self, number: int) -> dict[str, Any] | None:
        """What :meth:`finish` was told about a segment; None where it is not finished."""
        try:
            content = json.loads(self._about(number).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return dict(content) if self.segment(number).is_file() else None

    @contextlib.contextmanager
    def writing(self, number: int) -> Iterator[Path]:
        """Yield a temporary path for the file of a segment, which becomes it if the block succeeds."""
        try:
            with atomic_path(self.segment(number)) as temporary:
                yield temporary
        except OSError as error:
            raise PhotoError(
                f"{self.segment(number)} cannot be written: {error.strerror or error}. Check the folder and the disk."
            ) from error

    def finish(self, number: int, about: Mapping[str, Any]) -> None:
        """Note that the file of a segment is complete."""
        write_json(self._about(number), about, "The record of a part of the film")

    def _about(self, number: int) -> Path:
        return self.segment(number).with_suffix(".json")

    def _recipe(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.path / _RECIPE).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in dict.fromkeys([*now, *before]) if before.get(name) != now.get(name)]
    return "; ".join(f"{name} {before.get(name)}, now {now.get(name)}" for name in names[:4])
