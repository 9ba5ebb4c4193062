"""Published settings build, and train as they are."""

from __future__ import annotations

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.models import Reservoir
from dynrnn.training.published import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_setting_makes_what_it_says_and_fits(name):
    small = {"hidden_dim": 8} if PUBLISHED[name].family == "shallow-plrnn" else {}
    model, settings = dr.published(name, n_fits=2, random_state=0, **small)
    for argument, value in (PUBLISHED[name].arguments | small).items():
        if argument in model.config():
            assert model.config()[argument] == value
        else:
            np.testing.assert_array_equal(np.asarray(getattr(model, argument)), value)
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.standard_normal((500, model.observed_dim)), 0)
    if not isinstance(model, Reservoir):
        settings |= {"n_updates": 1, "sequence_length": 12, "random_state": 0}
    assert dr.fit(model, x, progress=False, **settings).status.values.tolist() == ["finished"] * 2


def test_mistakes_are_named():
    with pytest.raises(UnknownNameError, match="alrnn-lorenz63"):
        dr.published("alrnn-lorenz64")
    with pytest.raises(ArgumentError, match="hidden"):
        dr.published("alrnn-lorenz63", hidden=4)
