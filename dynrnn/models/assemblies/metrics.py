"""Metrics in which an area contracts by itself: constructed, and left to ``bounds`` to prove."""

from __future__ import annotations

import numpy as np

from dynrnn.models.assemblies.bounds import positive_part


def sparse_metric(W: np.ndarray) -> np.ndarray | None:
    """Diagonal P (n,) of W with its gain, if |W|_+ - I is Hurwitz, else None (Kozachkov et al. 2022, Theorem 1).

    A = |W|_+ - I is Metzler, so that v = -A^-1 1 and w = -A^-T 1 are positive, and with P = diag(w / v) the matrix P A + A' P is negative definite.
    Proof: it is Metzler and (P A + A' P) v = -(w / v + 1) < 0 with v > 0. Then x' P (-I + W D) x <= |x|' P A |x| < 0 for every D. Cost O(n^3).
    """
    n = len(W)
    moduli = positive_part(W)
    room = 1 - float(np.linalg.eigvals(moduli).real.max())                      # Perron: the rightmost eigenvalue is real
    if not room > 1e-9:
        return None
    v, w = np.linalg.solve(np.eye(n) - moduli, np.ones(n)), np.linalg.solve(np.eye(n) - moduli.T, np.ones(n))
    if not ((v > 0) & (w > 0)).all():
        return None
    P = w / v
    return P / np.exp(np.mean(np.log(P)))


def symmetric_metric(W: np.ndarray, bound: float) -> np.ndarray | None:
    """P (n, n) of symmetric W with its gain, if its eigenvalues are below ``bound`` < 1, else None: P = (b I + (b^2 I - W)^(1/2))^-2 with b^2 = bound.

    It contracts at the rate 1 - bound: with p = D x, x' P W p <= x' P W p + p' (x - p) <= b^2 x' P x, since for each eigenvalue w of W and m = s^2,
    s = 1 / (b + (b^2 - w)^(1/2)), that of P, (m w + 1)^2 = 4 b^2 m (s is a root of w s^2 - 2 b s + 1). Cost O(n^3).
    """
    values, U = np.linalg.eigh(W)
    if not 0 < bound < 1 or values[-1] > bound:
        return None
    root = np.sqrt(bound)
    P = (U / (root + np.sqrt(bound - values)) ** 2) @ U.T
    return (P + P.T) / 2
