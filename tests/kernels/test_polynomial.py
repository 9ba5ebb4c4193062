"""Polynomial maps: monomials counted and written out, the Jacobian against autograd, the compiled run against steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.polynomial import PolynomialMap, features, forced_sequence, jacobian, monomials, run, step


def random_map(increment=True, K=1, F=2, N=2, lags=3, orders=(1, 2, 3)):
    g = torch.Generator().manual_seed(0)
    M = N * lags
    table = monomials([0, 1, 4, 5, *range(M, M + K)], orders, M + K)               # the middle sample is skipped
    W = 0.1 * torch.randn(F, N, len(table), generator=g, dtype=torch.float64)
    map = PolynomialMap(W, torch.randn(F, N, generator=g, dtype=torch.float64), table, M, K, increment)
    return map, 0.5 * torch.randn(F, 3, M, generator=g, dtype=torch.float64), torch.randn(F, 3, 6, K, generator=g, dtype=torch.float64)


def test_all_different_products():
    table = monomials([0, 1, 2], (1, 2), 3)
    assert len(table) == 3 + math.comb(4, 2)
    values = torch.tensor([2.0, 3.0, 5.0, 1.0])[table].prod(-1)
    assert sorted(values.tolist()) == [2, 3, 4, 5, 6, 9, 10, 15, 25]
    assert len(monomials(range(6), (3,), 6)) == math.comb(8, 3)


@pytest.mark.parametrize("increment", [True, False])
@pytest.mark.parametrize("K", [0, 1])
def test_the_jacobian_is_autograds(increment, K):
    map, z, u = random_map(increment, K)
    u = u[:, :, 0] if K else None
    auto = torch.autograd.functional.jacobian(lambda z: step(map, z, u).sum(1), z)
    for f in range(2):
        torch.testing.assert_close(jacobian(map, z, u)[f], auto[f, :, f].transpose(0, 1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("increment", [True, False])
def test_the_compiled_run_is_the_steps(increment):
    """Driven where there are samples; the forced sequence with weight 1 on the newest sample is the same."""
    map, z, u = random_map(increment)
    data = np.random.default_rng(0).standard_normal((4, 2))
    data[1, 0] = np.nan
    path, last = run(map, 1, z[1, 0].numpy(), 6, data, u[1, 0].numpy())
    now = z[:, :1].clone()
    for t in range(6):
        now = step(map, now, u[:, :1, t])
        np.testing.assert_allclose(path[t], now[1, 0].numpy(), rtol=1e-12, atol=1e-13)
        if t < 4:
            seen = torch.tensor(~np.isnan(data[t]))
            now[1, 0, :2] = torch.where(seen, torch.tensor(data[t]), now[1, 0, :2])
    np.testing.assert_allclose(last, now[1, 0].numpy(), rtol=1e-12)
    target = torch.zeros(2, 3, 6, 6, dtype=torch.float64)
    free = forced_sequence(map, z, target, 0.0, u)
    np.testing.assert_allclose(run(map, 0, z[0, 2].numpy(), 6, inputs=u[0, 2].numpy())[0], free[0, 2].numpy(), rtol=1e-11, atol=1e-12)


def test_features_and_what_does_not_fit():
    map, z, u = random_map()
    X = features(map, z, u[:, :, 0])
    assert torch.equal(X[0, 0, 0], z[0, 0, 0])
    assert X.shape == (2, 3, 5 + math.comb(6, 2) + math.comb(7, 3))
    with pytest.raises(KernelError, match="a line of whole samples"):
        PolynomialMap(map.W, map.b, map.table, 7, 1)
    with pytest.raises(KernelError, match="places from 0 to 6"):
        PolynomialMap(map.W, map.b, map.table, 6, 0)
