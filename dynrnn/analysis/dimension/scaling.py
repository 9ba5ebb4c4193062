"""The range over which a curve is a straight line, by a stated rule, with errors from curves that leave one block of the data out each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

AROUND = 2               # points to each side that a local slope is fitted over


@dataclass(frozen=True)
class Region:
    """first and last point of the range, -1 where there is none; slope over it; error: that of the blocks; spread: standard deviation over
    all ranges within it of at least half its length; local [n] slopes and local_error [n], NaN at the ends."""

    first: int
    last: int
    slope: float
    error: float
    spread: float
    local: np.ndarray
    local_error: np.ndarray

    @property
    def found(self) -> bool:
        return self.first >= 0

    @property
    def standard_error(self) -> float:
        return float(np.hypot(self.error, self.spread))


def slope_of(x: np.ndarray, y: Float[np.ndarray, "*batch n"]) -> np.ndarray:
    """Least squares, along the last axis."""
    away = x - x.mean()
    return np.asarray((y * away).sum(-1) / (away**2).sum())


def jackknife(values: Float[np.ndarray, block *rest]) -> np.ndarray:
    """Standard error from estimates that leave one block out each (Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans)."""
    B = len(values)
    return np.asarray(np.sqrt((B - 1) / B * ((values - values.mean(0)) ** 2).sum(0)))


def straight_region(
    x: np.ndarray, y: np.ndarray, without: Float[np.ndarray, "block n"], shortest: float, tolerance: float, positive: bool = True
) -> Region:
    """The longest range of x, at least ``shortest`` long, over which the local slope is constant within its error.

    A local slope is that of five neighbouring points. A range counts if each of its local slopes lies within ``tolerance`` times the range's slope, or within
    two of its own standard errors, of that slope, and has a standard error within ``tolerance`` times the slope, or nothing would be known of it; and if
    slopes over
    the range's lower and upper half agree likewise. The longest wins, of equally long ones the straightest. Points where y is not finite are in no range.
    positive: only ranges with a slope above zero. O(n^3).
    """
    n = len(x)
    local, error = np.full(n, np.nan), np.full(n, np.nan)
    good = np.isfinite(y) & np.isfinite(without).all(0)
    for i in range(AROUND, n - AROUND):
        part = slice(i - AROUND, i + AROUND + 1)
        if not good[part].all():
            continue
        local[i], error[i] = slope_of(x[part], y[part]), jackknife(slope_of(x[part], without[:, part]))
    best, chosen = (0.0, -np.inf), (-1, -1)
    for a in range(n):
        for b in range(a + 2 * AROUND, n):
            if not good[b] or not good[a]:
                break
            if x[b] - x[a] < max(shortest, best[0] - 1e-9 * abs(best[0])):
                continue
            if not good[a : b + 1].all():
                break
            slope = float(slope_of(x[a : b + 1], y[a : b + 1]))
            if positive and slope <= 0:
                continue
            inner, own = local[a + AROUND : b - AROUND + 1], error[a + AROUND : b - AROUND + 1]
            off = np.abs(inner - slope)
            if (own > tolerance * abs(slope)).any() or (off > np.maximum(tolerance * abs(slope), 2 * own)).any():
                continue
            middle = (a + b) // 2
            lower, upper = (slice(a, middle + 1), slice(middle, b + 1))
            gap = slope_of(x[lower], y[lower]) - slope_of(x[upper], y[upper])
            if abs(gap) > max(tolerance * abs(slope), 2 * float(jackknife(slope_of(x[lower], without[:, lower]) - slope_of(x[upper], without[:, upper])))):
                continue
            score = (float(x[b] - x[a]), -float(off.max()))
            if score[0] > best[0] + 1e-9 * abs(best[0]) or score[1] > best[1]:
                best, chosen = score, (a, b)
    a, b = chosen
    if a < 0:
        return Region(-1, -1, np.nan, np.nan, np.nan, local, error)
    part = slice(a, b + 1)
    inside = [
        slope_of(x[i : j + 1], y[i : j + 1]) for i in range(a, b + 1) for j in range(i + 2, b + 1) if x[j] - x[i] >= (x[b] - x[a]) / 2 - 1e-12
    ]
    return Region(a, b, float(slope_of(x[part], y[part])), float(jackknife(slope_of(x[part], without[:, part]))), float(np.std(inside)), local, error)
