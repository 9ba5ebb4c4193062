"""Compiled tanh against the C library's in longer numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dynrnn_kernels.elementwise import tanh_in_place


@pytest.mark.parametrize(("dtype", "longer", "smallest"), [(np.float64, np.longdouble, -300), (np.float32, np.float64, -35)])
def test_tanh_within_three_roundings_everywhere(dtype, longer, smallest):
    g = np.random.default_rng(0)
    x = np.concatenate([3 * g.standard_normal(20_000), g.choice([-1, 1], 20_000) * 10.0 ** g.uniform(smallest, 2, 20_000), np.linspace(-0.4, 0.4, 4_001)])
    x = x.astype(dtype)
    got = x.copy()
    tanh_in_place(got)
    want = np.tanh(x.astype(longer))
    assert (np.abs(got - want) <= 3 * np.spacing(np.abs(want).astype(dtype))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_at_the_ends(dtype):
    x = np.array([0, np.inf, -np.inf, np.nan, 30, -30, np.finfo(dtype).max], dtype=dtype)
    tanh_in_place(x)
    np.testing.assert_array_equal(x, np.array([0, 1, -1, np.nan, 1, -1, 1], dtype=dtype))
