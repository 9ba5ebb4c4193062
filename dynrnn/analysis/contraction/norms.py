"""Tiers that need no solver: the 2-norm with diagonal scalings, and the weighted infinity norm."""

from __future__ import annotations

import numpy as np

from dynrnn.analysis.contraction.sector import Sector
from dynrnn.rounding import gamma, norm_bound


def powers_of_two(values: np.ndarray) -> np.ndarray:
    """The nearest, so that scaling by them rounds nothing; 1 where a value is 0 or not finite."""
    fine = np.isfinite(values) & (values > 0)
    return np.exp2(np.clip(np.round(np.log2(np.where(fine, values, 1.0))), -100, 100))


def norm_rate(one: Sector, states: np.ndarray, units: np.ndarray) -> float:
    """||D (A + W1 W2 / 2) D^-1|| + ||D W1 E|| ||E^-1 W2 D^-1|| / 2 in 2-norms, from above; D = diag(states), E = diag(units), powers of 2.

    Slopes in [0, 1] are 1/2 and a deviation of at most 1/2: never more than ||A|| + ||W1|| ||W2||.
    """
    d, e = states[:, None], units[None, :]
    centre = norm_bound(one.centre * d / d.T, one.centre_error * d / d.T)
    out = norm_bound(one.W1 * d * e, one.W1_error * d * e)
    into = norm_bound(one.W2 / e.T / d.T, one.W2_error / e.T / d.T)
    return (centre + 0.5 * out * into) * (1 + gamma(4))


def weighted_rate(one: Sector, weights: np.ndarray) -> float:
    """Of the norm max_i |z_i| / weights_i, from above: the largest row sum over all slopes, entry by entry."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = float((one.entries @ weights / weights).max() * (1 + gamma(len(weights) + 4)))
    return found if np.isfinite(found) else np.inf


def perron(N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right and left vector of a nonnegative matrix, positive: of N with so little added everywhere that its root moves by less than 1e-9 of its size."""
    size = max(float(N.max()), 1e-12)
    N = N + 1e-10 * size / len(N)
    out = []
    for matrix in (N, N.T):
        value, vector = np.linalg.eig(matrix)
        v = np.abs(np.asarray(vector)[:, np.argmax(np.real(value))])
        for _ in range(3):                                                            # steps of the power method keep all entries positive
            v = matrix @ v
            v = v / v.max()
        out.append(np.maximum(v, 1e-30))
    return out[0], out[1]


def propose_norm(one: Sector) -> tuple[float, np.ndarray, np.ndarray]:
    """The best of two scalings of the states, with units balanced: rate, states (M,), units (H,)."""
    v, u = perron(one.entries)
    M, H = one.shape
    best = (np.inf, np.ones(M), np.ones(H))
    for states in (np.ones(M), powers_of_two(np.sqrt(u / v))):
        out, into = np.linalg.norm(one.W1 * states[:, None], axis=0), np.linalg.norm(one.W2 / states, axis=1)
        units = powers_of_two(np.sqrt(np.divide(into, out, out=np.ones(H), where=out > 0)))
        for e in (np.ones(H), units):
            rate = norm_rate(one, states, e)
            if rate < best[0]:
                best = rate, states, e
    return best


def propose_weighted(one: Sector) -> tuple[float, np.ndarray]:
    """Perron's vector as the weights: rate, weights (M,)."""
    v, _ = perron(one.entries)
    return weighted_rate(one, v), v


def quadratic_of_norm(one: Sector, states: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P and Lambda with which the matrix inequality proves the norm's rate too.

    With a = ||A'||, b = ||W1||, c = ||W2|| / 2 and |q| <= c |x|: (a |x| + b |q|)^2 + l (c^2 |x|^2 - |q|^2) <= (a + b c)^2 |x|^2 at l = b^2 + a b / c.
    """
    d, e = states[:, None], units[None, :]
    a = max(np.linalg.norm(one.centre * d / d.T, 2), 1e-9)
    b = np.linalg.norm(one.W1 * d * e, 2) if one.shape[1] else 0.0
    c = np.linalg.norm(one.W2 / e.T / d.T, 2) / 2 if one.shape[1] else 0.0
    multiplier = (b * b + a * b / c if b * c > 0 else 1e-9) / 2
    return np.diag(states**2), multiplier / units**2


def quadratic_of_weights(one: Sector) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal P and Lambda with which the matrix inequality proves Perron's root of the weighted norm too.

    T = [[|A'| / g, |W1|], [|W2| / (2 g), 0]] with A' = A + W1 W2 / 2 has the eigenvalue 1 with the right vector (g v, |W2| v / 2) and the left one
    (u, |W1|' u), u and v those of the entries' bounds with root g; a nonnegative matrix is scaled to 2-norm 1 by the square roots of left over right.
    """
    N = one.entries
    v, u = perron(N)
    g = float(u @ N @ v / (u @ v))
    into, out = np.abs(one.W2) @ v / 2, np.abs(one.W1).T @ u
    P = u / (max(g, 1e-9) * v)
    acts = (into > 0) & (out > 0)
    multiplier = np.where(acts, out / np.where(acts, into, 1.0), 1e-9 * P.max()) / 2
    return np.diag(P / P.max()), multiplier / P.max()
