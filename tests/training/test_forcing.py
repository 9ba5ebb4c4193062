"""Forcing schemes, intervals and the norms behind adaptive forcing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError, UnknownNameError
from dynrnn.training.draws import Sampler
from dynrnn.training.interval import autocorrelation, mutual_information
from dynrnn.training.norms import JACOBIAN_NORMS, jacobian_upper_bound, norm_of_mean_logarithm
from dynrnn_kernels.additive import AdditiveMap, forced_sequence, jacobian
from dynrnn_kernels.additive.layout import layout_of, pack


def test_alpha_one_is_one_step_prediction():
    model = dr.ShallowPLRNN(3, 3, 8, random_state=0)
    x = torch.randn(1, 4, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = forced_sequence(model.additive_map().to(torch.float64), x[:, :, 0], x, torch.ones(1, dtype=torch.float64).expand_as(x))
    for t in range(9):
        torch.testing.assert_close(z[:, :, t], model.step(x[:, :, t]))


def test_forcing_contracts_the_product_of_jacobians():
    """alpha >= 1 - 1/sigma_max bounds the product along a forced orbit by 1, for 10,000 steps of a map that stretches."""
    model = dr.ShallowPLRNN(3, 3, 8, random_state=0)
    with torch.no_grad():
        model.A.fill_(1.2)
    x = torch.randn(1, 10_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    J = jacobian(model.additive_map().to(torch.float64), x)[0].detach()
    sigma = torch.linalg.matrix_norm(J, ord=2).max()
    assert sigma > 1
    product = torch.eye(3, dtype=torch.float64)
    for step in (1 / sigma) * J:
        product = step @ product
        assert torch.linalg.matrix_norm(product, ord=2) <= 1 + 1e-9


def test_schedules():
    updates, n = np.arange(101), 101
    linear = dr.GeneralizedTeacherForcing(alpha=(0.4, 0.2)).strength(updates, n, 2)
    np.testing.assert_allclose(linear[:, 0], np.linspace(0.4, 0.2, 101))
    exponential = dr.GeneralizedTeacherForcing(alpha=(0.4, 0.1), anneal="exponential").strength(updates, n, 1)[:, 0]
    np.testing.assert_allclose(np.diff(np.log(exponential)), np.log(0.25) / 100)
    per_fit = dr.GeneralizedTeacherForcing(alpha=np.array([0.1, 0.3])).strength(updates, n, 2)
    assert (per_fit == [0.1, 0.3]).all()
    gate = dr.SparseTeacherForcing(interval=np.array([4, 3])).gate(10, 2, dr.as_recording(np.random.default_rng(0).standard_normal((30, 1))))
    assert gate[0].nonzero()[0].tolist() == [0, 4, 8]
    assert gate[1].nonzero()[0].tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan"), (0.2, 1.2)])
def test_alpha_outside_its_range_is_refused(alpha):
    with pytest.raises(ArgumentError, match=r"alpha must lie within \[0, 1\]"):
        dr.GeneralizedTeacherForcing(alpha=alpha)


def test_names_are_suggested():
    with pytest.raises(UnknownNameError, match="'product_upper_bound'"):
        dr.AdaptiveTeacherForcing(norm="product_bound")
    with pytest.raises(UnknownNameError, match="'autocorrelation'"):
        dr.SparseTeacherForcing(rule="autocorr")


def test_autocorrelation_of_a_sinusoid_is_a_cosine():
    period = 50
    x = np.sin(2 * np.pi * np.arange(20_000) / period)
    np.testing.assert_allclose(autocorrelation(x, 60), np.cos(2 * np.pi * np.arange(61) / period), atol=5e-3)      # edge effects O(lag / time)
    assert dr.estimate_interval(dr.as_recording(x[:, None]), "autocorrelation") == 10                             # cos falls below 1/e at 9.5 samples


def test_mutual_information_of_a_shift_register():
    """x[t + 3] is a copy of x[t] in independent uniform symbols: entropy at lags 0 and 3, nothing between but the bias (K - 1)^2 / 2N."""
    rng = np.random.default_rng(0)
    n, K = 200_000, 4
    fresh = rng.integers(0, K, n)
    x = np.empty(n)
    for r in range(3):
        x[r::3] = np.repeat(fresh[r::6], 2)[: len(x[r::3])]
    info = mutual_information(x, 3, K)
    assert abs(info[0] - np.log(K)) < 1e-3
    assert info[1] < 1e-3
    same, different = K * (0.5 / K + 0.5 / K**2), K * (K - 1) * 0.5 / K**2               # half of the pairs at lag 3 are copies
    want = same * np.log(0.5 * K + 0.5) + different * np.log(0.5)
    assert abs(info[3] - want) < 5e-3                   # 5 standard errors of about 1 / sqrt(n)


def test_norms_agree_on_a_constant_jacobian():
    """For one symmetric positive-definite matrix repeated over time all four estimates are its largest eigenvalue."""
    R = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    S = R @ R.T + torch.eye(4)
    zero = torch.zeros(2, 4, dtype=torch.float64)
    map = AdditiveMap(a=zero, A=S.expand(2, 4, 4), W1=torch.zeros(2, 4, 3, dtype=torch.float64), W2=torch.zeros(2, 3, 4, dtype=torch.float64), h1=zero)
    states = torch.zeros(2, 3, 5, 4, dtype=torch.float64)
    top = torch.linalg.eigvalsh(S)[-1]
    for norm in JACOBIAN_NORMS.values():                                         # the bound, too: nothing is left of W1 and W2
        got = norm(pack(map), layout_of(map), states)
        np.testing.assert_allclose(got, np.full(got.shape, float(top)), rtol=1e-9)


def test_explog_is_exact_where_matrices_commute():
    """For diagonal matrices exp(mean log) is the geometric mean of the entries."""
    entries = torch.rand(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    want = entries.log().mean(1).exp().amax(-1)
    torch.testing.assert_close(norm_of_mean_logarithm(torch.diag_embed(entries)), want)


@pytest.mark.parametrize("family", ["relu", "clipped"])
def test_the_bound_bounds_every_jacobian(family):
    model = dr.ShallowPLRNN(3, 3, 12, clipped=family == "clipped", init="cns", random_state=0)
    map: AdditiveMap = model.additive_map()
    z = 3 * torch.randn(1, 500, 3, generator=torch.Generator().manual_seed(0))
    norms = torch.linalg.matrix_norm(jacobian(map, z), ord=2)
    bound = jacobian_upper_bound(map)
    assert (norms <= bound * (1 + 1e-5)).all()
    assert norms.max() > 0.1 * bound.max()              # and is no idle bound


def test_adaptive_alpha_follows_algorithm_one():
    """A scalar linear map of slope a = 4: kappa = 4, estimate 3/4. From alpha = 1 it relaxes by gamma, from 0 it jumps."""
    x = np.random.default_rng(0).standard_normal((100, 1))
    for start, want in ((1.0, [0.875, 0.8125]), (0.0, [0.75, 0.75])):
        model = dr.PLRNN(1, 1, random_state=0)
        with torch.no_grad():
            model.A.fill_(4.0)
        forcing = dr.AdaptiveTeacherForcing(alpha=start, gamma=0.5, every=3)
        run = dr.fit(model, x, forcing, n_updates=6, sequence_length=4, batch_size=2, learning_rate=1e-12, progress=False, random_state=0)
        np.testing.assert_allclose(run.history.alpha.values[0], np.repeat(want, 3), rtol=1e-5)


def test_windows_are_a_pure_function_and_stay_inside():
    rec = dr.as_recording([np.random.default_rng(0).standard_normal((n, 2)) for n in (25, 9, 60)])
    make = lambda: Sampler(rec, np.array([4, 0]), batch_size=50, sequence_length=10, noisy=True, random_state=1)  # noqa: E731
    whole, parts = make(), make()
    windows = whole.windows(0, 150)
    np.testing.assert_array_equal(windows, np.concatenate([parts.windows(0, 1), parts.windows(1, 100), parts.windows(100, 150)]))
    np.testing.assert_array_equal(whole.noise(3, 90)[60], make().noise(63, 64)[0])
    trial, start = windows[..., 0], windows[..., 1]
    assert set(np.unique(trial)) == {0, 2}                                       # trial 1 is shorter than a window
    assert (start + 10 < np.array([25, 9, 60])[trial]).all()
    counts = np.bincount(trial.ravel())                                          # 15 and 50 starts: shares 3/13 and 10/13
    assert abs(counts[0] / counts.sum() - 3 / 13) < 5 * np.sqrt(3 / 13 * 10 / 13 / counts.sum())
    assert not np.array_equal(windows[:, 0], windows[:, 1])
