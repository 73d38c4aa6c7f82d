"""The pipeline: progress and stopping, choosing faces, errors, and what a restoration holds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from gpen import restore as exported
from gpen.errors import GpenError, PhotoError
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.faces.selection.select import FaceChoice
from gpen.images.picture import FloatImage
from gpen.images.resize import enlarge
from gpen.network.synthetic import SHARPEN
from gpen.options import Options
from gpen.restoration import inference
from gpen.restoration.api import face_choice, restore
from gpen.restoration.result import RestoredFace
from gpen.weights.checkpoint import Model
from tests.restoration import checks


@pytest.fixture
def photo() -> FloatImage:
    y, x = np.mgrid[:160, :420].astype(np.float32)
    return np.stack([x / 420, y / 160, 0.3 + 0 * x], axis=2)


def face_at(x: float, y: float, scale: float = 0.35, score: float = 0.9) -> Face:
    landmarks = (TEMPLATES["gpen"] - 0.55) * 256 * scale + (x, y)
    return Face((x - 90 * scale, y - 110 * scale, x + 90 * scale, y + 110 * scale), score, landmarks)


@pytest.fixture
def three() -> list[Face]:
    """Out of order on purpose: faces are numbered from left to right."""
    return [face_at(350, 80), face_at(70, 80), face_at(210, 80, 0.45)]


def test_the_package_exports_the_function_and_not_the_module() -> None:
    assert exported is restore


def test_no_face_leaves_the_photo_unchanged_and_says_so(photo: FloatImage, passthrough: Model) -> None:
    restoration = restore(photo, passthrough, [])
    assert np.array_equal(restoration.photo, photo)
    assert not restoration.mask.any()
    assert "No face was found" in restoration.summary


def test_unknown_arguments_are_refused(photo: FloatImage, passthrough: Model) -> None:
    with pytest.raises(TypeError, match="keep_crop"):
        restore(photo, passthrough, [], keep_crop=False)


@pytest.mark.parametrize("detector", ["yunet", face_at(210, 80), iter(())], ids=["name", "face", "iterator"])
def test_a_detector_of_another_type_is_named(photo: FloatImage, passthrough: Model, detector: Any) -> None:
    found = type(detector).__name__
    with pytest.raises(TypeError, match=f"detector is a {found}; it has to be a face detector or a sequence of faces"):
        restore(photo, passthrough, detector)


@pytest.mark.parametrize("name", ["region", "protect"])
def test_a_mask_of_another_type_is_named(photo: FloatImage, passthrough: Model, three: list[Face], name: str) -> None:
    with pytest.raises(PhotoError, match="is of the type list; it has to be a NumPy array"):
        restore(photo, passthrough, three, **{name: photo[..., 0].tolist()})  # type: ignore[arg-type]


def test_the_input_is_not_changed(photo: FloatImage, make_model: Any, three: list[Face]) -> None:
    before = photo.copy()
    restoration = restore(photo, make_model(color_bias=(0.3, 0, 0)), three)
    assert np.array_equal(photo, before)
    assert not np.array_equal(restoration.photo, photo)


def test_in_place_the_photo_becomes_the_result(photo: FloatImage, make_model: Any, three: list[Face]) -> None:
    model = make_model(color_bias=(0.3, 0, 0))
    expected = restore(photo, model, three).photo
    given = photo.copy()
    assert restore(given, model, three, in_place=True).photo is given
    assert np.array_equal(given, expected)


def test_in_place_the_background_becomes_the_result(photo: FloatImage, make_model: Any, three: list[Face]) -> None:
    model, before, background = make_model(color_bias=(0.3, 0, 0)), photo.copy(), enlarge(photo, 2)
    given = background.copy()
    expected = restore(photo, model, three, background=background).photo
    assert np.array_equal(background, enlarge(photo, 2))
    assert restore(photo, model, three, background=given, in_place=True).photo is given
    assert np.array_equal(given, expected)
    assert np.array_equal(photo, before)


def test_faces_are_numbered_from_left_to_right_and_keep_their_crops(
    photo: FloatImage, passthrough: Model, three: list[Face]
) -> None:
    restoration = restore(photo, passthrough, three)
    assert [face.number for face in restoration.faces] == [0, 1, 2]
    assert [round(face.face.center[0]) for face in restoration.faces] == [70, 210, 350]
    for face in restoration.faces:
        assert face.before is not None
        assert face.after is not None
        assert face.before.shape == face.after.shape == (256, 256, 3)
        assert np.abs(face.after - face.before).max() < 1e-5
    assert restoration.summary == "3 faces restored."
    assert restore(photo, passthrough, three, keep_crops=False).faces[0].after is None


def test_only_chosen_faces_are_touched(photo: FloatImage, make_model: Any, three: list[Face]) -> None:
    restoration = restore(photo, make_model(color_bias=(0.3, 0, 0)), three, Options(only_faces="1"))
    assert [face.number for face in restoration.faces] == [1]
    assert [(left.number, left.reason) for left in restoration.skipped] == [
        (0, "not among faces 1"),
        (2, "not among faces 1"),
    ]
    changed = np.flatnonzero((restoration.photo != photo).any(axis=(0, 2)))
    assert changed.min() > 130
    assert changed.max() < 290
    assert restoration.summary == "1 face restored, 2 skipped."


def test_the_options_choose_among_faces() -> None:
    options = Options(only_faces=" 0,2-3", min_face_size=25, select="largest", detection_threshold=0.9)
    assert face_choice(options) == FaceChoice(numbers=frozenset({0, 2, 3}), min_size=25, select="largest")
    assert face_choice(Options()) == FaceChoice()


def test_a_region_restricts_the_faces(photo: FloatImage, passthrough: Model, three: list[Face]) -> None:
    region = np.zeros((160, 420), np.float32)
    region[:, 180:] = 1
    restoration = restore(photo, passthrough, three, region=region)
    assert [face.number for face in restoration.faces] == [1, 2]
    assert restoration.skipped[0].reason == "outside the mask"


def test_given_faces_are_taken_whatever_their_score(photo: FloatImage, passthrough: Model) -> None:
    assert len(restore(photo, passthrough, [face_at(210, 80, score=0.1)]).faces) == 1

    class Unsure:
        name = "yunet"

        def detect(self, photo: FloatImage, threshold: float = 0.7) -> list[Face]:
            return [face_at(70, 80, score=0.1), face_at(210, 80, score=0.9)]

    detected = restore(photo, passthrough, Unsure())
    assert [face.number for face in detected.faces] == [1]
    assert detected.skipped[0].reason == "score 0.10 is under 0.7"


def test_the_summary_says_why_no_face_was_chosen(photo: FloatImage, passthrough: Model, three: list[Face]) -> None:
    summary = restore(photo, passthrough, three, Options(only_faces="9")).summary
    assert summary == "None of 3 faces was chosen (not among faces 9); the photo is unchanged."


def test_progress_is_reported_before_and_after_each_face(
    photo: FloatImage, passthrough: Model, three: list[Face]
) -> None:
    calls: list[tuple[int, int, int | None]] = []

    def on_progress(done: int, total: int, face: RestoredFace | None) -> None:
        calls.append((done, total, face.number if face else None))

    restore(photo, passthrough, three, on_progress=on_progress)
    assert calls == [(0, 3, None), (1, 3, 0), (2, 3, 1), (3, 3, 2)]


def test_returning_false_stops_and_keeps_the_faces_done(photo: FloatImage, make_model: Any, three: list[Face]) -> None:
    model = make_model(color_bias=(0.3, 0, 0))
    restoration = restore(photo, model, three, on_progress=lambda done, total, face: done < 1)
    assert [face.number for face in restoration.faces] == [0]
    assert [left.reason for left in restoration.skipped] == ["stopped before this face"] * 2
    assert (restoration.photo[:, :130] != photo[:, :130]).any()
    assert np.array_equal(restoration.photo[:, 150:], photo[:, 150:])
    nothing = restore(photo, model, three, on_progress=lambda done, total, face: False)
    assert np.array_equal(nothing.photo, photo)


class Counting:
    """A model that records the batch size of each call."""

    def __init__(self, model: Model) -> None:
        self.calls: list[int] = []
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, pictures: Any) -> Any:
        self.calls.append(len(pictures))
        return self._model(pictures)


@pytest.fixture
def two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 2)


def test_a_batch_gives_the_same_faces_as_one_by_one(
    photo: FloatImage, make_model: Any, three: list[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Counting(make_model(color_matrix=checks.MATRIX.tolist(), color_bias=checks.BIAS.tolist()))
    alone = restore(photo, model, three)
    assert model.calls == [1, 1, 1]
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 2)
    together = restore(photo, model, three)
    assert model.calls[3:] == [2, 1]
    assert np.abs(together.photo - alone.photo).max() < 1e-5
    for face, other in zip(together.faces, alone.faces, strict=True):
        assert face.number == other.number
        assert face.before is not None
        assert np.array_equal(face.before, other.before)
        assert np.abs(face.after - other.after).max() < 1e-5


@pytest.mark.usefixtures("two_at_a_time")
def test_progress_is_reported_for_each_face_of_a_batch(
    photo: FloatImage, passthrough: Model, three: list[Face]
) -> None:
    calls: list[tuple[int, int, int | None]] = []

    def on_progress(done: int, total: int, face: RestoredFace | None) -> None:
        calls.append((done, total, face.number if face else None))

    restore(photo, passthrough, three, on_progress=on_progress)
    assert calls == [(0, 3, None), (1, 3, 0), (2, 3, 1), (3, 3, 2)]


@pytest.mark.usefixtures("two_at_a_time")
def test_a_stop_within_a_batch_keeps_the_faces_before_it(photo: FloatImage, make_model: Any, three: list[Face]) -> None:
    model = Counting(make_model(color_bias=(0.3, 0, 0)))
    restoration = restore(photo, model, three, on_progress=lambda done, total, face: done < 1)
    assert model.calls == [2]
    assert [face.number for face in restoration.faces] == [0]
    assert [(left.number, left.reason) for left in restoration.skipped] == [
        (1, "stopped before this face"),
        (2, "stopped before this face"),
    ]
    assert np.array_equal(restoration.photo[:, 150:], photo[:, 150:])


@pytest.mark.usefixtures("two_at_a_time")
def test_a_face_that_cannot_be_aligned_is_not_in_a_batch(
    photo: FloatImage, passthrough: Model, three: list[Face]
) -> None:
    model = Counting(passthrough)
    broken = [Face((x, 10, x + 20, 30), 0.9, np.full((5, 2), x + 10.0)) for x in (100, 380)]
    restoration = restore(photo, model, [*three, *broken])
    assert model.calls == [2, 1]
    assert [face.number for face in restoration.faces] == [0, 2, 3]
    assert [left.number for left in restoration.skipped] == [1, 4]


@pytest.mark.usefixtures("two_at_a_time")
def test_inf_in_any_face_of_a_batch_is_an_error(photo: FloatImage, passthrough: Model, three: list[Face]) -> None:
    class Broken(Counting):
        def __call__(self, pictures: Any) -> Any:
            out = super().__call__(pictures).clone()
            out[-1, 0, 5, 5] = float("inf")
            return out

    with pytest.raises(GpenError, match="returned NaN or Inf"):
        restore(photo, Broken(passthrough), three)


def test_an_exception_of_the_callback_propagates_and_the_model_stays_usable(
    photo: FloatImage, passthrough: Model, three: list[Face]
) -> None:
    class StoppedError(BaseException):
        pass

    def on_progress(done: int, total: int, face: RestoredFace | None) -> None:
        if done == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        restore(photo, passthrough, three, on_progress=on_progress)
    assert len(restore(photo, passthrough, three).faces) == 3


def test_a_face_that_cannot_be_aligned_is_skipped_with_the_reason(photo: FloatImage, passthrough: Model) -> None:
    broken = Face((10, 10, 30, 30), 0.9, np.full((5, 2), 20.0))
    restoration = restore(photo, passthrough, [broken, face_at(210, 80)])
    assert [face.number for face in restoration.faces] == [1]
    assert "landmarks" in restoration.skipped[0].reason


@pytest.mark.parametrize("x", [-20.0, 0.0, 419.0, 440.0])
def test_faces_at_and_beyond_the_border(photo: FloatImage, passthrough: Model, x: float) -> None:
    restoration = restore(photo, passthrough, [face_at(x, 5)])
    assert np.abs(restoration.photo - photo).max() * 255 <= 3


def test_a_face_far_larger_than_the_photo(photo: FloatImage, passthrough: Model) -> None:
    restoration = restore(photo, passthrough, [face_at(210, 80, 4.0)])
    assert np.abs(restoration.photo - photo).max() * 255 <= 3
    assert restoration.mask.max() == 1


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 2)])
def test_tiny_photos(passthrough: Model, shape: tuple[int, int]) -> None:
    photo = np.full((*shape, 3), 0.4, np.float32)
    restoration = restore(photo, passthrough, [face_at(1, 1, 0.05)])
    assert np.abs(restoration.photo - photo).max() < 1e-3


def test_nan_is_an_error(photo: FloatImage, make_model: Any) -> None:
    model = make_model(color_bias=(float("nan"), 0, 0))
    with pytest.raises(GpenError, match="returned NaN or Inf"):
        restore(photo, model, [face_at(210, 80)])


def test_the_parsed_mask_is_parsed_from_the_restored_face(photo: FloatImage, make_model: Any) -> None:
    parser = checks.LeftHalf()
    restoration = restore(
        photo, make_model(color_bias=(0.3, 0, 0)), [face_at(210, 80)], Options(mask="parsed"), parser=parser
    )
    assert np.array_equal(parser.seen[0], restoration.faces[0].after)
    assert restoration.mask[80, 180] > 0.95
    assert restoration.mask[80, 245] == pytest.approx(0, abs=0.05)


def test_the_mask_auto_is_parsed_with_a_parser_and_else_an_ellipse(photo: FloatImage, make_model: Any) -> None:
    model, faces = make_model(color_bias=(0.3, 0, 0)), [face_at(210, 80)]
    for parser, mask in ((checks.LeftHalf(), "parsed"), (None, "ellipse")):
        chosen, auto = (restore(photo, model, faces, Options(mask=name), parser=parser) for name in (mask, "auto"))
        assert np.array_equal(auto.photo, chosen.photo)
        assert np.array_equal(auto.mask, chosen.mask)
        assert auto.mask_shape == mask
    # Other masks do not ask the parser.
    idle = checks.LeftHalf()
    assert restore(photo, model, faces, Options(mask="box"), parser=idle).mask_shape == "box"
    assert not idle.seen


def test_colour_matching_brings_the_originals_colours_back(photo: FloatImage, make_model: Any) -> None:
    tinted = make_model(color_matrix=((0.8, 0, 0), (0, 0.8, 0), (0, 0, 0.8)), color_bias=(0.3, 0.1, -0.1))
    face = face_at(210, 80)
    plain = restore(photo, tinted, [face])
    matched = restore(photo, tinted, [face], Options(color_match=True))
    inside = plain.mask > 0.95
    before = np.abs(plain.photo[inside].mean(axis=0) - photo[inside].mean(axis=0)).max()
    after = np.abs(matched.photo[inside].mean(axis=0) - photo[inside].mean(axis=0)).max()
    assert before > 0.1
    assert after < 0.02
    spread = matched.photo[inside].std(axis=0) / photo[inside].std(axis=0).clip(1e-3)
    assert spread[:2] == pytest.approx([1, 1], abs=0.1)


@pytest.mark.parametrize("size", [256, 512])
def test_low_frequencies_of_the_photo_under_the_networks_detail(
    photo_with_face: tuple[FloatImage, list[Face]], make_model: Any, size: int
) -> None:
    """The network sharpens and tints: its detail stays, its tint goes."""
    photo, faces = photo_with_face
    photo = cv2.GaussianBlur(photo, (0, 0), 8) + np.random.default_rng(0).normal(0, 0.03, photo.shape)
    photo = photo.astype(np.float32)
    model = make_model(size, kernel=SHARPEN, color_bias=(0.3, 0.1, -0.1))
    plain, matched = (
        restore(photo, model, faces, Options(color_match=method)).faces[0] for method in ("none", "wavelet")
    )

    def low(crop: FloatImage) -> FloatImage:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), size / 32), np.float32)

    inside = slice(size // 8, -size // 8)
    shifts = [np.abs(low(face.after) - low(face.before))[inside, inside].max() * 255 for face in (plain, matched)]
    assert shifts[0] > 35
    assert shifts[1] <= 1
    kept, made = (float(np.square(face.after - low(face.after)).sum()) for face in (matched, plain))
    assert made > 1.2 * float(np.square(plain.before - low(plain.before)).sum())
    assert kept >= 0.95 * made
