"""Which components a run needs, and that each is loaded once and in the right way."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

import pytest
import torch

from gpen.errors import CheckpointError, FaceError, FilesError, GpenError, OptionError, PhotoError
from gpen.images import Picture, write_picture
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration import components
from gpen.restoration.components import ComponentCache, ComponentLoader, HostHooks, make_guard
from gpen.restoration.needs import Needs
from gpen.tasks import COLORIZE, INPAINT, RESTORE, TASKS
from gpen.weights.catalog import find_published
from gpen.weights.search import DETECTORS_VARIABLE, MODELS_VARIABLE
from tests.restoration.upscalers import known_upscaler

SPEC = Spec(64, 64, 2, 1 / 16, 16, 2)
UPSCALER, DAMAGE = Path("upscaler.pth"), Path("damage.png")
WHOLE_PHOTO_ONLY = {"detector", "parser", "guard"}
"""Components that an aligned portrait does not need."""

USES = {
    "restore": {"detector", "parser", "guard", "upscaler"},
    "colorize": {"detector", "parser", "upscaler"},
    "inpaint": {"detector", "damage"},
    "synthesize": set(),
}
"""The components of each task, with all options on."""


@pytest.fixture(autouse=True)
def _no_other_folders(monkeypatch, tmp_path):
    for name in (MODELS_VARIABLE, DETECTORS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))


@pytest.mark.parametrize("task", TASKS)
def test_needs(task):
    switches = itertools.product([False, True], repeat=6)
    for aligned, faces_given, parsed, guarded, upscaled, damaged in switches:
        options = Options(
            detector="yunet",
            mask="parsed" if parsed else "box",
            occlusion="xseg_2" if parsed else "none",
            identity_guard=0.3 if guarded else 0,
            upscale=2,
        )

        def needs(aligned=aligned, options=options, faces_given=faces_given, upscaled=upscaled, damaged=damaged):
            return Needs.of(
                TASKS[task],
                options,
                aligned=aligned,
                faces_given=faces_given,
                upscaler=UPSCALER if upscaled else None,
                damage=DAMAGE if damaged else None,
            )

        if aligned and task == "restore":
            with pytest.raises(OptionError, match='The task "restore" looks for faces in whole photos'):
                needs()
            continue
        on = {"detector": not faces_given, "parser": parsed, "guard": guarded, "upscaler": upscaled, "damage": damaged}
        used = {name for name in USES[task] if on[name]} - (WHOLE_PHOTO_ONLY if aligned else set())
        assert needs() == Needs(
            detector="yunet" if "detector" in used else None,
            mask=options.mask if "mask" in TASKS[task].options and not aligned else None,
            occlusion="xseg_2" if "parser" in used else "none",
            guard="guard" in used,
            upscaler=UPSCALER if "upscaler" in used else None,
            damage=DAMAGE if "damage" in used else None,
        )


def test_a_component_is_made_once_and_replaced_if_the_key_changes():
    cache = ComponentCache()
    first = cache.get("model", "a", object)
    assert cache.get("model", "a", lambda: pytest.fail("made twice")) is first
    assert cache.peek("model") is first
    assert cache.peek("parser") is None

    def make() -> object:
        assert cache.peek("model") is None  # the old one is freed before the new one takes memory
        return object()

    second = cache.get("model", "b", make)
    assert second is not first
    assert cache.peek("model") is second


def test_kinds_do_not_displace_each_other_and_are_dropped_by_name():
    cache = ComponentCache()
    made = {kind: cache.get(kind, "same key", object) for kind in ("model", "detector", "parser")}
    assert [cache.peek(kind) for kind in made] == list(made.values())
    cache.drop("detector", "upscaler")
    assert [cache.peek(kind) is not None for kind in made] == [True, False, True]
    assert cache.get("detector", "same key", object) is not made["detector"]
    cache.drop()
    assert [cache.peek(kind) for kind in made] == [None] * 3


def test_a_component_that_cannot_be_made_is_not_kept():
    cache = ComponentCache()
    cache.get("model", "a", object)
    with pytest.raises(ZeroDivisionError):
        cache.get("model", "b", lambda: 1 / 0)
    assert cache.peek("model") is None


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.save(synthetic_weights(SPEC), tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def test_a_model_is_loaded_again_only_if_its_file_or_dtype_changed(weights):
    loader = ComponentLoader([], "cpu")
    model = loader.model(weights, "fp32")
    assert loader.model(weights, "fp32") is model
    assert loader.model(weights.parent / "." / weights.name, "fp32") is model
    half = loader.model(weights, "bf16")
    assert half is not model
    assert half.dtype == torch.bfloat16

    older = weights.stat().st_mtime_ns - 10**9
    os.utime(weights, ns=(older, older))
    assert loader.model(weights, "bf16") is not half

    touched = loader.model(weights, "bf16")
    torch.save(synthetic_weights(SPEC), weights, _use_new_zipfile_serialization=False)
    os.utime(weights, ns=(older, older))  # so that only its size differs
    assert loader.model(weights, "bf16") is not touched


def test_a_model_on_another_device_is_another_one(weights, monkeypatch):
    """The devices are pretended."""
    monkeypatch.setattr(components, "load_model", lambda path, device, dtype: (str(device), dtype))
    monkeypatch.setattr(components, "release", lambda device: None)
    cache = ComponentCache()
    on = {device: ComponentLoader([], device, cache=cache) for device in ("cpu", "cuda:0", "cuda:1")}
    for device in on:
        assert on[device].model(weights, "fp16") == (device, torch.float16)
    kept = cache.peek("model")
    assert on["cuda:1"].model(weights, "fp16") is kept


def test_loaders_share_a_cache_only_if_it_is_given(weights):
    cache = ComponentCache()
    shared = [ComponentLoader([], "cpu", cache=cache).model(weights, "fp32") for _ in range(2)]
    assert shared[0] is shared[1]
    assert ComponentLoader([], "cpu").model(weights, "fp32") is not shared[0]


def test_device_memory_is_released_before_a_component_is_loaded(weights, monkeypatch):
    steps = []
    monkeypatch.setattr(components, "release", lambda device: steps.append(f"release {device}"))
    monkeypatch.setattr(components, "load_model", lambda *_: steps.append("load"))
    loader = ComponentLoader([], "cpu")
    loader.model(weights, "fp32")
    loader.model(weights, "fp32")
    assert steps == ["release cpu", "load"]


def test_a_missing_file_is_the_error_of_reading_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"lost\.pth"):
        ComponentLoader([], "cpu").model(tmp_path / "lost.pth", "fp32")


@pytest.fixture(scope="module")
def helper_weights(tmp_path_factory) -> Path:
    """A folder with ArcFace and ParseNet, with random weights."""
    arcface = pytest.importorskip("facexlib.recognition.arcface_arch", reason="facexlib does not import here")
    parsenet = pytest.importorskip("facexlib.parsing.parsenet", reason="facexlib does not import here")
    folder = tmp_path_factory.mktemp("helpers")
    networks = {
        "arcface": arcface.Backbone(50, 0.6, "ir_se"),
        "parsenet": parsenet.ParseNet(in_size=512, out_size=512, parsing_ch=19),
    }
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / find_published(name).saved_as)
    return folder


class Counted:
    """Makes what a class of :mod:`gpen.restoration.components` makes, and records whether in inference mode."""

    def __init__(self, monkeypatch, name: str) -> None:
        self.modes: list[bool] = []
        self._make = getattr(components, name)
        monkeypatch.setattr(components, name, self)

    def __call__(self, *arguments):
        self.modes.append(torch.is_inference_mode_enabled())
        return self._make(*arguments)


def test_another_limit_reads_no_network_again_and_the_parser_is_read_once(weights, helper_weights, monkeypatch):
    recognizers, parsers = (Counted(monkeypatch, name) for name in ("FaceRecognizer", "FaceParser"))
    monkeypatch.setattr(components, "IdentityGuard", lambda recognizer, limit, *, blend: (recognizer, limit, blend))
    loader = ComponentLoader([helper_weights], "cpu")
    loaded = []
    for limit, action in ((0.3, "blend"), (0.6, "keep")):
        options = Options(precision="fp32", mask="parsed", identity_guard=limit, identity_action=action)
        needs = Needs.of(RESTORE, options, faces_given=True)
        with torch.inference_mode():  # as some hosts call
            loaded.append(loader.load(RESTORE, weights, options, needs))
    first, second = loaded
    assert first.model.network is second.model.network
    assert first.parser is second.parser is not None
    assert first.guard[0] is second.guard[0]
    assert (first.guard[1:], second.guard[1:]) == ((0.3, True), (0.6, False))
    assert first.guard_problem == second.guard_problem == ""
    # Read once each, and not in inference mode, whose tensors cannot be moved or changed later.
    assert recognizers.modes == parsers.modes == [False]
    assert not any(parameter.is_inference() for parameter in first.model.network.parameters())
    assert (first.detector, first.upscaler, first.damage_masks) == (None, None, None)


def test_auto_takes_a_parser_that_is_there_and_says_why_not(tmp_path, helper_weights, caplog):
    options = Options()
    assert Needs.of(RESTORE, options, faces_given=True).mask == options.mask == "auto"
    loader = ComponentLoader([helper_weights], "cpu")
    assert loader.parser("auto") is loader.parser("parsed") is not None
    assert loader.parser("ellipse") is loader.parser("box") is loader.parser(None) is None
    assert not caplog.records
    with caplog.at_level(logging.INFO):
        assert ComponentLoader([tmp_path], "cpu").parser("auto") is None
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.messages[0].startswith("The mask is an ellipse. The parsed mask needs a face-parsing model")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / find_published("parsenet").saved_as)
    with pytest.raises(FaceError, match="does not hold the weights of ParseNet"):
        ComponentLoader([tmp_path], "cpu").parser("auto")


def test_everything_is_loaded(tmp_path, weights, detector_weights):
    known_upscaler(tmp_path / "upscaler.pth", 2)
    write_picture(tmp_path / "damage.png", Picture(torch.zeros(8, 8, 3).numpy()))
    options = Options(precision="fp32", detector="yunet")
    needs = Needs(detector="yunet", upscaler=tmp_path / "upscaler.pth", damage=tmp_path / "damage.png")
    loader = ComponentLoader([detector_weights], "cpu")
    first, second = (loader.load(RESTORE, weights, options, needs) for _ in range(2))
    assert first.detector is second.detector
    assert first.upscaler is second.upscaler
    assert first.detector is not None
    assert first.upscaler is not None
    assert first.damage_masks is not None
    assert (first.detector.name, first.upscaler.scale) == ("yunet", 2)
    assert not first.damage_masks.of("any.png").any()
    # A model that the host manages is used as it is.
    assert loader.complete(first.model, options, Needs()).model is first.model


def test_hooks_are_called_before_each_use(tmp_path, weights, helper_weights, detector_weights):
    known_upscaler(tmp_path / "upscaler.pth")
    calls: list[object] = []
    hooks = HostHooks(
        before_model=lambda path, dtype: calls.append((path, dtype)), before_helper=lambda: calls.append("helper")
    )
    cache = ComponentCache()
    loader = ComponentLoader([helper_weights, detector_weights], "cpu", cache=cache, hooks=hooks)
    options = Options(precision="bf16", mask="parsed", identity_guard=0.3, detector="yunet")
    needs = Needs.of(RESTORE, options, upscaler=tmp_path / "upscaler.pth")
    for _ in range(2):  # cached components count as used too
        calls.clear()
        loader.load(RESTORE, weights, options, needs)
        assert calls == [(weights, torch.bfloat16), *["helper"] * 4]
    assert all(cache.peek(kind) for kind in ("model", "detector", "parser", "recognizer", "upscaler"))


def test_a_network_of_unknown_task_is_loaded_for_the_task_of_the_run(weights):
    loader = ComponentLoader([], "cpu")
    assert [loader.load(task, weights, Options(), Needs()).model.task for task in (RESTORE, INPAINT)] == [
        "restore",
        "inpaint",
    ]
    colorizer = weights.rename(weights.parent / "GPEN-Colorization-1024.pth")
    with pytest.raises(GpenError, match="for the task colorize"):
        loader.load(RESTORE, colorizer, Options(), Needs())


def test_a_missing_recognizer_turns_the_guard_off_with_the_reason(tmp_path, weights, caplog):
    loader = ComponentLoader([tmp_path], "cpu")
    options = Options(identity_guard=0.3)
    with caplog.at_level(logging.WARNING):
        loaded = loader.load(RESTORE, weights, options, Needs.of(RESTORE, options, faces_given=True))
    assert loaded.guard is None
    assert "is not on this computer" in loaded.guard_problem
    assert caplog.records[0].getMessage() == f"The identity guard is off. {loaded.guard_problem}"
    assert make_guard(options, [tmp_path]) is None
    assert make_guard(Options(), [tmp_path]) is None


def test_a_damaged_recognizer_is_an_error(tmp_path, weights):
    pytest.importorskip("facexlib.recognition.arcface_arch", reason="facexlib does not import here")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / find_published("arcface").saved_as)
    options = Options(identity_guard=0.3)
    with pytest.raises(FaceError):
        ComponentLoader([tmp_path], "cpu").load(RESTORE, weights, options, Needs(guard=True))


@pytest.fixture
def nothing_loads(monkeypatch):
    """Fails a test that loads anything."""
    for name in ("load_model", "load_detector", "FaceParser", "FaceRecognizer", "load_upscaler"):
        monkeypatch.setattr(components, name, lambda *_: pytest.fail("it was loaded"))


@pytest.mark.usefixtures("nothing_loads")
def test_a_check_loads_nothing(tmp_path, weights, helper_weights, detector_weights):
    known_upscaler(tmp_path / "upscaler.pth")
    (tmp_path / "damage").mkdir()
    options = Options(mask="parsed", identity_guard=0.3)
    everything = Needs(
        detector="yunet", mask="parsed", guard=True, upscaler=tmp_path / "upscaler.pth", damage=tmp_path / "damage"
    )
    hooks = HostHooks(
        before_model=lambda *_: pytest.fail("memory was freed"), before_helper=lambda: pytest.fail("memory was freed")
    )
    loader = ComponentLoader([helper_weights, detector_weights], "cpu", hooks=hooks)
    for task in TASKS.values():  # the file does not tell its task
        loader.check(task, weights, options, everything)


@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(
    ("needs", "error", "says"),
    [
        (Needs(detector="yunet"), FilesError, "yunet"),
        (Needs(detector="auto"), FilesError, "yunet"),
        (Needs(mask="parsed"), FilesError, "parsenet"),
        (Needs(occlusion="auto"), FilesError, "xseg"),
        (Needs(people=(Path("lost.jpg"),)), FilesError, "sface"),
        (Needs(upscaler=Path("lost.pth")), CheckpointError, r"lost\.pth"),
        (Needs(damage=Path("lost.png")), PhotoError, r"lost\.png"),
    ],
)
def test_a_check_refuses_missing_files(tmp_path, weights, needs, error, says):
    loader = ComponentLoader([tmp_path], "cpu")
    with pytest.raises(error, match=says):
        loader.check(INPAINT, weights, Options(), needs)


@pytest.mark.usefixtures("nothing_loads")
def test_a_check_says_why_faces_are_restored_without_a_guard(tmp_path, weights, caplog):
    options = Options(identity_guard=0.3)
    with caplog.at_level(logging.WARNING):
        ComponentLoader([tmp_path], "cpu").check(RESTORE, weights, options, Needs())
        assert caplog.text == ""
        ComponentLoader([tmp_path], "cpu").check(RESTORE, weights, options, Needs(guard=True))
    assert "The identity guard is off." in caplog.text


@pytest.mark.usefixtures("nothing_loads")
def test_a_check_refuses_a_network_that_is_missing_or_for_another_task(tmp_path, weights):
    loader = ComponentLoader([], "cpu")
    with pytest.raises(CheckpointError, match=r"lost\.pth"):
        loader.check(RESTORE, tmp_path / "lost.pth", Options(), Needs())
    colorizer = weights.rename(tmp_path / "GPEN-Colorization-1024.pth")
    loader.check(COLORIZE, colorizer, Options(), Needs())
    for task in set(TASKS.values()) - {COLORIZE}:
        with pytest.raises(GpenError, match=f"for the task colorize.*for the task {task.name}"):
            loader.check(task, colorizer, Options(), Needs())
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"broken\.pth"):
        loader.check(RESTORE, tmp_path / "broken.pth", Options(), Needs())
