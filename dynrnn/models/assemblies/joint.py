"""Euler's step of all areas and their coupling as one matrix inequality: nearer to the truth than bounds of the parts, at O(M^3) for each of some trials."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from dynrnn.models.assemblies.bounds import LEEWAYS, square
from dynrnn.rounding import gamma, margin_of_definiteness

SCALES = (0.3, 0.5, 0.8, 1.3, 2.0)          # of the areas' multipliers: their best ones are near, and each is as valid


def joint_rate(P: np.ndarray, W: np.ndarray, L: np.ndarray, multiplier: np.ndarray, dt: float, proof: bool) -> float:
    """r with |A x + dt W D x| <= r |x| for every D, A = (1 - dt) I + dt L, by [[r^2 P - A'PA, -(dt A'P W + K)], [., 2 K - dt^2 W'P W]] >= 0.

    K = diag(c dt multiplier) with the best c of some: p' K (x - p) >= 0 for p = D x. Infinite where it is not proven.
    """
    A = (1 - dt) * np.eye(len(P)) + dt * L
    size = (1 - dt) * np.eye(len(P)) + dt * np.abs(L)
    X, PW, (S, S_error) = A.T @ P @ A, P @ W, square(W, P)
    cross = dt * A.T @ PW
    found = []
    for scale in SCALES:
        K = np.diag(scale * dt * multiplier)
        try:
            half = scipy.linalg.solve_triangular(np.linalg.cholesky(2 * K - dt**2 * S), (cross + K).T, lower=True)
            found.append((float(scipy.linalg.eigh(X + half.T @ half, P, eigvals_only=True)[-1]), scale))
        except (np.linalg.LinAlgError, ValueError):
            continue
    if not found:
        return np.inf
    value, scale = min(found)
    if not proof:
        return float(np.sqrt(max(value, 0.0)))
    K, n = np.diag(scale * dt * multiplier), 2 * len(P) + 20
    corner = gamma(n) * (size.T @ np.abs(P) @ size)
    off = gamma(n) * (dt * size.T @ (np.abs(P) @ np.abs(W)) + K)
    low = dt**2 * S_error + gamma(8) * (2 * K + dt**2 * np.abs(S))
    for leeway in LEEWAYS:
        wider = value * (1 + leeway)
        Q = np.block([[wider * P - X, -(cross + K)], [-(cross + K).T, 2 * K - dt**2 * S]])
        error = np.block([[corner + gamma(4) * (wider * np.abs(P) + np.abs(X)), off], [off.T, low]])
        if margin_of_definiteness(((Q + Q.T) / 2)[None], 1.01 * error[None])[0] > 0:
            return float(np.sqrt(wider)) * (1 + 4e-16)
    return np.inf
