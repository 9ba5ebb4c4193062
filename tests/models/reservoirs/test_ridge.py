"""Ridge regression by both routes against least squares of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from dynrnn.errors import ArgumentError
from dynrnn.models.reservoirs.ridge import SumsOfProducts, TriangularFactor

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
