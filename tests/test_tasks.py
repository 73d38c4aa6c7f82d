"""The table of tasks: consistent with itself and with what it names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import gpen
from gpen.app.batch import BatchRequest, run_batch
from gpen.app.engine import Engine, ModelLocator
from gpen.app.session import WorkRequest, open_photo, work
from gpen.batch.config import RunConfig
from gpen.cli import main
from gpen.errors import OptionError
from gpen.images import Picture, write_picture
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import FRAME_OPTIONS, OPTIONS, PRESETS, Options
from gpen.restoration.needs import Needs
from gpen.restoration.processors import PROCESSORS, FaceProcessor
from gpen.tasks import RESTORE, TASKS, Task, find_task, register, registered, task_of_network
from gpen.weights.catalog import NETWORKS
from tests.hosts.loading import from_checkout

WORKFLOWS = Path(__file__).resolve().parents[1] / "example_workflows"
EACH_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
NAMES = [published.name for published in NETWORKS]


def test_the_tasks_and_their_order():
    """The page, the commands and the API list them in this order; users' files hold these names."""
    assert list(TASKS) == ["restore", "colorize", "inpaint", "synthesize"]
    assert find_task("segmentation") is TASKS["synthesize"]


@EACH_TASK
def test_names_and_aliases_are_found(task):
    for name in (task.name, *task.aliases):
        assert find_task(name) is task
    assert TASKS[task.name] is task


def test_names_and_aliases_are_unique():
    names = [name for task in TASKS.values() for name in (task.name, *task.aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["", "Restore", "darken", "restore "])
def test_an_unknown_task_is_refused_with_the_known_ones(name):
    with pytest.raises(OptionError, match=rf"{name!r} is unknown.*restore, colorize, inpaint, synthesize"):
        find_task(name)


@EACH_TASK
def test_options_exist_and_match_what_the_task_does(task):
    assert set(task.options) <= set(OPTIONS)
    assert len(set(task.options)) == len(task.options)
    assert {"precision", "max_megapixels"} <= set(task.options)
    about_faces = {
        *("detector", "detection_threshold", "select", "only_faces", "min_face_size", "max_face_size", "template")
    }
    assert about_faces.intersection(task.options) == (about_faces if task.looks_for_faces else set())
    assert ("damage_feather" in task.options) == task.needs_damage_mask
    assert ("identity_guard" in task.options) == ("identity_action" in task.options)
    assert task.accepts_background == ("upscale" in task.options)


def test_every_option_belongs_to_a_task():
    assert {name for task in TASKS.values() for name in task.options} == set(OPTIONS)
    assert set(FRAME_OPTIONS) <= set(OPTIONS)
    for preset in PRESETS.values():
        assert preset.task in TASKS.values()
        assert set(preset.values) <= set(preset.task.options)
        assert preset.model in preset.task.networks


@EACH_TASK
def test_networks_are_in_the_catalogue(task):
    assert task.networks
    assert set(task.networks) <= set(NAMES)
    assert task.example == task.networks[0]
    for name in task.networks:
        assert task_of_network(name) is task


def test_every_published_network_is_for_one_task():
    assert sorted(name for task in TASKS.values() for name in task.networks) == sorted(NAMES)
    assert task_of_network("yunet") is None


@EACH_TASK
def test_the_example_workflow_exists(task):
    assert json.loads((WORKFLOWS / f"{task.workflow}.json").read_text(encoding="utf-8"))["nodes"]
    assert (WORKFLOWS / f"{task.workflow}.jpg").is_file()


def test_every_task_has_a_processor():
    assert set(PROCESSORS) == set(TASKS)


@EACH_TASK
def test_every_task_is_a_function_of_the_package(task):
    assert task.name in gpen.__all__
    assert callable(getattr(gpen, task.name))


@EACH_TASK
def test_alignment(task):
    assert not (task.accepts_aligned and task.always_aligned)
    assert task.is_aligned(False) is task.always_aligned
    if task.accepts_aligned or task.always_aligned:
        assert task.is_aligned(True) is True
        return
    with pytest.raises(OptionError) as caught:
        task.is_aligned(True)
    assert str(caught.value).endswith("it is for: colorize, inpaint.")


@EACH_TASK
def test_texts_read_as_their_docstrings_say(task):
    for text in (task.help, task.network_does, task.network_title, task.inputs, task.done):
        assert text
        assert text[0].islower()
        assert not text.endswith(".")
    assert task.label[0].isupper()
    assert task.inputs.endswith("s")
    assert " " not in task.done
    assert task.value_range in ((-1.0, 1.0), (0.0, 1.0))


@EACH_TASK
def test_a_name_is_registered_once(task):
    before = dict(TASKS)
    for name in (task.name, *task.aliases):
        with pytest.raises(ValueError, match="already exists"):
            register(dataclasses.replace(task, name=name, aliases=()))
        with pytest.raises(ValueError, match="already exists"):
            register(dataclasses.replace(task, name="new", aliases=(name,)))
    assert before == TASKS


def test_a_registered_task_is_there_as_long_as_the_block_lasts():
    row = dataclasses.replace(RESTORE, name="new", aliases=("older",), networks=())

    def fail(task: Task) -> None:
        assert find_task("older") is task
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), registered(row) as task:
        fail(task)
    assert "new" not in TASKS
    assert FaceProcessor is PROCESSORS["restore"]


REFUSED = r'The task "restore" looks for faces in whole photos.*it is for: colorize, inpaint\.'


@pytest.fixture
def portrait(tmp_path) -> Path:
    """A square photo; beside it a folder with a network."""
    (tmp_path / "models").mkdir()
    torch.save(synthetic_weights(Spec(64, 64, 2, 1 / 16, 16, 2)), tmp_path / "models" / "mine.pth")
    write_picture(tmp_path / "portrait.png", Picture(np.full((64, 64, 3), 0.5, np.float32)))
    return tmp_path / "portrait.png"


def _from_python(portrait: Path, models: Path) -> None:
    photo = gpen.read_picture(portrait, 1).photo
    gpen.run("restore", photo, gpen.load_model(models / "mine.pth"), None)


def _by_the_function(portrait: Path, models: Path) -> None:
    photo = gpen.read_picture(portrait, 1).photo
    gpen.restore(photo, gpen.load_model(models / "mine.pth"), None)  # type: ignore[arg-type]


def _needs(portrait: Path, models: Path) -> None:
    Needs.of(RESTORE, Options(), aligned=True)


def _batch(portrait: Path, models: Path) -> None:
    RunConfig(weights=models / "mine.pth", options=Options(), aligned=True).make()


def _check_of_a_batch(portrait: Path, models: Path) -> None:
    RunConfig(weights=models / "mine.pth", options=Options(), aligned=True).check()


def _page(portrait: Path, models: Path) -> None:
    engine = Engine(ModelLocator((models,)), "cpu")
    session = open_photo(portrait, models, 1)
    work(engine, session, WorkRequest(task=RESTORE, options=Options(), aligned=True))


def _batch_of_the_page(portrait: Path, models: Path) -> None:
    engine = Engine(ModelLocator((models,)), "cpu")
    request = BatchRequest(task=RESTORE, options=Options(), photos=[portrait], most_bytes=10**6, aligned=True)
    run_batch(engine, request, models)


@pytest.mark.parametrize(
    "ask", [_from_python, _by_the_function, _needs, _batch, _check_of_a_batch, _page, _batch_of_the_page]
)
def test_restoring_an_aligned_portrait_is_refused(portrait, ask):
    with pytest.raises(OptionError, match=REFUSED):
        ask(portrait, portrait.parent / "models")
    assert portrait.is_file()


def test_restoring_an_aligned_portrait_is_refused_in_comfyui(portrait):
    """Frames without faces: the checkout is loaded as ComfyUI does, with classes of its own."""
    frames, tasks = from_checkout("gpen_hosts.comfyui.frames"), from_checkout("gpen.tasks")
    model = from_checkout("gpen.weights.checkpoint").load_model(portrait.parent / "models" / "mine.pth")
    components = from_checkout("gpen.restoration.components").Components(model=model)
    options = from_checkout("gpen.options").Options()
    with pytest.raises(from_checkout("gpen.errors").OptionError, match=REFUSED):
        frames.restore_frames(tasks.RESTORE, torch.zeros(1, 64, 64, 3), components, None, options)


def test_the_command_cannot_ask_to_restore_aligned_portraits(portrait, capsys):
    command = ["restore", str(portrait), "-o", str(portrait.parent / "out.png"), "--aligned"]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    assert "There is no option --aligned." in capsys.readouterr().err
