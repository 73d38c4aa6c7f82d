"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gpen.atomic import atomic_path


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".json"
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


def test_two_writers_do_not_share_a_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic_path(target) as one, atomic_path(target) as two:
        assert one != two
        one.write_bytes(b"1")
        two.write_bytes(b"2")
    assert target.read_bytes() == b"1"


@pytest.mark.parametrize("mistake", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, mistake: type[BaseException]) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise mistake

    with pytest.raises(mistake):
        write()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_failure_at_the_end_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=os.strerror(number)), atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_file_systems_without_fsync_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EINVAL, "no fsync here")

    monkeypatch.setattr(os, "fsync", fail)
    with atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_an_existing_file_is_kept_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError), atomic_path(target, overwrite=False):
        pytest.fail("the block ran although the file was there")
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    target = tmp_path / "a.bin"

    def write() -> None:
        with atomic_path(target, overwrite=False) as temporary:
            temporary.write_bytes(b"new")
            target.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        write()
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_without_overwriting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    target = tmp_path / "a.bin"
    with atomic_path(target, overwrite=False) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "no hard links here")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions(tmp_path: Path) -> None:
    private = tmp_path / "private.bin"
    private.write_bytes(b"old")
    private.chmod(0o600)
    with atomic_path(private) as temporary:
        temporary.write_bytes(b"new")
    assert private.stat().st_mode & 0o777 == 0o600

    plain = tmp_path / "plain.bin"
    plain.write_bytes(b"")
    with atomic_path(tmp_path / "new.bin") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "new.bin").stat().st_mode == plain.stat().st_mode


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".png")
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "no" / "a.bin") as temporary:
        temporary.write_bytes(b"new")
