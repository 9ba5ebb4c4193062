"""The copy task and the adding problem, exactly as their papers have them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dynrnn_datasets import TASKS, DatasetError, adding_task, copy_task


@pytest.mark.parametrize("delay", [0, 1, 30])
def test_copy_in_the_papers_layout(delay):
    task = copy_task(50, delay, random_state=3)
    shown, due = task.inputs.values.argmax(2), task.observed.values.argmax(2)
    assert shown.shape == (50, delay + 20)
    symbols = shown[:, :10]
    assert set(np.unique(symbols)) == set(range(1, 9))                      # 500 draws of 8: one is missing with probability below 1e-28
    assert (shown[:, 10 : 10 + delay] == 0).all()
    assert (shown[:, 10 + delay] == 9).all()                                # no symbol's place, with no delay either
    assert (shown[:, 11 + delay :] == 0).all()
    assert (due[:, : 10 + delay] == 0).all()
    np.testing.assert_array_equal(due[:, 10 + delay :], symbols)
    np.testing.assert_array_equal(task.answer, due)
    for one_hot in (task.inputs, task.observed):
        assert ((one_hot == 0) | (one_hot == 1)).all()
        assert (one_hot.sum(one_hot.dims[2]) == 1).all()
    assert task.chance_cross_entropy == pytest.approx(10 * np.log(8) / (delay + 20))
    assert json.loads(task.attrs["parameters"])["delay"] == delay


def test_adding_marks_one_step_of_each_half():
    task = adding_task(4_000, 9, random_state=0)
    value, marker = task.inputs.values.transpose(2, 0, 1)
    assert (marker[:, :4].sum(1) == 1).all()
    assert (marker[:, 4:].sum(1) == 1).all()
    assert (marker.sum(0) > 4_000 / 5 / 2).all()                            # every step is marked, none by far too seldom
    np.testing.assert_allclose(task.observed.values[:, -1, 0], (value * marker).sum(1), rtol=1e-14)
    assert np.isnan(task.observed.values[:, :-1]).all()
    # the variance of two uniforms' sum; the mean of 4,000 squares has a relative error of 1.2 / sqrt(4000) = .02; four of them
    assert np.mean((task.observed.values[:, -1, 0] - 1) ** 2) == pytest.approx(task.chance_squared_error, rel=0.08)


@pytest.mark.parametrize("name", TASKS)
def test_random_states_are_independent_and_repeat(name):
    make = TASKS[name]
    assert make(3, 8, random_state=(0, 5)).identical(make(3, 8, random_state=(0, 5)))
    assert not make(3, 8, random_state=(0, 5)).inputs.identical(make(3, 8, random_state=(0, 6)).inputs)
    assert make(3, 8, random_state=np.int64(2)).identical(make(3, 8, random_state=2))
    with pytest.raises(DatasetError, match="random_state"):
        make(3, 8, random_state=-1)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: copy_task(0), "n_trials"), (lambda: copy_task(1, -1), "delay"), (lambda: copy_task(1, 1, n_symbols=0), "n_symbols"),
        (lambda: copy_task(1, 1, n_recalled=0), "n_recalled"), (lambda: adding_task(1, 1), "n_steps"), (lambda: adding_task(True), "n_trials"),
    ],
)
def test_sizes_that_cannot_be_are_named(make, word):
    with pytest.raises(DatasetError, match=word):
        make()
