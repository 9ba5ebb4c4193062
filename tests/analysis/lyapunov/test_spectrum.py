"""Spectra of systems that are known exactly; errors against theory; ensembles, divergence, verdicts, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import PiecewiseLinearMap, lyapunov_spectrum
from dynrnn.analysis.flows import flow_map
from dynrnn.analysis.lyapunov.estimate import kaplan_yorke
from dynrnn.analysis.lyapunov.spectrum import spectrum_of
from dynrnn.analysis.smooth.system import jacobian_by_copies
from dynrnn.errors import ArgumentError
from dynrnn.results.store import write_group
from dynrnn_datasets.systems import Lorenz63, Lorenz96
from tests.analysis.lyapunov.systems import LOZI, Products, VanDerPol, doubling_ring, henon, lozi_with_copy


def test_gaussian_products_and_their_errors():
    """800 segments of 30 steps: every exponent within four standard errors of theory, and the errors themselves within 5 %, pooled.

    The relative error of a standard deviation from n independent numbers is 1 / sqrt(2 n): 2.5 %, over 20 exponents less than that.
    """
    system, n_steps, S = Products(20, 1.5), 30, 800
    found = spectrum_of(system.subject(), None, n_steps, S, 0, transient=0, warmup=25).isel(fit=0)
    want, sd = system.exponents()
    assert abs(want[0] - 0.380049) < 1e-6
    assert abs(want[-1] + 1.727582) < 1e-6
    z = (found.value.values - want) / found.standard_error.values
    assert np.abs(z).max() < 4
    theory = sd / np.sqrt(n_steps * S)
    assert abs(np.sqrt(np.mean((found.standard_error.values / theory) ** 2)) - 1) < 0.05


@pytest.mark.parametrize("N", [3, 8])
def test_coupled_doubling_maps(N):
    """J is constant, so only the turning of the frame is left: e^(-gap * warmup); equal exponents of pairs do not matter to their sums."""
    step, want = doubling_ring(N, 0.3)
    found = lyapunov_spectrum(step, dim=N, n_steps=50, n_segments=8, transient=10, warmup=700, initial=np.random.default_rng(0).random((8, N)))
    np.testing.assert_allclose(found.value.values[0], want, atol=1e-10)
    assert str(found.verdict.values[0]) == "chaotic"


def test_linear_and_orthogonal_networks():
    """ln of the moduli; of a rotation all zero, to the rounding of the sums."""
    nothing = np.zeros((3, 0)), np.zeros((0, 3)), np.zeros(3), np.zeros(0)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    linear = turned @ np.diag([0.9, -0.5, 0.2]) @ turned.T
    found = lyapunov_spectrum([PiecewiseLinearMap(J, *nothing) for J in (linear, turned)], n_steps=200, n_segments=8)
    np.testing.assert_allclose(found.value.values[0], np.log([0.9, 0.5, 0.2]), atol=1e-10)
    np.testing.assert_allclose(found.value.values[1], 0, atol=1e-10)
    assert found.verdict.values.tolist() == ["fixed", "quasi-periodic"]


def test_sums_of_henon_and_lozi():
    """The determinant is constant. Exponents lie within three standard errors of long runs of others (Sprott 2003: .41922; .47023)."""
    for system, dim, largest, product in ((henon, 2, 0.41922, 0.3), (LOZI, None, 0.47023, 0.5)):
        found = lyapunov_spectrum(system, dim=dim, n_steps=400, n_segments=16).isel(fit=0)
        assert abs(float(found.value.sum()) - np.log(product)) < 1e-10
        assert float(found.determinant_residual) < 1e-10
        assert abs(float(found.value[0]) - largest) < 3 * float(found.standard_error[0])
        assert abs(float(found.pair_difference)) < 3 * float(found.pair_difference_standard_error) + 1e-4
        assert float(found.kaplan_yorke_lower) < float(found.kaplan_yorke) < float(found.kaplan_yorke_upper)


def test_lorenz():
    """Sprott 2003: .9056, 0, -14.5723; the sum is the divergence -(sigma + 1 + beta) up to the step error of fourth order."""
    found = lyapunov_spectrum(Lorenz63(), n_steps=600, n_segments=48, transient=500, warmup=1_000).isel(fit=0)
    z = (found.value.values - [0.9056, 0, -14.5723]) / found.standard_error.values
    assert np.abs(z).max() < 3
    assert abs(float(found.value.sum()) + 41 / 3) < 1e-3
    assert found.verdict.item() == "chaotic"
    assert abs(float(found.zero_exponent)) < 3 * float(found.zero_standard_error)
    assert float(found.attrs["step_error"]) < 1e-7


def test_orbits_in_step_do_not_bias():
    """Segments of 4.3 turns that all start at one phase would have the mean of that part of the cycle, without any spread: -1.01 instead of -1.06."""
    system = VanDerPol()
    found = lyapunov_spectrum(system, n_steps=287, n_segments=64).isel(fit=0)
    assert found.verdict.item() == "periodic"
    assert abs(float(found.value[1]) - system.floquet()) < 4 * float(found.standard_error[1])
    assert abs(float(found.value[0])) < 4 * float(found.standard_error[0])
    assert float(found.standard_error[1]) < 0.02


def test_a_known_flows_own_tangents_are_those_of_automatic_derivatives():
    system = Lorenz63()
    step, z, Q = flow_map(system, None), torch.tensor([[1.0, 2.0, 20.0], [-5.0, -3.0, 30.0]]).double(), torch.randn(2, 3, 3).double()
    after, moved = step.both(z, Q)
    torch.testing.assert_close(after, step.step(z), rtol=1e-14, atol=0)
    torch.testing.assert_close(moved, Q @ jacobian_by_copies(step.step, z).mT, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_lorenz_96():
    """F = 8, N = 40: the divergence is -N; 13 positive exponents, of which the last is .03, and one that is zero."""
    found = lyapunov_spectrum(Lorenz96(40), n_steps=4_000, n_segments=16, warmup=4_000).isel(fit=0)
    assert abs(float(found.value.sum()) + 40) < 1e-3
    assert int((found.lower > 0).sum()) == 13
    assert abs(float(found.zero_exponent)) < 3 * float(found.zero_standard_error)


@pytest.mark.slow
def test_tanh_network_against_mean_field():
    """z' = J tanh z, J of variance g^2 / N: .1547 at g = 2 in the limit of large N, from which N = 400 lies O(1/N) below."""
    J = torch.tensor(np.random.default_rng(1).standard_normal((400, 400)) * 2 / 20)
    start = np.random.default_rng(2).standard_normal((8, 400))
    found = lyapunov_spectrum(lambda z: torch.tanh(z) @ J.T, 1, dim=400, n_steps=1_500, n_segments=8, initial=start)
    assert abs(float(found.value[0, 0]) - 0.1547) < 0.015


def test_a_dead_direction_is_minus_infinity():
    found, plain = lyapunov_spectrum(lozi_with_copy(), n_steps=300, n_segments=16), lyapunov_spectrum(LOZI, n_steps=300, n_segments=16)
    assert found.value.values[0, 2] == -np.inf
    assert found.standard_error.values[0, 2] == 0
    assert not np.isnan(found.value).any()
    gap = np.abs(found.value.values[0, :2] - plain.value.values[0])
    assert (gap < 4 * np.hypot(found.standard_error.values[0, :2], plain.standard_error.values[0])).all()
    assert bool(found.kaplan_yorke_reached[0])


def test_fits_do_not_see_each_other():
    """Fit k of an ensemble has the bits that it has alone; one that diverges has an empty row, and one whose parameters are not finite, too."""
    model = dr.ShallowPLRNN(observed_dim=3, latent_dim=3, hidden_dim=10, n_fits=4, random_state=3)
    with torch.no_grad():
        model.A[1], model.W1[2, 0, 0] = 3.0, torch.nan
    found = lyapunov_spectrum(model, n_steps=200, n_segments=10, random_state=5)
    for k in (0, 3):
        alone = lyapunov_spectrum(dr.select(model, fit=k), n_steps=200, n_segments=10, random_state=5)
        xr.testing.assert_identical(found.sel(fit=[k]).drop_attrs(deep=False), alone.drop_attrs(deep=False))
    assert found.verdict.values[1] == "diverging"
    assert found.status.values.tolist() == ["analysed", "an orbit diverges", "parameters not finite", "analysed"]
    assert np.isnan(found.value.values[[1, 2]]).all()
    assert np.isfinite(found.value.values[[0, 3]]).all()


def test_time_is_that_of_the_recording():
    """With dt = 0.1 all rates are ten times those per step."""
    step, slow = lyapunov_spectrum(LOZI, n_steps=100, n_segments=8), lyapunov_spectrum(LOZI, n_steps=100, n_segments=8, dt=0.1)
    np.testing.assert_allclose(slow.value, 10 * step.value, rtol=1e-12)
    np.testing.assert_allclose(slow.standard_error, 10 * step.standard_error, rtol=1e-12)
    np.testing.assert_allclose(slow.kaplan_yorke, step.kaplan_yorke, rtol=1e-12)


def test_fewer_exponents_are_the_largest_and_say_so():
    found, whole = lyapunov_spectrum(LOZI, 1, n_steps=300, n_segments=16), lyapunov_spectrum(LOZI, n_steps=300, n_segments=16)
    assert abs(float(found.value[0, 0] - whole.value[0, 0])) < 4 * float(np.hypot(found.standard_error[0, 0], whole.standard_error[0, 0]))
    assert not bool(found.kaplan_yorke_reached[0])
    assert bool(whole.kaplan_yorke_reached[0])


def logistic(r: float):
    return lambda z: r * z * (1 - z)


def circle(z: torch.Tensor) -> torch.Tensor:
    """Radius to 1, angle on by the golden mean: an invariant circle."""
    turn = 2 * np.pi * (np.sqrt(5) - 1) / 2
    x, y = z[..., 0], z[..., 1]
    by = 1.5 / (0.5 + x * x + y * y)
    return torch.stack([by * (np.cos(turn) * x - np.sin(turn) * y), by * (np.sin(turn) * x + np.cos(turn) * y)], -1)


@pytest.mark.parametrize(
    ("system", "dim", "start", "verdict", "period"),
    [
        (logistic(2.3), 1, [0.3], "fixed", 1), (logistic(3.2), 1, [0.3], "periodic", 2), (logistic(3.55), 1, [0.3], "periodic", 8),
        (logistic(4.0), 1, [0.3], "chaotic", 0), (circle, 2, [0.4, 0.2], "quasi-periodic", 0), (lambda z: 2 * z, 1, [1.0], "diverging", None),
    ],
)  # fmt: skip
def test_verdicts(system, dim, start, verdict, period):
    found = lyapunov_spectrum(system, dim=dim, n_steps=300, n_segments=4, initial=start).isel(fit=0)
    assert found.verdict.item() == verdict, found.evidence.item()
    if period is not None:
        assert int(found.period) == period
    if period == 2:                                                       # the 2-cycle's multiplier is 4 + 2 r - r^2
        assert abs(float(found.value[0]) - np.log(abs(4 + 2 * 3.2 - 3.2**2)) / 2) < 1e-9


@pytest.mark.parametrize(
    ("exponents", "dimension", "reached"),
    [([1, -1, -1], 2, True), ([1, 1, 1], 3, False), ([1, 1, -0.5], 3, False), ([-1, -2, -3], 0, True), ([0.5, -np.inf], 1, True), ([1, 0, -4], 2.25, True)],
)
def test_kaplan_yorke(exponents, dimension, reached):
    found, enough = kaplan_yorke(np.array(exponents, dtype=float))
    assert float(found) == dimension
    assert bool(enough) == reached


def test_results_come_back_from_zarr(tmp_path):
    found = lyapunov_spectrum(LOZI, n_steps=100, n_segments=4)
    write_group(tmp_path / "results.zarr", "lyapunov", found)
    xr.testing.assert_identical(dr.read_results(tmp_path / "results.zarr")["lyapunov"].to_dataset().load(), found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_exponents": 3}, "3, but the system has 2 dimensions"), ({"n_steps": 5}, "at least 10"), ({"n_segments": 1}, "at least 2"),
        ({"confidence": 1.5}, "between 0 and 1"), ({"dt": -1.0}, "positive number"), ({"inputs": [1.0]}, "inputs are for models"),
        ({"initial": [[1.0, 2.0, 3.0]]}, "shape \\(start, 2\\)"), ({"interval": 100, "n_steps": 4_000}, "lets the frame of fit 0 collapse"),
    ],
)  # fmt: skip
def test_bad_arguments(change, said):
    with pytest.raises(ArgumentError, match=said):
        lyapunov_spectrum(LOZI, **{"n_steps": 100, "n_segments": 4} | change)


def test_bad_systems():
    with pytest.raises(ArgumentError, match="pass dim="):
        lyapunov_spectrum(henon)
    with pytest.raises(ArgumentError, match="carries no gradient"):
        lyapunov_spectrum(lambda z: henon(z.detach()), dim=2)

    class Field:
        dim = 2

        def field(self, z):
            return -z

    with pytest.raises(ArgumentError, match="pass dt="):
        lyapunov_spectrum(Field())
    found = lyapunov_spectrum(Field(), dt=0.1, n_steps=100, n_segments=4, transient=10)
    np.testing.assert_allclose(found.value, -1, rtol=1e-6)
