"""The published models: their names, kinds, addresses, licences and hashes."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..errors import FilesError
from ..tasks import task_of_network
from ..wording import command

KINDS = ("network", "detector", "parser", "recognizer", "occluder")

NETWORK_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""In order of preference: a safetensors file opens faster and cannot contain code."""
ONNX_SUFFIX = ".onnx"
_SUFFIXES = (*NETWORK_SUFFIXES, ONNX_SUFFIX)
_PRECISION = re.compile(r"-(fp16|half|float16|f16|bf16|bfloat16|fp32|float32)$")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published file."""

    name: str
    """The name that the user types."""
    kind: str
    """One of :data:`KINDS`."""
    saved_as: str
    """The file name under which it is downloaded."""
    addresses: tuple[str, ...]
    """http(s) addresses, in order of preference; empty if none is known."""
    licence: str
    """Sentences about its licence, shown before a download."""
    terms: str
    """The licence in a word, for tables."""
    file_names: tuple[str, ...] = ()
    """Other file names that identify it."""
    sha256: str | None = None
    """SHA256 of the file at each of the addresses, 64 lower-case hex digits; None if no public source states it."""
    size: int | None = None
    """Size in bytes; None if no public source states it."""
    weight_bytes: int | None = None
    """Bytes of the numbers in it, slightly fewer than those of the file; for messages, where size is None."""

    @property
    def about(self) -> int | None:
        """Bytes to tell a user, exact or slightly too few; None if nobody knows."""
        return self.weight_bytes if self.size is None else self.size

    @property
    def all_file_names(self) -> tuple[str, ...]:
        """The file names that identify it, the one of the download first."""
        return self.saved_as, *self.file_names

    @property
    def task(self) -> str | None:
        """Name of the task that a network is for; None for other kinds."""
        task = task_of_network(self.name)
        return None if task is None else task.name


_NON_COMMERCIAL = "non-commercial"
_GPEN_LICENCE = (
    "Model by the authors of GPEN (Alibaba). It has no licence file; the authors' README said "
    '"for academic and non-commercial use only" until that section was removed in March 2026. Treat '
    "the model as non-commercial, and do not redistribute it."
)
_OSS = "https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models/"
_HIRES = "https://www.modelscope.cn/models/iic/cv_gpen_image-portrait-enhancement-hires/resolve/master/"
_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download/"
_YUNET = "opencv/opencv_zoo/{}main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
_SFACE = "opencv/opencv_zoo/{}main/models/face_recognition_sface/face_recognition_sface_2021dec.onnx"


# Float32, with the filters that the authors' files hold as well.
_WEIGHT_BYTES = {"256": 75_517_192, "512": 284_022_236, "1024": 284_843_696, "2048": 285_180_804}


def _network(name: str, *, addresses: tuple[str, ...] = (), file_names: tuple[str, ...] = ()) -> Published:
    return Published(
        name=name,
        kind="network",
        saved_as=f"{name}.pth",
        addresses=addresses or (f"{_OSS}{name}.pth",),
        licence=_GPEN_LICENCE,
        terms=_NON_COMMERCIAL,
        file_names=file_names,
        weight_bytes=_WEIGHT_BYTES[name.rpartition("-")[2]],
    )


# ModelScope calls two different networks pytorch_model.pt: the 512 in one repository, the 1024 in another. So that name
# does not identify a network.
NETWORKS: tuple[Published, ...] = (
    _network("GPEN-BFR-256"),
    _network(
        "GPEN-BFR-512",
        addresses=(
            f"{_OSS}GPEN-BFR-512.pth",
            "https://huggingface.co/akhaliq/GPEN-BFR-512/resolve/main/GPEN-BFR-512.pth",
        ),
    ),
    # The authors published the two large ones on ModelScope and removed them from their own server.
    _network(
        "GPEN-BFR-1024",
        addresses=(f"{_HIRES}pytorch_model.pt", f"{_OSS}GPEN-BFR-1024.pth"),
    ),
    _network(
        "GPEN-BFR-2048",
        addresses=(f"{_HIRES}pytorch_model-2048.pt", f"{_OSS}GPEN-BFR-2048.pth"),
        file_names=("pytorch_model-2048.pt",),
    ),
    _network("GPEN-Seg2face-512"),
    _network("GPEN-Colorization-1024"),
    _network("GPEN-Inpainting-1024"),
)

DETECTORS: tuple[Published, ...] = (
    Published(
        name="yunet",
        kind="detector",
        saved_as="face_detection_yunet_2023mar.onnx",
        addresses=(
            "https://github.com/" + _YUNET.format("raw/"),
            "https://media.githubusercontent.com/media/" + _YUNET.format(""),
            "https://huggingface.co/opencv/face_detection_yunet/resolve/main/face_detection_yunet_2023mar.onnx",
        ),
        licence="MIT (OpenCV Zoo); trained with libfacedetection.train, which is Apache-2.0.",
        terms="MIT",
        # The same weights for pictures of any size, OpenCV's default since version 5 (opencv_zoo, pull request 310).
        file_names=("face_detection_yunet_2026may.onnx",),
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size=232_589,
    ),
    # The hashes of facexlib's release files are those that packagers state for these addresses. A file on disk with the
    # same name and another hash, such as a retrained network, is still used.
    Published(
        name="retinaface_resnet50",
        kind="detector",
        saved_as="detection_Resnet50_Final.pth",
        addresses=(f"{_FACEXLIB}v0.1.0/detection_Resnet50_Final.pth",),
        licence="MIT (facexlib; biubug6/Pytorch_Retinaface).",
        terms="MIT",
        sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
        size=109_497_761,
    ),
    Published(
        name="retinaface_mobile0.25",
        kind="detector",
        saved_as="detection_mobilenet0.25_Final.pth",
        addresses=(f"{_FACEXLIB}v0.1.0/detection_mobilenet0.25_Final.pth",),
        licence="MIT (facexlib; biubug6/Pytorch_Retinaface).",
        terms="MIT",
        sha256="2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
        size=1_789_735,
    ),
)

PARSERS: tuple[Published, ...] = (
    Published(
        name="parsenet",
        kind="parser",
        saved_as="parsing_parsenet.pth",
        addresses=(f"{_FACEXLIB}v0.2.2/parsing_parsenet.pth",),
        licence="Distributed by facexlib (MIT), which asks users to respect the original licence: the network is from "
        "PSFRGAN, CC BY-NC-SA 4.0, for non-commercial use.",
        terms=_NON_COMMERCIAL,
        sha256="3d558d8d0e42c20224f13cf5a29c79eba2d59913419f945545d8cf7b72920de2",
        size=85_331_193,
    ),
    Published(
        name="bisenet",
        kind="parser",
        saved_as="parsing_bisenet.pth",
        addresses=(f"{_FACEXLIB}v0.2.0/parsing_bisenet.pth",),
        licence="MIT (facexlib; zllrunning/face-parsing.PyTorch). Trained on CelebAMask-HQ, whose authors "
        "allow non-commercial research only.",
        terms=_NON_COMMERCIAL,
        sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
        size=53_289_463,
    ),
)

RECOGNIZERS: tuple[Published, ...] = (
    Published(
        name="arcface",
        kind="recognizer",
        saved_as="recognition_arcface_ir_se50.pth",
        addresses=(f"{_FACEXLIB}v0.1.0/recognition_arcface_ir_se50.pth",),
        licence="MIT (facexlib; TreB1eN/InsightFace_Pytorch). Trained on MS-Celeb-1M, which was for non-commercial "
        "research and has been withdrawn.",
        terms=_NON_COMMERCIAL,
        file_names=("model_ir_se50.pth",),
        sha256="a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
        size=175_367_323,
    ),
    Published(
        name="sface",
        kind="recognizer",
        saved_as="face_recognition_sface_2021dec.onnx",
        addresses=(
            "https://github.com/" + _SFACE.format("raw/"),
            "https://media.githubusercontent.com/media/" + _SFACE.format(""),
        ),
        licence="Apache-2.0 (OpenCV Zoo; contributed by Yaoyao Zhong, an author of SFace).",
        terms="Apache-2.0",
        # As several programs that download it state it. OpenCV is given no other file.
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        size=38_696_353,
    ),
)


def _xseg(number: int, release: str) -> Published:
    name = f"xseg_{number}"
    return Published(
        name=name,
        kind="occluder",
        saved_as=f"{name}.onnx",
        addresses=(
            f"https://huggingface.co/facefusion/{release}/resolve/main/{name}.onnx",
            f"https://github.com/facefusion/facefusion-assets/releases/download/{release}/{name}.onnx",
        ),
        licence="GPL-3.0 (DeepFaceLab); exported and distributed by facefusion.",
        terms="GPL-3.0",
    )


OCCLUDERS: tuple[Published, ...] = (
    _xseg(3, "models-3.2.0"),
    _xseg(2, "models-3.1.0"),
    _xseg(1, "models-3.1.0"),
)
"""What tells the covered parts of a face, the newest first."""

PUBLISHED: tuple[Published, ...] = (*NETWORKS, *DETECTORS, *PARSERS, *RECOGNIZERS, *OCCLUDERS)


def published_by_file_name(name: str) -> Published | None:
    """The published file that a file name stands for, or None.

    ``name`` may be a path. Case, ``-`` or ``_``, the suffix (.pth, .pt, .ckpt, .safetensors; for YuNet .onnx) and a
    trailing precision such as ``-fp16`` or ``_half`` do not matter.
    """
    file_name = PurePosixPath(name.replace("\\", "/")).name
    suffix = weight_suffix(file_name)
    plain = _PRECISION.sub("", _stem(file_name))
    for published in PUBLISHED:
        allowed = NETWORK_SUFFIXES if published.saved_as.endswith(".pth") else (ONNX_SUFFIX,)
        if suffix in ("", *allowed) and plain in map(_stem, published.all_file_names):
            return published
    return None


def published_in_onnx(name: str) -> Published | None:
    """The published network that an ONNX file of this name was exported from, or None.

    Such a file can only be converted, not loaded: :func:`published_by_file_name` does not know it.
    """
    stem, dot, suffix = name.rpartition(".")
    found = published_by_file_name(f"{stem}.pth") if dot and f".{suffix.lower()}" == ONNX_SUFFIX else None
    return found if found is not None and found.kind == "network" else None


def find_published(name: str) -> Published:
    """The published file of this name or file name; FilesError, with the nearest names, if there is none."""
    wanted = _normal(name)
    for published in PUBLISHED:
        if wanted == _normal(published.name):
            return published
    by_file_name = published_by_file_name(name)
    if by_file_name is not None:
        return by_file_name
    names = {_normal(published.name): published.name for published in PUBLISHED}
    near = [key for key in names if wanted and wanted in key]
    near += [key for key in difflib.get_close_matches(wanted, names, n=3, cutoff=0.5) if key not in near]
    if near:
        hint = f"Did you mean {_either([names[key] for key in near[:3]])}?"
    else:
        hint = f"Choose one of {', '.join(names.values())}."
    raise FilesError(f'No published model is called "{name}". {hint} {command("models")} lists them all.')


def is_half(name: str) -> bool:
    """Whether a file name says that the weights have 16 bits."""
    found = _PRECISION.search(_stem(name))
    return found is not None and not found[1].endswith("32")


def weight_suffix(name: str) -> str:
    """The suffix of a model file's name in lower case; empty for other files."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in _SUFFIXES else ""


def _stem(file_name: str) -> str:
    suffix = weight_suffix(file_name)
    return _normal(file_name[: len(file_name) - len(suffix)])


def _normal(name: str) -> str:
    return re.sub(r"[_\s]+", "-", name.strip().casefold())


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
