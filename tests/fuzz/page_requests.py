"""Requests to the page's API, as Gradio has decoded them."""

from __future__ import annotations

import asyncio
import html
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

from gpen.errors import GpenError
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.conftest import SHARED
from tests.fuzz.mutators import NUMBERS, WORDS, changed_bytes, changed_json, zip_of

ROOT = Path(__file__).resolve().parents[2]
_SMALL = Spec(64, 64, channel_multiplier=2, narrow=1 / 16, style_dim=16, n_mlp=2)


def request(rng: Random, folder: Path) -> Callable[[], object]:
    """A call of one of the endpoints, with values that are right, or that no page would send."""
    page, uploads = _page(folder.parent)
    function = rng.choice([function for function in page.fns.values() if function.api_visibility == "public"])
    shutil.rmtree(uploads, ignore_errors=True)
    files = _files(rng, uploads, folder)
    values = [_value(rng, block, files) for block in function.inputs]
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randrange(len(values))
        values[at] = changed_json(rng, values[at])
    if rng.random() < 0.05:
        values = values[: rng.randrange(len(values))]
    outside = str(folder / "outside.png")

    def call() -> None:
        try:
            asyncio.run(page.process_api(function, values))
        except Exception as error:
            raise _refusal(error) from error
        assert outside not in repr(values), "a file was read that nobody uploaded"

    return call


def _refusal(error: Exception) -> Exception:
    """What the visitor is told; the error itself where our code raised it, for then it is not one for people."""
    import gradio

    where = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    if not any(path.is_relative_to(ROOT / "gpen") for path in where):
        return GpenError(f"Gradio refuses it: {type(error).__name__}.")
    if isinstance(error, gradio.Error):
        return GpenError(html.unescape(error.message.replace("<br>", "\n")))
    return error


@lru_cache(maxsize=1)
def _page(folder: Path) -> tuple[Any, Path]:
    """The page, with a small model, and the folder of its uploads."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    tempfile.tempdir = str(folder)
    from gpen.app.actions import Actions, Limits
    from gpen.app.engine import Engine, ModelLocator
    from gpen.app.page import build_page

    models, results = folder / "models", folder / "results"
    models.mkdir()
    results.mkdir()
    torch.save(synthetic_weights(_SMALL), models / "small.pth")
    engine = Engine(ModelLocator((models, SHARED / "weights")), "cpu")
    page = build_page(Actions(engine, Limits(1_000_000, 1.0), results))
    # As launch() does: until then Gradio reads any file.
    page.has_launched, page.allowed_paths, page.blocked_paths = True, [str(results)], []
    return page, folder / "uploads"


def _files(rng: Random, uploads: Path, folder: Path) -> list[dict[str, Any]]:
    """As requests name them: a picture, a damaged one, a zip, one that is not there, and one that nobody uploaded."""
    uploads.mkdir(parents=True)
    noise = np.frombuffer(random.Random(0).randbytes(64 * 64 * 3), np.uint8).reshape(64, 64, 3)
    for path in (uploads / "a.png", folder / "outside.png"):
        Image.fromarray(noise).save(path)
    data = (uploads / "a.png").read_bytes()
    (uploads / "b.png").write_bytes(changed_bytes(rng, data))
    (uploads / "c.zip").write_bytes(zip_of([("a.png", data), (rng.choice(("b.png", "../b.png", "d/a.png")), data)]))
    paths = [*sorted(uploads.iterdir()), uploads / "missing.png", folder / "outside.png"]
    return [{"path": str(path), "meta": {"_type": "gradio.FileData"}} for path in paths]


def _value(rng: Random, block: Any, files: list[dict[str, Any]]) -> Any:
    """A value for a component that is right, most of the time."""
    if type(block).__name__ != "File":
        usual = block.value if block.value is not None else "restore"
        return usual if rng.random() < 0.97 else rng.choice((*NUMBERS, *WORDS, None))
    if rng.random() < (0.05 if block.label.startswith("The ") else 0.6):
        return None
    likely = files[0] if rng.random() < 0.8 else rng.choice(files)
    return likely if block.file_count == "single" else [likely, *rng.sample(files, rng.choice((0, 0, 0, 1)))]
