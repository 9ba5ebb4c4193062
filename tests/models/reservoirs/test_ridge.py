"""Ridge regression by both routes against least squares of the whole, and recursive least squares against both."""

from __future__ import annotations

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.errors import ArgumentError
from dynrnn.models.reservoirs.ridge import RecursiveLeastSquares, SumsOfProducts, TriangularFactor
from dynrnn_kernels.reservoir import run

RIDGES = np.array([1e-3, 1e-1, 10.0])


def data(n=12, m=3, rows=200, offset=50.0):
    g = np.random.default_rng(0)
    X = g.standard_normal((rows, n)) @ np.diag(np.geomspace(1, 1e-2, n)) + offset
    return X, X @ g.standard_normal((n, m)) + g.standard_normal((rows, m)) - 7.0


def direct(X, Y, ridge):
    """Least squares of (X - mean; sqrt(ridge) I) against (Y - mean; 0)."""
    n = X.shape[1]
    tall = np.concatenate([X - X.mean(0), np.sqrt(ridge) * np.eye(n)])
    W = np.linalg.lstsq(tall, np.concatenate([Y - Y.mean(0), np.zeros((n, Y.shape[1]))]), rcond=None)[0]
    return W, Y.mean(0) - X.mean(0) @ W


@pytest.mark.parametrize("kind", [SumsOfProducts, TriangularFactor])
@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("several", [False, True])
def test_pieces_give_the_solution_of_the_whole(kind, pieces, several):
    X, Y = data()
    sums = kind(X.shape[1], Y.shape[1])
    for part in np.array_split(np.arange(len(X)), pieces):
        sums.add(X[part], Y[part])
    ridges = RIDGES if several else RIDGES[:1]
    found = sums.solve(ridges)
    for r, ridge in enumerate(ridges):
        W, b = direct(X, Y, ridge)
        np.testing.assert_allclose(found.W[r], W, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(found.b[r], b, rtol=1e-8)
        assert abs(found.residual[r] - np.mean((Y - X @ W - b) ** 2)) < 1e-8


def test_the_triangular_factor_solves_what_sums_of_products_cannot():
    """Columns 1e-9 apart: the condition 1e9 is within float64, its square is not."""
    g = np.random.default_rng(1)
    X = g.standard_normal((300, 2))
    X[:, 1] = X[:, 0] + 1e-9 * X[:, 1]
    Y = X @ [[1.0], [1.0]]
    factor = TriangularFactor(2, 1)
    factor.add(X, Y)
    np.testing.assert_allclose(factor.solve(np.zeros(1)).W[0], [[1.0], [1.0]], atol=1e-5)          # 1e9 eps, some rows
    sums = SumsOfProducts(2, 1)
    sums.add(X, Y)
    with pytest.raises(ArgumentError, match="singular with ridge = 0"):
        sums.solve(np.zeros(1))


def test_a_singular_readout_says_what_would_do():
    X = np.random.default_rng(0).standard_normal((5, 9))
    for kind in (SumsOfProducts, TriangularFactor):
        sums = kind(9, 1)
        sums.add(X, X[:, :1])
        with pytest.raises(ArgumentError, match="Take ridge of at least"):
            sums.solve(np.zeros(1))


def test_recursive_least_squares_is_ridge_regression():
    X, Y = data(offset=0.0)
    rls = RecursiveLeastSquares(X.shape[1], Y.shape[1], ridge=0.1)
    for x, y in zip(X, Y, strict=True):
        rls.update(x, y)
    want = np.linalg.solve(X.T @ X + 0.1 * np.eye(X.shape[1]), X.T @ Y)
    np.testing.assert_allclose(rls.W, want, rtol=1e-8, atol=1e-8)


def test_with_a_vanishing_penalty_it_is_least_squares():
    """alpha -> 0 on states of a reservoir with a 1 appended: the readout that ridge regression with a free offset solves in pieces, to 1e-6 of its size."""
    model = dr.ESN(1, 15, spectral_radius=0.8, input_scaling=0.5, bias_scaling=0.5, density=0.5, random_state=0)
    x = np.random.default_rng(0).uniform(-1, 1, (801, 1))
    h = run(model.weights(0), np.concatenate([x[0], np.zeros(15)]), 800, x[1:])[0][100:, 1:]
    y = np.stack([x[98:798, 0] * x[99:799, 0], np.sin(x[97:797, 0])], 1)
    rls, sums = RecursiveLeastSquares(16, 2, ridge=1e-8), SumsOfProducts(15, 2)
    for state, target in zip(h, y, strict=True):
        rls.update(np.append(state, 1.0), target)
    for part in np.array_split(np.arange(700), 5):
        sums.add(h[part], y[part])
    found = sums.solve(np.array([1e-8]))
    want = np.concatenate([found.W[0], found.b])
    np.testing.assert_allclose(rls.W, want, atol=1e-6 * np.abs(want).max())


def test_recursive_least_squares_refuses_what_would_spoil_it():
    rls = dr.RecursiveLeastSquares(3, 1)
    for x, y in ((np.ones(2), np.ones(1)), (np.ones(3), np.ones(2)), (np.array([1, np.nan, 1]), np.ones(1)), (np.ones(3), np.array([np.inf]))):
        with pytest.raises(ArgumentError, match=r"of shapes \(3,\) and \(1,\)"):
            rls.update(x, y)
    assert not rls.W.any()
    for options in ({"ridge": 0.0}, {"forgetting": 0.0}, {"forgetting": 1.1}, {"ridge": np.nan}):
        with pytest.raises(ArgumentError, match="ridge must be above 0"):
            dr.RecursiveLeastSquares(3, 1, **options)


def test_forgetting_is_weighted_least_squares():
    X, Y = data(n=4, rows=60, offset=0.0)
    rls = RecursiveLeastSquares(4, 3, ridge=1e-6, forgetting=0.9)
    for x, y in zip(X, Y, strict=True):
        rls.update(x, y)
    weight = 0.9 ** np.arange(60)[::-1]
    want = np.linalg.solve((X.T * weight) @ X + 1e-6 * 0.9**60 * np.eye(4), (X.T * weight) @ Y)
    np.testing.assert_allclose(rls.W, want, rtol=1e-7, atol=1e-7)
