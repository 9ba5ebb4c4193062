"""Functions choose the smooth route by themselves where there are no regions."""

import numpy as np
import pytest
import torch

import dynrnn as dr


def henon(z):
    x, y = z[..., 0], z[..., 1]
    return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)


def test_a_callable_takes_the_smooth_route():
    found = dr.analysis.fixed_points(henon, dim=2, n_starts=64)
    real = found.location.values[0][found.valid.values[0]]
    x = np.sort((-0.7 + np.array([-1, 1]) * np.sqrt(0.49 + 5.6)) / 2.8)             # 1.4 x^2 + 0.7 x - 1 = 0
    np.testing.assert_allclose(np.sort(real[:, 0]), x, rtol=1e-12)
    assert not found.complete.any()
    assert dr.analysis.cycles(henon, dim=2, periods=[2], n_starts=100).valid.sum() == 1


def test_a_model_of_regions_may_be_given_to_both_routes():
    """Kinks and all, Newton's method finds what the enumeration does, and nothing else."""
    model = dr.ShallowPLRNN(2, 2, 8, clipped=True, random_state=3)
    exact, smooth = dr.analysis.fixed_points(model, n_virtual=0), dr.analysis.fixed_points(model, route="smooth", n_starts=128)
    assert bool(exact.complete.all())
    every = exact.location.values[0][exact.valid.values[0]]
    roots = smooth.location.values[0][(smooth.valid & (smooth.kind == "fixed point")).values[0]]
    for root in roots:
        assert np.abs(every - root).max(1).min() < 1e-9
    assert len(roots) == len(every)


def test_an_unknown_route_is_named():
    with pytest.raises(dr.UnknownNameError, match="exact"):
        dr.analysis.fixed_points(dr.ALRNN(2, 3, 1, random_state=0), route="exakt")
