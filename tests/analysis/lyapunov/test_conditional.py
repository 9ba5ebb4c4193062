"""Exponents along inputs: closed form for linear networks, forgetting of starts, trials of their own lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis import conditional_exponents
from dynrnn.errors import ArgumentError


def driven(n_fits: int = 2, n_relu: int = 1) -> dr.ALRNN:
    return dr.ALRNN(2, 3, n_relu, input_dim=2, n_fits=n_fits, random_state=1)


def test_a_linear_network_has_the_moduli_of_its_matrix():
    """Whatever the input: J = diag(A) + W. Of a normal matrix the frame is right once e^(-gap * warmup) is gone."""
    model = driven(n_relu=0)
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    with torch.no_grad():
        model.A[:] = 0
        model.W[:] = turned @ torch.diag(torch.tensor([0.95, -0.6, 0.3])) @ turned.T
    u = np.random.default_rng(0).standard_normal((3, 400, 2))
    found = conditional_exponents(model, u, warmup=200)
    want = np.log(np.abs(np.linalg.eigvals(model.W[0].detach().double().numpy())))
    np.testing.assert_allclose(found.value.values, np.broadcast_to(-np.sort(-want), (2, 3, 3)), atol=1e-10)
    assert float(found.start_difference.max()) < 1e-10
    assert (found.upper.values[:, 0] < 0).all()


def test_it_is_the_growth_of_a_difference():
    """Two runs from neighbouring states under one input come together at the largest exponent; trials of unequal length each by themselves."""
    model = driven(1)
    with torch.no_grad():
        model.A[:] = 0.85
        model.W *= 0.2
    rng = np.random.default_rng(2)
    u = [rng.standard_normal((n, 2)) for n in (300, 200)]
    recording = dr.as_recording([rng.standard_normal((len(x), 2)) for x in u], inputs=u)
    found = conditional_exponents(model, recording, 1, warmup=50)
    assert found.n_steps.values.tolist() == [249, 149]
    for b, x in enumerate(u):
        starts = torch.tensor([[[0.1, 0.2, 0.3], [0.1, 0.2, 0.3 + 1e-3]]], dtype=torch.float64)
        states = dr.generate(model, 100, initial=starts, inputs=np.stack([x, x])).latent.values[0]
        gap = np.log(np.linalg.norm(states[1] - states[0], axis=-1))
        rate = (gap[90] - gap[40]) / 50
        assert abs(rate - float(found.value[0, b, 0])) < 0.15                         # 50 steps of a fluctuating rate


def test_one_trial_has_no_error_bar_and_says_so():
    found = conditional_exponents(driven(), np.random.default_rng(0).standard_normal((100, 2)))
    assert np.isinf(found.standard_error).all()
    assert np.isinf(found.upper).all()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (np.zeros((1, 25, 2)), "too few"), (np.zeros((1, 100, 3)), "shape \\(trial, time, input\\) with 2"),
        (np.where(np.arange(200).reshape(1, 100, 2) == 31, np.nan, 0.0), "input 1 of trial 0 is nan at sample 15"),
        (dr.as_recording(np.random.default_rng(0).standard_normal((50, 2))), "has no inputs"),
    ],
)  # fmt: skip
def test_bad_inputs(inputs, said):
    with pytest.raises(ArgumentError, match=said):
        conditional_exponents(driven(), inputs)


def test_a_model_without_inputs_is_sent_on():
    with pytest.raises(ArgumentError, match="see lyapunov_spectrum"):
        conditional_exponents(dr.ALRNN(2, 3, 1), np.zeros((1, 100, 1)))
