"""Downloads of published models in the background, for programs with a page: what to fetch, progress, Stop.

Everything else about a download is in :mod:`gpen.weights.download`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import FilesError, GpenError
from ..wording import megabytes
from .catalog import Published, find_published
from .download import fetch
from .search import find_file

OFF_VARIABLE = "GPEN_NO_DOWNLOADS"
"""Environment variable that forbids downloads from pages, such as on a server for many people."""

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Download:
    """How far the download of one file is."""

    published: Published
    """The file."""
    state: str = WAITING
    """"waiting", "running", "done", "failed" or "stopped"."""
    done: int = 0
    """Bytes on disk, including those of earlier attempts."""
    total: int | None = None
    """Bytes of the whole file; None if unknown."""
    error: str = ""
    """Why it failed, in sentences."""

    @property
    def is_active(self) -> bool:
        """Whether it still waits or runs."""
        return self.state in (WAITING, RUNNING)


class Downloads:
    """The downloads that were started, in their order, and the thread that fetches them one after another.

    folder_of: the folder to save a file in. folders_of: those in which it may be already.
    """

    def __init__(
        self, folder_of: Callable[[Published], Path], folders_of: Callable[[Published], Sequence[Path]]
    ) -> None:
        self._folder_of = folder_of
        self._folders_of = folders_of
        self._lock = threading.Lock()
        self._downloads: dict[str, Download] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self, names: Iterable[str], *, accepted: bool) -> list[Published]:
        """Start to fetch published models, and return them; one that is being fetched is not fetched twice.

        accepted: whether the user has accepted their licences. GpenError where downloads are switched off, a name is
        not one of the catalogue's, or the licences are not accepted; then nothing is started.
        """
        require_downloads()
        wanted = [find_published(name) for name in names]
        if not wanted:
            raise FilesError("No model was chosen. Choose one to download first.")
        if not accepted:
            whose = " and ".join(published.name for published in wanted)
            raise FilesError(f"Nothing was downloaded. Accept the terms of {whose} first.")
        with self._lock:
            self._stopping = False
            if self._thread is None:
                self._downloads.clear()
            for published in wanted:
                known = self._downloads.get(published.name)
                if known is None or not known.is_active:
                    self._downloads.pop(published.name, None)
                    self._downloads[published.name] = Download(published, total=published.about)
            if self._thread is None:
                # A host that is closed must not wait for it: the rest is fetched next time.
                thread = threading.Thread(target=self._work, name="gpen-downloads", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system gives no more threads
                    self._downloads.clear()
                    raise
                self._thread = thread
        return wanted

    def stop(self) -> None:
        """Stop after the bytes that are being received; what is on disk is continued by the next start."""
        with self._lock:
            self._stopping = self._thread is not None

    def states(self) -> list[Download]:
        """How far each file is, since the last time that nothing was being fetched."""
        with self._lock:
            return list(self._downloads.values())

    def is_active(self) -> bool:
        """Whether anything waits or is being fetched."""
        return any(download.is_active for download in self.states())

    def _work(self) -> None:
        while (published := self._next()) is not None:
            try:
                self._fetch(published)
            except _StoppedError:
                self._note(published, state=STOPPED)
            except GpenError as error:
                _log.warning("%s", str(error))
                self._note(published, state=FAILED, error=str(error))
            except Exception as error:  # of a bug: a page that waits for ever would not tell
                _log.exception("The download of %s failed.", published.name)
                self._note(published, state=FAILED, error=f"{published.name} could not be downloaded: {error!r}.")

    def _next(self) -> Published | None:
        """The next file to fetch; None, and the thread has ended, if there is none."""
        with self._lock:
            waiting = [download for download in self._downloads.values() if download.state == WAITING]
            if self._stopping:
                for download in waiting:
                    self._downloads[download.published.name] = replace(download, state=STOPPED)
                waiting = []
            if not waiting:
                self._thread = None
                return None
            first = waiting[0].published
            self._downloads[first.name] = replace(waiting[0], state=RUNNING)
            return first

    def _fetch(self, published: Published) -> None:
        path = find_file(published, self._folders_of(published))
        if path is None:
            path = fetch(
                published,
                self._folder_of(published),
                on_progress=lambda done, total: self._progressed(published, done, total),
            )
            _log.info("%s is now in %s", published.name, path)
        size = path.stat().st_size
        self._note(published, state=DONE, done=size, total=size)

    def _progressed(self, published: Published, done: int, total: int | None) -> None:
        if self._stopping:
            raise _StoppedError
        self._note(published, done=done, total=published.about if total is None else total)

    def _note(self, published: Published, **changes: object) -> None:
        with self._lock:
            known = self._downloads[published.name]
            self._downloads[published.name] = replace(known, **changes)  # type: ignore[arg-type]


class _StoppedError(Exception):
    """Raised inside a transfer that the user stopped."""


def downloads_problem() -> str:
    """Why nothing can be downloaded from a page here, in sentences; empty if it can."""
    if os.environ.get(OFF_VARIABLE, "").strip().lower() in ("", "0", "false", "no"):
        return ""
    return (
        f"Downloads are switched off on this computer by the environment variable {OFF_VARIABLE}. Ask whoever runs it "
        "for the model, or have the variable removed."
    )


def require_downloads() -> None:
    """GpenError where :func:`downloads_problem` says why."""
    problem = downloads_problem()
    if problem:
        raise GpenError(problem)


def download_label(models: Sequence[Published]) -> str:
    """What a button says that downloads these files, at least one: their number or name, and their size."""
    what = {1: models[0].name, 2: "both"}.get(len(models), f"{len(models)} models")
    sizes = [published.about for published in models]
    known = [size for size in sizes if size is not None]
    # Of a sum, a part is no help.
    return f"Download {what}, {megabytes(sum(known))}" if len(known) == len(sizes) else f"Download {what}"


def accept_label(models: Sequence[Published]) -> str:
    """What a button under their licences says, whose click accepts these and downloads the files."""
    return download_label(models).replace("Download", "Accept and download", 1)


def progress_text(downloads: Sequence[Download]) -> str:
    """How far downloads are, one line for each."""
    return "\n".join(_line(download) for download in downloads)


def _line(download: Download) -> str:
    name = download.published.name
    if download.state == RUNNING:
        of = f" of {megabytes(download.total)}" if download.total else ""
        return f"{name}: {megabytes(download.done)}{of}"
    if download.state == STOPPED:
        return f"{name}: stopped; the next download goes on from here."
    return {
        WAITING: f"{name}: waiting",
        DONE: f"{name}: downloaded",
        FAILED: download.error,
    }[download.state]
