"""Proven bounds of one area, whatever its units' gains: of the log-norm and the norm of W D, and of the growth of x + h W D x.

The norm is |x| = (x' P x)^(1/2), and D runs over all diagonal matrices with entries in [0, 1] (a gain g is taken into W). With p = D x every
p_i (x_i - p_i) >= 0, so with multipliers L = l I, or L = l P where P is diagonal,

    x' P W p <= a |x|^2              if  a P - (P W + L) (4 L)^-1 (P W + L)' >= 0,
    |x + h W p|^2 <= (1 + c) |x|^2   if  [[c P, -h (P W + L)], [., h (2 L - h W' P W)]] >= 0.

For diagonal P bounds by the moduli of entries are tried as well, which prove what sparse areas are drawn for.
Estimates come from eigenvalues; what is returned is proven by Cholesky factorisations with bounds on rounding (``dynrnn.rounding``), or is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.optimize

from dynrnn.rounding import gamma, margin_of_definiteness

LEEWAYS = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)             # relative, tried one after the other until the proof goes through


def largest(X: np.ndarray, P: np.ndarray, error: np.ndarray, scale: float = 0.0) -> float:
    """A number c, hardly above the largest eigenvalue of X v = c P v, that is proven to have c P - X > 0 for every symmetric X within ``error``."""
    X = (X + X.T) / 2
    if not X.any() and not error.any():
        return 0.0
    try:
        value = float(scipy.linalg.eigh(X, P, eigvals_only=True)[-1])
    except (np.linalg.LinAlgError, ValueError):                                 # P is not positive definite, or something is not finite
        return np.inf
    size = max(abs(value), scale, 1e-100)
    for leeway in LEEWAYS:
        c = value + leeway * size
        if margin_of_definiteness((c * P - X)[None], (error + gamma(4) * (np.abs(X) + abs(c) * np.abs(P)))[None])[0] > 0:
            return c
    return np.inf


def square(W: np.ndarray, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W' P W and an entrywise bound on its rounding."""
    return W.T @ P @ W, gamma(2 * len(P) + 8) * (np.abs(W).T @ np.abs(P) @ np.abs(W))


@dataclass(frozen=True)
class Area:
    """One area: metric P (n, n), symmetric positive definite, and W (n, n), with the gain in it."""

    P: np.ndarray
    W: np.ndarray

    @cached_property
    def diagonal(self) -> bool:
        return bool((np.diag(np.diag(self.P)) == self.P).all())

    @cached_property
    def norm(self) -> float:
        """Of W D. For diagonal P it is that of W, since D commutes with the metric."""
        S, error = square(self.W, self.P)
        if self.diagonal:
            return _root(largest(S, self.P, error))
        size = float(np.linalg.eigvalsh(S)[-1])
        if size <= 0:
            return 0.0
        best = min((self._schur(0.0, 1.0, size * by), size * by) for by in (0.55, 0.6, 0.7, 0.85, 1.0, 1.25, 1.6, 2.5, 5.0))
        return _root(self._proven(best[0], 0.0, 1.0, best[1]))

    @cached_property
    def level(self) -> float:
        """The multiplier l for which the bound on the log-norm is best."""
        if self.diagonal:
            return self.norm
        middle = np.log(max(float(np.linalg.norm(self.P @ self.W, 2)), 1e-300))
        found = scipy.optimize.minimize_scalar(lambda s: self._log_norm(float(np.exp(s))), bounds=(middle - 7, middle + 7), method="bounded")
        return float(np.exp(found.x))

    @cached_property
    def log_norm(self) -> float:
        """Largest x' P W D x of |x| = 1: the least of the norm, of what the multiplier gives, and, for diagonal P, of that of moduli.

        Moduli: off the diagonal entries by their size, on it positive ones alone, for y_i w_ij d_j y_j <= |y_i| |w_ij| |y_j| (Theorem 1 of the paper).
        """
        n = len(self.P)
        found = [self.norm]
        if self.diagonal:
            moduli = self.P @ positive_part(self.W)
            found.append(largest((moduli + moduli.T) / 2, self.P, gamma(6) * (moduli + moduli.T)))
        if self.level > 0:
            L = self._multiplier(self.level)
            G = self.P @ self.W + L                                             # rows are scaled by 1 / P where L = l P
            E = gamma(n + 4) * (np.abs(self.P) @ np.abs(self.W) + L)
            weight = 1 / np.diag(L)
            X = (G * weight) @ G.T / 4
            error = (np.abs(G) * weight) @ E.T / 2 + gamma(n + 8) * (np.abs(G) * weight) @ np.abs(G).T / 4 + (E * weight) @ E.T
            found.append(largest(X, self.P, error + error.T))
        return min(found)

    def growth(self, h: float, proof: bool = True) -> float:
        """1 + c of the module's second line, h >= 0; without ``proof`` an estimate, for searches."""
        if h == 0 or not self.W.any():
            return 1.0
        levels = [self.level * (1 + h * self.norm)] if self.diagonal else [self.level * by for by in (1.0, 1.4, 2.0, 4.0)]
        c, level = min((self._schur(1.0, h, level), level) for level in levels)
        if proof:
            c = self._proven(c, 1.0, h, level)
        out = 1 + c
        if self.diagonal:
            out = min(out, (1 + h * self.norm) ** 2, self._growth_of_moduli(h, proof))
        return out * (1 + 4e-16)

    def _growth_of_moduli(self, h: float, proof: bool) -> float:
        """By the largest modulus of each entry of I + h W D, for diagonal P: h |w_ij|, and on the diagonal max(1, |1 + h w_ii|)."""
        N = h * np.abs(self.W)
        np.fill_diagonal(N, np.maximum(1.0, np.abs(1 + h * np.diag(self.W))) * (1 + 4e-16))
        S, error = square(N, self.P)
        return largest(S, self.P, error) if proof else float(scipy.linalg.eigh(S, self.P, eigvals_only=True)[-1])

    def multiplier(self) -> np.ndarray:
        """The diagonal of L, positive."""
        return np.diag(self._multiplier(max(self.level, 1e-3)))

    def _multiplier(self, level: float) -> np.ndarray:
        return level * (self.P if self.diagonal else np.eye(len(self.P)))

    def _log_norm(self, level: float) -> float:
        G = self.P @ self.W + level * np.eye(len(self.P))
        return float(scipy.linalg.eigh(G @ G.T, self.P, eigvals_only=True)[-1]) / (4 * level)

    def _parts(self, cross: float, h: float, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """G = h (cross P W + L) and its error, K = 2 h L - h^2 W' P W and its error: the inequality is [[c P, -G], [-G', K]] >= 0."""
        P, W, n = self.P, self.W, len(self.P)
        L = self._multiplier(level)
        S, error = square(W, P)
        G, E = h * (cross * P @ W + L), h * gamma(n + 6) * (np.abs(P) @ np.abs(W) + L)
        return G, E, h * (2 * L - h * S), h * (h * error + gamma(6) * (2 * L + h * np.abs(S)))

    def _schur(self, cross: float, h: float, level: float) -> float:
        """The least c by its Schur complement, an estimate; infinite where K is not positive definite."""
        G, _, K, _ = self._parts(cross, h, level)
        try:
            half = scipy.linalg.solve_triangular(np.linalg.cholesky(K), G.T, lower=True)
            return float(scipy.linalg.eigh(half.T @ half, self.P, eigvals_only=True)[-1])
        except (np.linalg.LinAlgError, ValueError):
            return np.inf

    def _proven(self, c: float, cross: float, h: float, level: float) -> float:
        """A number hardly above c for which the inequality is proven."""
        if not np.isfinite(c):
            return np.inf
        G, E, K, K_error = self._parts(cross, h, level)
        for leeway in LEEWAYS:
            wider = c * (1 + leeway)
            Q = np.block([[wider * self.P, -G], [-G.T, K]])
            error = np.block([[gamma(4) * wider * np.abs(self.P), E], [E.T, K_error]])
            if margin_of_definiteness(((Q + Q.T) / 2)[None], 1.01 * error[None])[0] > 0:
                return wider
        return np.inf


def positive_part(W: np.ndarray) -> np.ndarray:
    """|W|_+: moduli off the diagonal, positive entries on it."""
    out = np.abs(W)
    np.fill_diagonal(out, np.maximum(np.diag(W), 0.0))
    return out


def _root(value: float) -> float:
    return float(np.sqrt(max(value, 0.0))) * (1 + 4e-16)
