"""The metric z' P z: over all slopes, by a matrix inequality with multipliers; over given Jacobians, one inequality each. Both with rounding bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynrnn.analysis.contraction.sector import Sector
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.rounding import gamma, margin_of_definiteness

LEEWAY = 1e-6              # of a rate that is given: what keeps its inequality away from rounding, here and on other machines


def sector_matrix(one: Sector, P: np.ndarray, multiplier: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Q and its error; Q > 0 proves that |F(z) - F(y)|_P <= rate |z - y|_P for all states, inputs, and slopes in [0, 1].

    Q = [[g^2 P - A'PA, -A'P W1 - W2'L], [., 2 L - W1'P W1]], L = diag(multiplier): with x = z - y and p = psi(z) - psi(y), Q as a form in (x, p) is
    g^2 |x|_P^2 - |A x + W1 p|_P^2 - 2 p'L (W2 x - p), and p'L (W2 x - p) >= 0 for slopes in [0, 1] (Boyd et al. 1994, Linear Matrix
    Inequalities in System and Control Theory, chapter 8, on Lur'e systems).
    """
    M = one.shape[0]
    X, E = np.hstack([one.A, one.W1]), np.hstack([one.A_error, one.W1_error])
    Q = -(X.T @ P @ X)
    size = np.abs(X).T @ np.abs(P) @ np.abs(X)
    data = E.T @ np.abs(P) @ (np.abs(X) + E)
    error = gamma(2 * M + 8) * size + data + data.T
    cross = one.W2.T * multiplier
    Q[:M, :M] += rate**2 * P
    Q[:M, M:] -= cross
    Q[M:, :M] -= cross.T
    Q[M:, M:] += 2 * np.diag(multiplier)
    error[:M, :M] += gamma(4) * rate**2 * np.abs(P)
    error[:M, M:] += gamma(4) * np.abs(cross) + one.W2_error.T * multiplier
    error[M:, M:] += gamma(4) * 2 * np.diag(multiplier)
    error[M:, :M] = error[:M, M:].T
    return (Q + Q.T) / 2, 1.01 * error


def sector_margin(one: Sector, P: np.ndarray, multiplier: np.ndarray, rate: float) -> float:
    """> 0 is a proof; the smaller of the scaled eigenvalues of P and of Q that are left after rounding. Units that do not act are left out."""
    if not (np.isfinite(P).all() and np.isfinite(multiplier).all() and (multiplier >= 0).all() and (P == P.T).all() and rate >= 0):
        return -np.inf
    acts = np.abs(one.W1).any(0) & np.abs(one.W2).any(1)
    one = Sector(one.A, one.W1[:, acts], one.W2[acts], one.A_error, one.W1_error[:, acts], one.W2_error[acts])
    positive = margin_of_definiteness(P[None], np.zeros_like(P)[None])[0]
    return float(min(positive, margin_of_definiteness(*(x[None] for x in sector_matrix(one, P, multiplier[acts], rate)))[0]))


def jacobians_margin(map: PiecewiseLinearMap, words: np.ndarray, P: np.ndarray, rate: float) -> float:
    """> 0 proves J'P J < rate^2 P for the Jacobians of all ``words`` (n, H): the smallest scaled eigenvalue left after rounding."""
    if not (np.isfinite(P).all() and (P == P.T).all() and rate >= 0):
        return -np.inf
    margin = margin_of_definiteness(P[None], np.zeros_like(P)[None])[0]
    M, H = map.latent_dim, map.n_units
    size = np.abs(map.A) + np.abs(map.W1) @ np.abs(map.W2)
    E = 1.01 * gamma(2 * H + 8) * size                                                 # of J, with what stacking rounds in W1
    block = max(1, 2**22 // (M * M))
    for first in range(0, len(words), block):
        J = map.jacobians(words[first : first + block])
        Q = rate**2 * P - J.transpose(0, 2, 1) @ P @ J
        around = np.abs(J) + E
        error = gamma(2 * M + 8) * (around.transpose(0, 2, 1) @ np.abs(P) @ around + rate**2 * np.abs(P))
        data = E.T @ np.abs(P) @ around
        found = margin_of_definiteness((Q + Q.transpose(0, 2, 1)) / 2, 1.01 * (error + data + data.transpose(0, 2, 1)))
        margin = min(margin, found.min(initial=np.inf))
    return float(margin)


def smallest_rate(margin: Callable[[float], float], low: float, high: float, tolerance: float = 1e-9) -> float:
    """The smallest rate in [low, high] that ``margin`` proves, with a leeway on top; inf if not even ``high``."""
    if not margin(high) > 0:
        return np.inf
    low = max(low, 1e-12)
    if margin(low) > 0:
        return low
    best = high
    while high - low > tolerance * high:
        middle = (low + high) / 2
        if margin(middle) > 0:
            high = middle
        else:
            low = middle
    return min(high * (1 + LEEWAY), best)
