"""What ComfyUI's registry gets of the checkout, loaded in the real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.hosts.comfyui import server
from tests.hosts.comfyui.server import ComfyUIServer
from tests.packing import packed_files

EXPECTED = {
    "GPENRestoreFaces",
    "GPENRestoreVideo",
    "GPENColorizeFaces",
    "GPENInpaintFaces",
    "GPENSegmentationToFace",
    "GPENLoadModel",
}


@pytest.fixture(scope="module")
def in_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIServer]:
    """A server whose only node pack is a copy of those files."""
    folder = tmp_path_factory.mktemp("pack")
    for path in packed_files(server.CHECKOUT):
        (folder / "pack" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(server.CHECKOUT / path, folder / "pack" / path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "CHECKOUT", folder / "pack")
        started = ComfyUIServer(folder / "base")
    yield started
    started.stop()


def test_the_packed_files_are_a_whole_node_pack(in_comfyui: ComfyUIServer) -> None:
    ours = {name for name in in_comfyui.object_info() if name.startswith("GPEN")}
    assert ours >= EXPECTED
    whole = {path.stem for path in (server.CHECKOUT / "web" / "docs").glob("GPEN*.md")}
    assert ours == whole


def test_the_page_gets_its_scripts_and_the_help_pages(in_comfyui: ComfyUIServer) -> None:
    pack = f"extensions/{server.PACK}"
    for path in (server.CHECKOUT / "web").rglob("*.*"):
        name = path.relative_to(server.CHECKOUT / "web").as_posix()
        assert in_comfyui.get(f"/{pack}/{name}") == path.read_bytes()
