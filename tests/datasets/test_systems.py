"""The known systems against what is known of them: symmetries, divergences, balances, fixed points, constants of the attractor."""

import numpy as np
import pytest
import torch

from dynrnn_datasets import SYSTEMS, DatasetError, Lorenz63, Lorenz96, Roessler
from dynrnn_datasets.integrate import trajectory
from dynrnn_datasets.longrun import largest_exponent, long_run_moments

RNG = np.random.default_rng(0)


def _divergence(system, z, step=1e-4):
    """Trace of the Jacobian by central differences; exact up to rounding (|field| eps / step ~ 1e-9) for quadratic fields."""
    eye = step * np.eye(system.dim)
    return sum(((system.field(z + e) - system.field(z - e)) / (2 * step))[..., k] for k, e in enumerate(eye))


@pytest.mark.parametrize("system", [Lorenz63(), Roessler(), Lorenz96(7)], ids=lambda s: type(s).__name__)
def test_tangents_are_the_fields_derivative(system):
    """Half the difference of a quadratic field over 2 q is its derivative along q, but for rounding; in numpy and in torch, one state for many vectors."""
    z, q = RNG.normal(size=(5, 1, system.dim)) * 5, RNG.normal(size=(5, 3, system.dim))
    want = (system.field(z + q) - system.field(z - q)) / 2
    np.testing.assert_allclose(system.tangent(z, q), want, rtol=1e-12, atol=1e-11)
    np.testing.assert_array_equal(system.tangent(torch.tensor(z), torch.tensor(q)).numpy(), system.tangent(z, q))


def test_lorenz63_commutes_with_its_symmetry():
    flip = np.array([-1.0, -1.0, 1.0])
    z = RNG.normal(size=(50, 3)) * 20
    np.testing.assert_array_equal(Lorenz63().field(flip * z), flip * Lorenz63().field(z))


def test_lorenz63_contracts_volumes_at_a_constant_rate():
    system = Lorenz63(sigma=9.0, rho=30.0, beta=2.0)
    np.testing.assert_allclose(_divergence(system, RNG.normal(size=(20, 3)) * 10), -(9.0 + 1.0 + 2.0), atol=1e-6)


def test_roessler_divergence_is_a_plus_x_minus_c():
    z = RNG.normal(size=(20, 3)) * 5
    np.testing.assert_allclose(_divergence(Roessler(), z), 0.2 + z[:, 0] - 5.7, atol=1e-6)


def test_lorenz96_divergence_is_minus_the_number_of_sites():
    np.testing.assert_allclose(_divergence(Lorenz96(n_dims=7), RNG.normal(size=(5, 7))), -7.0, atol=1e-6)


@pytest.mark.parametrize("n_dims", [4, 5, 20])
def test_lorenz96_advection_conserves_energy(n_dims):
    """sum_i x_i (x_{i+1} - x_{i-2}) x_{i-1} telescopes to zero, so dE/dt = -sum x^2 + F sum x."""
    system = Lorenz96(n_dims=n_dims, forcing=3.0)
    z = RNG.normal(size=(30, n_dims))
    power = (z * (system.field(z) + z - 3.0)).sum(axis=-1)
    np.testing.assert_allclose(power, 0.0, atol=1e-13 * n_dims)


def test_lorenz96_is_equivariant_under_rotation_of_the_ring():
    z = RNG.normal(size=9)
    system = Lorenz96(n_dims=9)
    np.testing.assert_array_equal(system.field(np.roll(z, 4)), np.roll(system.field(z), 4))


def test_fixed_points():
    c = np.sqrt(8 / 3 * 27)
    for point in ([0, 0, 0], [c, c, 27.0], [-c, -c, 27.0]):
        np.testing.assert_allclose(Lorenz63().field(np.array(point, dtype=float)), 0.0, atol=1e-12)
    np.testing.assert_array_equal(Lorenz96(n_dims=6, forcing=5.0).field(np.full(6, 5.0)), np.zeros(6))
    x = (5.7 - np.sqrt(5.7**2 - 4 * 0.2 * 0.2)) / 2  # x^2 - c x + a b = 0 with y = -z = -x / a
    np.testing.assert_allclose(Roessler().field(np.array([x, -x / 0.2, x / 0.2])), 0.0, atol=1e-14)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_field_of_a_tensor_is_the_field_of_the_array_and_differentiable(name):
    system = SYSTEMS[name]()
    z = RNG.normal(size=(2, 3, system.dim))
    np.testing.assert_array_equal(system.field(torch.from_numpy(z)).numpy(), system.field(z))
    jacobian = torch.func.jacrev(system.field)(torch.from_numpy(z[0, 0]))
    np.testing.assert_allclose(float(torch.trace(jacobian)), _divergence(system, z[0, 0]), atol=1e-6)


def test_two_tolerances_agree_over_a_short_horizon():
    """5 time units of Lorenz-63 amplify an error by about e^(0.9 * 5) = 90: local errors of 1e-9 * 50 stay below 1e-4."""
    times = np.linspace(0, 5, 50)
    paths = [trajectory(Lorenz63().rate, np.array([1.0, 1.0, 25.0]), times, rtol=tol, atol=tol) for tol in (1e-9, 1e-12)]
    assert np.abs(paths[0] - paths[1]).max() < 1e-4


def test_lorenz63_contracts_a_volume_of_nearby_states_as_its_divergence_says():
    """The determinant of the flow's linearisation over time t is exp(-(sigma + 1 + beta) t)."""
    z0, eps, t = np.array([1.0, 3.0, 20.0]), 1e-5, 0.3
    end = [trajectory(Lorenz63().rate, z0 + s * eps * e, np.array([t]), rtol=1e-12, atol=1e-13)[0] for e in np.eye(3) for s in (1, -1)]
    linear = np.stack([(end[2 * k] - end[2 * k + 1]) / (2 * eps) for k in range(3)])
    # differences of solver errors of 1e-11 over 2e-5: 1e-6 in each entry, some 100 times that in the determinant
    assert np.log(abs(np.linalg.det(linear))) == pytest.approx(-(10 + 1 + 8 / 3) * t, abs=1e-3)


@pytest.mark.parametrize("system", [Lorenz63(), Roessler(), *(pytest.param(Lorenz96(n), marks=pytest.mark.slow) for n in (20, 40))], ids=str)
def test_standardisation_constants_match_an_independent_run(system):
    copies = 200 if system.dim == 3 else 30
    run = long_run_moments(system, n_copies=copies, n_samples=1_500, random_state=99)
    # five standard errors (over independent copies) plus the stated errors of the constants, below 0.005; 2 * 66 comparisons
    assert (np.abs(run.mean - system.mean) < 5 * run.mean_error + 0.005).all()
    assert (np.abs(run.scale - system.scale) < 5 * run.scale_error + 0.005).all()


def test_constants_satisfy_the_balances_of_the_attractor():
    """Averages of time derivatives of bounded quantities vanish."""
    mean, scale = Lorenz63().mean, Lorenz63().scale
    assert mean[:2] == (0.0, 0.0)  # the symmetry
    assert scale[0] ** 2 == pytest.approx(8 / 3 * mean[2], rel=4e-4)  # of x^2 / 2 and z: <x^2> = <x y> = beta <z>; errors 2 * 1e-4 each
    x, y, z = Roessler().mean
    assert (x, y) == pytest.approx((0.2 * z, -z), abs=1e-12)
    for n_dims in (20, 40):  # of the energy: <x^2> = F <x>
        m, s = Lorenz96(n_dims).mean[0], Lorenz96(n_dims).scale[0]
        assert s**2 + m**2 == pytest.approx(8.0 * m, rel=1e-12)


@pytest.mark.parametrize(("system", "steps"), [(Lorenz63(), 80), pytest.param(Lorenz96(20), 40, marks=pytest.mark.slow)], ids=["lorenz63", "lorenz96"])
def test_largest_exponent_matches_an_independent_estimate(system, steps):
    value, error = largest_exponent(system, n_copies=60, n_steps=steps, random_state=7, rtol=1e-7)
    assert error < 0.05 * system.lyapunov_max  # or the comparison says nothing
    # four standard errors plus the direction's alignment and the stated error of the constant
    assert abs(value - system.lyapunov_max) < 4 * error + 0.01


@pytest.mark.parametrize("n_dims", [3, 0, -1])
def test_lorenz96_refuses_rings_too_small_for_its_coupling(n_dims):
    with pytest.raises(DatasetError, match=f"n_dims >= 4.*got {n_dims}"):
        Lorenz96(n_dims=n_dims)


def test_constants_are_not_claimed_for_other_parameters():
    for system in (Lorenz63(rho=35.0), Roessler(c=6.0), Lorenz96(20, forcing=9.0), Lorenz96(21)):
        assert system.mean is None
        assert system.lyapunov_max is None
