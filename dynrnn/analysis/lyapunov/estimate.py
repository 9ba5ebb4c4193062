"""Exponents with their errors, from the growth of independent segments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

N_RESAMPLES = 1_000
NUMBERS_AT_ONCE = 1_000_000


def mean_and_error(segments: Float[np.ndarray, "*batch S k"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over segments and its standard error, [..., k]. -inf in any segment makes the mean -inf, and its error 0: a direction that dies has no more."""
    S = segments.shape[-2]
    dead: np.ndarray = np.asarray(np.isneginf(segments).any(-2))
    safe = np.where(dead[..., None, :], 0.0, segments)
    return np.where(dead, -np.inf, safe.mean(-2)), np.where(dead, 0.0, safe.std(-2, ddof=1) / np.sqrt(S))


def half_width(error: np.ndarray, n_segments: int, confidence: float) -> np.ndarray:
    """Of a confidence interval: Student's t with n_segments - 1 degrees of freedom."""
    return error * student.ppf(0.5 + confidence / 2, n_segments - 1)


def kaplan_yorke(exponents: Float[np.ndarray, "*batch k"]) -> tuple[np.ndarray, np.ndarray]:
    """Kaplan-Yorke dimension, and whether the spectrum reached far enough (Kaplan and Yorke 1979, Lecture Notes in Mathematics 730, 204).

    j + sum of the first j over |lambda_{j+1}|, j the largest number of leading exponents with a sum that is not negative; 0 where the first is negative. Where
    all sums are not negative the dimension is at least k, which is given, and not reached. -inf as lambda_{j+1} leaves j.

    >>> kaplan_yorke(np.array([[1.0, -1, -1], [1, 1, -0.5], [-1, -2, -3], [0.9, 0.0, -14.5]]))[0].round(3).tolist()
    [2.0, 3.0, 0.0, 2.062]
    """
    ordered = -np.sort(-np.asarray(exponents, dtype=float), axis=-1)
    k = ordered.shape[-1]
    sums = np.cumsum(ordered, -1)
    j = np.where((sums >= 0).all(-1), k, (sums < 0).argmax(-1))
    at = np.minimum(j, k - 1)[..., None]
    below = np.take_along_axis(ordered, at, -1)[..., 0]
    total = np.where(j > 0, np.take_along_axis(sums, np.maximum(j - 1, 0)[..., None], -1)[..., 0], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        dimension = np.where((j == 0) | (j == k), j, j + np.where(np.isneginf(below), 0.0, total / np.abs(below)))
    dimension = np.where(np.isnan(ordered).any(-1), np.nan, dimension)
    return np.asarray(dimension), np.asarray(j < k)


def resampled(segments: Float[np.ndarray, "F S k"], rng: np.random.Generator, n: int = N_RESAMPLES) -> Iterator[tuple[slice, np.ndarray]]:
    """Mean exponents [some, n, k] of n resamples of the segments with replacement, some fits at a time, with their places.

    The same draws for every fit, which makes a fit's numbers those that it has alone. O(F n (S k + k log k)).
    """
    F, S, k = segments.shape
    counts = rng.multinomial(S, np.full(S, 1 / S), n).astype(float)
    some = max(1, NUMBERS_AT_ONCE // (n * k))
    for first in range(0, F, some):
        at = slice(first, first + some)
        dead = np.isneginf(segments[at])
        means = counts @ np.where(dead, 0.0, segments[at]) / S
        yield at, np.where(counts @ dead.astype(float) > 0, -np.inf, means) if dead.any() else means


def neighbour_correlation(segments: Float[np.ndarray, "*batch S k"]) -> np.ndarray:
    """Correlation of neighbouring segments: where it is clearly above 0, errors are too small."""
    away = np.where(np.isfinite(segments), segments, 0.0)
    away = away - away.mean(-2, keepdims=True)
    square = (away**2).sum(-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(square > 0, (away[..., 1:, :] * away[..., :-1, :]).sum(-2) / square, 0.0)
