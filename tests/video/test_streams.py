"""Everything in a film but its pictures stays: sound, subtitles, tags and timestamps."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from gpen.errors import OptionError
from gpen.video.mux import decoding_times
from tests.video.clips import Clip, look, make, timestamps

VARIABLE = (3600, 5000, 3003, 9000)
HDR = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"


def test_streams_of_a_matroska_film(restore_clip, tmp_path):
    clip = Clip(sounds=2, subtitle="subrip", attachment=b"\1\2\3" * 50, chapters=True)
    source = make(tmp_path / "in.mkv", clip)
    result = restore_clip(source, tmp_path / "out.mkv")
    before, after = look(source), look(tmp_path / "out.mkv")
    assert [len(packets) for packets in before.packets.values()] == [51, 51, 3]
    assert after.packets == before.packets
    assert after.times == before.times
    assert after.about == before.about
    assert len(after.about["chapters"]) == 2
    assert len(after.about["attachments"]) == 1
    assert result.left_out == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_streams_of_a_quicktime_film(suffix, restore_clip, tmp_path):
    clip = Clip(sounds=2, subtitle="mov_text", chapters=True, steps=VARIABLE, degrees=90, aspect=Fraction(4, 3))
    source = make(tmp_path / f"in{suffix}", clip)
    restore_clip(source, tmp_path / f"out{suffix}")
    before, after = look(source), look(tmp_path / f"out{suffix}")
    assert len(before.packets) == 3
    assert after.packets == before.packets
    assert after.times == before.times == [t * Fraction(1, 90000) for t in timestamps(clip)]
    assert after.about == before.about
    assert "DISPLAYMATRIX" in after.about["side data"]
    assert after.about["aspect"] == Fraction(4, 3)


@pytest.mark.parametrize("settings", [{}, {"start": 0.5, "preview": 0.5}], ids=["whole", "part"])
def test_a_cover_stays_a_cover(settings, restore_clip, tmp_path):
    source = make(tmp_path / "in.mp4", Clip(cover=True))
    restore_clip(source, tmp_path / "out.mp4", settings=settings)
    before, after = look(source), look(tmp_path / "out.mp4")
    assert before.about["streams"][-1] == ("video", "mjpeg", None, int(av.stream.Disposition.attached_pic))
    assert after.about["streams"] == before.about["streams"]
    assert [data for *_, data in after.packets[1]] == [data for *_, data in before.packets[1]]


@pytest.mark.parametrize("suffix", [".mp4", ".MOV"])
def test_what_a_phone_wrote_about_itself_stays(suffix, restore_clip, tmp_path):
    said = {"com.apple.quicktime.make": "A maker", "com.apple.quicktime.location.ISO6709": "+47.1+011.2+574/"}
    source = make(tmp_path / f"in{suffix}", Clip(metadata=said, frames=4, subtitle="mov_text"))
    restore_clip(source, tmp_path / f"out{suffix}")
    before, after = look(source), look(tmp_path / f"out{suffix}")
    assert before.about["metadata"] == {"title": "A clip", **said}
    assert (after.about, after.packets) == (before.about, before.packets)


def test_a_cover_that_quicktime_s_keys_displace_is_named(restore_clip, tmp_path):
    make(plain := tmp_path / "plain.mp4", Clip(cover=True, frames=4))
    make(keyed := tmp_path / "keyed.mp4", Clip(metadata={"com.apple.quicktime.make": "A maker"}, frames=4))
    data, keys = plain.read_bytes(), _box(keyed.read_bytes(), b"meta")
    movie = _box(data, b"moov")
    assert data.endswith(movie)
    # FFmpeg writes one or the other; Apple's programs write both.
    both = tmp_path / "both.mp4"
    length = (len(movie) + len(keys)).to_bytes(4, "big")
    both.write_bytes(data[: -len(movie)] + length + movie[4:] + keys)
    assert {"com.apple.quicktime.make", "title"} <= set(look(both).about["metadata"])
    assert len(look(both).about["streams"]) == 2
    result = restore_clip(both, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").about["metadata"] == look(both).about["metadata"]
    assert len(look(tmp_path / "out.mp4").about["streams"]) == 1
    assert ["cover picture" in text for text in result.left_out] == [True]
    result = restore_clip(both, tmp_path / "out.mkv")
    assert (len(look(tmp_path / "out.mkv").about["streams"]), result.left_out) == (2, [])


def _box(data, name):
    """The last box of this name in an MP4 file."""
    at = data.rindex(name) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


def test_films_that_say_little_or_are_of_full_range(restore_clip, tmp_path):
    for number, (form, tags) in enumerate([("yuv420p", (2, 2, 2, 0)), ("yuvj420p", (1, 1, 5, 2))]):
        source = make(tmp_path / f"{number}.mp4", Clip(frames=4, tags=tags, pixel_format=form))
        result = restore_clip(source, tmp_path / f"out{number}.mp4")
        assert result.left_out == []
        assert look(tmp_path / f"out{number}.mp4").about == look(source).about
    lossless = restore_clip(tmp_path / "1.mp4", tmp_path / "out.mkv", settings={"codec": "ffv1"}, faces=[])
    assert lossless.left_out == []
    before, after = look(tmp_path / "1.mp4", planes=True), look(tmp_path / "out.mkv", planes=True)
    for one, other in zip(before.planes, after.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("base", [Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 1000)])
def test_time_bases(base, restore_clip, tmp_path):
    source = make(tmp_path / "in.mp4", Clip(time_base=base, steps=(1, 1, 2), frames=12))
    restore_clip(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").times == look(source).times


def test_a_film_that_begins_late(restore_clip, tmp_path):
    source = make(tmp_path / "in.mp4", Clip(start=12345, sounds=1, frames=12))
    restore_clip(source, tmp_path / "out.mp4")
    before, after = look(source), look(tmp_path / "out.mp4")
    assert before.times[0] == Fraction(12345, 90000)
    assert (after.times, after.packets) == (before.times, before.packets)


@pytest.mark.parametrize("codec", [None, "av1"])
def test_hdr10_stays(codec, restore_clip, tmp_path):
    clip = Clip(
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": f"log-level=none:{HDR}"},
        tags=(9, 16, 9, 1),
        frames=12,
    )
    source = make(tmp_path / "in.mp4", clip)
    result = restore_clip(source, tmp_path / "out.mp4", settings={"codec": codec})
    before, after = look(source), look(tmp_path / "out.mp4")
    assert after.about["tags"] == before.about["tags"] == (9, 16, 9, 1)
    assert after.about["pixels"] == "yuv420p10le"
    assert before.about["side data"].keys() == {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    assert after.about["side data"].keys() == before.about["side data"].keys()
    if codec is None:
        assert after.about["side data"] == before.about["side data"]
        assert result.encoding.name == "libx265"
    assert result.left_out == [] or codec == "av1"


def test_what_a_codec_cannot_say_is_told(restore_clip, tmp_path):
    clip = Clip(
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": f"log-level=none:{HDR}"},
        tags=(9, 16, 9, 1),
        frames=4,
    )
    source = make(tmp_path / "in.mkv", clip)
    result = restore_clip(source, tmp_path / "out.mkv", settings={"codec": "ffv1"})
    assert result.left_out == ["Not kept: the mastering display of HDR10, the light levels of HDR10."]
    assert result.left_out[0] in result.message


@pytest.mark.parametrize(
    ("codec", "suffix", "decoder"),
    [("hevc", ".mp4", "hevc"), ("av1", ".webm", "libdav1d"), ("prores", ".mov", "prores")],
)
def test_codecs(codec, suffix, decoder, restore_clip, tmp_path):
    source = make(tmp_path / "in.mp4", Clip(frames=8, steps=(90,), time_base=Fraction(1, 1000)))
    result = restore_clip(source, tmp_path / f"out{suffix}", settings={"codec": codec})
    with av.open(str(tmp_path / f"out{suffix}")) as film:
        assert film.streams.video[0].name == decoder
        if codec == "hevc":
            assert film.streams.video[0].codec_context.codec_tag == "hvc1"
    assert look(tmp_path / f"out{suffix}").times == look(source).times
    assert result.outcome.frames == 8


def test_ten_bits_become_hevc_by_default(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(pixel_format="yuv422p10le", codec="ffv1", frames=6))
    result = restore_clip(source, tmp_path / "out.mkv")
    assert result.encoding.title == "libx265 in yuv422p10le"
    assert look(tmp_path / "out.mkv").about["pixels"] == "yuv422p10le"


def test_depth_is_never_lost_in_silence(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(pixel_format="yuv444p12le", codec="ffv1", frames=2))
    with pytest.raises(OptionError, match=r"libx264 cannot hold this film's yuv444p12le.*the codec ffv1"):
        restore_clip(source, tmp_path / "out.mkv", settings={"codec": "h264"})
    assert list(tmp_path.iterdir()) == [source]


def test_containers_that_cannot_hold_a_stream(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(frames=4, attachment=b"font", subtitle="subrip"))
    with pytest.raises(OptionError, match=r"\.mp4 files cannot hold the (subtitle|attachment) stream .*\.mkv"):
        restore_clip(source, tmp_path / "out.mp4")
    with pytest.raises(OptionError, match="cannot hold what prores_ks makes"):
        restore_clip(source, tmp_path / "out.mp4", settings={"codec": "prores"})
    with pytest.raises(OptionError, match="The encoder h264_qsv does not take this film here"):
        restore_clip(source, tmp_path / "out.mkv", settings={"codec": "h264_qsv"})
    with pytest.raises(OptionError, match="no encoder of the name 'h266'"):
        restore_clip(source, tmp_path / "out.mkv", settings={"codec": "h266"})
    assert list(tmp_path.iterdir()) == [source]


def test_decoding_times():
    shown = [0, 17, 8, 5, 12, 30, 21, 25]
    times = decoding_times(shown)
    assert all(a < b for a, b in itertools.pairwise(times))
    assert all(decoded <= at for decoded, at in zip(times, shown, strict=True))
    assert decoding_times([3, 4, 9]) == [3, 4, 9]
    assert decoding_times([]) == []
