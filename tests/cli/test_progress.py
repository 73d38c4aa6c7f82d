"""The progress bar: shown in terminals, not in logs."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
from pathlib import Path

import pytest

from gpen.batch.plan import Job, PhotoFile
from gpen.batch.report import PhotoResult, Status
from gpen.cli.progress import Progress


def test_no_bar_without_a_terminal(start, arguments, album, tmp_path):
    album.add("a.png")
    process = start("restore", album.folder, "-o", tmp_path / "out", *arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""
    assert len(out.splitlines()) == 3
    assert "\r" not in out
    assert "\x1b" not in out
    assert "%|" not in out


def test_the_bar_shows_faces_and_time_left(start, arguments, album, tmp_path, one_face):
    pty = pytest.importorskip("pty")
    import fcntl
    import termios

    album.add("a.png", faces=[one_face(5, 5, 40), one_face(60, 40, 30)])
    album.add("b with quite a long name, longer than half a line of a terminal is.png")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = start("restore", album.folder, "-o", tmp_path / "out", *arguments, stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            block = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(master)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "2 photos: 2 restored; 3 faces restored." in out
    bars = [bar for bar in re.split(r"[\r\n]+", shown.decode()) if bar.strip()]
    text = "\n".join(bars)
    assert re.search(r" 0%\|.*\| 1 of 2, finding faces, \d\d:\d\d gone, \? left", text)
    assert re.search(r" 25%\|█+.*\| 1 of 2, face 1 of 2, \d\d:\d\d gone, \d\d:\d\d left, a\.png", text)
    assert re.search(r"100%\|█+\| 2 of 2, face 1 of 1, ", text)
    assert all(len(bar) <= 80 for bar in bars)
    # The bar is cleared in the end.
    assert shown.decode().split("\r")[-2:] == [" " * 79, ""]


def test_existing_results_are_left_out_of_the_estimate(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    job = Job(PhotoFile(Path("a.png"), "a.png"), Path("out/a.png"), "a")
    with Progress(10) as progress:
        for _ in range(4):
            progress.starts(job)
            progress.ends(PhotoResult(job, Status.EXISTS, ""))
        progress.starts(job)
    last = [bar for bar in terminal.getvalue().split("\r") if bar.strip()][-1]
    assert "40%|" in last
    assert "5 of 10" in last
    assert "? left" in last
