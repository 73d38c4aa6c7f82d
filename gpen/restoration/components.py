"""What a run needs besides the photo: decided and loaded in one place, for every surface.

The command line, Ray's workers, the page, SD-WebUI and ComfyUI all ask a :class:`ComponentLoader`; what only a host
knows is in its :class:`HostHooks`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from ..device import pick_device, pick_dtype, release
from ..errors import FaceError, FilesError, GpenError, PhotoError
from ..faces.detection.detector import FaceDetector, find_detector, load_detector
from ..faces.masks.occlusion import Occluder, OcclusionModel, find_occluder
from ..faces.masks.parsing import FaceParser, find_parser
from ..faces.recognition.identity import FaceRecognizer, IdentityGuard, Recognizer, find_recognizer
from ..faces.recognition.people import People, people_in
from ..faces.recognition.sface import SFaceRecognizer
from ..images import read_picture
from ..images.masks import PhotoMasks
from ..images.picture import FloatImage
from ..options import Options
from ..tasks import Task
from ..weights.checkpoint import Model, inspect, load_model, require_task
from .needs import Needs
from .networks import NetworksBySize, title_by_size
from .processors import Parser
from .upscaler import Upscaler, check_upscaler, load_upscaler

FURTHER_NETWORK = "further network"
"""How the kinds of components begin that are networks besides the first."""

_log = logging.getLogger(__name__)
_Component = TypeVar("_Component")


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """What a run works with."""

    model: Model
    """The network; with ``networks`` the one for most faces."""
    networks: NetworksBySize | None = None
    """What each face gets the network of its size from; None where all get the same."""
    detector: FaceDetector | None = None
    """What finds faces; None where they are given, or the photo is one."""
    parser: Parser | None = None
    """What the parsed mask needs; None for other masks. It decides what the mask "auto" is."""
    occluder: Occluder | None = None
    """What tells the covered parts of faces; None where that is off."""
    guard: IdentityGuard | None = None
    """What keeps faces the same person's; None where it is off, for whatever reason."""
    guard_problem: str = ""
    """Why the guard is off although it was asked for."""
    upscaler: Upscaler | None = None
    """What makes the background; None for the enlarged photo."""
    damage_masks: PhotoMasks | None = None
    """Where photos are damaged."""
    protect_masks: PhotoMasks | None = None
    """Where photos stay as they are; None for nowhere."""
    people: People | None = None
    """Whose faces are worked on; None for everybody's."""

    @property
    def title(self) -> str:
        """Which network works, or which networks."""
        sizes = () if self.networks is None else self.networks.sizes
        return title_by_size(sizes) if len(sizes) > 1 else self.model.spec.title


@dataclass(frozen=True, kw_only=True)
class HostHooks:
    """What a program around us may want to do about components. The defaults do nothing."""

    before_model: Callable[[Path, torch.dtype], None] = lambda path, dtype: None
    """Called before the network in a file is loaded or used, to free memory for it."""
    before_helper: Callable[[], None] = lambda: None
    """Called before a detector, parser, recogniser or upscaler is loaded or used."""


class ComponentCache:
    """The component of each kind that was used last, for as long as its file, device and precision stay the same."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, object]] = {}

    def get(self, kind: str, key: Hashable, make: Callable[[], _Component]) -> _Component:
        """The component of a kind with this key, made anew where another one is kept."""
        if kind in self._kept and self._kept[kind][0] == key:
            return self._kept[kind][1]  # type: ignore[return-value]
        self._kept.pop(kind, None)  # before the new one takes memory
        # Some hosts call us in inference mode, in which weights would become tensors of that mode.
        with torch.inference_mode(False):
            made = make()
        self._kept[kind] = (key, made)
        return made

    def peek(self, kind: str) -> object | None:
        """The component of a kind that is kept, or None."""
        return self._kept[kind][1] if kind in self._kept else None

    def kinds(self) -> tuple[str, ...]:
        """The kinds of which a component is kept."""
        return tuple(self._kept)

    def drop(self, *kinds: str) -> None:
        """Let go of the components of these kinds; of all where none is named."""
        for kind in kinds or tuple(self._kept):
            self._kept.pop(kind, None)


class ComponentLoader:
    """Loads components onto a device, each file once for as long as it does not change.

    folders: the host's, searched before those of the environment and the user's cache. cache: shared with other
    loaders where it is given.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        device: torch.device | str,
        *,
        cache: ComponentCache | None = None,
        hooks: HostHooks = HostHooks(),
    ) -> None:
        self.folders = tuple(folders)
        self.device = torch.device(device)
        self._cache = ComponentCache() if cache is None else cache
        self._hooks = hooks

    def load(
        self, task: Task, weights: Path, options: Options, needs: Needs, others: Sequence[Path] | None = None
    ) -> Components:
        """Load what a run needs; GpenError where something is missing or cannot be used.

        A guard whose network is missing is left out: ``guard_problem`` and the log say why. others: further networks,
        of which each face gets the one of its size; None where all get the first.
        """
        self._drop_further(keep=others or ())  # before another one takes memory
        model = self.model(weights, options.precision).for_task(task.name)
        components = self.complete(model, options, needs)
        if others is None:
            return components

        def load(path: Path) -> Model:
            return self.model(path, options.precision, kind=_further(path)).for_task(task.name)

        networks = NetworksBySize(model, others, load, lambda path: self._unload(_further(path)))
        return replace(components, networks=networks)

    def complete(self, model: Model, options: Options, needs: Needs) -> Components:
        """The same around a network that is loaded already, because a host manages it."""
        guard, problem = self.guard(options) if needs.guard else (None, "")
        return Components(
            model=model,
            detector=None if needs.detector is None else self.detector(needs.detector),
            parser=self.parser(needs.mask),
            occluder=self.occluder(needs.occlusion),
            guard=guard,
            guard_problem=problem,
            upscaler=None if needs.upscaler is None else self.upscaler(needs.upscaler, options.precision),
            damage_masks=PhotoMasks.at(needs.damage, "damage mask", options.max_megapixels),
            protect_masks=PhotoMasks.at(needs.protect, "protection mask", options.max_megapixels),
            people=self.people(needs.people, options),
        )

    def check(
        self, task: Task, weights: Path, options: Options, needs: Needs, others: Sequence[Path] | None = None
    ) -> None:
        """Raise what :meth:`load` would for files and packages that are missing or of the wrong kind.

        Nothing is built, and no more than the files' tables of contents is read. As there, a missing network of the
        guard is not an error, and the log says what is missing.
        """
        for network in (weights, *(others or ())):
            info = inspect(network)
            if info.is_task_known:
                require_task(info, task.name)
        if needs.detector is not None:
            find_detector(needs.detector, self.folders, str(self.device))
        self.find_parser(needs.mask)
        if needs.occlusion != "none":
            find_occluder(needs.occlusion, self.folders)
        if needs.guard:
            self._find_recognizer()
        if needs.people:
            find_recognizer(self.folders)
            find_detector(options.detector, self.folders, str(self.device))
        for person in needs.people:
            if not person.is_file():
                raise PhotoError(f"{person}, which is to show a person, is not a file. Check the name and the folder.")
        if needs.upscaler is not None:
            check_upscaler(needs.upscaler)
        PhotoMasks.at(needs.damage, "damage mask", options.max_megapixels)
        PhotoMasks.at(needs.protect, "protection mask", options.max_megapixels)

    def model(self, weights: Path, precision: str, *, kind: str = "model") -> Model:
        """The network in a file. kind: what it is kept as; one of each kind is."""
        dtype = pick_dtype(precision, self.device)
        self._hooks.before_model(weights, dtype)
        return self._kept(kind, weights, lambda: load_model(weights, self.device, dtype), dtype)

    def _drop_further(self, keep: Sequence[Path]) -> None:
        """Let go of the further networks of an earlier run, but for those in these files."""
        kept = {_further(path) for path in keep}
        for kind in self._cache.kinds():
            if kind.startswith(FURTHER_NETWORK) and kind not in kept:
                self._unload(kind)

    def _unload(self, kind: str) -> None:
        self._cache.drop(kind)
        release(self.device)

    def detector(self, name: str) -> FaceDetector:
        """The detector of that name, or the one that "auto" chooses."""
        found, weights = find_detector(name, self.folders, str(self.device))
        self._hooks.before_helper()
        return self._kept("detector", weights, lambda: load_detector(found, weights, str(self.device)), found)

    def parser(self, mask: str | None) -> FaceParser | None:
        """The face parser for a mask, as :meth:`find_parser` finds it; GpenError where it cannot be used."""
        found = self.find_parser(mask)
        if found is None:
            return None
        name, weights = found
        self._hooks.before_helper()
        try:
            return self._kept("parser", weights, lambda: FaceParser(name, weights, str(self.device)))
        except (FaceError, FilesError) as error:
            if mask == "auto":  # whoever did not ask for a parser may do without
                raise type(error)(f"{error} Or choose the mask ellipse.") from error
            raise

    def occluder(self, name: str) -> OcclusionModel | None:
        """The occlusion model of that name, or the one that "auto" chooses; None for "none"."""
        if name == "none":
            return None
        weights = find_occluder(name, self.folders)
        self._hooks.before_helper()
        return self._kept("occluder", weights, lambda: OcclusionModel(weights))

    def find_parser(self, mask: str | None) -> tuple[str, Path] | None:
        """The name of the face parser for a mask, and the path of its weights, which are not read.

        None for masks that need none, and for "auto" where no parser can be used, with the reason in the log; GpenError
        for "parsed" there.
        """
        if mask not in ("auto", "parsed"):
            return None
        try:
            return find_parser(self.folders)
        except GpenError as error:
            if mask == "parsed":
                raise
            _log.info("The mask is an ellipse. %s", str(error))
            return None

    def upscaler(self, path: Path, precision: str) -> Upscaler:
        """The background model in a file."""
        self._hooks.before_helper()
        return self._kept("upscaler", path, lambda: load_upscaler(path, self.device, precision), precision)

    def guard(self, options: Options) -> tuple[IdentityGuard | None, str]:
        """The guard, with the limit and the action of the options; None and the reason if its network is missing."""
        found, problem = self._find_recognizer()
        if found is None:
            return None, problem
        # Only the network is kept: another limit needs no other one.
        blend = options.identity_action == "blend"
        return IdentityGuard(self._recognizer(*found), options.identity_guard, blend=blend), ""

    def people(self, files: Sequence[Path], options: Options) -> People | None:
        """The people in photos, as :func:`gpen.faces.recognition.people.people_in` finds them; None for no photos.

        GpenError where there is no recogniser, or a photo cannot be used.
        """
        return self.people_in(
            [(str(path), read_picture(path, options.max_megapixels).photo) for path in files], options
        )

    def people_in(
        self, photos: Sequence[tuple[str, FloatImage]], options: Options, detector: FaceDetector | None = None
    ) -> People | None:
        """The same for photos that are read already, with their names for messages.

        detector: in place of the one that the options name.
        """
        if not photos:
            return None
        recognizer = self._recognizer(*find_recognizer(self.folders))
        detector = detector or self.detector(options.detector)
        return people_in(photos, detector, options.detection_threshold, recognizer)

    def _recognizer(self, name: str, weights: Path) -> Recognizer:
        def make() -> Recognizer:
            return SFaceRecognizer(weights) if name == "sface" else FaceRecognizer(weights, str(self.device))

        self._hooks.before_helper()
        return self._kept("recognizer", weights, make)

    def _find_recognizer(self) -> tuple[tuple[str, Path] | None, str]:
        """The guard's network and its weights; None and the reason, which is logged, if they cannot be used."""
        try:
            return find_recognizer(self.folders), ""
        except GpenError as error:
            _log.warning("The identity guard is off. %s", str(error))
            return None, str(error)

    def _kept(self, kind: str, file: Path, make: Callable[[], _Component], *more: Hashable) -> _Component:
        def released() -> _Component:
            release(self.device)
            return make()

        try:
            stat = file.stat()
        except OSError:  # reading it will say what is wrong
            return make()
        key = (file.absolute(), stat.st_mtime_ns, stat.st_size, str(self.device), *more)
        return self._cache.get(kind, key, released)


def _further(path: Path) -> str:
    """What a further network of a run is kept as: those of several sizes stay side by side."""
    return f"{FURTHER_NETWORK} {path}"


def make_guard(
    options: Options, folders: Sequence[Path] = (), device: torch.device | str = "cpu"
) -> IdentityGuard | None:
    """Return the guard that the options ask for; None where they ask for none.

    None as well where its weights are not there or facexlib does not import, with the reason in the log: faces are
    restored without it. device: as PyTorch names it, or "auto". FaceError where there are weights that cannot be used,
    GpenError where the device cannot.
    """
    return ComponentLoader(folders, pick_device(device)).guard(options)[0] if options.identity_guard else None


def make_people(
    photos: Sequence[Path], options: Options, folders: Sequence[Path] = (), device: torch.device | str = "cpu"
) -> People | None:
    """Return the people in photos, the largest face of each, for the argument ``people``; None for no photos.

    options: its detector, detection threshold and largest picture count. device: as PyTorch names it, or "auto".
    GpenError where there is no recogniser, no detector, or no face in a photo, or the device cannot be used.
    """
    return ComponentLoader(folders, pick_device(device)).people(photos, options)
