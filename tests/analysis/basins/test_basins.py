"""Attractors and basins of systems whose attractors, multipliers and boundaries are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import attractors, basin_slice
from dynrnn.analysis.basins.overlap import grouped
from dynrnn.errors import ArgumentError
from dynrnn.results import read_results, write_results


class Duffing:
    """x'' + delta x' - x + x^3 = 0: the double well, damped."""

    dim, dt, delta = 2, 0.2, 0.25

    def field(self, z):
        x, v = z[..., 0], z[..., 1]
        return torch.stack([v, -self.delta * v + x - x**3], -1)


def bistable(h=((0.5, 0.6), (0.5, 0.4))) -> dr.PLRNN:
    """Two units that silence each other, z_i' = z_i / 2 - relu(z_j) + h_i: sinks (2 h_1, 2 h_2 - 4 h_1) and (2 h_1 - 4 h_2, 2 h_2)."""
    model = dr.PLRNN(observed_dim=2, latent_dim=2, n_fits=len(h), random_state=0)
    with torch.no_grad():
        model.A[:] = 0.5
        model.W[:] = torch.tensor([[0.0, -1.0], [-1.0, 0.0]])
        model.h[:] = torch.tensor(h)
    return model


def test_duffing_shares_lie_within_their_intervals_of_a_dense_grid():
    box, extent = ((-1.5, -1.0), (2.0, 2.0)), (-1.5, 2.0, -1.0, 2.0)                 # no symmetry, so the shares are not 1/2
    found = attractors(Duffing(), 200, box=box, transient=200, n_steps=100, confidence=0.99)
    assert found.kind.values[0].tolist() == ["fixed point"] * 2
    np.testing.assert_allclose(np.sort(found.location.values[0, :, 0], 0), [[-1, 0], [1, 0]], atol=1e-9)
    rate = -Duffing.delta / 2 + 1j * np.sqrt(2 - Duffing.delta**2 / 4)               # of the linearised field at both wells
    np.testing.assert_allclose(found.multiplier.values[0, :, 0], np.exp(rate * Duffing.dt), atol=2e-6)                # Runge-Kutta's own error: 1e-7 of size 4
    grid = basin_slice(Duffing(), found, extent=extent, n=40)
    share, low, high = (found[name].values[0] for name in ("share", "share_lower", "share_upper"))
    dense = grid.share.values[0]
    assert ((low <= dense) & (dense <= high)).all()
    assert abs(share - 0.5).max() > 0.02
    assert float(grid.unresolved_share[0]) == float(found.unresolved_share[0]) == 0


def test_a_bistable_plrnn_has_its_two_sinks_and_the_grid_s_shares():
    model = bistable()
    found = attractors(model, 200, box=(-2, 2), transient=100, n_steps=100, confidence=0.99)
    for f, (h1, h2) in enumerate([(0.5, 0.6), (0.5, 0.4)]):
        points = {tuple(np.round(point, 6)) for point in found.location.values[f, :, 0]}
        assert points == {(2 * h1, round(2 * h2 - 4 * h1, 6)), (round(2 * h1 - 4 * h2, 6), 2 * h2)}
    assert np.allclose(abs(found.multiplier.values), 0.5)                            # J is triangular at both
    grid = basin_slice(model, found, extent=(-2, 2, -2, 2), n=60)
    assert ((found.share_lower <= grid.share) & (grid.share <= found.share_upper)).all()
    assert (grid.share.sum("attractor") == 1).all()
    side = np.linspace(-2, 2, 60)
    starts = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    one_by_one = attractors(model, starts=starts, transient=100, n_steps=100)       # the other route: all of the grid's points searched for attractors
    for f in range(2):
        number = [int(np.abs(found.location.values[f, :, 0] - point).max(-1).argmin()) for point in one_by_one.location.values[f, :, 0]]
        assert (np.array(number)[one_by_one.label.values[f]].reshape(60, 60) == grid.label.values[f]).all()


def test_a_fit_alone_gives_what_it_gives_in_an_ensemble_and_a_diverged_one_an_empty_row():
    model = bistable(((0.5, 0.6), (np.nan, 0.5), (0.5, 0.4)))
    together = attractors(model, 40, transient=50, n_steps=100)
    alone = attractors(dr.select(model, fit=2), 40, transient=50, n_steps=100)
    for name in ("location", "label", "initial", "share", "multiplier"):
        assert (together[name].values[2] == alone[name].values[0]).all(), name
    assert not together.valid.values[1].any()
    assert together.n_attractors.values.tolist() == [2, 0, 2]
    assert "not finite" in str(together.status.values[1])
    assert np.isnan(together.diverged_share.values[1])
    hollow = basin_slice(model, together, n=8)
    assert (hollow.label.values[1] == -2).all()
    assert np.isnan(hollow.share.values[1]).all()


def test_orbits_slow_beside_a_saddle_are_no_attractors():
    """x' = x + 0.002 (x - x^3): from 1e-12 it takes ln(1e12) / 0.002 = 13,800 steps away from the saddle, where the orbit closes within 1e-7."""

    def passage(z):
        return torch.stack([z[..., 0] + 0.002 * (z[..., 0] - z[..., 0] ** 3), 0.5 * z[..., 1]], -1)

    starts = np.array([[sign * 10.0**-k, 1.0] for sign in (-1, 1) for k in range(0, 13, 2)])
    early = attractors(passage, starts=starts, dim=2, transient=250, n_doublings=3, n_steps=100)
    assert np.allclose(abs(early.location.values[0][early.valid.values[0]][:, 0, 0]), 1)
    assert float(early.unresolved_share[0]) > 0.3
    assert "unstable" in str(early.status.values[0])
    late = attractors(passage, starts=starts, dim=2, transient=500, n_doublings=6, n_steps=100)
    np.testing.assert_allclose(np.sort(late.location.values[0, :, 0, 0]), [-1, 1], atol=1e-9)
    assert (np.sign(late.location.values[0, late.label.values[0], 0, 0]) == np.sign(starts[:, 0])).all()


def test_the_ghost_of_a_saddle_node_is_no_attractor():
    """x' = x + 1e-8 + x^2 - 2 x^3 has lost its fixed points at 0: the gap takes pi / 1e-4 = 31,416 steps; the one sink is near 1/2."""

    def ghost(z):
        return z + 1e-8 + z**2 - 2 * z**3

    starts = np.linspace(-0.4, -0.05, 12)[:, None]
    early = attractors(ghost, starts=starts, dim=1, transient=500, n_doublings=3, n_steps=100)
    assert not early.valid.any()
    assert float(early.unresolved_share[0]) == 1
    late = attractors(ghost, starts=starts, dim=1, transient=1_000, n_doublings=6, n_steps=100)
    assert late.n_members.values.tolist() == [[12]]
    assert abs(float(late.location[0, 0, 0, 0]) - 0.5) < 1e-6                        # 1e-8 moves it by 1e-8 / |f'(1/2) - 1| = 2e-8


def tents(z):
    """Two chaotic intervals, x > 0 and x < 0, each with slope 1.9 everywhere, beside a contracting direction."""
    x = z[..., 0]
    return torch.stack([torch.sign(x) * 1.9 * torch.minimum(x.abs(), 1 - x.abs()), 0.3 * z[..., 1] + 0.1 * x], -1)


def test_two_chaotic_attractors_are_two_and_their_exponent_is_the_closed_form():
    found = attractors(tents, 24, box=(-0.9, 0.9), dim=2, transient=100, n_steps=400)
    assert found.kind.values.tolist() == [["chaotic", "chaotic"]]
    side = np.sign(found.initial.values[0, :, 0])
    assert len({(int(label), s) for label, s in zip(found.label.values[0], side)}) == 2
    np.testing.assert_allclose(found.exponent.values, np.log(1.9), atol=2 / 400)     # the frame turns once, which costs a bounded term over 400 steps
    grid = basin_slice(tents, found, extent=(-0.9, 0.9, -0.5, 0.5), n=(10, 4), dim=2)
    left = int(found.label.values[0][side < 0][0])
    assert ((grid.label.values[0] == left) == (grid.x.values < 0)).all()


def test_one_chaotic_attractor_is_not_split():
    def henon(z):
        return torch.stack([1 - 1.4 * z[..., 0] ** 2 + z[..., 1], 0.3 * z[..., 0]], -1)

    found = attractors(henon, 48, box=(-1, 1), dim=2, transient=100, n_steps=400)
    assert int(found.n_attractors[0]) == 1
    assert float(found.share[0, 0]) + float(found.diverged_share[0]) == 1
    assert float(found.diverged_share[0]) > 0                                        # part of this box escapes


def test_groups_do_not_depend_on_how_many_dimensions_there_are():
    """Two rings of equal size, linked and 0.3 apart at least, in 12 dimensions, with unequal scales."""
    rng = np.random.default_rng(0)
    phase = (0.618 * np.arange(600) + rng.random((20, 1))) * 2 * np.pi
    ring = np.stack([np.cos(phase), np.sin(phase), 0 * phase], -1)
    linked = np.stack([1 + np.cos(phase), 0 * phase, np.sin(phase)], -1)
    paths = np.where((np.arange(20) % 2 == 0)[:, None, None], ring, linked) @ rng.standard_normal((3, 12))
    assert grouped(paths).tolist() == [0, 1] * 10


def test_a_circle_is_quasi_periodic_and_a_line_of_fixed_points_no_attractor():
    def delayed(z):
        return torch.stack([2.1 * z[..., 0] * (1 - z[..., 1]), z[..., 0]], -1)

    circle = attractors(delayed, 12, box=(0.4, 0.6), dim=2, transient=200, n_steps=400)
    assert circle.kind.values.tolist() == [["quasi-periodic"]]
    line = attractors(lambda z: z * torch.tensor([1.0, 0.5], dtype=z.dtype), 12, box=(-1, 1), dim=2, transient=50, n_steps=100, n_doublings=2)
    assert not line.valid.any()
    assert "not hyperbolic" in str(line.status.values[0])


def test_a_cycle_is_exact_and_of_its_minimal_period():
    found = attractors(lambda z: 3.5 * z * (1 - z), 16, box=(0.01, 0.99), dim=1, transient=100, n_steps=100)
    points = found.location.values[0, 0, :, 0]
    assert found.kind.values.tolist() == [["cycle"]]
    assert found.period.values.tolist() == [[4]]
    np.testing.assert_allclose(3.5 * points * (1 - points), np.roll(points, -1), atol=1e-14)
    assert np.isclose(found.multiplier.values[0, 0, 0].real, np.prod(3.5 * (1 - 2 * points)), rtol=1e-12)


def test_a_slice_says_what_is_not_among_its_attractors_and_results_survive_storage(tmp_path):
    found = attractors(bistable(((0.5, 0.6),)), starts=[[1.0, -1.0]], transient=100, n_steps=100)      # one of the two sinks alone
    grid = basin_slice(bistable(((0.5, 0.6),)), found, extent=(-2, 2, -2, 2), n=12, n_doublings=1)
    assert int(found.n_attractors[0]) == 1
    assert 0.3 < float(grid.unresolved_share[0]) < 0.7
    for name, data in {"found": found, "grid": grid}.items():
        write_results(tmp_path / f"{name}.zarr", {name: data})
        xr.testing.assert_identical(read_results(tmp_path / f"{name}.zarr")[name].to_dataset().load(), data)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_starts": 4, "box": (-1, 1)}, "at least 8"),
        ({}, "pass box="),
        ({"box": (-1, (1, 1, 1))}, "each a number or one number for each of the 2"),
        ({"box": (1, -1)}, "empty in variable 0"),
        ({"box": ((-1, 1), (1, 1))}, "empty in variable 1"),
        ({"box": (0, np.inf)}, "finite"),
        ({"box": (-1, 1), "starts": [[0.0, 0.0]]}, "not both"),
        ({"starts": [[0.0]]}, "shape"),
        ({"box": (-1, 1), "n_steps": 10}, "n_steps"),
        ({"box": (-1, 1), "bound": -1.0}, "bound"),
        ({"box": (-1, 1), "confidence": 1.5}, "confidence"),
    ],
)
def test_bad_searches_are_refused_before_any_work(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        attractors(tents, dim=2, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"plane": ([0, 0], [1, 0], [2, 0])}, "parallel"),
        ({"plane": ([0, 0], [1, 0])}, "plane must be"),
        ({"plane": ([0, 0, 0], [1, 0], [0, 1])}, "origin"),
        ({"extent": (1, -1, 0, 1)}, "x_low < x_high"),
        ({"n": 1}, "at least 2"),
        ({"n_starts": 30}, "n_starts"),
    ],
)
def test_bad_slices_are_refused(arguments, said):
    found = attractors(bistable(((0.5, 0.6),)), 8, transient=50, n_steps=100)
    with pytest.raises(ArgumentError, match=said):
        basin_slice(bistable(((0.5, 0.6),)), found, **arguments)
