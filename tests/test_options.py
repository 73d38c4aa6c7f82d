"""Options are declared once, and invalid values are refused."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpen.errors import OptionError
from gpen.options import DETECTORS, OPTIONS, PRESETS, Option, Options, parse_face_numbers, preset_values
from gpen.weights.catalog import find_published

NUMBERS = [name for name, option in OPTIONS.items() if option.kind in (int, float)]
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.floats(-1, 5),
    st.integers(-2, 5000),
    st.text(max_size=8),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.sampled_from([choice for option in OPTIONS.values() for choice in option.choices]),
)


def valid(option: Option) -> st.SearchStrategy:
    if option.choices:
        return st.sampled_from(option.choices)
    if option.kind is bool:
        return st.booleans()
    if option.kind is int:
        return st.integers(int(option.minimum), int(option.maximum))
    if option.kind is float:
        return st.floats(option.minimum, option.maximum)
    return st.text(max_size=20)


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=60, deadline=None)
@given(value=anything)
def test_a_value_is_valid_or_refused(name, value):
    option = OPTIONS[name]
    refusal = ""
    try:
        checked = option.check(value)
    except OptionError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith(f"{option.label} is ")
        assert refusal.endswith(".")
        return
    assert type(checked) is option.kind
    assert checked == (option.switch[value] if option.switch and isinstance(value, bool) else value)
    assert not option.choices or checked in option.choices
    if option.minimum is not None:
        assert option.minimum <= checked <= option.maximum
    assert option.check(checked) == checked
    assert getattr(Options(**{name: value}), name) == checked


@settings(max_examples=60, deadline=None)
@given(values=st.fixed_dictionaries({name: valid(option) for name, option in OPTIONS.items()}))
def test_valid_values_round_trip(values):
    options = Options(**values)
    assert dataclasses.asdict(options) == values
    assert Options(**dataclasses.asdict(options)) == options
    assert all(type(getattr(options, name)) is OPTIONS[name].kind for name in OPTIONS)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None, 1j])
def test_values_that_are_not_finite_numbers_are_refused(name, value):
    with pytest.raises(OptionError):
        OPTIONS[name].check(value)
    with pytest.raises(OptionError):
        Options(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["large", "small"])
def test_numbers_beyond_every_float_are_refused(name, value):
    option = OPTIONS[name]
    with pytest.raises(OptionError, match=f"{option.label} is -?10+[^;]*; it has to lie between"):
        option.check(value)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64, np.uint8, Fraction])
def test_numbers_of_any_type_are_taken(number):
    options = Options(strength=number(1), min_face_size=number(20))
    assert (options.strength, options.min_face_size) == (1, 20)
    assert (type(options.strength), type(options.min_face_size)) == (float, int)
    with pytest.raises(OptionError, match="which is not text"):
        Options(only_faces=number(1))
    with pytest.raises(OptionError, match="which is not yes or no"):
        Options(video=number(1))


@pytest.mark.parametrize("name", NUMBERS)
def test_the_limits_are_inclusive(name):
    option = OPTIONS[name]
    for limit, beyond in ((option.minimum, -1), (option.maximum, 1)):
        assert option.check(limit) == limit
        with pytest.raises(OptionError, match=f"between {option.minimum:g} and {option.maximum:g}"):
            option.check(option.kind(limit + beyond))


def test_whole_numbers_pass_as_either_type():
    assert type(OPTIONS["min_face_size"].check(3.0)) is int
    assert type(OPTIONS["strength"].check(1)) is float
    with pytest.raises(OptionError, match=r"is 3\.5, which is not a whole number"):
        OPTIONS["min_face_size"].check(3.5)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_explains_itself(name):
    option = OPTIONS[name]
    assert option.name == name
    assert option.label
    assert option.group
    assert option.help.endswith(".")
    assert option.check(option.default) == option.default == getattr(Options(), name)
    numeric = option.kind in (int, float)
    assert (option.minimum is not None and option.maximum is not None and option.step is not None) == numeric
    if option.choices:
        # The help explains every choice, except those that are names of models or dtypes.
        assert option.default in option.choices
        assert name in ("detector", "precision") or all(choice in option.help for choice in option.choices)


def test_matching_colours_is_still_yes_or_no():
    assert Options(color_match=True) == Options(color_match="lab")
    assert Options(color_match=False) == Options(color_match="none") == Options()
    with pytest.raises(OptionError, match="Match colours is 1, which is not text"):
        Options(color_match=1)
    with pytest.raises(OptionError, match=r"Match colours is 'on', .* none, lab, wavelet\.$"):
        Options(color_match="on")
    with pytest.raises(OptionError, match="Mask is True, which is not text"):
        Options(mask=True)


def test_options_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().strength = 7
    with pytest.raises(TypeError):
        Options(strenght=1)


def test_the_names_of_the_detectors():
    assert DETECTORS == ("auto", "yunet", "retinaface_resnet50", "retinaface_mobile0.25")
    assert OPTIONS["detection_threshold"].default == 0.7


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_explains_itself_and_is_valid(name):
    preset = PRESETS[name]
    assert preset.label
    assert preset.help.endswith(".")
    assert find_published(preset.model).task == "restore"
    assert preset_values(name, {}) == preset.values
    options = Options(**preset_values(name, {}))
    assert {key: getattr(options, key) for key in preset.values} == preset.values
    assert all(OPTIONS[key].default != value for key, value in preset.values.items())


def test_given_values_override_a_preset():
    assert preset_values("selfie", {"strength": 1.0, "mask": "box"}) == {"strength": 1.0, "upscale": 2.0, "mask": "box"}
    assert PRESETS["selfie"].values == {"strength": 0.8, "upscale": 2.0}
    assert PRESETS["selfie"].model == "GPEN-BFR-2048"


def test_an_unknown_preset_is_refused():
    with pytest.raises(OptionError, match=r"^The preset 'x' is unknown\. Choose one of: selfie\.$"):
        preset_values("x", {})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", None), ("  ", None), ("3", {3}), ("0,2,5-7", {0, 2, 5, 6, 7}), (" 1 - 2 , 4 ", {1, 2, 4}), ("2,2", {2})],
)
def test_face_numbers(text, numbers):
    assert parse_face_numbers(text) == numbers


@pytest.mark.parametrize("text", ["a", "1,", ",1", "1;2", "-1", "1-", "1--2", "1.5", "1 2", "0x1", "1" * 7, "²"])
def test_other_texts_are_refused_as_face_numbers(text):
    with pytest.raises(OptionError, match=r"such as 0,2,5-7\."):
        parse_face_numbers(text)


def test_a_range_that_runs_backwards():
    with pytest.raises(OptionError, match="the range 7-5 runs backwards"):
        parse_face_numbers("1, 7-5")


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), min_size=1, max_size=6))
def test_any_list_of_ranges(ranges):
    text = ", ".join(f"{first}-{first + length}" for first, length in ranges)
    assert parse_face_numbers(text) == {n for first, length in ranges for n in range(first, first + length + 1)}


def test_many_ranges_of_the_same_faces_count_once() -> None:
    assert parse_face_numbers("3-5,4,5-7,4-6, 9") == {3, 4, 5, 6, 7, 9}
    assert len(parse_face_numbers(",".join(["0-999999"] * 400)) or ()) == 1_000_000
