"""A film from file to file: passes, parts of it, what fails, and how much is held at a time."""

from __future__ import annotations

import json
import os
import threading
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gpen.errors import FaceError, OptionError, PhotoError
from gpen.faces.face import Face
from gpen.options import Options
from gpen.video import detect, restore
from gpen.video.pixels import FramePixels
from gpen.video.source import probe
from tests.commands import upright_face
from tests.video.clips import Clip, look, make
from tests.video.conftest import FACE


def shaken(number: int) -> Face:
    """A face that stands still, found with an error of about a pixel."""
    return Face(FACE.box, 0.9, FACE.landmarks + np.random.default_rng(number).normal(0, 1, (5, 2)))


def test_both_passes_and_what_is_told(restore_clip, told, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(frames=40, cut=17, sounds=1))
    numbers = iter(range(40))
    result = restore_clip(source, tmp_path / "out.mkv", find=lambda photo: [shaken(next(numbers))])
    assert told.passes[0][0] == "finding faces in"
    assert abs(told.passes[0][1] - 40) <= 3  # as long as the sound
    assert told.passes[1] == ("restoring", 40)
    assert told.done == 80
    assert told.texts == ["2 tracks of faces in 40 frames with 1 cut; 0 missing faces bridged."]
    assert dict(result.outcome.restored) == {0: 17, 1: 23}
    assert result.message == "2 faces of 2 restored in 40 frames, libx264 in yuv420p."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_faces_are_steady_and_bridged(restore_clip, told, tmp_path, monkeypatch):
    """Unless each frame is to stand alone."""
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=40))
    seen: list[np.ndarray] = []
    really = restore.face_rectangles

    def noted(faces, *arguments):
        seen.append(np.array([face.face.landmarks for face in faces]))
        return really(faces, *arguments)

    monkeypatch.setattr(restore, "face_rectangles", noted)
    numbers = iter(range(100))

    def find(photo):
        number = next(numbers)
        return [] if number in (20, 21) else [shaken(number)]

    restore_clip(source, tmp_path / "a.mkv", find=find)
    assert "2 missing faces bridged" in told.texts[0]
    steady, seen[:] = np.array(seen), []
    numbers = iter(range(100))
    restore_clip(source, tmp_path / "b.mkv", find=find, options=Options(mask="ellipse"))
    assert [len(faces) for faces in seen][18:24] == [1, 1, 0, 0, 1, 1]
    alone = np.array([faces for faces in seen if len(faces)])
    assert np.diff(alone, 2, axis=0).std() > 10 * np.diff(steady, 2, axis=0).std()


def test_a_preview(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(frames=40, sounds=1, subtitle="subrip"))
    result = restore_clip(source, tmp_path / "out.mkv", settings={"preview": 0.5})
    before, after = look(source), look(tmp_path / "out.mkv")
    assert result.outcome.frames == 13
    assert after.times == before.times[:13]
    for stream, packets in before.packets.items():
        assert after.packets[stream] == [packet for packet in packets if packet[0] < Fraction(1, 2)]


def interleaved(path: Path) -> float:
    """By how many seconds frames come before earlier sound in a file, at most."""
    video, most = 0.0, 0.0
    with av.open(str(path)) as film:
        for packet in film.demux():
            if packet.size and packet.stream.type == "video":
                video = max(video, float(packet.pts * packet.time_base))
            elif packet.size:
                most = max(most, video - float(packet.pts * packet.time_base))
    return most


def test_frames_and_sound_lie_beside_each_other(restore_clip, tmp_path):
    """As players need that read a file while it arrives."""
    source = make(tmp_path / "in.mkv", Clip(frames=30, sounds=1))
    restore_clip(source, tmp_path / "out.mkv")
    assert interleaved(tmp_path / "out.mkv") < 0.2


@pytest.mark.parametrize(("start", "begin", "frames"), [(0.59, Fraction(6, 10), 8), (2.99, Fraction(3), 8)])
def test_a_part_from_the_middle(restore_clip, told, tmp_path, start, begin, frames):
    """It begins at 0; sound and frames are as far apart as they were."""
    clip = Clip(frames=130, options={"g": "25"}, sounds=1, chapters=True)
    source = make(tmp_path / "in.mkv", clip)
    result = restore_clip(source, tmp_path / "out.mkv", settings={"start": start, "preview": 0.3})
    before, after = look(source), look(tmp_path / "out.mkv")
    assert result.outcome.frames == frames
    assert [what for what, _ in told.passes] == ["finding faces in", "restoring"]
    assert told.passes[0][1] in (frames - 1, frames)
    number = before.times.index(begin)
    assert after.times == [time - begin for time in before.times[number : number + frames]]
    end = Fraction(start) + Fraction(3, 10)
    expected = [packet for packet in before.packets[1] if begin <= packet[0] < end]
    heard = after.packets.get(1, [])
    assert len(expected) == (13 if start < 1 else 0)  # the sound ends after a second
    assert [data for *_, data in heard] == [data for *_, data in expected]
    assert all(one[0] + begin == other[0] for one, other in zip(heard, expected, strict=True))
    assert interleaved(tmp_path / "out.mkv") < 0.2
    chapters = [(Fraction(0), Fraction(4, 10), "Two")] if start < 1 else []
    assert after.about["chapters"] == chapters


def test_a_part_beyond_the_end(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(frames=10))
    with pytest.raises(PhotoError, match=r"^No frame of .* lies in the part"):
        restore_clip(source, tmp_path / "out.mkv", settings={"start": 60, "keep_unfinished": False})
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_the_picture_of_a_frame(restore_clip, told, tmp_path):
    """What is shown on the way is what is written."""
    told.looks = True
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=3, degrees=90))
    restore_clip(source, tmp_path / "out.mkv", settings={"codec": "ffv1"})
    with av.open(str(tmp_path / "out.mkv")) as film:
        *_, last = film.decode(video=0)
    film = probe(tmp_path / "out.mkv", 200)
    pixels = FramePixels(film.layout, film.tags, film.width, film.height)
    written = film.orientation.shown(pixels.photo(last, (slice(0, film.height), slice(0, film.width))))
    assert told.shown.shape == written.shape
    assert np.abs(told.shown - written).mean() < 0.01


def test_what_a_hook_raises_ends_the_work(restore_clip, tmp_path):
    """And nothing is left where nothing is to be resumed; frames are not restored one by one after it."""
    source = make(tmp_path / "in.mkv", Clip(frames=40))
    begun = []

    def stop():
        begun.append(None)
        if len(begun) == 5:
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        restore_clip(source, tmp_path / "out.mkv", before_frame=stop, settings={"keep_unfinished": False})
    assert len(begun) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_a_frame_that_fails_is_kept_and_told(restore_clip, tmp_path, monkeypatch):
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=6))
    really, broken = restore.run_task, []
    monkeypatch.setattr(restore, "run_tasks", lambda *arguments: iter_fails(arguments))

    def iter_fails(arguments):
        for work in arguments[1]:
            broken.append(work)
            if len(broken) == 3:
                raise RuntimeError("a bug")
            yield really(arguments[0], work, *arguments[2:])

    def alone(task, work, *more):
        if work is broken[2]:
            raise FaceError("This frame is bad.")
        return really(task, work, *more)

    monkeypatch.setattr(restore, "run_task", alone)
    result = restore_clip(source, tmp_path / "out.mkv", settings={"codec": "ffv1"})
    assert result.outcome.failed == [(pytest.approx(0.08), "This frame is bad.")]
    assert "1 frame kept unchanged: at 0.08 s, This frame is bad." in result.message
    before, after = look(source, planes=True), look(tmp_path / "out.mkv", planes=True)
    same = [np.array_equal(a[0], b[0]) for a, b in zip(before.planes, after.planes, strict=True)]
    assert same == [False, False, True, False, False, False]


def test_a_frame_whose_second_face_fails_is_kept_whole(restore_clip, told, tmp_path, monkeypatch):
    """Neither the film nor what is shown of it has the first face alone."""
    source, faces = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=2)), [upright_face(30, 30, 14)]
    faces.append(upright_face(125, 85, 14))
    told.looks = True
    restore_clip(source, tmp_path / "plain.mkv", settings={"codec": "ffv1"}, faces=[])
    plain, really, calls = told.shown, restore.run_task, []

    def together(*arguments):
        raise RuntimeError("a bug")

    def alone(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise FaceError("This face is bad.")
        return really(*arguments)

    monkeypatch.setattr(restore, "run_tasks", together)
    monkeypatch.setattr(restore, "run_task", alone)
    result = restore_clip(source, tmp_path / "out.mkv", settings={"codec": "ffv1"}, faces=faces)
    assert (len(calls), result.outcome.failed) == (4, [(pytest.approx(0.04), "This face is bad.")])
    before, after = look(source, planes=True), look(tmp_path / "out.mkv", planes=True)
    same = [np.array_equal(a[0], b[0]) for a, b in zip(before.planes, after.planes, strict=True)]
    assert same == [False, True]
    assert np.array_equal(told.shown, plain)


def test_interlaced_films(restore_clip, tmp_path):
    clip = Clip(codec="mpeg2video", options={"flags": "+ildct+ilme", "top": "1"}, frames=8, time_base=Fraction(1, 25))
    source = make(tmp_path / "in.mkv", Clip(**{**clip.__dict__, "steps": (1,)}))
    if not probe(source, 100).is_interlaced:
        pytest.skip("this encoder makes no interlaced films")
    with pytest.raises(OptionError, match=r"is interlaced.* option deinterlace makes"):
        restore_clip(source, tmp_path / "out.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
    restore_clip(source, tmp_path / "out.mkv", settings={"deinterlace": True})
    assert look(tmp_path / "out.mkv").times == look(source).times
    assert not probe(tmp_path / "out.mkv", 100).is_interlaced


def test_what_is_no_film(restore_clip, tmp_path):
    (tmp_path / "in.mp4").write_bytes(b"nothing" * 50)
    with pytest.raises(PhotoError, match=r"in\.mp4 cannot be read as a film"):
        restore_clip(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with pytest.raises(PhotoError, match="cannot be read as a film: No such file"):
        restore_clip(tmp_path / "none.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "sound.mka"), "w", format="matroska") as out:
        sound = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    with pytest.raises(PhotoError, match="holds no video"):
        restore_clip(tmp_path / "sound.mka", tmp_path / "out.mp4")
    source = make(tmp_path / "large.mp4", Clip(frames=2))
    with pytest.raises(PhotoError, match=r"have 0\.0192 megapixels, more than the 0\.01 allowed"):
        probe(source, 0.01)


def test_a_film_that_changed_between_the_passes(restore_clip, tmp_path, monkeypatch):
    source = make(tmp_path / "in.mkv", Clip(frames=12))
    really = detect.Part.frames
    for lost in (1, 2):  # in the first pass, then in the second one
        passes = []

        def frames(self, *arguments, passes=passes, lost=lost):
            passes.append(None)
            found = list(really(self, *arguments))
            return iter(found[:5] + found[6:] if len(passes) == lost else found)

        monkeypatch.setattr(detect.Part, "frames", frames)
        with pytest.raises(PhotoError, match=r"was read differently the second time\. Has it changed"):
            restore_clip(source, tmp_path / "out.mkv")
        assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
    monkeypatch.setattr(detect.Part, "frames", really)
    assert restore_clip(source, tmp_path / "out.mkv").outcome.frames == 12


def test_few_frames_are_held_whatever_the_length(restore_clip, tmp_path, monkeypatch):
    """As many in a long film as in a short one: those that wait on either side of the network."""
    most = []
    for frames in (20, 80):
        alive, held = [], []
        really = FramePixels.photo

        def noted(self, *arguments, alive=alive, held=held, really=really):
            photo = really(self, *arguments)
            held.append(weakref.ref(photo))
            alive.append(sum(reference() is not None for reference in held))
            return photo

        monkeypatch.setattr(FramePixels, "photo", noted)
        source = make(tmp_path / f"{frames}.mkv", Clip(codec="ffv1", frames=frames))
        restore_clip(source, tmp_path / f"out{frames}.mkv", settings={"codec": "ffv1"})
        monkeypatch.undo()
        assert len(held) == 2 * frames  # once for the network, and once where the change is added
        most.append(max(alive))
    assert most[1] <= most[0] + 2
    assert most[1] <= 20


def test_reading_and_encoding_overlap_with_the_network(restore_clip, tmp_path, monkeypatch):
    """Each in a thread of its own: frames are read and encoded while the network is busy."""
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=12))
    names = {"read": set(), "encoded": set(), "restored": set()}
    really_read, really_add = FramePixels.photo, restore.SegmentWriter.add
    really_run = restore.run_tasks
    monkeypatch.setattr(
        FramePixels, "photo", lambda *a: names["read"].add(threading.current_thread().name) or really_read(*a)
    )
    monkeypatch.setattr(
        restore.SegmentWriter, "add", lambda *a: names["encoded"].add(threading.current_thread().name) or really_add(*a)
    )
    monkeypatch.setattr(
        restore, "run_tasks", lambda *a: names["restored"].add(threading.current_thread().name) or really_run(*a)
    )
    restore_clip(source, tmp_path / "out.mkv")
    assert names["restored"] == {threading.main_thread().name}
    assert names["encoded"] == {"gpen-film-writer"}
    assert names["read"] == {"gpen-film-reader", "gpen-film-writer"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot take processors from a process")
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_the_result_does_not_depend_on_the_number_of_processors(codec, restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(frames=30))
    found = os.sched_getaffinity(0)
    if len(found) == 1:
        pytest.skip("there is only one processor")
    restore_clip(source, tmp_path / "several.mkv", settings={"codec": codec})
    os.sched_setaffinity(0, {min(found)})
    try:
        restore_clip(source, tmp_path / "one.mkv", settings={"codec": codec})
    finally:
        os.sched_setaffinity(0, found)
    for first, second in zip(
        *(look(tmp_path / f"{n}.mkv", planes=True).planes for n in ("several", "one")), strict=True
    ):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_record_of_faces_is_exact(tmp_path):
    face = Face((0.1, 1 / 3, 2.5, 7.125), 0.9123456789, np.random.default_rng(0).normal(size=(5, 2)))
    again = detect._read(json.loads(json.dumps(detect._written(face))))
    assert (again.box, again.score) == (face.box, face.score)
    assert np.array_equal(again.landmarks, face.landmarks)
