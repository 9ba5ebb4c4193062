"""The residual memory network: what its ring holds, what it cannot tell apart, and that it is one additive map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn_kernels.reservoir import run


def memory(model, x):
    """m [T, n_m] after each sample x [T, N]."""
    first = np.concatenate([x[0], np.zeros(model.n_units)])
    return run(model.weights(0), first, len(x), x[1:])[0][:, model.observed_dim : model.observed_dim + model.memory_dim]


def krylov(model, T):
    """(C^(T-1) V, ..., C V, V) [n_m, N T]."""
    C, V, out = model.memory_matrix()[0].numpy(), model.V[0].numpy(), []
    for _ in range(T):
        out.insert(0, V)
        V = C @ V
    return np.concatenate(out, 1)


@pytest.mark.parametrize(("N", "n_m", "T"), [(1, 40, 40), (1, 40, 25), (3, 60, 20)])
def test_up_to_n_m_numbers_are_recovered_by_a_linear_readout(N, n_m, T):
    model = dr.ResidualMemoryNetwork(N, 10, n_m, random_state=3)
    K = krylov(model, T)
    assert np.linalg.cond(K) < 1e6                                              # the error is then some 1e6 eps
    x = np.random.default_rng(0).standard_normal((T, N))
    back = np.linalg.lstsq(K, memory(model, x)[-1], rcond=None)[0].reshape(T, N)
    assert np.abs(back - x).max() < 1e-8


def test_samples_n_m_steps_apart_are_aliases():
    """Nothing is forgotten: only x[t] + x[t - n_m] + ... is held, so that sequences of equal sums leave one state, and old samples count as new."""
    model = dr.ResidualMemoryNetwork(1, 10, 30, random_state=0)
    g = np.random.default_rng(0)
    x, moved = g.standard_normal((90, 1)), g.standard_normal((30, 1))
    other = x.copy()
    other[:30] += moved
    other[30:60] -= moved
    np.testing.assert_allclose(memory(model, x)[-1], memory(model, other)[-1], atol=1e-12)
    folded = x.reshape(3, 30, 1).sum(0)
    np.testing.assert_allclose(memory(model, x)[-1], memory(model, folded)[-1], atol=1e-12)
    assert np.abs(memory(model, x)[-1] - memory(model, x[60:])[-1]).max() > 0.1
    C = model.memory_matrix()[0]
    assert torch.equal(torch.linalg.matrix_power(C, 30), torch.eye(30, dtype=torch.float64))


def test_the_memory_of_the_same_step_is_read():
    """By hand: m first, then h from the new m."""
    model = dr.ResidualMemoryNetwork(2, 12, 5, alpha=0.3, beta=0.8, bias_scaling=0.5, input_dim=1, memory_radius=0.9, random_state=0)
    g = torch.Generator().manual_seed(0)
    z, u = torch.randn(1, 19, generator=g, dtype=torch.float64), torch.randn(1, 1, generator=g, dtype=torch.float64)
    x, m, h = z[0, :2], z[0, 2:7], z[0, 7:]
    m = 0.9 * m.roll(1) + model.V[0] @ x + model.V_u[0] @ u[0]
    h = model.branch_matrix()[0] @ h + 0.8 * torch.tanh(model.W[0] @ h + model.W_m[0] @ m + model.W_in[0] @ x + model.D[0] @ u[0] + model.b[0])
    after = model.step(z[None], u[None])[0, 0]
    torch.testing.assert_close(after[2:], torch.cat([m, h]), rtol=1e-12, atol=1e-12)
    model.W_out.copy_(torch.randn(1, 2, 12, generator=g, dtype=torch.float64))
    torch.testing.assert_close(model.step(z[None], u[None])[0, 0, :2], model.W_out[0] @ h, rtol=1e-12, atol=1e-12)


def test_it_is_fitted_like_any():
    """Noise that repeats after 40 samples, one step ahead: a ring of 50 knows the last period, 20 units do not. At radius 1 it would grow for ever."""
    x = np.tile(np.random.default_rng(0).standard_normal(40), 40)[:, None]
    models = {"ring": dr.ResidualMemoryNetwork(1, 20, 50, readout="all", memory_radius=0.95, random_state=0), "none": dr.ResidualESN(1, 20, random_state=0)}
    starts, errors = np.stack([np.zeros(200, int), np.arange(1_300, 1_500)], 1), {}
    for name, model in models.items():
        run = dr.fit(model, x[:1_300], ridge=1e-8, progress=False)
        errors[name] = np.abs(dr.forecast(run, x, starts, 1).values[0, :, 0, 0] - x[1_301:1_501, 0]).max()
    assert errors["ring"] < 1e-3
    assert errors["none"] > 0.3


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"memory_dim": 0}, ArgumentError, "memory_dim must be at least 1"),
        ({"memory_radius": 1.1}, ArgumentError, "memory_radius must be a number from 0 to 1"),
        ({"V": np.ones((5, 1)), "memory_input_scaling": 0.1}, ArgumentError, "V and memory_input_scaling were both given"),
        ({"V": np.ones((4, 1))}, ArgumentError, r"V must be finite and of shape \(5, 1\)"),
        ({"W": np.eye(10), "spectral_radius": 0.9}, ArgumentError, "W and spectral_radius were both given"),
        ({"branch": "ring"}, UnknownNameError, "branch"),
        ({"readout": "memory"}, UnknownNameError, "readout"),
    ],
)
def test_bad_arguments(options, error, said):
    with pytest.raises(error, match=said):
        dr.ResidualMemoryNetwork(1, 10, random_state=0, **{"memory_dim": 5} | options)
