"""Fixed points: complete lists against exhaustion and each other, index sums against degrees, published systems, continua, borders."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.optimize import linprog

import dynrnn as dr
from dynrnn.analysis import count_regions, fixed_points
from dynrnn.analysis.piecewise.arrangement import n_regions
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.results import read_results, write_results
from tests.analysis.piecewise.published import PLRNN_2D_FIXED, PLRNN_10D, SHALLOW, SHALLOW_FIXED_POINT
from tests.analysis.piecewise.systems import clipped_map, lozi, relu_map


def brute_force(map):
    """Words whose own fixed point lies in their region, over all words."""
    words = np.array(list(itertools.product((False, True), repeat=map.n_units)))
    M = map.latent_dim
    z = np.linalg.solve(np.eye(M) - map.jacobians(words), map.offsets(words)[..., None])[..., 0]
    return {word.tobytes() for word in words[(map.words(z) == words).all(1)]}


def real(found, fit=0):
    return found.isel(fit=fit, fixed_point=(found.valid & ~found.virtual).values[fit])


def words_of(found):
    return {word.tobytes() for word in real(found).region.values}


@pytest.mark.parametrize(("M", "H"), [(1, 6), (2, 9), (3, 9), (4, 9), (5, 4), (6, 6), (12, 8)])
def test_both_complete_routes_are_exhaustion(M, H):
    for seed in range(6):
        for make in (relu_map, clipped_map):
            map = make(np.random.default_rng([M, H, seed]), M, H if make is relu_map else H // 2, gain=1.5 / np.sqrt(H))
            want = brute_force(map)
            for route in ("words", "arrangement") if map.n_units > min(M, H if make is relu_map else H // 2) else ("words",):
                found = fixed_points(map, route=route, n_virtual=0)
                assert words_of(found) == want, (seed, route)
                assert bool(found.complete[0]), str(found.status.values)
                points = real(found)
                assert (map.words(points.location.values) == points.region.values).all()
                # residual of a solution polished in extended precision: roundings of terms of the state's size
                assert (points.residual.values <= 1e-13 * (1 + np.abs(points.location.values).max(-1, initial=0)) * 50).all()


def test_margin_virtual_and_order():
    map = relu_map(np.random.default_rng(3), 3, 8, gain=0.5)
    found = fixed_points(map, n_virtual=5).isel(fit=0)
    assert int(found.virtual.sum()) == 5
    for row in found.transpose("fixed_point", ...).fixed_point.values:
        one = found.isel(fixed_point=row)
        z, word = one.location.values, one.region.values
        np.testing.assert_allclose(map.jacobians(word) @ z + map.offsets(word), z, atol=1e-12 * (1 + np.abs(z).max()))
        wrong = map.words(z) != word
        assert wrong.any() == bool(one.virtual)
        distance = np.abs(map.W2 @ z + map.h2) / np.linalg.norm(map.W2, axis=1)
        np.testing.assert_allclose(one.margin, -distance[wrong].max() if wrong.any() else distance.min(), rtol=1e-9)
    margins = found.margin.values[found.virtual.values]
    assert (np.diff(margins) <= 0).all()
    # the five nearest of all: by exhaustion over the words of regions that exist
    words = np.array(list(itertools.product((False, True), repeat=8)))
    exists = []
    for side in np.where(words, 1.0, -1.0):
        inside = linprog(np.zeros(3), A_ub=-side[:, None] * map.W2, b_ub=side * map.h2, bounds=[(None, None)] * 3)
        exists.append(inside.status == 0)
    assert sum(exists) == n_regions(8, 3)
    z = np.linalg.solve(np.eye(3) - map.jacobians(words), map.offsets(words)[..., None])[..., 0]
    outside = np.where(map.words(z) != words, np.abs(z @ map.W2.T + map.h2) / np.linalg.norm(map.W2, axis=1), 0).max(1)
    nearest = np.sort(outside[np.array(exists) & (outside > 0)])[:5]
    np.testing.assert_allclose(-margins, nearest, rtol=1e-9)


def test_published_systems():
    found = fixed_points(PLRNN_10D, n_virtual=0)
    assert int(found.n_fixed_points[0]) == 3
    assert int(found.index_sum[0]) == 1 == int(found.degree[0])
    np.testing.assert_allclose(np.sort(np.abs(found.eigenvalue.values[0]).max(-1)), [0.841, 1.905, 2.087], atol=5e-4)      # as printed
    found = fixed_points(PLRNN_2D_FIXED, n_virtual=0)
    np.testing.assert_allclose(found.location.values, [[[0.36, -22.26]]], atol=0.005)
    found = fixed_points(SHALLOW_FIXED_POINT, n_virtual=0)
    np.testing.assert_allclose(found.location.values, [[[-0.03, 0.40]]], atol=0.005)
    found = fixed_points(SHALLOW, n_virtual=0)
    assert int(found.n_fixed_points[0]) == 0 == int(found.degree[0])
    assert bool(found.complete[0])


def test_lozi_has_two_in_closed_form():
    a, b = 1.7, 0.5
    found = fixed_points(lozi(a, b), n_virtual=0).isel(fit=0)
    x = np.array([1 / (1 + a - b), 1 / (1 - a - b)])
    order = np.argsort(-found.location.values[:, 0])
    np.testing.assert_allclose(found.location.values[order], np.stack([x, b * x], 1), rtol=1e-14)
    slopes = [np.roots([1, a, -b]), np.roots([1, -a, -b])]
    for row, mu in zip(order, slopes):
        np.testing.assert_allclose(np.sort(found.eigenvalue.values[row].real), np.sort(mu), rtol=1e-13)
    assert (found.stability == "saddle").all()
    assert int(found.index_sum) == 0 == int(found.degree)                           # 1 - a|x| + (b - 1) x has as many rising as falling zeros


@pytest.mark.parametrize("make", [clipped_map, relu_map])
def test_index_sums_are_degrees(make):
    """A has an eigenvalue above 1 in half of the bounded maps: the sum must follow det(I - A), which knows nothing of the regions."""
    signs = set()
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        A = rng.uniform(-0.9, 0.9, 2)
        if seed % 2:
            A[0] = rng.uniform(1.2, 2)
        map = make(rng, 2, 6, gain=1.0, A=A)
        found = fixed_points(map, n_virtual=0)
        want = np.sign(np.linalg.det(np.eye(2) - map.A)) if map.bounded else found.degree.values[0]
        assert found.degree.values[0] == want == found.index_sum.values[0], seed
        assert bool(found.complete[0])
        signs.add(int(want))
    assert {-1, 1} <= signs


def test_enumerated_degree_of_bounded_maps_is_the_sign_of_the_determinant():
    """The degree of an unbounded map comes from the map at infinity; for bounded ones that must give what the homotopy to A z gives."""
    for seed in range(40):
        rng = np.random.default_rng([8, seed])
        map = clipped_map(rng, 3, 4, A=rng.uniform(-1, 2, 3))
        unmarked = PiecewiseLinearMap(map.A, map.W1, map.W2, map.h1, map.h2)
        for route in ("words", "arrangement"):
            assert fixed_points(unmarked, route=route, n_virtual=0).degree.values[0] == np.sign(np.linalg.det(np.eye(3) - map.A))


def test_degree_stays_when_biases_move():
    for seed in range(10):
        rng = np.random.default_rng([9, seed])
        map = relu_map(rng, 3, 7)
        moved = PiecewiseLinearMap(map.A, map.W1, map.W2, 5 * rng.standard_normal(3), 5 * rng.standard_normal(7))
        one, other = (fixed_points(m, n_virtual=0) for m in (map, moved))
        assert one.index_sum.values[0] == other.index_sum.values[0] == one.degree.values[0]


def test_regions_are_as_many_as_the_arrangement_has():
    rng = np.random.default_rng(4)
    assert count_regions(relu_map(rng, 3, 100)) == 166_751 == n_regions(100, 3)
    for M, H in [(1, 7), (2, 12), (4, 11), (3, 3), (5, 3)]:
        assert count_regions(relu_map(rng, M, H)) == n_regions(H, M)
    low = relu_map(rng, 6, 20)
    low = PiecewiseLinearMap(low.A, low.W1, low.W2[:, :2] @ rng.standard_normal((2, 6)), low.h1, low.h2)      # rank 2 in 6 dimensions
    assert count_regions(low) == n_regions(20, 2)
    # pairs of parallel lines: each of H lines through 0 and its shifted copy; any two of different pairs cross, in general position after moving
    H = 10
    assert count_regions(clipped_map(rng, 2, H)) == 1 + 2 * H + (H * (2 * H - 1) - H)
    with pytest.raises(dr.ArgumentError, match="limit"):
        count_regions(relu_map(rng, 4, 60), limit=1000)


def test_low_rank_and_idle_units():
    """Planes of rank 2 in 5 dimensions, a unit that never switches, one that drives nothing, and one that is there twice."""
    for seed in range(20):
        rng = np.random.default_rng([5, seed])
        map = relu_map(rng, 5, 9, gain=0.7)
        W2 = rng.standard_normal((9, 2)) @ rng.standard_normal((2, 5))
        W1, h2 = map.W1.copy(), map.h2.copy()
        W2[3], h2[3] = 0, abs(h2[3])
        W1[:, 5] = 0
        W2[7], h2[7] = W2[6], h2[6]
        map = PiecewiseLinearMap(map.A, W1, W2, map.h1, h2)
        assert words_of(fixed_points(map, route="arrangement", n_virtual=0)) == brute_force(map) == words_of(fixed_points(map, route="words"))


def test_singular_linear_part_takes_another_base():
    """A = I on one axis: I - A is singular, I - J in the regions is not."""
    for seed in range(20):
        rng = np.random.default_rng([6, seed])
        map = relu_map(rng, 3, 6, A=np.array([1.0, 0.5, -0.3]))
        # J of the region with all units off is A itself: no single solution there, and generically none
        words = np.array(list(itertools.product((False, True), repeat=6)))[1:]
        z = np.linalg.solve(np.eye(3) - map.jacobians(words), map.offsets(words)[..., None])[..., 0]
        want = {word.tobytes() for word in words[(map.words(z) == words).all(1)]}
        for route in ("words", "arrangement"):
            assert words_of(fixed_points(map, route=route, n_virtual=0)) == want


def test_a_continuum_is_reported():
    line = PiecewiseLinearMap([1.0, 0.5], [[0.0], [1.0]], [[1.0, 0.0]], [0.0, 1.0], [0.3])                  # x stays, y = 2 + 2 relu(x + 0.3)
    found = fixed_points(line).isel(fit=0)
    assert found.kind.values.tolist() == ["continuum"] * 2
    assert found.dimension.values.tolist() == [1, 1]
    assert sorted(found.region.values.ravel().tolist()) == [False, True]
    x, y = found.location.values.T
    np.testing.assert_allclose(y, 2 + 2 * np.maximum(x + 0.3, 0), atol=1e-12)
    assert (found.index == 0).all()
    assert bool(found.complete)
    assert (found.stability == "non-hyperbolic").all()
    plane = fixed_points(([1.0, 1.0, 0.5], np.zeros((3, 0)), np.zeros((0, 3)), [0.0, 0.0, 1.0], [])).isel(fit=0)
    assert plane.dimension.values.tolist() == [2]
    assert int(fixed_points(([1.0], np.zeros((1, 0)), np.zeros((0, 1)), [0.5], [])).n_fixed_points[0]) == 0   # z' = z + 0.5
    # half a line: x' = x - relu(x) + 0 keeps x <= 0 and sends x > 0 to 0
    half = fixed_points(([1.0], [[-1.0]], [[1.0]], [0.0], [0.0])).isel(fit=0)
    assert half.kind.values.tolist()[0] == "continuum"
    assert not half.region.values[0, 0]


def test_a_fixed_point_on_switching_planes_is_one_with_the_index_around_it():
    """Zero biases: all planes meet in the fixed point 0, and its index is the degree of the whole map."""
    for seed in range(20):
        rng = np.random.default_rng([10, seed])
        map = relu_map(rng, 3, 6, gain=0.4)
        cone = PiecewiseLinearMap(map.A, map.W1, map.W2, np.zeros(3), np.zeros(6))
        for route in ("words", "arrangement"):
            found = fixed_points(cone, route=route, n_virtual=0)
            assert bool(found.complete[0])
            assert int(found.n_fixed_points[0]) == 1
            assert bool(found.on_border[0, 0])
            assert found.index.values[0, 0] == found.degree.values[0] == fixed_points(map, n_virtual=0).index_sum.values[0]


@pytest.mark.parametrize(("M", "H", "route"), [(20, 17, "words"), (3, 80, "arrangement")])
def test_zero_biases_of_more_regions_than_points_are_kept(M, H, route):
    """0 solves every one of 131,072 words or 85,401 regions, and is one point; there are no others, since det(I - J) = 0 nowhere."""
    map = relu_map(np.random.default_rng(13), M, H, gain=0.02)
    found = fixed_points(PiecewiseLinearMap(map.A, map.W1, map.W2, np.zeros(M), np.zeros(H)), n_virtual=0)
    assert found.method.values.tolist() == [route]
    assert found.index.values.tolist() == [[1]]
    assert bool(found.complete[0])


def test_the_search_finds_nothing_false_and_says_it_may_miss():
    for seed in range(10):
        map = relu_map(np.random.default_rng([11, seed]), 8, 12, gain=0.4)
        every, some = words_of(fixed_points(map, n_virtual=0)), fixed_points(map, route="search", n_starts=200, n_virtual=2)
        assert words_of(some) == every                                              # 12 units are few enough for the search to find all
        assert not bool(some.complete[0])
        assert some.method.values[0] == "search"
    again = fixed_points(map, route="search", n_starts=200, n_virtual=2)
    xr.testing.assert_identical(some, again)


def test_too_many_regions():
    map = clipped_map(np.random.default_rng(12), 30, 40, gain=0.1)
    found = fixed_points(map, n_starts=32, n_virtual=0)
    assert found.method.values[0] == "search"
    assert not bool(found.complete[0])
    assert found.degree.values[0] == 1
    with pytest.raises(dr.ArgumentError, match=r"limit=33,554,432.*route='search'"):
        fixed_points(map, route="exact")


def test_ensembles_read_out_and_are_stored(tmp_path):
    model = dr.ALRNN(3, 8, 4, n_fits=3, random_state=0)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        model.h += torch.tensor(rng.standard_normal(model.h.shape))
        model.data_mean += 2.0
        model.W[1, 0, 0] = torch.inf
    found = fixed_points(model, n_virtual=2)
    assert found.status.values.tolist() == ["analysed", "parameters not finite", "analysed"]
    assert not found.valid.values[1].any()
    here = found.valid.values
    np.testing.assert_allclose(found.observed.values[here], found.location.values[here][:, :3] + 2.0, rtol=1e-12)
    alone = fixed_points(dr.select(model, fit=2), n_virtual=2)
    xr.testing.assert_identical(alone.isel(fit=0).dropna("fixed_point", how="all", subset=["location"]).location,
                                found.isel(fit=2).dropna("fixed_point", how="all", subset=["location"]).location)
    empty = fixed_points([PiecewiseLinearMap([[1.0]], np.zeros((1, 0)), np.zeros((0, 1)), [1.0], [])])
    write_results(tmp_path / "a.zarr", xr.DataTree.from_dict({"fixed_points": found, "none": empty}))
    tree = read_results(tmp_path / "a.zarr")
    xr.testing.assert_identical(tree["fixed_points"].to_dataset().load(), found)
    xr.testing.assert_identical(tree["none"].to_dataset().load(), empty)


BAD = [({"route": "exakt"}, "Did you mean 'exact'"), ({"limit": 0}, "limit must be"), ({"n_virtual": -1}, "n_virtual"), ({"tolerance": 2.0}, "tolerance"),
       ({"n_starts": 0}, "n_starts"), ({"random_state": -1}, "random_state"), ({"route": "arrangement"}, "Use route='words'")]


@pytest.mark.parametrize(("change", "match"), BAD)
def test_bad_arguments(change, match):
    with pytest.raises(dr.ArgumentError, match=match):
        fixed_points(PLRNN_2D_FIXED, **change)


@pytest.mark.parametrize("model", [([1.0], 2), "x", [1, 2]])
def test_bad_models(model):
    with pytest.raises(dr.ArgumentError):
        fixed_points(model)


def test_maps_of_different_sizes_are_no_ensemble():
    with pytest.raises(dr.ArgumentError, match="equal numbers"):
        fixed_points([PLRNN_2D_FIXED, PLRNN_10D])
