"""Cycles against counts and points that are known, and against the map itself."""

from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis._cycles import cycles, growth_rate, n_fixed
from dynrnn.analysis.piecewise.canonical import NOT_FINITE
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.results import read_results, write_results
from tests.analysis.piecewise.published import LOZI, LOZI_COPY, LOZI_FIXED, LOZI_PRIME, LOZI_TWO_UNITS, PLRNN_2D, PLRNN_10D, SHALLOW, TENT


def counts(found, fit=0):
    return Counter(found.period[fit].values[found.valid[fit].values].tolist())


def check_orbits(map, found, fit=0):
    """Every point's image is the next point, in the region of its word, and no two rows are the same orbit."""
    seen = set()
    for row in range(found.sizes["cycle"]):
        if not found.valid[fit, row]:
            continue
        k = int(found.period[fit, row])
        z = found.location[fit, row, :k].values
        size = 1 + np.abs(z).max()
        np.testing.assert_allclose(map.step(z), np.roll(z, -1, axis=0), atol=1e-12 * size)      # some thousand roundings of numbers of this size
        np.testing.assert_array_equal(map.words(z), found.region[fit, row, :k])
        assert found.residual[fit, row] <= 1e-12 * size
        assert np.isnan(found.location[fit, row, k:]).all()
        if k > 1:                                                                               # minimal: no point comes twice
            assert np.linalg.norm(z[:, None] - z[None], axis=-1)[~np.eye(k, dtype=bool)].min() > 1e-9
        seen.add(min(np.roll(found.region[fit, row, :k].values, -t, axis=0).tobytes() for t in range(k)))
    assert len(seen) == int(found.valid[fit].sum())


@pytest.mark.parametrize(("map", "longest"), [(LOZI, 14), (LOZI_COPY, 14), (LOZI_TWO_UNITS, 12)])
def test_lozi_has_the_known_numbers_of_cycles(map, longest):
    found = cycles(map, longest)
    assert found.complete.all()
    assert [counts(found)[k] for k in range(1, longest + 1)] == LOZI_PRIME[:longest]
    assert [int(n_fixed(found, n)[0]) for n in range(1, longest + 1)] == LOZI_FIXED[:longest]
    assert float(growth_rate(found, 12)[0]) == pytest.approx(np.log(416) / 12)
    check_orbits(map, found)
    # the area shrinks by half a step; a copy of x adds the multiplier 0 and nothing else
    np.testing.assert_allclose(found.log_modulus[0, :, :2].sum("mode"), found.period[0] * np.log(0.5), rtol=1e-12)
    assert (found.log_modulus[0, :, 2:] == -np.inf).all()
    assert (found.multiplier[0, :, 2:] == 0).all()


def test_every_word_and_admissible_words_give_the_same_list():
    every, polygons = cycles(LOZI, 10, route="all"), cycles(LOZI, 10, route="pruned")
    xr.testing.assert_equal(every, polygons)
    programmes = cycles(LOZI_COPY, 6, route="pruned")                                           # linear programmes
    assert programmes.complete.all()
    np.testing.assert_allclose(programmes.location[0, ..., :2], cycles(LOZI, 6).location[0], atol=1e-14)


@pytest.mark.parametrize(("dims", "n_maps", "most"), [((1, 2), 30, 400), ((3,), 3, 60)])
def test_pruning_loses_nothing_on_random_maps(dims, n_maps, most):
    """Scales from a hundredth to a hundred, coincident, parallel and concurrent planes included: rows are equal to the last bit."""
    rng = np.random.default_rng(0)
    n_rows = 0
    for _ in range(n_maps):
        M, H = int(rng.choice(dims)), int(rng.integers(1, 5))
        W1, W2 = rng.standard_normal((M, H)) * 10 ** rng.uniform(-0.5, 0.7), rng.standard_normal((H, M))
        h1, h2 = rng.standard_normal(M) * 10 ** rng.uniform(-2, 2), rng.standard_normal(H) * (rng.random() < 0.7)
        map = PiecewiseLinearMap(rng.uniform(-1, 1, M), W1, W2, h1, h2)
        longest = next(k for k in range(8, 0, -1) if 2 ** (H * k) <= most * k)
        every = cycles(map, longest, route="all")
        assert every.complete.all()
        xr.testing.assert_equal(every, cycles(map, longest, route="pruned"))
        n_rows += every.sizes["cycle"]
    assert n_rows > n_maps // 2


def test_search_finds_the_complete_list_and_says_that_it_cannot_know():
    complete, found = cycles(LOZI, 9), cycles(LOZI, 9, route="search", n_starts=1000)
    assert not found.complete.any()
    assert counts(found) == counts(complete)
    np.testing.assert_allclose(found.location, complete.location, atol=1e-14)
    assert (found.hits[0] > 0).all()
    assert (complete.hits == 0).all()
    few = cycles(LOZI, periods=[12], route="search", n_starts=60)
    assert 0 < counts(few)[12] < 32
    assert few.n_unseen[0, 0] > 0
    xr.testing.assert_identical(few, cycles(LOZI, periods=[12], route="search", n_starts=60))
    with pytest.raises(dr.ArgumentError, match="cycles of period 1 are not all known"):
        n_fixed(found, 4)


@pytest.mark.parametrize("period", PLRNN_2D)
def test_published_planar_systems_by_search(period):
    map = PLRNN_2D[period]
    found = cycles(map, periods=[period], route="search", n_starts=500)
    assert counts(found) == {period: 2}
    assert sorted(found.stability[0].values.tolist()) == ["saddle", "sink"]
    assert found.index[0].sum() == 0                                                            # born in pairs
    check_orbits(map, found)


@pytest.mark.parametrize("period", [16, 27, 31, *(pytest.param(k, marks=pytest.mark.slow) for k in (40, 53, 65, 80, 83))])
def test_published_planar_systems_completely(period):
    found = cycles(PLRNN_2D[period], period)
    assert found.complete.all()
    others = {32: 2, 33: 2} if period == 65 else {}
    assert counts(found) == {1: 1, period: 2, **others}
    check_orbits(PLRNN_2D[period], found)


def test_published_system_in_ten_dimensions():
    found = cycles(PLRNN_10D, periods=[1, 9, 10], n_starts=1000)
    assert counts(found) == {1: 3, 10: 2}
    assert found.complete[0].values.tolist() == [True, False, False]                            # 1024 regions; words of 9 and 10 are searched
    check_orbits(PLRNN_10D, found)
    np.testing.assert_allclose(np.sort(np.abs(found.multiplier[0, :3, 0])), [0.841, 1.905, 2.087], atol=5e-4)  # three decimals are published
    assert found.index[0, :3].sum() == 1


def test_published_shallow_system():
    found = cycles(SHALLOW, 7)
    assert found.complete.all()
    assert counts(found) == {2: 2, 4: 1}
    check_orbits(SHALLOW, found)
    assert counts(cycles(SHALLOW, 4, route="search", n_starts=500)) == {2: 2, 4: 1}


def test_tent_cycles_have_odd_denominators():
    found = cycles(TENT, 8)
    assert [int(n_fixed(found, n)[0]) for n in range(1, 9)] == [2**n for n in range(1, 9)]
    points = [found.location[0, row, : int(found.period[0, row]), 0].values for row in range(5)]
    for want, have in zip([[0], [2 / 3], [2 / 5, 4 / 5], [2 / 9, 4 / 9, 8 / 9], [2 / 7, 4 / 7, 6 / 7]], points, strict=True):
        np.testing.assert_allclose(np.sort(have), want, atol=4e-16)
    np.testing.assert_allclose(found.time_constant[0, :, 0], -1 / np.log(2), rtol=1e-12)        # per step, whatever the period
    flips = found.region[0, ..., 0].sum("phase").values % 2 == 1
    np.testing.assert_array_equal(found.flip[0], flips)


def test_two_cycle_of_the_border_collision_normal_form():
    """x' = tau x + y + 1, y' = -delta x, tau and delta by the sign of x; solving both steps by hand gives the points and multipliers."""
    tl, dl, tr, dr_ = 0.5, 0.3, -2.0, 0.4
    map = PiecewiseLinearMap([[tl, 1], [-dl, 0]], [[tr - tl], [dl - dr_]], [[1, 0]], [1, 0], [0])
    found = cycles(map, periods=[2])
    D = (1 + dl) * (1 + dr_) - tl * tr
    left, right = (1 + dr_ + tr) / D, (1 + dl + tl) / D
    np.testing.assert_allclose(found.location[0, 0], [[left, -dr_ * right], [right, -dl * left]], atol=1e-15)
    np.testing.assert_allclose(np.sort_complex(found.multiplier[0, 0]), np.sort_complex(np.roots([1, dl + dr_ - tl * tr, dl * dr_])), rtol=1e-12)


def test_states_on_a_plane_and_continua():
    # the slopes 2 and 0 meet at 0, and the fixed point 0 is on the plane: one row, unit off
    found = cycles(([0.0], [[2.0]], [[1.0]], [0.0], [0.0]), 2)
    assert counts(found) == {1: 1}
    assert not found.region.any()
    assert found.margin == 0
    # z' = -|z| is the identity left of 0: fixed points without end
    line = cycles(([1.0], [[-2.0]], [[1.0]], [0.0], [0.0]), 2)
    assert line.complete[0].values.tolist() == [False, True]
    # 1 - z swaps all z of (0, 1) around
    swap = cycles(([-1.0], np.zeros((1, 0)), np.zeros((0, 1)), [1.0], []), 2)
    assert counts(swap) == {1: 1}
    assert swap.complete[0].values.tolist() == [True, False]
    assert "continuum of cycles of period 2" in str(swap.status[0].values)


def test_virtual_solutions_are_kept_on_request():
    # f = 2 z + 1 for z > 0 only: its fixed point -1 is left of there
    map = ([0.5], [[1.5]], [[1.0]], [1.0], [0.0])
    assert counts(cycles(map, 1, route="all")) == {}
    found = cycles(map, 1, route="all", virtual=True)
    assert found.virtual[0].values.tolist() == [True, True]
    assert sorted(found.location[0, :, 0, 0].values) == pytest.approx([-1, 2])
    assert n_fixed(found, 1)[0] == 0


def test_words_and_orbits_start_the_search():
    complete = cycles(LOZI, periods=[12])
    words = complete.region[0, :, :12].values
    found = cycles(LOZI, periods=[12], route="search", words=words, n_starts=0)
    assert counts(found) == {12: 32}
    orbit = np.concatenate([complete.location[0, 5].values, np.full((1, 2), np.nan), complete.location[0, 7].values])
    stretch = cycles(LOZI, periods=[12], route="search", orbits=orbit, n_starts=40)
    for row in (5, 7):
        assert any(np.allclose(stretch.location[0, r], complete.location[0, row], atol=1e-12) for r in range(stretch.sizes["cycle"]))


def test_ensembles_keep_their_fits_apart_and_come_back_from_zarr(tmp_path):
    model = dr.ALRNN(2, 4, 2, n_fits=3, random_state=0)
    with torch.no_grad():
        model.W[1, 0, 0] = torch.nan
        model.h[0] += 1
    found = cycles(model, 4)
    assert found.status.values.tolist() == ["analysed", NOT_FINITE, "analysed"]
    assert not found.complete[1].any()
    assert not found.valid[1].any()
    for fit in (0, 2):
        alone = cycles(dr.select(model, fit=fit), 4)
        assert counts(found, fit) == counts(alone)
        np.testing.assert_array_equal(found.location[fit, : alone.sizes["cycle"], : alone.sizes["phase"]], alone.location[0])
    assert np.isnan(n_fixed(found, 2)[1])
    mixed = cycles([PLRNN_2D[16], TENT, SHALLOW], 3)
    for name, dataset in {"ensemble": found, "empty": cycles(SHALLOW, 1), "mixed": mixed}.items():
        assert all(variable.attrs["long_name"] and variable.dtype != object for variable in dataset.data_vars.values())
        write_results(tmp_path / name, xr.DataTree.from_dict({"cycles": dataset}))
        xr.testing.assert_identical(read_results(tmp_path / name)["cycles"].to_dataset(), dataset)
    assert mixed.stability[1].values.tolist()[:2] == ["source", "source"]


BAD = [
    ({"max_period": 0}, "max_period must be at least 1"),
    ({"periods": []}, "periods is empty"),
    ({"periods": 5}, "periods must be a list"),
    ({"periods": [2.5]}, "periods must be a whole number"),
    ({"route": "prune"}, "Did you mean 'pruned'"),
    ({"words": np.ones((3, 2), bool)}, r"words must have shape \(k, 1\)"),
    ({"words": np.full((3, 1), 0.5)}, "words must hold bits"),
    ({"orbits": np.zeros((10, 3))}, r"orbits must have shape \(..., time, 2\)"),
    ({"orbits": xr.Dataset()}, "without the variable 'latent'"),
    ({"periods": [40], "route": "all"}, "route='all' would solve 27,487,764,474 words"),
    ({"n_starts": -1}, "n_starts"),
    ({"model": [1, 2, 3]}, "five arrays"),
]


@pytest.mark.parametrize(("arguments", "match"), BAD)
def test_bad_arguments_are_named(arguments, match):
    with pytest.raises(dr.ArgumentError, match=match):
        cycles(**({"model": LOZI} | arguments))


def test_pruning_stops_at_its_limit_and_says_where():
    found = cycles(SHALLOW, 8, route="pruned", limit=500)
    assert "stopped at period" in str(found.status[0].values)
    assert found.complete[0, 0]
    assert not found.complete[0, -1]
