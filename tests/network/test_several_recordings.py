"""Recordings of several kinds of input: which are made, kept and replaced."""

from __future__ import annotations

import copy

import pytest
import torch

from gpen.network.cuda_graph import RepeatedCalls
from tests.recorder import Recorder


@pytest.fixture
def recorder():
    return Recorder()


def double(x):
    return x * 2


def run_kinds(repeated, recorder, kinds):
    """Calls with inputs of so many elements."""
    for number in kinds:
        x = torch.full((number,), float(number))
        assert torch.equal(repeated.run(double, x, None, recorder), 2 * x)


def test_several_kinds_are_recorded_at_their_second_call(recorder):
    repeated = RepeatedCalls(most=3)
    run_kinds(repeated, recorder, [1, 2, 3])
    assert recorder.recorded == 0
    run_kinds(repeated, recorder, [1, 2, 3])
    assert (recorder.recorded, recorder.replayed) == (3, 3)  # each was compared once
    run_kinds(repeated, recorder, [3, 1, 2])
    assert (recorder.recorded, recorder.replayed) == (3, 6)


def test_new_kinds_replace_those_that_are_not_used_any_more(recorder):
    repeated = RepeatedCalls(most=2)
    run_kinds(repeated, recorder, [1, 2, 1, 2])
    run_kinds(repeated, recorder, [3, 2, 3])
    assert recorder.recorded == 3
    run_kinds(repeated, recorder, [2, 3])
    assert (recorder.recorded, recorder.replayed) == (3, 6)


@pytest.mark.parametrize(("most", "elements"), [(2, None), (8, 5)])
def test_more_kinds_than_there_is_room_for_do_not_replace_one_another_for_ever(recorder, most, elements):
    repeated = RepeatedCalls(most, elements)
    run_kinds(repeated, recorder, [1, 2, 4] * 5)
    made = recorder.recorded
    run_kinds(repeated, recorder, [1, 2, 4] * 5)
    assert recorder.recorded == made <= 2


def test_the_elements_of_all_recordings_are_bounded(recorder):
    repeated = RepeatedCalls(8, 10)
    run_kinds(repeated, recorder, [4, 6, 4, 6])
    assert recorder.recorded == 2
    run_kinds(repeated, recorder, [11, 11, 11])
    assert recorder.recorded == 2
    run_kinds(repeated, recorder, [5, 5, 5, 6])  # in place of 4
    assert (recorder.recorded, recorder.replayed) == (3, 4)


def test_a_kind_that_is_replaced_is_not_recorded_again_at_once(recorder):
    repeated = RepeatedCalls()
    run_kinds(repeated, recorder, [1, 1, 2, 2, 1, 2, 1, 2, 1, 2])
    assert recorder.recorded == 2


def test_more_recordings_have_to_be_paid_for_by_replays(recorder):
    repeated = RepeatedCalls(most=2, payback=3)
    run_kinds(repeated, recorder, [1, 1, 2, 2, 3, 3])
    assert recorder.recorded == 2
    run_kinds(repeated, recorder, [2, 2, 1, 3, 3])
    assert (recorder.recorded, recorder.replayed) == (3, 6)
    run_kinds(repeated, recorder, [4, 4, 3, 3, 4])
    assert recorder.recorded == 3
    run_kinds(repeated, recorder, [3, 5, 5])
    assert recorder.recorded == 4


def test_a_copy_has_the_same_bounds(recorder):
    repeated = copy.deepcopy(RepeatedCalls(most=2, most_elements=3, payback=100, what="face detector"))
    run_kinds(repeated, recorder, [4, 4, 1, 2, 1, 2, 3, 3])
    assert recorder.recorded == 2
    assert repeated.recording is not None
    assert copy.copy(repeated).recording is None
