"""Each family's step against its equation written out with loops, and facts of its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn.errors import ArgumentError
from dynrnn.models import ALRNN, PLRNN, DendriticPLRNN, ShallowPLRNN, generate


def relu(x):
    return np.maximum(x, 0.0)


def numbers(model):
    """Parameters of fit 0, with C = 0 where there are no inputs, as float64 arrays."""
    return {name: p.detach().numpy()[0].astype(np.float64) for name, p in model.named_parameters()}


def one_step(model, z, u=None):
    z = torch.tensor(z)[None, None]
    u = None if u is None else torch.tensor(u)[None, None]
    return model.step(z, u)[0, 0].detach().numpy()


Z = np.array([0.7, -0.4, 0.2, -1.3, 0.05])
U = np.array([0.3, -0.8])


def test_plrnn():
    model = PLRNN(3, 5, input_dim=2, init="dendplrnn", random_state=0)
    p = numbers(model)
    want = p["A"] * Z + p["W"] @ relu(Z) + p["h"] + p["C"] @ U
    np.testing.assert_allclose(one_step(model, Z, U), want, rtol=1e-12)
    assert (np.diag(p["W"]) == 0).all()


def test_mean_centred_plrnn():
    model = PLRNN(3, 5, mean_centred=True, random_state=0)
    p = numbers(model)
    np.testing.assert_allclose(one_step(model, Z), p["A"] * Z + p["W"] @ relu(Z - Z.mean()) + p["h"], rtol=1e-12)


def test_shallow_plrnn():
    for clipped in (False, True):
        model = ShallowPLRNN(3, 5, 9, clipped=clipped, input_dim=2, init="cns", random_state=0)
        p = numbers(model)
        hidden = relu(p["W2"] @ Z + p["h2"]) - (relu(p["W2"] @ Z) if clipped else 0.0)
        np.testing.assert_allclose(one_step(model, Z, U), p["A"] * Z + p["W1"] @ hidden + p["h1"] + p["C"] @ U, rtol=1e-12)


def test_dendritic_plrnn():
    for clipped in (False, True):
        model = DendriticPLRNN(3, 5, 4, clipped=clipped, random_state=0)
        p = numbers(model)
        phi = np.zeros(5)
        for i in range(5):
            for b in range(4):
                phi[i] += p["alpha"][b] * (relu(Z[i] - p["H"][i, b]) - (relu(Z[i]) if clipped else 0.0))
        np.testing.assert_allclose(one_step(model, Z), p["A"] * Z + p["W"] @ phi + p["h"], rtol=1e-12)


@pytest.mark.parametrize("P", [0, 2, 5])
def test_alrnn(P):
    model = ALRNN(3, 5, P, random_state=0)
    p = numbers(model)
    phi = np.concatenate([Z[: 5 - P], relu(Z[5 - P :])])
    np.testing.assert_allclose(one_step(model, Z), p["A"] * Z + p["W"] @ phi + p["h"], rtol=1e-12)


def test_published_parameter_counts():
    assert ShallowPLRNN(5, 5, 250, clipped=True, observation="affine").parameters_per_fit == 2785           # |theta| of the GTF paper, ECG
    assert ShallowPLRNN(64, 16, 512, clipped=True, observation="affine").parameters_per_fit == 17952        # EEG


def test_published_initialisation_has_spectral_radius_one():
    model = PLRNN(3, 12, random_state=3)
    p = numbers(model)
    eigenvalues = np.linalg.eigvalsh(np.diag(p["A"]) + p["W"])
    assert abs(eigenvalues[-1] - 1) < 1e-6                                                                  # float32 parameters
    assert eigenvalues[0] > 0


def test_clipped_orbits_are_bounded_by_the_weights():
    """|phi| <= |h2| for the clipped form, so with max|A| < 1 no orbit leaves a ball that the weights give."""
    model = ShallowPLRNN(3, 3, 20, clipped=True, init="cns", random_state=1)
    p = numbers(model)
    bound = (np.abs(p["W1"]) @ np.abs(p["h2"]) + np.abs(p["h1"])).max() / (1 - np.abs(p["A"]).max())
    start = torch.full((1, 4, 3), 100.0, dtype=torch.float64)
    assert np.abs(generate(model, 2000, initial=start, transient=1000).latent.values).max() <= bound


def test_affine_state_is_the_least_squares_one():
    model = ShallowPLRNN(6, 3, 5, observation="affine", decoder_bias=True, random_state=0)
    z = torch.randn(1, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.initial_state(model.readout(z)), z, rtol=1e-9, atol=1e-9)              # B has full column rank


def test_units_go_in_and_out():
    model = ShallowPLRNN(2, 2, 5, random_state=0)
    model.data_mean[:] = torch.tensor([3.0, -1.0])
    model.data_scale[:] = torch.tensor([10.0, 0.1])
    x = torch.tensor([[[13.0, -1.1]]], dtype=torch.float64)
    torch.testing.assert_close(model.initial_state(x), torch.tensor([[[1.0, -1.0]]], dtype=torch.float64))
    torch.testing.assert_close(model.readout(model.initial_state(x)), x)


def test_impossible_sizes_say_why():
    with pytest.raises(ArgumentError, match="n_relu must be from 0 to 5, got 6"):
        ALRNN(3, 5, 6)
    with pytest.raises(ArgumentError, match="latent_dim must be at least observed_dim = 3"):
        ShallowPLRNN(3, 2, 10)
    with pytest.raises(ArgumentError, match="hidden_dim"):
        ShallowPLRNN(3, 3, 0)
