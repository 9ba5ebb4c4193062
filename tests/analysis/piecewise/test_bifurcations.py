"""Events on the two-dimensional normal form of a border collision, whose parameters of birth, crossing and stability are known in closed form.

x' = a x + y + mu, y' = b x with a = tau_L, b = -delta_L for x < 0 and tau_R, -delta_R for x > 0. Its fixed points have x = mu / (1 - tau + delta),
real on the left where that is negative and on the right where it is positive.
"""

import numpy as np
import pytest
import xarray as xr

import dynrnn as dr
from dynrnn.analysis._bifurcations import bifurcations
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.path import signed_margins
from dynrnn.results.store import read_results, write_results


def normal_form(tau_left, delta_left, tau_right, delta_right, mu):
    A = np.array([[tau_left, 1.0], [-delta_left, 0.0]])
    W1 = np.array([[tau_right - tau_left], [-(delta_right - delta_left)]])
    return PiecewiseLinearMap(A, W1, np.array([[1.0, 0.0]]), np.array([mu, 0.0]), np.zeros(1))


def objects(*periods):
    """All real fixed points and cycles of these periods, by trying every word."""

    def find(map):
        found = {}
        for k in periods:
            for number in range(2**k):
                words = (number >> np.arange(k)[:, None] & 1).astype(bool)
                repeats = any(k % n == 0 and (words == np.roll(words, -n, 0)).all() for n in range(1, k))
                if not repeats and (signed_margins(map, words) > 0).all():
                    found.setdefault(min(np.roll(words, -n, 0).tobytes() for n in range(k)), words)
        return list(found.values())

    return find


# where mu = 0 lies between -0.3 and 0.7 sampled at five unequal places, the event's place is off by bisection alone: 2^-40, and by BESIDE = 1e-7 of a part
WHEN = np.array([0.0, 0.21, 0.5, 0.77, 1.0])


def one(*arguments, **options):
    """The table of the only fit."""
    return bifurcations(*arguments, **options).isel(fit=0)


def sweep(**parameters):
    """Snapshots in which parameters given as (start, end) change in proportion to WHEN."""
    fixed = {name: value if isinstance(value, tuple) else (value, value) for name, value in parameters.items()}
    return [normal_form(**{name: lo + (hi - lo) * s for name, (lo, hi) in fixed.items()}) for s in WHEN]


def test_a_fixed_point_crosses_the_border():
    """Both denominators positive: the left point becomes the right one at mu = 0, from a sink (|mu|^2 = .4) to a saddle."""
    table = one(sweep(tau_left=0.5, delta_left=0.4, tau_right=-2.0, delta_right=0.4, mu=(-0.3, 0.7)), WHEN, objects=objects(1))
    assert table.kind.values.tolist() == ["border crossing"]
    np.testing.assert_allclose(table["update"], 0.3, atol=1e-6)
    assert (table.unstable_before.item(), table.unstable_after.item()) == (0, 1)
    np.testing.assert_allclose(table.location, 0.0, atol=1e-6)
    assert np.isnan(table.born).all() and np.isnan(table.died).all()  # noqa: PT018


def test_a_cycle_of_two_is_born_where_the_fixed_point_crosses():
    table = one(sweep(tau_left=0.5, delta_left=0.4, tau_right=-2.0, delta_right=0.4, mu=(-0.3, 0.7)), WHEN, objects=objects(1, 2))
    births = table.isel(event=np.flatnonzero(table.kind.values == "birth"))
    np.testing.assert_allclose(births["update"], 0.3, atol=1e-6)
    assert births.mechanism.values.tolist() == ["border collision"]
    assert table.period.values[births.number.values].tolist() == [2]


def test_the_library_s_own_lists_give_the_same_table():
    maps = sweep(tau_left=0.5, delta_left=0.4, tau_right=-2.0, delta_right=0.4, mu=(-0.3, 0.7))
    own, tried = one(maps, WHEN, max_period=3), one(maps, WHEN, objects=objects(1, 2, 3))
    assert sorted(zip(own.kind.values, own["update"].values.round(9))) == sorted(zip(tried.kind.values, tried["update"].values.round(9)))


def test_two_fixed_points_meet_and_vanish():
    """Denominators of opposite signs: both exist for mu < 0 and none for mu > 0; backwards both are born."""
    maps = sweep(tau_left=0.5, delta_left=0.4, tau_right=1.8, delta_right=0.4, mu=(-0.3, 0.7))
    table = one(maps, WHEN, objects=objects(1))
    assert table.kind.values.tolist() == ["death", "death"]
    assert set(table.mechanism.values) == {"border collision"}
    np.testing.assert_allclose(table["update"], 0.3, atol=1e-6)
    assert sorted(table.unstable_before.values) == [0, 1]
    back = one(maps[::-1], 1 - WHEN[::-1], objects=objects(1))
    assert back.kind.values.tolist() == ["birth", "birth"]
    np.testing.assert_allclose(back["update"], 0.7, atol=1e-6)
    np.testing.assert_allclose(np.sort(back.born), 0.7, atol=1e-6)


@pytest.mark.parametrize(("start", "end", "crossing"), [(-0.5, -2.5, -1.4), (0.0, 1.0, None)])
def test_stability_changes_where_a_multiplier_passes_minus_one(start, end, crossing):
    """1 + tau + delta = 0 on the right, delta = .4: tau = -1.4."""
    table = one(sweep(tau_left=0.5, delta_left=0.4, tau_right=(start, end), delta_right=0.4, mu=0.5), WHEN, objects=objects(1))
    if crossing is None:
        assert table.sizes["event"] == 0
        return
    assert table.kind.values.tolist() == ["stability change"]
    np.testing.assert_allclose(table["update"], (crossing - start) / (end - start), atol=1e-9)
    assert (table.unstable_before.item(), table.unstable_after.item()) == (0, 1)


def test_a_fixed_point_that_escapes():
    """The right denominator 1 - tau + delta vanishes at tau = 1.4: the point goes to infinity there and comes back, on the other side, as a virtual one."""
    table = one(sweep(tau_left=0.5, delta_left=0.4, tau_right=(1.0, 2.0), delta_right=0.4, mu=0.5), WHEN, objects=objects(1))
    deaths = table.isel(event=np.flatnonzero(table.kind.values == "death"))
    assert deaths.mechanism.values.tolist() == ["escape"]
    np.testing.assert_allclose(deaths["update"], 0.4, atol=1e-5)


def test_loss_stands_beside_and_the_table_goes_to_zarr(tmp_path):
    history = xr.Dataset({"loss": (("fit", "update"), [[1.0, 0.0]])}, coords={"update": [0.0, 1.0]})
    maps = sweep(tau_left=0.5, delta_left=0.4, tau_right=-2.0, delta_right=0.4, mu=(-0.3, 0.7))
    table = bifurcations(maps, WHEN, objects=objects(1, 2), history=history)
    np.testing.assert_allclose(table.loss, 0.7, atol=1e-6)
    write_results(tmp_path / "results.zarr", xr.DataTree.from_dict({"/bifurcations": table}))
    back = read_results(tmp_path / "results.zarr")["bifurcations"].to_dataset().load()
    xr.testing.assert_equal(back, table)


def test_a_table_says_whether_every_snapshots_list_was_complete():
    """A map with a line of fixed points at one snapshot has more cycles than a list can hold; objects that the caller names are not known to be all."""
    maps = sweep(tau_left=0.5, delta_left=0.4, tau_right=-2.0, delta_right=0.4, mu=(-0.3, 0.7))
    assert bool(one(maps, WHEN, max_period=2).complete)
    assert not bool(one(maps, WHEN, objects=objects(1, 2)).complete)
    swap = [PiecewiseLinearMap([a], [[0.0]], [[1.0]], [1.0], [0.0]) for a in (-0.9, -1.0, -0.8)]    # at -1 all z of (0, 1) are swapped around
    assert bool(one(swap).complete)
    assert not bool(one(swap, max_period=2).complete)


def test_bad_arguments():
    maps = sweep(tau_left=0.5, delta_left=0.4, tau_right=-2.0, delta_right=0.4, mu=(-0.3, 0.7))
    with pytest.raises(dr.ArgumentError, match="at least two"):
        one(maps[:1], objects=objects(1))
    with pytest.raises(dr.ArgumentError, match="increasing"):
        one(maps, [0, 1, 1, 2, 3], objects=objects(1))
    with pytest.raises(dr.ArgumentError, match="equal shape"):
        one([maps[0], PiecewiseLinearMap([0.5], [[1.0]], [[1.0]], [0.0], [0.0])], objects=objects(1))
    with pytest.raises(dr.ArgumentError, match="left out"):
        bifurcations(dict(enumerate(maps)), WHEN, objects=objects(1))
