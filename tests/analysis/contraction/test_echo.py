"""The echo-state test on maps whose answer is known."""

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import contraction_certificate, echo_state_test
from dynrnn.results import read_results, write_results


def filled(model, **values):
    with torch.no_grad():
        for name, value in values.items():
            getattr(model, name).copy_(torch.as_tensor(value).expand_as(getattr(model, name)))
    return model


def inputs(n_trials=4, n_steps=300, K=1, seed=0):
    return np.random.default_rng(seed).standard_normal((n_trials, n_steps, K))


def linear(rho, **options):
    """z' = diag(rho) z + C u: the distance of any pair is that of the powers of rho."""
    model = dr.ALRNN(2, 2, 0, input_dim=1, random_state=0, **options)
    filled(model, W=0.0)
    with torch.no_grad():
        model.A.copy_(torch.tensor(rho).expand_as(model.A))
    return model


def test_a_driven_linear_map_has_the_logarithm_of_its_modulus():
    """Whatever the input; distances are exact powers, here of 1/2 and 1/4."""
    found = echo_state_test(linear([0.5, 0.25]), inputs(), n_pairs=8, transient=40)
    np.testing.assert_allclose(found.trial_exponent, np.log(0.5), rtol=1e-9)          # the vector has turned within 1e-12 = 2^-40 by the transient's end
    np.testing.assert_allclose(found.exponent, np.log(0.5), rtol=1e-9)
    ratio = found.distance_max.values[0, :, 30] / found.distance_max.values[0, :, 25]
    np.testing.assert_allclose(ratio, 0.5**5, rtol=1e-6)
    assert found.indication.values.tolist() == ["echo state"]
    assert (found.converged == 1).all()
    np.testing.assert_allclose(found.spectral_radius, 0.5, rtol=1e-9)
    in_time = echo_state_test(linear([0.5, 0.25]), inputs(), n_pairs=8, transient=40, dt=0.1)
    np.testing.assert_allclose(in_time.exponent, 10 * found.exponent, rtol=1e-12)
    np.testing.assert_allclose(in_time.time[1], 0.1)


def test_two_responses_to_one_input_are_no_echo_state_though_the_exponent_is_below_zero():
    """z' = 2 (relu(z + 2) - relu(z)) - 3 + u / 100 rests near 1 or near -3: the slope there is 0, and pairs in different basins stay apart."""
    model = dr.ShallowPLRNN(1, 1, 1, clipped=True, input_dim=1, random_state=0)
    filled(model, A=0.2, W1=2.0, W2=1.0, h2=2.0, h1=-2.8, C=0.01)
    found = echo_state_test(model, inputs(), n_pairs=32, spread=3.0)
    np.testing.assert_allclose(found.trial_exponent, np.log(0.2), rtol=1e-5)          # orbits rest where the unit's slope is 0, A is left
    assert found.indication.item() == "no echo state"
    assert 0.1 < found.converged.min() < 0.9
    assert not contraction_certificate(model).contracting.item()


def test_a_spectral_radius_below_one_indicates_nothing():
    """Chaotic tent with both units on: slope 1.9 - 3.8 = -1.9; with an added unit that never acts but on paper, its radius is below 1."""
    model = dr.ShallowPLRNN(1, 1, 3, input_dim=1, random_state=0)
    with torch.no_grad():
        model.A.fill_(0.0)
        model.W1.copy_(torch.tensor([[[1.9, -3.8, 1.9]]]))
        model.W2.fill_(1.0)
        model.h1.fill_(0.0)
        model.h2.copy_(torch.tensor([[0.0, -0.5, -50.0]]))
        model.C.fill_(1e-3)
    u = np.abs(inputs())
    found = echo_state_test(model, u, spread=0.2, random_state=1)
    assert found.spectral_radius.item() < 1e-6
    alive = np.isfinite(found.trial_exponent.values)
    assert alive.any()
    np.testing.assert_allclose(found.trial_exponent.values[alive], np.log(1.9), rtol=1e-5)
    assert found.indication.item() == "no echo state"
    assert not contraction_certificate(model).contracting.item()


def test_slow_forgetting_is_undecided():
    found = echo_state_test(linear([0.999, 0.999]), inputs(n_steps=1000), n_pairs=4)
    assert found.exponent.item() < 0
    assert (found.converged == 0).all()
    assert found.indication.item() == "undecided"                                     # 0.999^500 = 0.61: neither together nor apart for good


def test_what_is_certified_forgets_at_least_as_fast():
    """An exponent is at most the logarithm of the proven rate, in every trial: a contraction in any metric bounds it."""
    model = dr.ShallowPLRNN(2, 2, 10, clipped=True, input_dim=2, n_fits=3, random_state=0)
    with torch.no_grad():
        model.W1.mul_(0.3)
        model.A.mul_(0.8)
    proven = contraction_certificate(model)
    found = echo_state_test(model, inputs(3, 400, 2), n_pairs=8)
    assert proven.contracting.all()
    # the metric's condition number times its rounding, over the steps that count
    assert (found.trial_exponent <= np.log(proven.rate) + 0.05).all()
    assert (found.indication == "echo state").all()


def test_fit_alone_divergence_and_storage(tmp_path):
    model = linear([0.5, 0.25], n_fits=4)
    with torch.no_grad():
        model.A[1] = torch.nan
        model.A[2] = 20.0                                                             # the square of 20^119 overflows
    whole = echo_state_test(model, inputs(), n_pairs=4)
    alone = echo_state_test(dr.select(model, fit=3), inputs(), n_pairs=4)
    xr.testing.assert_identical(whole.isel(fit=[3]), alone)
    assert whole.status.values[1] == "parameters not finite"
    assert whole.status.values[2].startswith("states diverge, first in trial 0 at step 11")
    assert np.isnan(whole.exponent.values[1:3]).all()
    assert np.isnan(whole.converged.values[1:3]).all()
    assert whole.indication.values.tolist() == ["echo state", "", "", "echo state"]
    write_results(tmp_path / "results.zarr", {"echo": whole})
    xr.testing.assert_identical(read_results(tmp_path / "results.zarr")["echo"].to_dataset(), whole)


def test_one_trial_has_no_error():
    found = echo_state_test(linear([0.5, 0.25]), inputs(1)[0], n_pairs=4)
    assert np.isinf(found.standard_error.item())
    assert "one trial" in found.status.item()
    assert found.indication.item() == "echo state"


def test_bad_input():
    model, error = linear([0.5, 0.25]), dr.errors.ArgumentError
    with pytest.raises(error, match="takes no inputs"):
        echo_state_test(dr.ALRNN(2, 3, 1, random_state=0), inputs())
    with pytest.raises(error, match=r"\(trial, time, input\) with 1 inputs"):
        echo_state_test(model, inputs(K=2))
    with pytest.raises(error, match="at least 21"):
        echo_state_test(model, inputs(n_steps=20))
    u = inputs()
    u[1, 7] = np.nan
    with pytest.raises(error, match="input 0 of trial 1 is nan at sample 7"):
        echo_state_test(model, u)
    with pytest.raises(error, match="no inputs"):
        echo_state_test(model, dr.as_recording(np.zeros((20, 2))))
    with pytest.raises(error, match="model of dynrnn"):
        echo_state_test(lambda z: z, inputs())
