"""GPEN Restore Faces without a model connected, in the real ComfyUI server: the best one on disk is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.comfyui.expected import colored
from tests.hosts.comfyui.graphs import MARKER, PASSTHROUGH, GraphBuilder, Result, run
from tests.hosts.comfyui.server import ComfyUIServer, PromptFailedError
from tests.hosts.conftest import Parts

AddNetwork = Callable[[str, str], Path]


@pytest.fixture
def add_network(comfyui: ComfyUIServer, synthetic_models: dict[str, Path]) -> Iterator[AddNetwork]:
    """Adds one of the synthetic networks under a name, below facerestore_models, until the test ends."""
    added: list[Path] = []

    def add(name: str, network: str) -> Path:
        added.append(comfyui.add_model(f"facerestore_models/{name}", synthetic_models[f"facerestore_models/{network}"]))
        return added[-1]

    yield add
    for file in added:
        file.unlink(missing_ok=True)


def restored(graph: GraphBuilder, parts: Parts) -> Result:
    node = graph.add("GPENRestoreFaces", image=graph.photo(parts.left, "left.png"))
    return run(graph, node, node[3], after=node[1], before=node[2])


def test_nothing_on_disk_is_explained(graph: GraphBuilder, parts: Parts) -> None:
    """Files of other names may be any network: which of them is meant, only the user knows."""
    with pytest.raises(PromptFailedError, match=r"^No model is connected, and no published one") as missing:
        restored(graph, parts)
    folder = graph.server.base_dir / "models" / "facerestore_models"
    assert f"that restores faces is on disk. Put a model such as GPEN-BFR-512.pth into {folder}" in str(missing.value)
    assert f"connect GPEN Load Model, and choose one of these in it: {MARKER}, {PASSTHROUGH}." in str(missing.value)


def test_the_best_network_is_used_and_another_once_it_is_gone(
    graph: GraphBuilder, parts: Parts, add_network: AddNetwork
) -> None:
    """Names decide what is best: 512 suits most faces. One in a folder below counts as well."""
    best = add_network("mine/GPEN-BFR-512.safetensors", PASSTHROUGH)
    add_network("GPEN-BFR-2048.safetensors", MARKER)
    add_network("GPEN-Colorization-1024.safetensors", MARKER)
    first = restored(graph, parts)
    first.passed_through(parts.left, largest=9)
    assert len(first.after) == 5
    best.unlink()
    # The same graph: only what is on disk has changed.
    second = restored(GraphBuilder(graph.server), parts)
    second.blended(0, parts.left, colored(parts.left))


def test_a_connected_model_is_used_whatever_is_on_disk(
    graph: GraphBuilder, parts: Parts, add_network: AddNetwork
) -> None:
    add_network("GPEN-BFR-512.safetensors", PASSTHROUGH)
    model = graph.add("GPENLoadModel", model_name=MARKER)
    node = graph.add("GPENRestoreFaces", image=graph.photo(parts.left, "left.png"), model=model)
    run(graph, node, node[3]).blended(0, parts.left, colored(parts.left))
