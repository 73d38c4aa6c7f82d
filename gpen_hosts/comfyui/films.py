"""Videos, as nodes pass them on, restored from file to file."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management as management
import folder_paths
from comfy_api.latest import InputImpl
from torch import Tensor

from ...gpen.errors import PhotoError
from ...gpen.images.picture import FloatImage
from ...gpen.options import Options
from ...gpen.restoration.api import face_choice
from ...gpen.restoration.processors import with_mask_chosen
from ...gpen.tasks import RESTORE
from ...gpen.video.detect import finder
from ...gpen.video.encoder import CONTAINERS
from ...gpen.video.ffmpeg import pyav
from ...gpen.video.restore import Picture, Restorer
from ...gpen.video.run import FilmResult, FilmSettings, FilmWork, restore_film
from ...gpen.video.source import probe
from . import host
from .face_inputs import FaceInputs
from .image_batches import masks_by_frame
from .widgets import supported

CODECS = ("auto", "h264", "hevc", "av1", "ffv1")
"""Choices of the node, the default first."""

USUAL_CRF = -1.0
"""Stands for the encoder's usual quality."""

_OTHERS = ".mkv"
"""What the result is where the video's own kind of file cannot be written, or does not hold the codec."""

_SECONDS_BETWEEN_PREVIEWS = 1.0

_log = logging.getLogger(__name__)


def settings_from(values: dict[str, Any]) -> FilmSettings:
    """How the video is read and written, of a node's values, which are removed from them: what is left are options."""
    codec, crf = values.pop("codec"), values.pop("crf")
    values["video"] = values.pop("steady")
    return FilmSettings(
        codec=None if codec == CODECS[0] else codec,
        crf=None if crf <= USUAL_CRF else crf,
        deinterlace=values.pop("deinterlace"),
        keep_unfinished=False,
    )


def restore_video(
    video: Any,
    model: host.ManagedModel,
    where: FaceInputs,
    protect: Tensor | None,
    options: Options,
    settings: FilmSettings,
) -> tuple[Any, FilmResult]:
    """Restore the faces of the host's VIDEO; returns another one, whose file lies in the host's temporary folder.

    Nothing is left there where it fails, or Cancel ends it. GpenError for everything a user can cause.
    """
    pyav()  # before anything is written
    with _folder() as folder:
        film, settings = _film_of(video, folder, settings)
        target = folder / f"{film.stem}_{RESTORE.done}{_suffix(film, settings)}"
        work = _work(film, model, where, protect, options, settings)
        result = restore_film(film, target, work, _Steps())
        if film.parent == folder:
            film.unlink()
    return InputImpl.VideoFromFile(str(target)), result


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder below the host's temporary one, which the host empties when it starts; removed after an error."""
    temporary = Path(folder_paths.get_temp_directory())
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="gpen_", dir=temporary))
    except OSError as error:
        raise PhotoError(
            f"Nothing can be written to ComfyUI's temporary folder {temporary}: {error.strerror or error}. Check the "
            "folder and the disk."
        ) from error
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _film_of(video: Any, folder: Path, settings: FilmSettings) -> tuple[Path, FilmSettings]:
    """The file of a VIDEO, written to ``folder`` where it is none, and the settings for the part that it stands for."""
    trimmed = getattr(video, "get_active_trim_window", None)
    if not isinstance(video, InputImpl.VideoFromFile) or (trimmed is None and hasattr(video, "as_trimmed")):
        # Frames in memory, another pack's kind of video, or a host that trims but does not say where. A constant rate
        # factor of 0 loses nothing; older hosts know only their own.
        written = folder / "video.mp4"
        supported(video.save_to, path=str(written), crf=0.0)
        return written, settings
    source = video.get_stream_source()
    start, seconds = (0.0, 0.0) if trimmed is None else trimmed()
    settings = replace(settings, start=start, preview=seconds or None)
    if isinstance(source, str):
        return Path(source), settings
    written = folder / "video"
    with written.open("wb") as file:
        shutil.copyfileobj(source, file)
    with pyav().open(str(written)) as container:
        kinds = container.format.name.split(",")
    return written.rename(written.with_suffix(".mp4" if "mp4" in kinds else _OTHERS)), settings


def _suffix(film: Path, settings: FilmSettings) -> str:
    """How the name of the result ends: as the film's where that is possible."""
    own = film.suffix.lower()
    if settings.codec == "ffv1" or own not in CONTAINERS:
        return _OTHERS
    return ".mp4" if own == ".webm" and settings.codec not in (None, "av1") else own


def _work(
    film: Path,
    model: host.ManagedModel,
    where: FaceInputs,
    protect: Tensor | None,
    options: Options,
    settings: FilmSettings,
) -> FilmWork:
    detector = where.detector or host.detector_of("auto")
    people = None if where.person is None else host.people_of(where.person, detector, options)
    components = host.components_for(RESTORE, model, options)
    options = with_mask_chosen(options, has_parser=components.parser is not None)
    width, height = probe(film, options.max_megapixels).size_shown

    def before_frame() -> None:
        management.throw_exception_if_processing_interrupted()
        model.load()

    return FilmWork(
        restorer=Restorer(
            task=RESTORE,
            components=components,
            options=options,
            protect=masks_by_frame(protect, 1, height, width)(0),
            before_frame=before_frame,
        ),
        find=finder(RESTORE, options, detector, components.model.device),
        choice=replace(face_choice(options, people), min_score=options.detection_threshold),
        settings=settings,
        recipe={},  # nothing is resumed
        region=masks_by_frame(where.region, 1, height, width)(0),
    )


class _Steps:
    """Both passes on a node's progress bar, with a frame as preview now and then."""

    def __init__(self) -> None:
        self._progress = host.Progress()
        self._done = self._frames = 0
        self._shown = -_SECONDS_BETWEEN_PREVIEWS

    def starts(self, what: str, frames: int | None) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        if self._done:  # the second pass, of whose frames the number is known
            self._done = frames or self._done
        self._frames = frames or 0
        self._shown = -_SECONDS_BETWEEN_PREVIEWS

    def advances(self, *, was_there: bool = False, picture: Picture | None = None) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        self._done += 1
        self._progress(self._done, max(2 * self._frames, self._done), self._preview(picture))

    def says(self, text: str) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        _log.info("%s", text)

    def _preview(self, picture: Picture | None) -> FloatImage | None:
        now = time.monotonic()
        if picture is None or now < self._shown + _SECONDS_BETWEEN_PREVIEWS:
            return None
        self._shown = now
        return picture()
