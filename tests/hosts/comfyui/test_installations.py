"""Other installations of ComfyUI: without models and with a broken package, and with the user's own folders."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.comfyui.graphs import MARKER, PASSTHROUGH, GraphBuilder, restore
from tests.hosts.comfyui.server import PACK, ComfyUIServer, PromptError
from tests.hosts.conftest import Parts

Start = Callable[..., ComfyUIServer]


@pytest.fixture(scope="module")
def internet() -> Iterator[socket.socket]:
    """A proxy instead: every download would connect here."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="module")
def bare(
    start_comfyui: Start,
    synthetic_models: dict[str, Path],
    internet: socket.socket,
    tmp_path_factory: pytest.TempPathFactory,
) -> ComfyUIServer:
    """A server without GPEN models, with detectors, and with a facexlib that cannot be imported."""
    packages = tmp_path_factory.mktemp("packages")
    (packages / "facexlib").mkdir()
    (packages / "facexlib/__init__.py").write_text("raise ImportError('built for another NumPy')\n")
    proxy = f"http://127.0.0.1:{internet.getsockname()[1]}"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), proxy)
    environment = {"PYTHONPATH": str(packages), **proxies, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    detectors = {path: file for path, file in synthetic_models.items() if path.startswith("facedetection/")}
    return start_comfyui(detectors, environment=environment)


def choices(server: ComfyUIServer, node: str, name: str) -> list[str]:
    return list(server.object_info(node)["input"]["required"][name][1]["options"])


def test_a_broken_package_removes_only_its_choices(bare: ComfyUIServer, parts: Parts) -> None:
    assert choices(bare, "GPENLoadFaceDetector", "detector") == ["auto", "yunet"]
    for node in ("GPENRestoreFaces", "GPENPasteFaces"):
        assert choices(bare, node, "mask") == ["auto", "ellipse", "box"]
    for choice in ("retinaface_resnet50", "retinaface_mobile0.25", "parsed"):
        assert re.search(rf'leaves out the choice "{choice}"\. .*built for another NumPy', bare.log)

    graph = GraphBuilder(bare)
    detector = graph.add("GPENLoadFaceDetector", detector="auto")
    found = graph.add("GPENDetectFaces", image=graph.photo(parts.left, "left.png"), detector=detector)
    assert len(graph.run().outputs[found.id]["gpen_faces"]) == 5


@pytest.mark.parametrize(("node", "name"), [("GPENLoadModel", "model_name"), ("GPENConvertCheckpoint", "weight_file")])
@pytest.mark.parametrize("chosen", [None, ""], ids=["null", "nothing"])
def test_an_empty_list_says_which_file_to_put_where(
    bare: ComfyUIServer, node: str, name: str, chosen: str | None
) -> None:
    folder = bare.base_dir / "models/facerestore_models"
    declared = bare.object_info(node)["input"]["required"][name][1]
    assert declared["options"] == []
    advice = f"Put a model such as GPEN-BFR-512.pth into {folder}, then refresh the node definitions (R). "
    advice += "Or click Download on GPEN Load Model."
    assert declared["tooltip"] == advice
    assert folder.is_dir()

    graph = GraphBuilder(bare)
    model = graph.add(node, **{name: chosen})
    if node == "GPENLoadModel":
        graph.show(graph.add("GPENRestoreFaces", image=graph.add("EmptyImage"), model=model))
    with pytest.raises(PromptError, match=re.escape(advice)):
        graph.run()


def test_nothing_was_downloaded(
    bare: ComfyUIServer, synthetic_models: dict[str, Path], internet: socket.socket
) -> None:
    bare.object_info()
    with pytest.raises(BlockingIOError):
        internet.accept()
    files = {str(file.relative_to(bare.base_dir / "models")) for file in bare.base_dir.glob("models/**/*.*")}
    assert files == {path for path in synthetic_models if path.startswith("facedetection/")}
    assert not list(bare.base_dir.glob("cache/gpen*"))


def test_the_users_own_folders_are_kept_and_searched(
    start_comfyui: Start, synthetic_models: dict[str, Path], parts: Parts, tmp_path: Path
) -> None:
    (tmp_path / "restorers").mkdir()
    (tmp_path / "detectors").mkdir()
    for path, file in synthetic_models.items():
        kind, name = path.split("/")
        if name != MARKER:
            own = tmp_path / ("restorers" if kind == "facerestore_models" else "detectors") / name
            own.write_bytes(file.read_bytes())
    (tmp_path / "restorers/notes.txt").write_text("no weights")
    config = tmp_path / "extra_model_paths.yaml"
    config.write_text(f"mine:\n  base_path: {tmp_path}\n  facerestore_models: restorers\n  facedetection: detectors\n")
    path = f"facerestore_models/{MARKER}"
    server = start_comfyui({path: synthetic_models[path]}, arguments=["--extra-model-paths-config", str(config)])
    assert choices(server, "GPENLoadModel", "model_name") == [MARKER, PASSTHROUGH]
    graph = GraphBuilder(server)
    result = restore(graph, graph.photo(parts.left, "left.png"), weights=PASSTHROUGH)
    result.passed_through(parts.left)
    assert len(result.after) == 5
    other = GraphBuilder(server)
    restore(other, other.photo(parts.nobody, "nobody.png"), weights=MARKER).nothing_done(parts.nobody)


def test_detectors_beside_the_models_are_found(
    start_comfyui: Start, synthetic_models: dict[str, Path], parts: Parts
) -> None:
    """ComfyUI-Manager's list puts RetinaFace there. The list of models stays one of models."""
    models = {f"facerestore_models/{Path(path).name}": file for path, file in synthetic_models.items()}
    server = start_comfyui(models)
    assert choices(server, "GPENLoadModel", "model_name") == [MARKER, PASSTHROUGH]
    for detector in ("retinaface_mobile0.25", "yunet", "auto"):
        graph = GraphBuilder(server)
        loaded = graph.add("GPENLoadFaceDetector", detector=detector)
        found = graph.add("GPENDetectFaces", image=graph.photo(parts.left, "left.png"), detector=loaded)
        assert len(graph.run().outputs[found.id]["gpen_faces"]) >= 4


def test_messages_name_a_command_that_is_there(graph: GraphBuilder, parts: Parts) -> None:
    """No installation of the package: its module is run in the pack's folder."""
    with pytest.raises(PromptError, match="not on this computer") as missing:
        restore(graph, graph.photo(parts.left, "left.png"), mask="parsed")
    folder = graph.server.base_dir / "custom_nodes" / PACK
    said = f'Run "python -m gpen download parsenet" in the folder {folder}, or download it yourself'
    assert said in str(missing.value)
    # The second is for a Python that looks for modules in its own folders only, as the portable ComfyUI's.
    for python in (["-m", "gpen"], ["-I", "."]):
        command = [sys.executable, *python, "download", "--help"]
        assert "usage" in subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
