"""The identity guard: what it measures, and what happens to a face beyond its limit."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gpen.errors import FaceError, FilesError
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.faces.recognition.identity import TEMPLATE, FaceRecognizer, GuardDecision, IdentityGuard, find_recognizer
from gpen.faces.resampling.transforms import apply
from gpen.images.tensors import as_tensor
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.restoration.components import ComponentLoader, make_guard
from gpen.restoration.needs import Needs
from gpen.tasks import TASKS
from gpen.weights.checkpoint import Model
from tests import pretended

NAME = "recognition_arcface_ir_se50.pth"
LANDMARKS = TEMPLATES["gpen"] + 0.5 / 256


class BrightnessRecognizer:
    """Tells people apart by brightness: the embedding rotates by 90 degrees from black to white."""

    def __init__(self):
        self.seen = []

    def align(self, crop, landmarks):
        self.seen.append((crop.shape, landmarks))
        return crop.mean(dim=(0, 1), keepdim=True)

    def embed(self, faces):
        angles = np.array([float(face.mean()) for face in faces]) * np.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def grey(value: float, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), value, np.float32)


def judge(guard: IdentityGuard, before: np.ndarray, after: np.ndarray, strength: float = 1) -> GuardDecision:
    return guard.judge(as_tensor(before), as_tensor(after), LANDMARKS, strength)


def distance_of(one: float, other: float) -> float:
    return 1 - np.cos((one - other) * np.pi / 2)


@pytest.fixture(scope="module")
def arcface(tmp_path_factory) -> Path:
    """facexlib's network with random weights; its normalisation is fitted to random pictures, so that they differ."""
    module = pytest.importorskip("facexlib.recognition.arcface_arch", reason="facexlib does not import here")
    torch.manual_seed(0)
    network = module.Backbone(50, 0.6, "ir_se")
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        network(torch.rand(4, 3, 112, 112) * 2 - 1)
    path = tmp_path_factory.mktemp("arcface") / NAME
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("blend", [True, False])
def test_a_face_within_the_limit_is_pasted_whole(blend):
    decision = judge(IdentityGuard(BrightnessRecognizer(), 0.2, blend=blend), grey(0.5), grey(0.7))
    assert decision.factor == 1
    assert decision.distance == pytest.approx(distance_of(0.5, 0.7), abs=1e-6)


def test_beyond_the_limit_the_original_is_kept():
    decision = judge(IdentityGuard(BrightnessRecognizer(), 0.04, blend=False), grey(0.5), grey(0.9))
    assert decision.factor == 0
    assert decision.distance == pytest.approx(distance_of(0.5, 0.9), abs=1e-6)
    assert decision.reason == "it would show another person: the cosine distance is 0.19, more than 0.04"


def test_beyond_the_limit_as_much_is_blended_as_stays_within():
    limit = distance_of(0.5, 0.7)
    decision = judge(IdentityGuard(BrightnessRecognizer(), limit, blend=True), grey(0.5), grey(0.9))
    # Half of the face is exactly at the limit: the share comes close to that, and never exceeds it.
    assert 0.5 - 1 / 64 <= decision.factor <= 0.5
    assert decision.distance <= limit
    assert decision.distance == pytest.approx(distance_of(0.5, 0.5 + 0.4 * decision.factor), abs=1e-6)


def test_the_original_is_kept_if_no_share_is_within():
    class Stranger(BrightnessRecognizer):
        def embed(self, faces):
            return super().embed([(face > 0.5).float() for face in faces])

    decision = judge(IdentityGuard(Stranger(), 0.1, blend=True), grey(0.5), grey(0.9))
    assert decision.factor == 0
    assert decision.distance == pytest.approx(1)


def test_the_strength_counts():
    guard = IdentityGuard(BrightnessRecognizer(), distance_of(0.5, 0.71), blend=False)
    assert judge(guard, grey(0.5), grey(0.9)).factor == 0
    assert judge(guard, grey(0.5), grey(0.9), 0.5).factor == 1


def test_before_and_after_may_have_different_sizes():
    recognizer = BrightnessRecognizer()
    decision = judge(IdentityGuard(recognizer, 1, blend=True), grey(0.5, 32), grey(0.6, 64))
    assert decision.distance == pytest.approx(distance_of(0.5, 0.6), abs=1e-6)
    assert [shape for shape, _ in recognizer.seen] == [(32, 32, 3), (64, 64, 3)]
    for size, (_, landmarks) in zip((32, 64), recognizer.seen, strict=True):
        assert np.abs(landmarks - (LANDMARKS * size - 0.5)).max() < 1e-9


def test_a_guarded_restoration(passthrough_photo):
    """The network inverts colours: of three faces, the guard limits the two that change too much."""
    photo, faces, model = passthrough_photo
    free = restore(photo, model, faces)
    assert [face.identity for face in free.faces] == [None] * 3
    limit = 0.05
    guard = IdentityGuard(BrightnessRecognizer(), limit, blend=True)
    result = restore(photo, model, faces, guard=guard)
    assert [face.number for face in result.faces] == [0, 1, 2]
    assert result.faces[0].share == 1
    assert 0 < result.faces[2].share < 1
    assert all(face.identity <= limit for face in result.faces)
    x, y = (round(v) for v in faces[2].center)
    assert result.mask[y, x] == pytest.approx(result.faces[2].share, abs=1e-3)
    moved = photo[y, x] + result.faces[2].share * (free.photo[y, x] - photo[y, x])
    assert np.abs(result.photo[y, x] - moved).max() <= 0.5 / 255

    kept = restore(photo, model, faces, guard=IdentityGuard(BrightnessRecognizer(), limit, blend=False))
    assert [face.number for face in kept.faces] == [0]
    assert [face.number for face in kept.skipped] == [1, 2]
    assert all(face.identity > limit and "the cosine distance is" in face.reason for face in kept.skipped)
    assert kept.photo[y, x] == pytest.approx(photo[y, x], abs=0)
    assert kept.summary == "1 face restored, 2 skipped."


def test_the_guard_judges_the_face_as_it_is_pasted(passthrough_photo):
    """With its colours matched, the inverted face is as bright as the original."""
    photo, faces, model = passthrough_photo
    guard = IdentityGuard(BrightnessRecognizer(), 0.05, blend=False)
    matched = restore(photo, model, faces, Options(color_match=True), guard=guard)
    assert [face.number for face in matched.faces] == [0, 1, 2]
    assert max(face.identity for face in matched.faces) < 0.01


def test_progress_counts_faces_whose_original_is_kept(passthrough_photo):
    photo, faces, model = passthrough_photo
    steps = []
    guard = IdentityGuard(BrightnessRecognizer(), 0.05, blend=False)
    restore(photo, model, faces, guard=guard, on_progress=lambda *step: steps.append((*step[:2], step[2] is None)))
    assert steps == [(0, 3, True), (1, 3, False), (2, 3, True), (3, 3, True)]


@pytest.fixture(scope="module")
def passthrough_photo():
    """Three faces of brightness 0.5, 0.3 and 0.15, and a network that inverts colours."""
    from gpen.network.gpen import GPEN
    from gpen.network.spec import Spec
    from gpen.network.synthetic import synthetic_weights

    spec = Spec(64, 64, 2, 1 / 16)
    network = GPEN(spec)
    network.load_state_dict(synthetic_weights(spec, color_matrix=(-np.eye(3)).tolist()))
    photo = np.concatenate([grey(value, 100) for value in (0.5, 0.3, 0.15)], axis=1)
    landmarks = TEMPLATES["gpen"] * 90 + 5
    faces = [Face((25 + x, 25, 75 + x, 80), 0.9, landmarks + np.array([x, 0])) for x in (0, 100, 200)]
    return photo, faces, Model(network.eval(), "restore", Path("made.pth"))


def embedded(recognizer: FaceRecognizer, crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    return recognizer.embed([recognizer.align(as_tensor(crop), points)])[0]


def test_arcface_loads_and_embeds(arcface):
    recognizer = FaceRecognizer(find_recognizer([arcface.parent])[1])
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0, 1, (2, 128, 128, 3)).astype(np.float32)
    points = LANDMARKS * 128 - 0.5
    first, second = embedded(recognizer, one, points), embedded(recognizer, other, points)
    assert first.shape == (512,)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-4)
    assert np.array_equal(first, embedded(recognizer, one, points))
    assert 1 - first @ second > 1e-4


def test_arcface_sees_the_landmarks_at_its_template(arcface, monkeypatch):
    """A picture whose colours are its coordinates shows the alignment, and the input's range, -1 to 1."""
    recognizer = FaceRecognizer(find_recognizer([arcface.parent])[1])
    seen = []

    class Network(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.nn.functional.one_hot(torch.tensor([0]), 512).float()

    monkeypatch.setattr(recognizer, "network", Network())
    size = 256
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    picture = np.stack([x, y, np.full_like(x, 0.25)], axis=2).astype(np.float32)
    points = LANDMARKS * size - 0.5
    embedded(recognizer, picture, points)
    (face,) = seen[0]
    assert face.shape == (3, 112, 112)
    assert face[2].mean() == pytest.approx(-0.5, abs=1e-3)
    # ArcFace's template is not an exact similarity of GPEN's, so the best fit is a few pixels off.
    for point, place in zip(points, TEMPLATE, strict=True):
        column, row = (round(v) for v in place)
        found = (face[:2, row, column].numpy() + 1) / 2 * (size - 1)
        assert np.abs(found - point).max() < 6


def test_folding_batch_norm_does_not_change_what_arcface_returns(arcface):
    recognizer = FaceRecognizer(find_recognizer([arcface.parent])[1])
    network = importlib.import_module("facexlib.recognition.arcface_arch").Backbone(50, 0.6, "ir_se")
    network.load_state_dict(torch.load(arcface, weights_only=True))
    folded = [layer for layer in recognizer.network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(folded) < sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules()) / 2
    picture = torch.rand(1, 3, 112, 112) * 2 - 1
    with torch.inference_mode():
        assert (network.eval()(picture) - recognizer.network(picture)).abs().max() < 1e-5


def test_the_guard_looks_at_what_would_be_pasted(arcface):
    """Aligned and then blended, as against blended and then aligned."""
    recognizer = FaceRecognizer(find_recognizer([arcface.parent])[1])
    before, after = np.random.default_rng(0).uniform(0, 1, (2, 256, 256, 3)).astype(np.float32)
    decision = judge(IdentityGuard(recognizer, 2, blend=False), before, after, 0.5)
    points = LANDMARKS * 256 - 0.5
    pasted = embedded(recognizer, (before + after) / 2, points)
    assert decision.distance == pytest.approx(1 - embedded(recognizer, before, points) @ pasted, abs=1e-5)


def test_aligning_and_embedding_stay_on_the_device(monkeypatch):
    """On a pretended CUDA device; only the embedding itself is needed on the host."""
    pytest.importorskip("facexlib.recognition.arcface_arch", reason="facexlib does not import here")
    monkeypatch.setattr("gpen.faces.facexlib.load_weights", lambda network, *_: network.eval().requires_grad_(False))
    monkeypatch.setattr(
        "gpen.faces.recognition.identity.as_array", lambda vector: np.zeros(0) if vector.is_cuda else None
    )
    with pretended.cuda():
        recognizer = FaceRecognizer(Path("unread.pth"), "cuda")
        crop = torch.zeros(512, 512, 3, device="cuda")
        with pretended.stays_on_the_device():
            face = recognizer.align(crop, LANDMARKS * 512 - 0.5)
            assert face.shape == (112, 112, 3)
            assert recognizer.embed([face, face]).size == 0


def test_missing_weights_turn_the_guard_off_and_the_log_says_why(tmp_path, caplog):
    assert make_guard(Options(), [tmp_path]) is None
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        assert make_guard(Options(identity_guard=0.3), [tmp_path]) is None
    (record,) = caplog.records
    assert record.getMessage().startswith(f"The identity guard is off. arcface ({NAME}) is not on this computer.")
    assert "gpen download arcface" in record.getMessage()
    with pytest.raises(FilesError):
        find_recognizer([tmp_path])


def test_a_broken_facexlib_turns_the_guard_off(arcface, monkeypatch, caplog):
    def broken(name):
        raise FaceError("The Python package facexlib cannot be used here (RuntimeError: no).")

    monkeypatch.setattr("gpen.faces.recognition.identity.facexlib_module", broken)
    assert make_guard(Options(identity_guard=0.3), [arcface.parent]) is None
    assert "facexlib cannot be used here" in caplog.text


def test_weights_of_another_network_are_refused(tmp_path):
    save_file({"conv.weight": torch.zeros(3, 3)}, tmp_path / "recognition_arcface_ir_se50.safetensors")
    with pytest.raises(FaceError, match="does not hold the weights of ArcFace"):
        make_guard(Options(identity_guard=0.3), [tmp_path])


def test_the_template_is_a_face():
    left, right, nose, *mouth = TEMPLATE
    assert left[0] < nose[0] < right[0]
    assert max(left[1], right[1]) < nose[1] < min(point[1] for point in mouth)
    assert np.allclose(apply(np.eye(2, 3), TEMPLATE), TEMPLATE)


def test_the_report_of_the_command(arcface, tmp_path, monkeypatch, capsys):
    """The whole command, with random ArcFace weights: the report holds the distances."""
    from gpen.cli import main
    from gpen.faces.faces_file import PhotoFaces, write_faces
    from gpen.images import Picture, write_picture
    from gpen.network.spec import Spec
    from gpen.network.synthetic import synthetic_weights

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    write_picture(tmp_path / "a.png", Picture(rng.uniform(0.2, 0.8, (100, 100, 3)).astype(np.float32)))
    face = Face((25, 25, 75, 80), 0.9, TEMPLATES["gpen"] * 90 + 5)
    write_faces(tmp_path / "faces.json", [PhotoFaces("a.png", 100, 100, (face,))])
    weights = synthetic_weights(Spec(64, 64, 2, 1 / 16), color_matrix=(-np.eye(3)).tolist())
    torch.save(weights, tmp_path / "negative.pth")
    common = ["restore", tmp_path / "a.png", "--model", tmp_path / "negative.pth", "--faces", tmp_path / "faces.json"]
    common += ["--models-path", arcface.parent]

    def run(name, *more):
        report = tmp_path / f"{name}.json"
        arguments = [*common, "-o", tmp_path / f"{name}.png", "--report", report, *more]
        assert main([str(argument) for argument in arguments]) == 0
        (entry,) = json.loads(report.read_text())
        return entry

    (measured,) = run("measured", "--identity-guard", "2")["faces"]
    assert measured["share"] == 1
    assert measured["identity_distance"] > 0
    tight = str(max(0.001, measured["identity_distance"] / 3))
    (blended,) = run("blended", "--identity-guard", tight)["faces"]
    assert 0 < blended["share"] < 1
    assert blended["identity_distance"] <= float(tight)
    kept = run("kept", "--identity-guard", tight, "--identity-action", "keep")
    assert kept["faces"] == []
    assert kept["skipped"][0]["identity_distance"] == measured["identity_distance"]
    assert "the cosine distance is" in kept["skipped"][0]["why"]
    assert "identity_distance" not in run("free")["faces"][0]
    capsys.readouterr()


def test_without_the_weights_the_other_components_are_loaded(passthrough_photo, caplog):
    _, _, model = passthrough_photo
    options = Options(identity_guard=0.3)
    components = ComponentLoader([], "cpu").complete(
        model, options, Needs.of(TASKS["restore"], options, faces_given=True)
    )
    assert components.model is model
    assert components.guard is None
    assert f"arcface ({NAME}) is not on this computer" in components.guard_problem
    assert "The identity guard is off." in caplog.text


@pytest.mark.parametrize("name", TASKS)
def test_only_restoring_is_guarded(name):
    assert Needs.of(TASKS[name], Options(identity_guard=0.3)).guard == (name == "restore")


def test_coinciding_landmarks_are_refused(arcface):
    recognizer = FaceRecognizer(find_recognizer([arcface.parent])[1])
    with pytest.raises(FaceError, match="coincide"):
        recognizer.align(as_tensor(grey(0.5)), np.zeros((5, 2)))
