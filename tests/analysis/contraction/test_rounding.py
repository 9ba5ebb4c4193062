"""Proofs in floating point against exact rational arithmetic."""

from fractions import Fraction

import numpy as np

from dynrnn.analysis.contraction.norms import norm_rate, propose_norm, propose_weighted, quadratic_of_norm, quadratic_of_weights
from dynrnn.analysis.contraction.quadratic import sector_margin, smallest_rate
from dynrnn.analysis.contraction.sector import sectors_of
from dynrnn.rounding import margin_of_definiteness, norm_bound
from tests.analysis.contraction.nets import random_net


def exact(matrix):
    return [[Fraction(float(x)) for x in row] for row in np.atleast_2d(matrix)]


def product(A, B):
    return [[sum((a * b for a, b in zip(row, column)), Fraction(0)) for column in zip(*B)] for row in A]


def positive_definite(Q):
    """Pivots of Gauss's elimination, without rounding."""
    Q = [row[:] for row in Q]
    for i in range(len(Q)):
        if Q[i][i] <= 0:
            return False
        for j in range(i + 1, len(Q)):
            factor = Q[j][i] / Q[i][i]
            Q[j] = [a - factor * b for a, b in zip(Q[j], Q[i])]
    return True


def test_what_is_proven_definite_is_definite():
    """Matrices whose smallest eigenvalue lies around rounding: B B' + shift with B of deficient rank. Proven ones are definite, and some are proven."""
    rng = np.random.default_rng(0)
    proven = refused = 0
    for trial in range(60):
        B = rng.standard_normal((6, 5)) * 10.0 ** rng.integers(-3, 4, (6, 1))
        Q = B @ B.T
        Q = (Q + Q.T) / 2 + np.diag(np.diag(Q)) * 10.0 ** rng.uniform(-17, -10) * rng.choice([-1, 1])
        says = margin_of_definiteness(Q[None], np.zeros((1, 6, 6)))[0] > 0
        truth = positive_definite(exact(Q))
        assert truth or not says, trial
        proven, refused = proven + says, refused + (not truth)
    assert proven > 5
    assert refused > 5
    assert margin_of_definiteness(np.eye(2)[None], np.full((1, 2, 2), 0.6))[0] <= 0   # an error that could make it singular
    assert margin_of_definiteness(np.array([[[1.0, 1.0], [1.0, 1.0]]]), np.zeros((1, 2, 2)))[0] <= 0


def test_a_bound_on_a_norm_is_one_and_is_tight():
    rng = np.random.default_rng(1)
    for _ in range(10):
        B = rng.standard_normal((4, 3))
        s = norm_bound(B, np.zeros_like(B))
        square = product(exact(B.T), exact(B))
        gap = [[(Fraction(s) ** 2 if i == j else 0) - square[i][j] for j in range(3)] for i in range(3)]
        assert positive_definite(gap)
        assert s <= np.linalg.norm(B, 2) * (1 + 1e-12)


def test_the_inequality_proven_in_floats_holds_in_rationals():
    """Formed from the same numbers without rounding, at the rate that is just proven."""
    for seed in range(3):
        one = sectors_of(random_net(seed, 3, 4, 0.3)).fits[0]
        P, L = quadratic_of_weights(one)
        rate = smallest_rate(lambda g, one=one, P=P, L=L: sector_margin(one, P, L, g), 0.0, 2.0)
        A, W1, W2, p = exact(one.A), exact(one.W1), exact(one.W2), exact(P)
        X = [a + w for a, w in zip(A, W1)]
        Q = [[-x for x in row] for row in product(product([list(c) for c in zip(*X)], p), X)]
        M, H = one.shape
        for i in range(M):
            for j in range(M):
                Q[i][j] += Fraction(rate) ** 2 * p[i][j]
            for h in range(H):
                term = W2[h][i] * Fraction(float(L[h]))
                Q[i][M + h] -= term
                Q[M + h][i] -= term
        for h in range(H):
            Q[M + h][M + h] += 2 * Fraction(float(L[h]))
        assert positive_definite(Q)


def test_cheap_tiers_have_their_own_multipliers():
    """The matrices made from a norm's scalings, or from Perron's vectors, prove those rates; leeway 1e-6, and the vectors' own accuracy."""
    for seed in range(10):
        one = sectors_of(random_net(seed, 4, 7, 0.5)).fits[0]
        rate, scales, units = propose_norm(one)
        P, L = quadratic_of_norm(one, scales, units)
        assert sector_margin(one, P, L, rate * (1 + 1e-6)) > 0
        rate, _ = propose_weighted(one)
        P, L = quadratic_of_weights(one)
        assert sector_margin(one, P, L, rate * (1 + 1e-6)) > 0


def test_the_centred_norm_is_never_above_the_plain_one():
    for seed in range(10):
        one = sectors_of(random_net(seed, 4, 7, 0.5)).fits[0]
        plain = np.linalg.norm(one.A, 2) + np.linalg.norm(one.W1, 2) * np.linalg.norm(one.W2, 2)
        assert norm_rate(one, np.ones(4), np.ones(7)) <= plain * (1 + 1e-12)
        assert propose_norm(one)[0] <= plain * (1 + 1e-12)


def test_perrons_root_is_the_largest_row_sum_in_its_weights():
    """Over all corners of the slopes, entry by entry, against going through them."""
    one = sectors_of(random_net(5, 3, 4, 0.5)).fits[0]
    corners = np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T
    J = one.A + (one.W1 * corners[:, None]) @ one.W2
    N = np.abs(J).max(0)
    np.testing.assert_allclose(one.entries, N, rtol=1e-12)
    np.testing.assert_allclose(propose_weighted(one)[0], np.abs(np.linalg.eigvals(N)).max(), rtol=1e-8)
