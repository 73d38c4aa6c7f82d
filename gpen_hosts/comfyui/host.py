"""ComfyUI's model folders, memory management, progress and previews, for the nodes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import ui
from PIL import Image
from server import PromptServer
from torch import Tensor

from ...gpen.device import dtype_name, pick_dtype
from ...gpen.errors import FilesError, PhotoError
from ...gpen.faces.detection.detector import FaceDetector
from ...gpen.faces.recognition.people import People
from ...gpen.images.picture import FloatImage, check_megapixels
from ...gpen.images.resize import resize
from ...gpen.network.memory import memory_estimate
from ...gpen.options import Options
from ...gpen.restoration.components import ComponentCache, ComponentLoader, Components, HostHooks
from ...gpen.restoration.needs import Needs
from ...gpen.tasks import RESTORE, Task
from ...gpen.weights.catalog import NETWORK_SUFFIXES, ONNX_SUFFIX, find_published, published_by_file_name
from ...gpen.weights.checkpoint import Model, load_model
from ...gpen.weights.downloads import downloads_problem
from ...gpen.weights.search import default_network, may_be_network, search_folders
from ...gpen.wording import count
from .found_faces import FoundFaces
from .frames import FrameHost, find_faces
from .image_batches import OutputFormat, photo_of

NETWORKS, DETECTORS = "facerestore_models", "facedetection"
"""Names of model folders, shared with other node packs for faces: many users already have models there."""

_SUFFIXES = {NETWORKS: set(NETWORK_SUFFIXES), DETECTORS: {*NETWORK_SUFFIXES, ONNX_SUFFIX}}
_PREVIEW_SIZE = 1024
_MOST_PREVIEWS = 16
_HELPER_BYTES = 3 << 29
"""Upper bound for each: RetinaFace ResNet-50 on one tile, ParseNet, ArcFace."""

_cache = ComponentCache()
_log = logging.getLogger(__name__)


def command_in(folder: Path) -> str:
    """What to type in the pack's folder to run the command of the package, which is not installed there."""
    if not sys.flags.isolated:
        return "python -m gpen"
    # The portable ComfyUI brings its Python, which looks for modules in its own folders only.
    python = Path(sys.executable)
    if python.drive == folder.absolute().drive:
        python = Path(os.path.relpath(python, folder))
    return f"{python} ."


def register_folders() -> None:
    """Register our model folders, keeping those that the user or other packs registered."""
    for name, suffixes in _SUFFIXES.items():
        known = name in folder_paths.folder_names_and_paths
        folder = Path(folder_paths.models_dir) / name
        # Messages tell users to put files there; if it cannot be created, their own folders still work.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        folder_paths.add_model_folder_path(name, str(folder))
        paths, listed = folder_paths.folder_names_and_paths[name]
        # An empty set lists every file; other packs may rely on that.
        if listed or not known:
            folder_paths.folder_names_and_paths[name] = (paths, {*listed, *suffixes})


def folders(name: str) -> list[Path]:
    """The folders registered under a name, in order of preference."""
    return [Path(path) for path in folder_paths.get_folder_paths(name)]


def helper_folders() -> list[Path]:
    """The folders for detectors, parsers and recognisers, in order of preference.

    ComfyUI-Manager's list puts RetinaFace beside the models that restore faces.
    """
    return [*folders(DETECTORS), *folders(NETWORKS)]


def network_files() -> list[str]:
    """Names of the files that may be GPEN models, relative to their folder, as ComfyUI lists them."""
    return [name for name in folder_paths.get_filename_list(NETWORKS) if may_be_network(Path(name).name)]


def files_to_convert() -> list[str]:
    """Those files, and the ONNX graphs beside them.

    Graphs are not registered with ComfyUI: other packs share the folder, and would list them.
    """
    found = ((file, folder) for folder in folders(NETWORKS) for file in folder.rglob("*"))
    graphs = {
        os.path.relpath(file, folder)
        for file, folder in found
        if file.suffix.lower() == ONNX_SUFFIX and file.is_file() and published_by_file_name(file.name) is None
    }
    return [*network_files(), *sorted(graphs)]


def network_path(name: str) -> Path:
    """The path of a listed file; FilesError where it is missing, with the folder it belongs in."""
    path = folder_paths.get_full_path(NETWORKS, name) if name else None
    if path is None:
        missing = f"There is no model file {name!r} in ComfyUI's model folders. " if name else ""
        raise FilesError(missing + where_to_put())
    return Path(path)


def best_network(task: Task) -> Path | None:
    """The published model on disk that suits most faces: what a task takes where none is connected.

    It is looked for in ComfyUI's folders, in those below them, and where the command line finds models.
    """
    listed = (folder_paths.get_full_path(NETWORKS, name) for name in network_files())
    below = [Path(path).parent for path in listed if path is not None]
    return default_network(search_folders([*folders(NETWORKS), *below]), task.name)


def where_to_put() -> str:
    """What a user without a model has to do."""
    advice = f"{_put_one(RESTORE)}, then refresh the node definitions (R)."
    return advice if downloads_problem() else f"{advice} Or click Download on GPEN Load Model."


def _put_one(task: Task) -> str:
    return f"Put a model such as {find_published(task.example).saved_as} into {folders(NETWORKS)[0]}"


def state_of(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """A fingerprint of the existing files, from their paths, modification times and sizes."""
    existing = [(path, path.stat()) for path in paths if path.is_file()]
    return [(str(path), stat.st_mtime_ns, stat.st_size) for path, stat in existing]


def detector_files() -> list[Path]:
    """The detectors, parsers and recognisers in the folders that are searched for them; networks may be there too."""
    searched = search_folders(helper_folders(), kind="detector")
    return sorted(path for folder in searched if folder.is_dir() for path in folder.iterdir() if _is_helper(path.name))


def _is_helper(name: str) -> bool:
    published = published_by_file_name(name)
    return published is not None and published.kind != "network"


class ManagedModel:
    """A network that ComfyUI's memory management moves on and off the GPU."""

    def __init__(self, path: Path, precision: str) -> None:
        load_device, offload_device = management.get_torch_device(), management.unet_offload_device()
        dtype = dtype_for(precision, load_device)
        self.model = load_model(path, offload_device, dtype, runs_on=load_device)
        self._loaded_in = self._counted_in = self.model.dtype
        # Not CoreModelPatcher: newer versions move the layers of a network one by one, if they are ComfyUI's own.
        self.patcher = ModelPatcher(self.model.network, load_device=load_device, offload_device=offload_device)
        """What ComfyUI moves."""

    def for_run(self, task: Task) -> Model:
        """The network for one run of ``task``; call :meth:`load` before using it.

        GpenError where the network is for another task.
        """
        model = self.model.for_task(task.name)
        now, before = dtype_name(self.model.dtype), dtype_name(self._loaded_in)
        if now == "float32" != before:
            _log.warning("%s runs in float32: its values were too large for %s.", model.spec.title, before)
        elif now != before:
            _log.warning("%s runs in %s: memory ran out in %s.", model.spec.title, now, before)
        return model

    def load(self) -> None:
        """Move the whole network to ComfyUI's device, with memory to run it on one face."""
        dtype = self.model.dtype
        if dtype != self._counted_in:
            # ComfyUI counts the bytes of the weights once.
            self.patcher.detach()
            self.patcher.size = 0
            self._counted_in = dtype
        needed = memory_estimate(self.model.spec, dtype)
        # ComfyUI runs nodes in inference mode. Weights that are moved in it do not count their changes any more, so
        # nothing that is computed from them could be cached.
        with torch.inference_mode(False):
            management.load_models_gpu([self.patcher], memory_required=needed, force_full_load=True)
            # With --novram ComfyUI leaves the weights where they are, for layers that fetch their own.
            self.model.network.to(self.patcher.load_device)


def dtype_for(precision: str, device: torch.device) -> torch.dtype:
    """The dtype that option "precision" names; "auto" follows ComfyUI where it avoids float16.

    It does so on --force-fp32, and on GPUs that are known to compute wrong values in it.
    """
    dtype = pick_dtype(precision, device)
    avoided = precision == "auto" and dtype == torch.float16 and not management.should_use_fp16(device)
    return torch.float32 if avoided else dtype


def best_model(task: Task) -> ManagedModel:
    """The :func:`best_network`, which stays loaded between executions; FilesError where there is none."""
    path = best_network(task)
    if path is None:
        files = network_files()
        choice = f" Or connect GPEN Load Model, and choose one of these in it: {', '.join(files)}." if files else ""
        download = "" if downloads_problem() else " Or download it: Extensions → GPEN Face Restore in the menu."
        raise FilesError(
            f"No model is connected, and no published one that {task.network_does} is on disk. {_put_one(task)}."
            f"{download}{choice}"
        )
    _log.info("No model is connected: %s is used.", path.name)
    return _cache.get("best network", tuple(state_of([path])), lambda: ManagedModel(path, "auto"))


def make_room() -> None:
    """Have ComfyUI free memory for a detector, parser or recogniser; they are too small to be managed one by one."""
    device = management.get_torch_device()
    if not management.is_device_cpu(device):
        management.free_memory(_HELPER_BYTES, device)


def component_loader() -> ComponentLoader:
    """Loads detectors, parsers and recognisers onto ComfyUI's device; they stay loaded between executions."""
    return ComponentLoader(
        helper_folders(),
        management.get_torch_device(),
        cache=_cache,
        hooks=HostHooks(before_helper=make_room),
    )


def components_for(task: Task, model: ManagedModel, options: Options, *, aligned: bool = False) -> Components:
    """The components of a node that does a task to given faces; GpenError where one cannot be used."""
    needs = Needs.of(task, options, aligned=aligned, faces_given=True)
    return component_loader().complete(model.for_run(task), options, needs)


def detector_of(name: str) -> FaceDetector:
    """The detector of that name, or the one that "auto" chooses, on ComfyUI's device."""
    return component_loader().detector(name)


def frame_host(model: ManagedModel | None = None) -> FrameHost:
    """How ComfyUI takes part while frames are worked on, through a network or not: memory, progress, Cancel."""
    before_frame = FrameHost.before_frame if model is None else model.load
    return FrameHost(before_frame=before_frame, on_step=Progress(), output=output_format())


def faces_of(
    image: Tensor,
    detector: FaceDetector | None,
    options: Options,
    region: Tensor | None,
    person: Tensor | None = None,
) -> FoundFaces:
    """Find and choose the faces of each frame; detector: None for the automatic choice.

    person: (N, h, w, C), a photo of each person whose faces are chosen; None for everybody's.
    """
    if detector is None:
        detector = detector_of("auto")  # which makes room by itself
    else:
        make_room()
    people = None if person is None else people_of(person, detector, options)
    return find_faces(image, detector, options, region, Progress(), people)


def people_of(photos: Tensor, detector: FaceDetector, options: Options) -> People | None:
    """The people in photos (N, h, w, C); GpenError where there is no recogniser, or a photo without a face."""
    named = [(f"image {number} of the input person", photo_of(photo)) for number, photo in enumerate(photos)]
    return component_loader().people_in(named, options, detector)


class Progress:
    """A node's progress bar, and the point where Cancel takes effect."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, done: int, total: int, face: FloatImage | None) -> None:
        """Show progress, with the face just done as a preview; raises ComfyUI's exception after Cancel."""
        management.throw_exception_if_processing_interrupted()
        if total:
            self._bar = self._bar or comfy.utils.ProgressBar(total)
            preview = ("JPEG", _image(face), 512) if face is not None else None
            self._bar.update_absolute(done, total, preview)


def show_text(node_id: str | None, text: str) -> None:
    """Show a sentence on a node while ComfyUI's page is open, where this version of ComfyUI can."""
    server = PromptServer.instance
    send = getattr(server, "send_progress_text", None)
    if send is not None and node_id is not None:
        send(text, node_id)


def output_format() -> OutputFormat:
    """Device and dtype for the images that nodes pass on: float16 on --fp16-intermediates, in newer versions."""
    dtype = getattr(management, "intermediate_dtype", lambda: torch.float32)
    return OutputFormat(management.intermediate_device(), dtype())


def enlarger(upscale_model: Any, images: Tensor, options: Options) -> Callable[[int], FloatImage]:
    """Returns a function that enlarges the image at an index with an upscale model, as ComfyUI's own node does.

    The result has the model's scale, or that of option "upscale" if it is above 1. PhotoError where the model's output
    would exceed option "max_megapixels".
    """
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    height, width = images.shape[1:3]
    factor = options.upscale
    megapixels = height * width * max(factor, upscale_model.scale) ** 2 / 1e6
    check_megapixels(
        megapixels,
        options.max_megapixels,
        "The upscale model would make a photo of",
        "Choose another upscale model, or a larger limit.",
    )

    def enlarge(index: int) -> FloatImage:
        frame = torch.from_numpy(photo_of(images[index]))[None]
        enlarged = photo_of(ImageUpscaleWithModel.execute(upscale_model, frame)[0][0])
        return resize(enlarged, (round(width * factor), round(height * factor))) if factor > 1 else enlarged

    return enlarge


def backgrounds(images: Tensor, number: int) -> Callable[[int], FloatImage]:
    """Returns, for a frame's index, its background; PhotoError unless there are ``number`` of them."""
    if len(images) != number:
        raise PhotoError(
            f"For {count(number, 'photo')} there {'is' if len(images) == 1 else 'are'} "
            f"{count(len(images), 'background')}. Connect as many backgrounds as photos."
        )
    return lambda index: photo_of(images[index])


def numbered_preview(drawings: Tensor, found: FoundFaces) -> dict[str, list[Any]]:
    """What the page needs to show numbered boxes: images of the first frames, and their faces.

    Each face is [frame, number, left, top, right, bottom], in fractions of the image.
    """
    shown = min(len(drawings), _MOST_PREVIEWS)
    boxes = [
        [face.frame, face.number, *_fractions(face.face.box, found.width, found.height)]
        for face in (*found.chosen, *found.left_out)
        if face.frame < shown
    ]
    images = [image for index in range(shown) for image in preview(drawings[index])]
    return {"images": images, "gpen_faces": boxes}


def preview(frame: Tensor) -> list[Any]:
    """Save one frame (H, W, C), reduced if large, for the page to show; what the page needs to find it."""
    photo = photo_of(frame)
    factor = min(1.0, _PREVIEW_SIZE / max(photo.shape[:2]))
    size = (max(1, round(photo.shape[1] * factor)), max(1, round(photo.shape[0] * factor)))
    small = torch.from_numpy(resize(photo, size).clip(0, 1))
    return list(ui.PreviewImage(small[None]).as_dict()["images"])


def _fractions(box: tuple[float, float, float, float], width: int, height: int) -> list[float]:
    return [(value + 0.5) / size for value, size in zip(box, (width, height) * 2, strict=True)]


def _image(photo: FloatImage) -> Image.Image:
    return Image.fromarray(np.rint(photo.clip(0, 1) * 255).astype(np.uint8))
