"""Locks of files: between threads, processes and file systems."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from gpen import file_lock
from gpen.file_lock import Holder

HOLD = """
import sys
from pathlib import Path
from gpen.file_lock import file_lock
with file_lock(Path(sys.argv[1])) as holder:
    print(holder.name, flush=True)
    sys.stdin.read()
"""
not_on_windows = pytest.mark.skipif(os.name == "nt", reason="its locks are other ones")


def test_one_block_holds_it_at_a_time(tmp_path):
    lock = tmp_path / "lock"
    with file_lock.file_lock(lock) as holder:
        assert holder is Holder.OURS
        with file_lock.file_lock(lock) as other:
            assert other is Holder.ANOTHER
        assert lock.exists()
        with file_lock.file_lock(lock) as other:
            assert other is Holder.ANOTHER
    assert not lock.exists()
    with file_lock.file_lock(lock) as holder:
        assert holder is Holder.OURS


def test_it_is_released_by_an_error(tmp_path):
    lock = tmp_path / "lock"
    with pytest.raises(KeyboardInterrupt), file_lock.file_lock(lock):
        raise KeyboardInterrupt
    assert not lock.exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "OURS\n"
        with file_lock.file_lock(lock) as holder:
            assert holder is Holder.ANOTHER
        process.kill()
        process.wait()
    assert lock.exists()
    with file_lock.file_lock(lock) as holder:
        assert holder is Holder.OURS
    assert not lock.exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    with file_lock.file_lock(tmp_path / "missing" / "lock") as holder:
        assert holder is Holder.NOBODY


@not_on_windows
def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(file_lock.fcntl, "flock", unsupported)
    with file_lock.file_lock(tmp_path / "lock") as holder:
        assert holder is Holder.NOBODY
    assert list(tmp_path.iterdir()) == []


@not_on_windows
def test_a_lock_on_a_file_that_was_just_removed_does_not_count(tmp_path, monkeypatch):
    lock = tmp_path / "lock"
    flock, calls = file_lock.fcntl.flock, []

    def removed_in_between(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == 1:
            lock.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(file_lock.fcntl, "flock", removed_in_between)
    with file_lock.file_lock(lock) as holder:
        assert holder is Holder.OURS
        assert len(calls) == 2
        with file_lock.file_lock(lock) as other:
            assert other is Holder.ANOTHER
    assert not lock.exists()
