"""Fixed points by search against closed forms, brackets, enumeration and the degree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.optimize import brentq

import dynrnn as dr
from dynrnn.analysis import fixed_points
from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.smooth import smooth_fixed_points
from dynrnn.errors import ArgumentError
from dynrnn.models import ShallowPLRNN
from dynrnn.results import read_results, write_results
from tests.analysis.smooth.systems import TanhRNN, henon, logistic

# rounding of a root with |(J - I)^-1| up to about 100
CLOSE = 1e-13


def locations(found: xr.Dataset, fit: int = 0, kind: str = "fixed point") -> np.ndarray:
    return found.location.values[fit][found.kind.values[fit] == kind]


def test_henon_has_the_two_fixed_points_of_its_quadratic():
    found = smooth_fixed_points(henon, 2)
    x = np.roots([1.4, 0.7, -1])                                                     # 1.4 x^2 + (1 - 0.3) x - 1 = 0
    assert np.allclose(locations(found), [[x.min(), 0.3 * x.min()], [x.max(), 0.3 * x.max()]], rtol=0, atol=CLOSE)
    for k, mu in enumerate(found.eigenvalue.values[0].real):                         # mu^2 + 2.8 x mu - 0.3 = 0
        assert np.allclose(np.sort(mu), np.sort(np.roots([1, 2.8 * np.sort(x)[k], -0.3])), atol=1e-12)
    assert found.index.values[0].tolist() == [-1, 1]
    assert found.stability.values[0].tolist() == ["saddle", "saddle"]
    assert not found.complete.any()
    assert (found.kantorovich < 0.5).all()


def test_logistic_fixed_points():
    found = smooth_fixed_points(logistic(3.3), 1)
    assert np.allclose(locations(found).ravel(), [0, 1 - 1 / 3.3], atol=CLOSE)
    assert np.allclose(found.eigenvalue.values.ravel(), [3.3, -1.3], atol=1e-12)


def test_indices_of_tanh_networks_add_up_to_the_degree():
    found = smooth_fixed_points(TanhRNN(3, n_fits=8, random_state=3), n_starts=128)
    # sign det(I - 0) = 1: the map is bounded, so the sum over all fixed points is 1, and their number odd
    assert (found.degree == 1).all()
    assert (found.index_sum == 1).all()
    number = (found.kind == "fixed point").sum("fixed_point")
    assert (number % 2 == 1).all()
    assert (number > 1).any()


def test_one_neuron_against_brackets():
    model = TanhRNN(1, n_fits=8, random_state=1)
    found = smooth_fixed_points(model, n_starts=128)
    grid = np.linspace(-1.1, 1.1, 2002)
    for k in range(8):
        w, h = model.W[k].item(), model.h[k].item()

        def gap(z: float, w: float = w, h: float = h) -> float:
            return float(np.tanh(w * z + h) - z)

        roots = [brentq(gap, a, b, xtol=1e-15) for a, b in itertools.pairwise(grid) if gap(a) * gap(b) < 0]
        assert np.allclose(locations(found, k).ravel(), roots, rtol=0, atol=1e-12)


@pytest.mark.parametrize("clipped", [False, True])
def test_piecewise_linear_maps_against_every_word(clipped: bool):
    # all 2^H affine pieces are solved; a piece's fixed point is real where its own word is its region's
    model = ShallowPLRNN(2, 2, 5, clipped=clipped, n_fits=6, random_state=3)
    with torch.no_grad():
        model.W1 *= 5
        model.h1 += 0.3
        model.h2 += torch.linspace(-0.5, 0.5, 5)
    found = smooth_fixed_points(model, n_starts=64)
    total = 0
    for k, map in enumerate(canonical(model).maps):
        words = np.array(list(itertools.product([False, True], repeat=map.n_units)))
        z = np.linalg.solve(np.eye(2) - map.jacobians(words), map.offsets(words)[..., None])[..., 0]
        real = z[(map.words(z) == words).all(-1)]
        order = np.lexsort(real.T[::-1])
        assert np.allclose(locations(found, k), real[order], rtol=0, atol=1e-10)
        assert found.index_sum[k] == np.sign(np.linalg.det(np.eye(2) - map.jacobians(map.words(real)))).sum()
        assert np.isnan(found.degree[k]) != clipped
        total += len(real)
    assert total >= 8
    assert not clipped or (found.index_sum == found.degree).all()
    for own, bare in zip(locations(found, 0), locations(smooth_fixed_points(canonical(model).maps[0], n_starts=64), 0), strict=True):
        assert np.allclose(own, bare, atol=1e-12)


def test_a_fit_is_the_same_alone_and_again():
    model = TanhRNN(3, n_fits=3, random_state=0)
    found = smooth_fixed_points(model, n_starts=64, random_state=5)
    xr.testing.assert_identical(found, smooth_fixed_points(model, n_starts=64, random_state=5))
    alone = TanhRNN(3, n_fits=1, random_state=0)
    with torch.no_grad():
        alone.W.copy_(model.W[2:])
        alone.h.copy_(model.h[2:])
    alone.fit_number[:] = 2
    other = smooth_fixed_points(alone, n_starts=64, random_state=5)
    assert (other.location.values[0] == found.location.values[2, : other.sizes["fixed_point"]]).all()
    assert (other.hits.values[0] == found.hits.values[2, : other.sizes["fixed_point"]]).all()


def test_constant_inputs_move_fixed_points():
    model = TanhRNN(2, input_dim=1, random_state=0)
    u = np.array([0.7])
    for z in locations(smooth_fixed_points(model, inputs=u)):
        state = torch.tensor(z)[None, None]
        assert torch.allclose(model.step(state, torch.tensor(u)[None, None]), state, atol=1e-12)
    assert not np.allclose(locations(smooth_fixed_points(model, inputs=u))[0], locations(smooth_fixed_points(model))[0])


def test_starts_of_ones_own():
    found = smooth_fixed_points(henon, 2, starts=[[0.6, 0.2], [0.7, 0.2], [0.5, 0.1]])
    assert found.valid.values.tolist() == [[True]]
    assert found.hits.values.tolist() == [[3]]
    assert found.n_starts.values.tolist() == [3]


def test_a_diverged_fit_is_an_empty_row_and_all_goes_through_zarr(tmp_path):
    model = TanhRNN(2, n_fits=2, random_state=0)
    with torch.no_grad():
        model.W[1, 0, 0] = torch.nan
    found = smooth_fixed_points(model)
    assert found.status.values.tolist() == ["analysed", "parameters not finite"]
    assert found.valid.any("fixed_point").values.tolist() == [True, False]
    assert np.isnan(found.index_sum[1])
    for name, variable in found.variables.items():
        assert variable.dtype != object, name
    write_results(tmp_path / "found.zarr", {"fixed_points": found})
    xr.testing.assert_identical(read_results(tmp_path / "found.zarr")["fixed_points"].to_dataset(), found)


def test_none_is_none():
    found = smooth_fixed_points(lambda z: z + 1 + 0.1 * torch.sin(z), 1)             # a speed from 0.9 to 1.1: neither roots nor slow points
    assert found.sizes["fixed_point"] == 0
    assert found.index_sum.item() == 0
    assert np.isnan(found.n_unseen.item())


class Turn:
    dim = 2

    def step(self, z: torch.Tensor) -> torch.Tensor:
        return 0.9 * torch.stack([-z[..., 1], z[..., 0]], -1) + 1


def test_a_system_by_its_methods():
    # z = 0.9 R z + 1 by hand: (x, y) = (1 - 0.9 y, ...) solved
    expected = np.linalg.solve([[1, 0.9], [-0.9, 1]], [1, 1])
    found = smooth_fixed_points(Turn())
    assert np.allclose(locations(found), expected[None], atol=CLOSE)
    assert found.spiral.item()


@pytest.mark.parametrize(
    ("system", "options", "says"),
    [
        (henon, {}, "pass dim="),
        (henon, {"dim": 0}, "dim must be at least 1"),
        (henon, {"dim": 3}, r"shape that it was given, \(3, 3\)"),
        (lambda z: z.float(), {"dim": 2}, "float64"),
        (lambda z: z.detach(), {"dim": 2}, "no gradient"),
        (lambda z: z.detach().numpy(), {"dim": 2}, "torch tensor"),
        (lambda z: z @ torch.ones(3, 3, dtype=torch.float64), {"dim": 2}, "failed on a float64 tensor"),
        (lambda z: z - z.mean(0), {"dim": 2}, "mixes the states"),
        (lambda z: z + torch.rand_like(z), {"dim": 2}, "random"),
        (lambda z: z * torch.nan, {"dim": 2}, "not finite at any of the 512 starts"),
        (henon, {"dim": 2, "inputs": [1.0]}, "inputs are for models"),
        (henon, {"dim": 2, "starts": [[1.0, 2.0, 3.0]]}, r"shape \(start, 2\)"),
        (henon, {"dim": 2, "starts": [[np.nan, 0.0]]}, "not finite"),
        (henon, {"dim": 2, "n_starts": 0}, "n_starts"),
        (henon, {"dim": 2, "slow": 2.0}, "slow must lie"),
        (henon, {"dim": 2, "tolerance": 1.5}, "tolerance must lie"),
        ("henon", {"dim": 2}, "callable"),
        (TanhRNN(2, random_state=0), {"dim": 3}, "2 latent units"),
        (TanhRNN(2, random_state=0), {"inputs": [1.0]}, r"shape \(0,\)"),
    ],
)
def test_bad_arguments_are_refused(system, options, says):
    with pytest.raises(ArgumentError, match=says):
        smooth_fixed_points(system, **options)


def test_a_known_flow_is_its_map_over_a_sampling_step():
    """Lorenz' three points; a multiplier over dt is e^(rate dt), rates from the characteristic polynomial, up to Runge-Kutta's error of fifth order a step."""
    system = dr.known_system("lorenz63")
    found = fixed_points(system, n_starts=128).isel(fit=0)
    points = found.location.values[found.valid.values & (found.kind.values == "fixed point")]
    c = np.sqrt(8 / 3 * 27)
    want = np.array([[0, 0, 0], [c, c, 27], [-c, -c, 27]])
    gaps = np.linalg.norm(points[:, None] - want, axis=-1)
    assert len(points) == 3
    assert gaps.min(0).max() < 1e-9
    at = int(np.flatnonzero(found.valid.values)[gaps[:, 0].argmin()])
    np.testing.assert_allclose(np.sort(np.abs(found.eigenvalue.values[at])), np.exp(0.01 * np.array([-22.82772, -2.66667, 11.82772])), rtol=1e-5)
