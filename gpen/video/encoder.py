"""The encoder: which one, with which options, and in which pixel format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import OptionError, PhotoError
from .ffmpeg import pyav
from .hdr import Hdr
from .pixels import Layout, planar
from .source import Film

CODECS = {
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "ffv1": "ffv1",
    "prores": "prores_ks",
}
"""FFmpeg's encoders by the names that users know; every other name is an encoder's own."""

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""What films are written as."""

_HARDWARE_QUALITY = {"_nvenc": "cq", "_qsv": "global_quality", "_amf": "qvbr_quality_level"}
"""What encoders of graphics cards call the quality, by the end of their names."""

# What these encoders make depends on how many frames they work on at a time, and by default that on the processor: the
# parts of a film may come from several machines. What x264 makes depends on the processor's instructions too, and with
# AVX-512 it made small pictures differently from one run to the next; never in 160 runs with AVX2.
_X264_INSTRUCTIONS = "AVX2"
_X264_MOST_THREADS = 8
_X264_ROWS = 120  # for each thread
_X265_FRAMES = 3

Settings = dict[str, str]


@dataclass(frozen=True)
class Encoding:
    """An encoder that is chosen for a film."""

    name: str
    """FFmpeg's name of it."""
    pixel_format: str
    options: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """For users: encoder and pixel format."""
        return f"{self.name} in {self.pixel_format}"


def choose_encoding(film: Film, target: Path, codec: str | None, crf: float | None) -> Encoding:
    """The encoding of a film for a file.

    codec: a key of :data:`CODECS` or an encoder's name; None for AV1 in .webm, else for H.264, or HEVC for more than 8
    bits. crf: the constant rate factor; None for the encoder's usual one. OptionError where there is no such encoder,
    or it would lose depth, chroma or alpha.
    """
    codec = codec or _default_codec(film.layout, target)
    name = CODECS.get(codec, codec)
    pixel_format = _pixel_format(_find(name), codec, film.layout)
    return Encoding(name, pixel_format, tuple(_settings(name, film, crf, Layout.of(planar(pixel_format))).items()))


def _default_codec(layout: Layout, target: Path) -> str:
    if target.suffix.lower() == ".webm":
        return "av1"
    return "h264" if layout.bits == 8 and not layout.is_rgb else "hevc"


def _find(name: str) -> Any:
    av = pyav()
    try:
        codec = av.codec.Codec(name, "w")
    except ValueError:
        codec = None
    if codec is None or codec.type != "video" or not codec.video_formats:
        raise OptionError(
            f"There is no encoder of the name {name!r} here. Choose one of {', '.join(CODECS)}, or one of FFmpeg's, "
            "such as hevc_nvenc."
        )
    return codec


def _pixel_format(codec: Any, asked: str, layout: Layout) -> str:
    """The format of the encoder that holds all of the film with the least besides."""
    fitting: list[tuple[tuple[int, ...], str]] = []
    for candidate in codec.video_formats:
        name = candidate.name
        if name.startswith("yuvj"):  # the range is a tag of its own
            continue
        try:
            holds = Layout.of(planar(name))
        except PhotoError:
            continue
        if _contains(holds, layout):
            cost = (
                holds.name != layout.name,
                holds.bits,
                -holds.across * holds.down,
                holds.has_alpha,
                holds.name != name,
            )
            fitting.append((cost, name))
    if not fitting:
        alternative = "ffv1" if asked != "ffv1" else "hevc"
        raise OptionError(
            f"The encoder {codec.name} cannot hold this film's {layout.name} without loss of "
            f"{'transparency' if layout.has_alpha else 'depth or colour'}. Choose the codec {alternative}, in a .mkv."
        )
    return min(fitting)[1]


def _contains(candidate: Layout, layout: Layout) -> bool:
    return (
        candidate.bits >= layout.bits
        and candidate.across <= layout.across
        and candidate.down <= layout.down
        and candidate.is_rgb == layout.is_rgb
        and candidate.has_alpha >= layout.has_alpha
        and candidate.is_grey <= layout.is_grey
    )


def _settings(name: str, film: Film, crf: float | None, layout: Layout) -> Settings:
    builder = _BUILDERS.get(name)
    if builder is not None:
        return builder(film, crf, layout)
    for end, option in _HARDWARE_QUALITY.items():
        if name.endswith(end):
            mode = {"_nvenc": {"rc": "vbr"}, "_amf": {"rc": "qvbr"}}.get(end, {})
            return {**mode, option: f"{19 if crf is None else crf:g}"}
    if crf is not None:
        raise OptionError(f"crf says nothing to the encoder {name}: leave it out.")
    return {}


def _x264(film: Film, crf: float | None, layout: Layout) -> Settings:
    more = [f"threads={max(1, min(_X264_MOST_THREADS, film.height // _X264_ROWS))}"]
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        more.append(f"asm={_X264_INSTRUCTIONS}")
    more += _light(film.hdr, "mastering-display", "cll")
    return {"crf": _number(crf, 17), "preset": "medium", "x264-params": ":".join(more)}


def _x265(film: Film, crf: float | None, layout: Layout) -> Settings:
    more = ["log-level=none", f"frame-threads={_X265_FRAMES}", *_light(film.hdr, "master-display", "max-cll")]
    return {"crf": _number(crf, 18), "preset": "medium", "x265-params": ":".join(more)}


def _light(hdr: Hdr, mastering: str, light: str) -> list[str]:
    """HDR10 metadata as parameters of x264 and x265, which call them differently."""
    parameters = []
    if hdr.mastering is not None:
        parameters.append(f"{mastering}={hdr.mastering.in_steps}")
    if hdr.light is not None:
        parameters.append(f"{light}={hdr.light[0]},{hdr.light[1]}")
    return parameters


def _svt_av1(film: Film, crf: float | None, layout: Layout) -> Settings:
    more = []
    if film.hdr.mastering is not None:
        more.append(f"mastering-display={film.hdr.mastering.in_decimals}")
    if film.hdr.light is not None:
        more.append(f"content-light={film.hdr.light[0]},{film.hdr.light[1]}")
    settings = {"crf": _number(crf, 24), "preset": "6"}
    return settings | ({"svtav1-params": ":".join(more)} if more else {})


def _ffv1(film: Film, crf: float | None, layout: Layout) -> Settings:
    _refuse_crf(crf, "FFV1", "it loses nothing")
    return {"level": "3", "slicecrc": "1"}


def _prores(film: Film, crf: float | None, layout: Layout) -> Settings:
    _refuse_crf(crf, "ProRes", "its profile sets the quality")
    return {"profile": "hq" if (layout.across, layout.down) == (2, 1) else "4444", "vendor": "apl0"}


def _refuse_crf(crf: float | None, title: str, why: str) -> None:
    if crf is not None:
        raise OptionError(f"crf says nothing to {title}: {why}. Leave it out.")


def _number(crf: float | None, default: int) -> str:
    return f"{default if crf is None else crf:g}"


_BUILDERS: dict[str, Callable[[Film, float | None, Layout], Settings]] = {
    "libx264": _x264,
    "libx265": _x265,
    "libsvtav1": _svt_av1,
    "ffv1": _ffv1,
    "prores_ks": _prores,
}
