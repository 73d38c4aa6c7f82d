"""Two hundred prompts, of which some are cancelled at random: the server goes on, and nothing is left behind."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from gpen.network.spec import Spec
from gpen.network.synthetic import SHARPEN, synthetic_weights
from tests.hosts.comfyui.graphs import GraphBuilder
from tests.hosts.comfyui.server import ComfyUIServer, Finished, PromptInterruptedError
from tests.hosts.conftest import Parts

PROMPTS, CANCELS, SEED = 200, 60, 20
SMALL = Spec(64, 64, channel_multiplier=2, narrow=1 / 16, style_dim=16, n_mlp=2)
MOST_GROWTH = 300_000
"""Bytes for each prompt, of which each holds three times as many in pictures."""


@pytest.fixture
def small(comfyui: ComfyUIServer, tmp_path: Path) -> Iterator[str]:
    """The name of a network that is quick, which is there until the test ends."""
    save_file(synthetic_weights(SMALL, kernel=SHARPEN), tmp_path / "small.safetensors")
    added = comfyui.add_model("facerestore_models/small-64.safetensors", tmp_path / "small.safetensors")
    yield added.name
    added.unlink()


def test_many_prompts_with_cancel_at_random(comfyui: ComfyUIServer, parts: Parts, small: str) -> None:
    chance, said_before = random.Random(SEED), len(comfyui.log)
    uploaded = comfyui.upload_image(parts.left, "load.png")
    first = GraphBuilder(comfyui)
    model = first.add("GPENLoadModel", model_name=small)
    image = first.add("LoadImage", image=uploaded)
    node = first.add("GPENRestoreFaces", image=image, model=model)
    shown = first.show(node)

    def graph(number: int) -> dict[str, object]:
        # Another strength, so that no prompt finds its result in the cache.
        inputs = {**first.graph[node.id]["inputs"], "strength": 0.2 + 0.004 * number}
        return {**first.graph, node.id: {**first.graph[node.id], "inputs": inputs}}

    comfyui.run(first.graph)
    prompts = [comfyui.submit(graph(number)) for number in range(PROMPTS)]
    for _ in range(CANCELS):
        time.sleep(chance.uniform(0, 0.4))
        comfyui.interrupt()
    finished: dict[int, Finished] = {}
    memory = []
    for number, prompt in enumerate(prompts):
        with contextlib.suppress(PromptInterruptedError):
            finished[number] = comfyui.wait(prompt)
        memory.append(comfyui.memory)
    growth = np.polyfit(range(PROMPTS // 2), memory[PROMPTS // 2 :], 1)[0]
    print(f"{PROMPTS} prompts, {PROMPTS - len(finished)} cancelled, {growth:.0f} bytes for each")
    assert PROMPTS - CANCELS <= len(finished) < PROMPTS - CANCELS // 6
    assert growth < MOST_GROWTH
    # Their results are those of a server that nobody disturbed.
    comfyui.post("/free", {"unload_models": True, "free_memory": True})
    for number in chance.sample(sorted(finished), 5):
        (before,) = comfyui.images(finished[number], shown.id)
        (after,) = comfyui.images(comfyui.run(graph(number)), shown.id)
        assert np.array_equal(before, after)
    assert "Traceback" not in comfyui.log[said_before:]
