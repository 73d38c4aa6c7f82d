"""Films with packets that cannot be decoded: every frame stays at its time, and what is wrong is told."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest

from gpen.faces.face import Face
from gpen.options import Options
from gpen.video.source import probe, read_frames
from gpen.video.work import WorkFolder
from tests.video.clips import Clip, damage, look, make
from tests.video.conftest import FACE

MPEG = {"time_base": Fraction(1, 25), "steps": (1,)}
H264 = Clip(frames=40, options={"g": "12", "bf": "2", "preset": "ultrafast", "x264-params": "bframes=2:scenecut=0"})
HEVC = Clip(frames=40, codec="libx265", options={"x265-params": "log-level=none:keyint=12:bframes=2"})
FFV1 = Clip(frames=40, codec="ffv1", options={"g": "6"})
MPEG2 = Clip(frames=40, codec="mpeg2video", options={"g": "12", "bf": "2"}, **MPEG)
MPEG4 = Clip(frames=40, codec="mpeg4", options={"g": "12"}, **MPEG)
VP9 = Clip(frames=40, codec="libvpx-vp9", options={"g": "12", "lag-in-frames": "16", "cpu-used": "8"})
CLIPS = {"H.264": H264, "HEVC": HEVC, "FFV1": FFV1, "MPEG-2": MPEG2, "MPEG-4": MPEG4, "VP9": VP9}
TIMES = [Fraction(n, 25) for n in range(40)]
LOSSLESS = {"codec": "ffv1"}


@pytest.fixture(params=CLIPS)
def clip(request) -> Clip:
    return CLIPS[request.param]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_undamaged_film_has_no_flaws(clip, tmp_path):
    """Although some packets of VP9, for instance, hold more than one frame."""
    flaws = []
    film = probe(make(tmp_path / "in.mkv", clip), 100)
    assert len(list(read_frames(film, flaws.append))) == 40
    assert flaws == []


@pytest.mark.parametrize("number", [5, 12, 37, 39])
def test_the_frame_before_is_shown_where_one_cannot_be_decoded(clip, number, restore_clip, tmp_path):
    """Key frames, others and the last one: as many frames as before, at their times."""
    source = make(tmp_path / "in.mkv", clip)
    whole = look(source, planes=True)
    damage(source, number)
    result = restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS, faces=())
    after = look(tmp_path / "out.mkv", planes=True)
    assert after.times == whole.times == TIMES
    assert result.flaws
    for flaw in result.flaws:
        frame = round(flaw.seconds * 25)
        assert flaw.seconds == pytest.approx(frame / 25)
        assert flaw.why == "it cannot be decoded: the frame before is shown"
        assert same(after.planes[frame], after.planes[frame - 1])
    first = round(result.flaws[0].seconds * 25)
    unharmed = first - 3  # frames that refer to the damaged one are shown up to three before it
    assert all(same(a, b) for a, b in zip(after.planes[:unharmed], whole.planes[:unharmed], strict=True))
    assert f"The film is damaged in {len(result.flaws)} place" in result.message
    assert f"at {first / 25:.2f} s, it cannot be decoded: the frame before is shown" in result.message
    assert result.as_json()["broken"][0] == {"seconds": first / 25, "why": result.flaws[0].why}


def test_a_repeated_frame_is_restored_as_the_one_before(restore_clip, tmp_path):
    """Or the face in it would flash."""
    source = make(tmp_path / "in.mkv", FFV1)
    before = look(source, planes=True)
    damage(source, 5)
    options = Options(mask="ellipse", video=True, texture=0)
    result = restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS, options=options)
    assert dict(result.outcome.restored) == {0: 40}
    after = look(tmp_path / "out.mkv", planes=True)
    assert same(after.planes[5], after.planes[4])
    assert not same(after.planes[5], before.planes[4])


@pytest.mark.parametrize("clip", [MPEG2, MPEG4])
def test_a_frame_that_is_decoded_in_part_is_kept_as_it_is(clip, restore_clip, tmp_path):
    """FFmpeg fills what is missing, and says so: no face is looked for in it, none bridged across it."""
    source = make(tmp_path / "in.mkv", clip)
    damage(source, 12, kept=look_at(source, 12) // 2)
    before = look(source, planes=True)
    result = restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS)
    after = look(tmp_path / "out.mkv", planes=True)
    (flaw,) = result.flaws
    assert flaw.why == "it could be decoded in part only, and is kept as it is"
    broken = round(flaw.seconds * 25)
    changed = [not same(a, b) for a, b in zip(before.planes, after.planes, strict=True)]
    assert changed == [frame != broken for frame in range(40)]
    assert dict(result.outcome.restored) == {0: 39}
    assert result.frames[broken][1] == ()


def look_at(path, number: int) -> int:
    """Bytes of a packet."""
    import av

    with av.open(str(path)) as film:
        return [packet.size for packet in film.demux(video=0) if packet.size][number]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot take processors from a process")
@pytest.mark.parametrize("number", [5, 37])
def test_frames_do_not_depend_on_the_number_of_processors(clip, number, tmp_path):
    """FFmpeg's threads, about as many as processors, lose what waits for a damaged frame at the end."""
    found = os.sched_getaffinity(0)
    if len(found) == 1:
        pytest.skip("there is only one processor")
    source = make(tmp_path / "in.mkv", clip)
    damage(source, number)
    film = probe(source, 100)

    def read():
        flaws = []
        return [(frame.pts, frame.to_ndarray()) for frame in read_frames(film, flaws.append)], flaws

    one, flaws = read()
    os.sched_setaffinity(0, {min(found)})
    try:
        other, others = read()
    finally:
        os.sched_setaffinity(0, found)
    assert flaws == others
    assert [pts for pts, _ in one] == [pts for pts, _ in other]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True))


def test_what_cannot_be_decoded_at_the_beginning_is_left_out_and_told(clip, restore_clip, tmp_path):
    """Nothing comes before it that could be shown."""
    source = make(tmp_path / "in.mkv", clip)
    damage(source, 0)
    result = restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS)
    times = look(tmp_path / "out.mkv").times
    assert times == TIMES[40 - len(times) :]
    missing = "1 frame" if len(times) == 39 else f"{40 - len(times)} frames"
    assert str(result.flaws[0]) == f"the result lacks {missing} of the beginning, which cannot be decoded"


@pytest.mark.parametrize("stop", [55, 115, 170, 225])
def test_a_damaged_film_goes_on_after_a_stop(stop, restore_clip, tmp_path):
    """In both passes, before and behind the damaged places, which lie in two segments."""
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=115, options={"g": "5"}))
    damage(source, 52)
    damage(source, 110)
    asked: list[int] = []

    def find(photo):
        asked.append(0)
        if len(asked) == stop:
            raise KeyboardInterrupt
        return [Face(FACE.box, 0.9, FACE.landmarks)]

    def before():
        asked.append(0)
        if len(asked) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS, find=find, before_frame=before)
    assert WorkFolder(tmp_path / "out.mkv").path.is_dir()
    result = restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS)
    whole = restore_clip(source, tmp_path / "whole.mkv", settings=LOSSLESS)
    assert result.flaws == whole.flaws
    assert [round(flaw.seconds * 25) for flaw in whole.flaws] == [52, 53, 54, 110, 111, 112, 113, 114]
    one, other = (look(tmp_path / f"{name}.mkv", planes=True) for name in ("out", "whole"))
    assert one.times == other.times == [Fraction(n, 25) for n in range(115)]
    assert all(same(a, b) for a, b in zip(one.planes, other.planes, strict=True))
