"""Saddle cycles so long that the product of their Jacobians is rounding but for its largest multiplier."""

import numpy as np
import pytest

from dynrnn.analysis import cycles, manifolds
from dynrnn.analysis.piecewise.path import n_unstable, orbit_of, outside
from tests.analysis.piecewise.published import LOZI


@pytest.fixture(scope="module")
def found():
    """Cycles of 60 and of 100 points: multipliers of some e^(0.47 k), and e^(-1.16 k), of which the product b^k is 2^-k."""
    return {k: cycles(LOZI, periods=[k], route="search", n_starts=40).isel(fit=0) for k in (60, 100)}


def test_the_stable_direction_of_a_long_saddle_cycle(found):
    row = found[60].isel(cycle=0)
    down = manifolds(LOZI, row, "stable", n_iterations=0)
    np.testing.assert_allclose(np.log(np.abs(down.eigenvalue.values)), [row.log_modulus.values[1]], rtol=1e-9)     # 60 roundings of some 1e-12 at most
    assert row.log_modulus.values[1] < np.log(1e-16)
    # backwards the stable direction is the one that grows, whatever one begins with
    J = LOZI.jacobians(row.region.values)
    v = np.array([0.3, 0.7])
    for t in reversed(range(120)):
        v = np.linalg.solve(J[t % 60], v)
        v /= np.linalg.norm(v)
        if t < 60:
            V = down.direction_basis.values[t, :, 0]
            assert np.abs(np.cross(np.append(v, 0), np.append(V / np.linalg.norm(V), 0))).max() < 1e-13


def test_the_straight_part_goes_round_as_it_says(found):
    """f takes points[j] + t V[j] to points[j + 1] + t V[j + 1], within the regions of the cycle, on both manifolds."""
    row = found[60].isel(cycle=0)
    for which in ("stable", "unstable"):
        one = manifolds(LOZI, row, which, n_iterations=0)
        z, V = one.points.values, one.direction_basis.values[..., 0]
        J = LOZI.jacobians(row.region.values)
        for j in range(59):
            np.testing.assert_allclose(J[j] @ V[j], V[j + 1], atol=1e-14 * np.linalg.norm(V[j]))
            for t in (0.5, -0.5):
                s = t * min(np.abs(z[j][0] / V[j][0]), 1 / np.linalg.norm(V[j]))    # short of the plane x = 0
                np.testing.assert_allclose(LOZI.step(z[j] + s * V[j]), z[j + 1] + s * V[j + 1], atol=1e-13)


def test_long_cycles_have_one_unstable_direction(found):
    for row in range(found[100].sizes["cycle"]):
        one = found[100].isel(cycle=row)
        words = one.region.values
        assert n_unstable(LOZI, words) == 1
        assert outside(LOZI, words)[1] == int(not one.flip)                         # the index: -1 where the multiplier is above 1
        np.testing.assert_allclose(orbit_of(LOZI, words), one.location.values, atol=1e-12)
