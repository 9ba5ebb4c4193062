"""The curve of cycles in the space of all their points and the parameter: corrector, tangents, and functions that change their sign at events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynrnn.analysis.branches.family import Family, Pieces, Words
from dynrnn.analysis.piecewise.multipliers import as_complex, product_eigenvalues
from dynrnn.analysis.stability import sorted_multipliers

ITERATIONS = 12
PLAIN = 1e4                  # of a product of Jacobians: its eigenvalues are right to 1e-12 then
CONVERGED = 1e-13            # of a scaled step
FOLD, BRANCH, FLIP, TORUS = "fold", "branch point", "flip", "neimark-sacker"


@dataclass(frozen=True)
class Point:
    """y: the k points (k M,) and the parameter, scaled; t: the curve's unit tangent there; J (k, M, M); n: iterations that it took."""

    y: np.ndarray
    t: np.ndarray
    J: np.ndarray
    n: int
    residual: float


@dataclass(frozen=True)
class Curve:
    """F(x, p) = 0: k points with f(x_i, p) = x_{i+1}, i modulo k (multiple shooting), in scaled unknowns w = scale * y."""

    family: Family
    period: int
    scale: np.ndarray

    def split(self, y: np.ndarray) -> tuple[np.ndarray, float]:
        """The cycle (k, M) and the parameter."""
        w = y * self.scale
        return w[:-1].reshape(self.period, -1), float(w[-1])

    def system(self, y: np.ndarray, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """F (k M,), its derivative (k M, k M + 1) by y, and the Jacobians of all points."""
        k, M = self.period, self.family.dim
        x, p = self.split(y)
        value, J, by_p = self.family.derivatives(x, p, words)
        F = (value - np.roll(x, -1, 0)).ravel()
        D = np.zeros((k, M, k, M))
        for i in range(k):
            D[i, :, i] += J[i]
            D[i, :, (i + 1) % k] -= np.eye(M)
        return F, np.concatenate([D.reshape(k * M, k * M), by_p.reshape(-1, 1)], 1) * self.scale, J

    def correct(self, guess: np.ndarray, normal: np.ndarray, words: Words) -> Point | None:
        """The point of the curve in the plane through ``guess`` with this normal, by Newton's iteration; None if it does not converge."""
        y, offset = guess.copy(), float(normal @ guess)
        for n in range(ITERATIONS + 1):
            F, D, J = self.system(y, words)
            if not np.isfinite(F).all() or not np.isfinite(D).all():
                return None
            rounding = 32 * np.finfo(float).eps * (1 + np.abs(D).sum(1).max() * np.abs(y).max())
            small = np.abs(F).max() <= rounding
            bordered = np.vstack([D, normal])
            try:
                step = np.linalg.solve(bordered, -np.append(F, normal @ y - offset))
            except np.linalg.LinAlgError:
                step = np.zeros_like(y) if small else None
            if step is None or not np.isfinite(step).all():
                return None
            if small and (n >= 3 or np.abs(step).max() <= CONVERGED * (1 + np.abs(y).max()) or np.abs(step).max() > 1e-6):
                return Point(y, tangent(D, normal), J, n, float(np.abs(F).max()))
            y = y + step
        return None


def tangent(D: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The unit vector with D t = 0 on the side of ``along``."""
    try:
        t = np.linalg.solve(np.vstack([D, along]), np.append(np.zeros(len(D)), 1.0))
        if not np.isfinite(t).all() or np.linalg.norm(t) > 1e8:
            raise np.linalg.LinAlgError
    except np.linalg.LinAlgError:
        t = np.linalg.svd(D)[2][-1]
    t = t / np.linalg.norm(t)
    return t if t @ along >= 0 else -t


def multipliers(J: np.ndarray) -> Any:
    """Of the whole period, (M,), largest modulus first. A product that stays small loses nothing that matters when it is formed, and is quicker."""
    if len(J) == 1 or np.linalg.norm(J, axis=(1, 2)).clip(1).prod() < PLAIN:
        return sorted_multipliers(np.linalg.multi_dot(J[::-1]) if len(J) > 1 else J[0])
    return as_complex(*product_eigenvalues(J))


def tests(curve: Curve, point: Point, words: Words) -> dict[str, float]:
    """Functions of a point that are zero, with a change of sign, at events (Kuznetsov 2004, chapter 10).

    fold: the tangent's component along the parameter. Branch point: the smallest singular value of the bordered matrix with the sign of its
    determinant. Flip: distance of the multipliers from -1, with the sign of det(P + I). Neimark-Sacker: that of products of pairs from 1, likewise.
    """
    _, D, _ = curve.system(point.y, words)
    bordered = np.vstack([D / curve.scale.max(), point.t])
    mu = multipliers(point.J)
    real = np.abs(mu.imag) <= 1e-12 * np.abs(mu)
    out = {
        FOLD: float(point.t[-1]),
        BRANCH: float(np.linalg.slogdet(bordered)[0] * np.linalg.svd(bordered, compute_uv=False)[-1]),
        FLIP: float(np.abs(mu + 1).min() * (-1) ** int((real & (mu.real < -1)).sum())),
    }
    if len(mu) > 1:
        first, second = np.triu_indices(len(mu), 1)
        pairs = mu[first] * mu[second]
        out[TORUS] = float(np.abs(pairs - 1).min() * (-1) ** int(((np.abs(pairs.imag) <= 1e-12 * np.abs(pairs)) & (pairs.real < 1)).sum()))
    return out


def is_rotation(J: np.ndarray) -> bool:
    """Whether the pair of multipliers with a product next to 1 is a complex one: else a saddle that neither grows nor shrinks areas."""
    mu = multipliers(J)
    first, second = np.triu_indices(len(mu), 1)
    pick = int(np.abs(mu[first] * mu[second] - 1).argmin())
    return bool(abs(mu[first[pick]].imag) > 1e-9)


def zero_between(function: Callable[[float], float | None], a: float, b: float, at_a: float, at_b: float) -> float:
    """Where ``function`` changes its sign between a and b: regula falsi of Illinois, to rounding. None from the function ends it at the best guess so far."""
    side, c = 0, b
    for _ in range(80):
        last, c = c, b - at_b * (b - a) / (at_b - at_a)
        if not min(a, b) <= c <= max(a, b):
            c = 0.5 * (a + b)
        value = function(c)
        if value is None or value == 0 or abs(c - last) <= 1e-15 + 4e-16 * abs(c):
            break
        if (value > 0) == (at_b > 0):
            b, at_b = c, value
            at_a = at_a / 2 if side == 1 else at_a
            side = 1
        else:
            a, at_a = c, value
            at_b = at_b / 2 if side == -1 else at_b
            side = -1
    return c


def words_at(curve: Curve, y: np.ndarray) -> Words:
    return curve.family.words(*curve.split(y)) if isinstance(curve.family, Pieces) else None
