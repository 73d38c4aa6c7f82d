"""Decoding, finding faces, the network and encoding work at the same time, each on another frame."""

from __future__ import annotations

import threading

import pytest

from gpen.video import detect, restore
from tests.video.clips import Clip, make
from tests.video.conftest import FACE

FRAMES = 40
LOSSLESS = {"codec": "ffv1"}


@pytest.fixture
def stages(monkeypatch, restore_clip, tmp_path):
    """Restore a film; functions are called for each frame that is decoded, searched, restored and encoded."""

    def run(decoded, searched, restored, encoded) -> None:
        really_read, really_add = detect.Part.frames, restore.SegmentWriter.add

        def frames(self, *arguments):
            for frame in really_read(self, *arguments):
                decoded()
                yield frame

        def find(photo):
            searched()
            return [FACE]

        monkeypatch.setattr(detect.Part, "frames", frames)
        monkeypatch.setattr(restore.SegmentWriter, "add", lambda *arguments: (encoded(), really_add(*arguments))[1])
        source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=FRAMES))
        restore_clip(source, tmp_path / "out.mkv", settings=LOSSLESS, find=find, before_frame=restored)

    return run


def test_all_work_at_once(stages):
    """Each waits at a frame in the middle until the others are at one, too."""
    first, second = (threading.Barrier(number, timeout=120) for number in (2, 3))
    passed = {"decoded": 0, "searched": 0, "restored": 0, "encoded": 0}

    def stage(name: str, barrier: threading.Barrier, at: int):
        def work() -> None:
            passed[name] += 1
            if passed[name] == at:
                barrier.wait()

        return work

    in_first, in_second = stage("decoded", first, 20), stage("decoded", second, FRAMES + 20)

    def decoded() -> None:
        if passed["decoded"] < FRAMES:
            in_first()
        else:
            in_second()

    stages(decoded, stage("searched", first, 19), stage("restored", second, 18), stage("encoded", second, 16))
    assert passed == {"decoded": 2 * FRAMES, "searched": FRAMES, "restored": FRAMES, "encoded": FRAMES}
