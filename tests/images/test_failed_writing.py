"""When writing fails, the message says why, and the old file is still there."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.errors import PhotoError
from gpen.images import Picture, write_picture

SUFFIXES = [".png", ".jpg", ".webp", ".tif"]


def old_and_new(folder: Path, suffix: str) -> tuple[Path, Picture]:
    path = folder / f"a{suffix}"
    path.write_bytes(b"the old file")
    return path, Picture(np.random.default_rng(6).random((50, 60, 3)).astype(np.float32))


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == b"the old file"
    assert list(path.parent.iterdir()) == [path]


class Half:
    """A file that accepts some bytes, then fails."""

    def __init__(self, file: Any, mistake: BaseException) -> None:
        self.file, self.mistake, self.left = file, mistake, 60

    def write(self, data: bytes) -> int:
        self.file.write(data[: self.left])
        self.left -= len(data)
        if self.left < 0:
            self.file.flush()
            raise self.mistake
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Half:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, number: int) -> None:
    path, picture = old_and_new(tmp_path, suffix)
    opened = Path.open

    def failing(self: Path, *arguments: Any, **more: Any) -> Any:
        file = opened(self, *arguments, **more)
        return Half(file, OSError(number, os.strerror(number))) if self.name.startswith(".gpen") else file

    monkeypatch.setattr(Path, "open", failing)
    expected = "disk is full" if number == errno.ENOSPC else re.escape(os.strerror(number))
    with pytest.raises(PhotoError, match=expected):
        write_picture(path, picture)
    monkeypatch.undo()
    assert_untouched(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_control_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path, picture = old_and_new(tmp_path, suffix)
    opened = Path.open

    def failing(self: Path, *arguments: Any, **more: Any) -> Any:
        file = opened(self, *arguments, **more)
        return Half(file, KeyboardInterrupt()) if self.name.startswith(".gpen") else file

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(KeyboardInterrupt):
        write_picture(path, picture)
    monkeypatch.undo()
    assert_untouched(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mistake", [MemoryError(), ValueError("too odd"), OSError("encoder error -2")])
def test_an_encoder_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, mistake: Exception
) -> None:
    path, picture = old_and_new(tmp_path, suffix)

    def fail(*_: object, **__: object) -> None:
        raise mistake

    monkeypatch.setattr("gpen.images.write.encode", fail)
    with pytest.raises(PhotoError, match="cannot be written"):
        write_picture(path, picture)
    assert_untouched(path)


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, because an administrator may write everywhere."""
    path, picture = old_and_new(tmp_path, ".png")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(PhotoError, match="may not write in"):
        write_picture(path, picture)


def test_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, picture = old_and_new(tmp_path, ".png")

    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PhotoError, match="may not write in"):
        write_picture(path, picture)
    assert_untouched(path)


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """No clean-up can run, but the old file is still whole."""
    path, _ = old_and_new(tmp_path, ".tif")
    code = """
        import os, sys
        from pathlib import Path
        import numpy as np
        from gpen.images import Picture, write_picture
        os.fsync = lambda descriptor: os._exit(9)
        write_picture(Path(sys.argv[1]), Picture(np.zeros((50, 60, 3), np.float32)))
    """
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], check=False, cwd=root)
    assert run.returncode == 9
    assert path.read_bytes() == b"the old file"


def test_missing_folders_and_folders_in_the_way(tmp_path: Path) -> None:
    _, picture = old_and_new(tmp_path, ".png")
    with pytest.raises(PhotoError, match=r"folder .* does not exist. Create it"):
        write_picture(tmp_path / "no" / "a.png", picture)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PhotoError, match="a folder has that name"):
        write_picture(tmp_path / "folder.png", picture)
    with pytest.raises(PhotoError, match="cannot be written"):
        write_picture(tmp_path / "a.png" / "b.png", picture)
    with pytest.raises(PhotoError, match="cannot be written"):
        write_picture(tmp_path / ("n" * 300 + ".png"), picture)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "folder.png"]


def test_importing_is_cheap() -> None:
    code = "import sys, gpen.images; print([n for n in ('cv2', 'PIL', 'torch', 'tifffile') if n in sys.modules])"
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout.strip() == "[]"
