"""Objects on switching planes, and continua: kept once, said to be what they are, whatever rounding does to a zero."""

import numpy as np
import pytest

from dynrnn.analysis import cycles, fixed_points
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.preimages import find_regions, pull_segments
from tests.analysis.piecewise.published import SHALLOW
from tests.analysis.piecewise.systems import lozi


def on_planes(seed, M, planes):
    """A contraction, so with one fixed point, which lies on all its switching planes and is far from 0 in the other coordinates."""
    rng = np.random.default_rng(seed)
    H, r = planes.shape
    A, W1 = rng.uniform(-0.3, 0.3, (M, M)), rng.uniform(-0.1, 0.1, (M, H))
    z = np.r_[np.zeros(r), rng.uniform(0.5, 2, M - r)]
    return PiecewiseLinearMap(A, W1, np.pad(planes, ((0, 0), (0, M - r))), z - A @ z, np.zeros(H))


@pytest.mark.parametrize("n_virtual", [0, 8])
def test_a_fixed_point_on_a_plane_is_found_once(n_virtual):
    """Its coordinate 0 is a difference of terms of order 1: some 1e-17, of either sign, by either region's equations."""
    for seed in range(100):
        map = on_planes(seed, 2, np.eye(1))
        found, listed = fixed_points(map, n_virtual=n_virtual), cycles(map, 1)
        assert int(found.n_fixed_points[0]) == 1, seed
        assert int(listed.valid.sum()) == 1, seed
        assert bool(found.complete[0])
        assert bool(listed.complete.all())
        np.testing.assert_allclose(found.location[0, 0], listed.location[0, 0, 0], atol=1e-14)
        assert bool(found.on_border[0, 0]) is bool(listed.on_border[0, 0]) is True


@pytest.mark.parametrize("route", ["words", "arrangement", "search"])
def test_every_route_finds_a_fixed_point_on_three_planes(route):
    planes = np.array([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    for seed in range(40):
        found = fixed_points(on_planes(seed, 3, planes), route=route, n_virtual=0, n_starts=8)
        assert int(found.n_fixed_points[0]) == 1, seed
        assert found.region.sum() == 0


def test_one_side_does_not_decide_the_stability_on_a_plane():
    """Slope 0.5 to the left of the fixed point 0, 1.5 to its right: states there run away."""
    kink = ([0.5], [[1.0]], [[1.0]], [0.0], [0.0])
    for found in (fixed_points(kink, n_virtual=0), cycles(kink, 1)):
        assert found.stability.values.tolist() == [["non-hyperbolic"]]
        assert found.on_border.values.tolist() == [[True]]
    # a unit that drives nothing makes no border of its plane
    idle = ([0.5], [[0.0]], [[1.0]], [0.0], [0.0])
    for found in (fixed_points(idle, n_virtual=0), cycles(idle, 1)):
        assert found.stability.values.tolist() == [["sink"]]


def test_a_continuum_of_cycles_is_counted_and_said():
    line = cycles(([1.0], [[-2.0]], [[1.0]], [0.0], [0.0]), 2)                                  # z' = -|z|: every z <= 0 is fixed
    assert line.n_continua.values.tolist() == [[1, 0]]
    assert "continuum of cycles of period 1" in str(line.status[0].values)
    swap = cycles(([-1.0], np.zeros((1, 0)), np.zeros((0, 1)), [1.0], []), 2)                   # z' = 1 - z: all but 1/2 swap
    assert swap.n_continua.values.tolist() == [[0, 1]]
    assert cycles(lozi(), 4).n_continua.values.tolist() == [[0, 0, 0, 0]]


def test_words_that_were_not_examined_are_a_reason():
    """Nine idle units over a shift: none of 512 words has a cycle, and no more than 200 are looked at."""
    shift = PiecewiseLinearMap(np.eye(9), np.zeros((9, 9)), np.eye(9), np.ones(9), np.zeros(9))
    found = cycles(shift, 1, route="all")
    assert not found.complete.any()
    assert "312 words of period 1" in str(found.status[0].values)


def test_nothing_is_unseen_only_where_that_is_known():
    found = cycles(SHALLOW, 8, route="pruned", limit=500)
    stopped = ~found.complete.values[0]
    assert stopped.any()
    assert np.isnan(found.n_unseen.values[0][stopped]).all()
    assert (found.n_unseen.values[0][~stopped] == 0).all()
    assert np.isnan(cycles(([1.0], np.zeros((1, 0)), np.zeros((0, 1)), [1.0], []), 3, route="search", n_starts=50).n_unseen).all()  # z' = z + 1


def test_a_segment_within_a_plane_has_one_preimage():
    """Both ends' preimages are on x = 0 but for 1e-17: the segment is of the region where the unit is off, and of no other."""
    map = lozi()
    regions = find_regions(map, map.words(np.ones((1, 2))), None, None)
    for ends in ([1e-17, -1e-17], [-1e-17, 1e-17], [1e-17, 2e-17]):
        pulled = pull_segments(regions, map.step(np.array([[[ends[0], 0.5], [ends[1], 1.5]]])))
        assert regions.words[pulled.region].tolist() == [[False]]
