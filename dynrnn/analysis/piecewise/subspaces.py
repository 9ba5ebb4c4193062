"""Stable and unstable subspaces at every point of a cycle, from its Jacobians one by one: their product is never formed, and loses nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import schur

SWEEPS = 2000                             # rounds; an angle to the limit shrinks by the ratio of the neighbouring moduli in each
SETTLED = 4 * np.finfo(float).eps


def dominant(J: Float[np.ndarray, "k M M"], d: int) -> Float[np.ndarray, "k M d"]:
    """Orthonormal bases of the subspaces of the ``d`` largest multipliers, Q[0] to Q[k - 1]: orthogonal iteration, O(sweeps k M^2 d)."""
    k, M, _ = J.shape
    Q = np.empty((k, M, d))
    Q[0] = _guess(J, d)
    for _ in range(SWEEPS):
        before = Q[0].copy()
        for t in range(k):
            Q[(t + 1) % k] = np.linalg.qr(J[t] @ Q[t])[0]
        if np.linalg.norm(Q[0] - before @ (before.T @ Q[0])) <= SETTLED * M:
            break
    return Q


def _guess(J: np.ndarray, d: int) -> np.ndarray:
    """By the Schur form of the product, scaled: exact for one factor, and a beginning where the product has lost its small part."""
    product = np.eye(J.shape[1])
    for factor in J:
        product = factor @ product
        product /= np.abs(product).max() or 1.0
    size = np.sort(np.abs(np.linalg.eigvals(product)))[::-1]
    least = np.sqrt(size[d - 1] * size[d]) if d < len(size) else 0.0
    return schur(product, output="real", sort=lambda re, im: np.hypot(re, im) > least)[1][:, :d]


def weakest(J: Float[np.ndarray, "k M M"], d: int) -> Float[np.ndarray, "k M d"]:
    """The same of the ``d`` smallest: what is orthogonal to the dominant subspace of the transposed product, so that going forward never spoils it."""
    M = J.shape[1]
    across = dominant(J[::-1].transpose(0, 2, 1), M - d)                            # at the points k, k - 1, ..., 1
    across = np.roll(across[::-1], 1, axis=0)
    return np.linalg.svd(across)[0][:, :, M - d :]


def carried(J: Float[np.ndarray, "k M M"], Q: Float[np.ndarray, "k M d"]) -> tuple[Float[np.ndarray, "k M d"], Float[np.ndarray, "d d"]]:
    """V with V[0] orthonormal and V[t + 1] = J[t] V[t], and K with J[k - 1] V[k - 1] = V[0] K, all within the subspaces Q.

    V[0] is Q[0] turned so that each column's largest entry is positive."""
    k, M, d = Q.shape
    turned = Q[0] * np.sign(Q[0][np.abs(Q[0]).argmax(0), np.arange(d)])
    inside = Q[0].T @ turned
    V = [turned]
    for t in range(k):
        step = Q[(t + 1) % k].T @ J[t] @ Q[t]
        step[np.abs(step) <= 4 * M * np.finfo(float).eps * np.abs(J[t]).max()] = 0   # a direction that is lost is lost, not shrunk to rounding
        inside = step @ inside
        V.append(Q[(t + 1) % k] @ inside)
    return np.stack(V[:k]), turned.T @ V[k]
