"""Cycles by multiple shooting: counts that are known, closed forms, and the exact pieces of the Lozi map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.smooth import smooth_cycles
from dynrnn.analysis.smooth.cycles import _row
from dynrnn.analysis.smooth.system import smooth_maps
from dynrnn.errors import ArgumentError
from dynrnn.results import read_results, write_results
from tests.analysis.smooth.systems import TanhRNN, henon, logistic


def counts(found: xr.Dataset, most: int, fit: int = 0) -> list[int]:
    return np.bincount(found.period.values[fit][found.valid.values[fit]], minlength=most + 1)[1:].tolist()


@pytest.mark.parametrize("most", [7, pytest.param(10, marks=pytest.mark.slow)])
def test_henon_has_its_known_numbers_of_prime_orbits(most):
    found = smooth_cycles(henon, range(1, most + 1), 2)
    assert counts(found, most) == [2, 1, 0, 1, 0, 2, 4, 7, 6, 10][:most]
    assert np.array_equal(found.n_unseen.values[0], [0, 0, np.nan, 0, np.nan, 0, 0, 0, 0, 0][:most], equal_nan=True)
    # det J = -0.3 everywhere; the smallest of two multipliers is known to rounding of the largest
    period, mu = found.period.values[0], found.multiplier.values[0]
    assert np.allclose(mu.prod(-1), (-0.3) ** period, rtol=0, atol=1e-14 * (np.abs(mu[:, 0]) ** 2).max())
    two = found.isel(fit=0, cycle=int(np.flatnonzero(period == 2)[0]))
    x = np.sort(np.roots([1.4, -0.7, 0.7**2 / 1.4 - 1]))                             # 1.4 x^2 - (1 - b) x + (1 - b)^2 / 1.4 - 1 = 0
    assert np.allclose(two.location.values[:2], np.stack([x, 0.3 * x[::-1]], -1), atol=1e-13)
    assert np.allclose(two.multiplier, [-3.01010, -0.02990], atol=5e-6)
    # every row is an orbit of its period
    for k in range(found.sizes["cycle"]):
        points = torch.tensor(found.location.values[0, k, : period[k]])
        assert torch.allclose(henon(points), points.roll(-1, 0), atol=1e-13)
        assert np.isnan(found.location.values[0, k, period[k] :]).all()


def test_the_full_logistic_map_has_every_necklace_and_multipliers_of_the_tent_map():
    found = smooth_cycles(logistic(4.0), range(1, 8), 1)
    assert counts(found, 7) == [2, 1, 2, 3, 6, 9, 18]                                # binary necklaces without period
    period, mu = found.period.values[0], np.abs(found.multiplier.values[0, :, 0])
    # conjugate to the tent map of slope 2 but for the end 0, where the conjugacy has no derivative; J is known to 8 |J| errors of the point
    assert np.allclose(np.where(mu == 4, 2.0, mu), 2.0**period, rtol=1e-9)


def test_logistic_two_cycle_and_the_birth_of_the_three_cycle():
    found = smooth_cycles(logistic(3.3), range(1, 5), 1)
    assert counts(found, 4) == [2, 1, 0, 0]
    r = 3.3
    closed = (r + 1 + np.array([-1, 1]) * np.sqrt((r - 3) * (r + 1))) / (2 * r)
    assert np.allclose(found.location.values[0, 2, :2, 0], closed, atol=1e-14)
    assert np.isclose(found.multiplier.values[0, 2, 0], 4 + 2 * r - r * r, atol=1e-12)

    r = 1 + np.sqrt(8)
    found = smooth_cycles(logistic(r), 3, 1)
    assert counts(found, 3) == [0, 0, 1]
    # sum, squares and multiplier 1 of the double root give the cubic's coefficients
    s1 = (3 * r + 1) / (2 * r)
    s2 = (s1**2 - s1 * (1 - 1 / r)) / 2
    s3 = (1 - 2 * s1 + 4 * s2 - 1 / r**3) / 8
    # of a double root half of the digits are known, and of the cubic's roots most
    assert np.allclose(np.sort(found.location.values[0, 0, :, 0]), np.sort(np.roots([1, -s1, s2, -s3]).real), atol=1e-6)
    assert abs(found.multiplier.item() - 1) < 1e-5


@pytest.mark.slow
def test_the_lozi_map_by_search_has_the_orbits_of_its_enumeration():
    # x' = 1 - 1.7 |x| + y, y' = 0.5 x with |x| = relu(x) + relu(-x)
    lozi = PiecewiseLinearMap([[0, 1], [0.5, 0]], [[-1.7, -1.7], [0, 0]], [[1, 0], [-1, 0]], [1, 0], [0, 0])
    found = smooth_cycles(lozi, range(1, 8))
    assert counts(found, 7) == [2, 1, 0, 1, 0, 4, 4]
    fixed = found.location.values[0, :2, 0, 0]
    assert np.allclose(fixed, [-1 / 1.2, 1 / 2.2], atol=1e-14)
    assert np.allclose(np.abs(found.multiplier.values[0].prod(-1)), 0.5 ** found.period.values[0], rtol=1e-9)


def test_minimal_periods_only():
    assert counts(smooth_cycles(henon, 3, 2), 3) == [0, 0, 0]
    assert counts(smooth_cycles(henon, [4], 2), 4) == [0, 0, 0, 1]


def test_frequency_and_time_constant_are_in_time():
    turn = 0.9 * torch.tensor([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]], dtype=torch.float64)
    found = smooth_cycles(lambda z: -z @ turn.T * (1 - z.square().sum(-1, keepdim=True)) + 0.1, 1, 2)
    assert np.allclose(found.time_constant, -1 / np.log(np.abs(found.multiplier)))
    two = smooth_cycles(logistic(3.3), 2, 1)
    assert np.isclose(two.time_constant.item(), -2 / np.log(abs(4 + 2 * 3.3 - 3.3**2)))


@pytest.mark.parametrize(("k", "index"), [(70, -1), (71, 1)])
def test_multipliers_of_long_unstable_cycles_do_not_overflow(k: int, index: int):
    # the fixed point 1 - 1 / r of slope 2 - r, k times round: (2 - r)^k with 70 ln 1e5 = 806 is no double
    row = _row(smooth_maps(logistic(1e5), 1).maps[0], np.full((k, 1), 1 - 1e-5), 0.0, 0.0, 1)
    assert np.isclose(np.log(np.abs(row["multiplier"][0])), 700)
    assert np.isclose(row["log_modulus"][0], k * np.log(1e5 - 2))
    assert row["index"] == index == -np.sign(row["multiplier"][0].real)


def test_own_starts_repetition_and_zarr(tmp_path):
    found = smooth_cycles(henon, [1, 2], 2, starts=np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2)))
    assert counts(found, 2)[1] == 1
    model = TanhRNN(2, n_fits=2, random_state=0)
    with torch.no_grad():
        model.W[1, 0, 0] = torch.inf
    found = smooth_cycles(model, [1, 2], n_starts=100)
    xr.testing.assert_identical(found, smooth_cycles(model, [1, 2], n_starts=100))
    assert found.status.values.tolist() == ["analysed", "parameters not finite"]
    assert not found.valid.values[1].any()
    write_results(tmp_path / "found.zarr", {"cycles": found})
    xr.testing.assert_identical(read_results(tmp_path / "found.zarr")["cycles"].to_dataset(), found)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"periods": []}, "periods is empty"),
        ({"periods": 0}, "periods must be at least 1"),
        ({"periods": [True]}, "whole number"),
        ({"periods": 301}, "beyond the 600"),
        ({"periods": 2, "starts": [[1.0]]}, r"shape \(start, 2\)"),
    ],
)
def test_bad_arguments_are_refused(options, says):
    with pytest.raises(ArgumentError, match=says):
        smooth_cycles(henon, dim=2, **options)
