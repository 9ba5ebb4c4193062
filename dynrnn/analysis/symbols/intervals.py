"""Confidence intervals of transition probabilities."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

DOMINATES = 0.5                            # share of self-transitions beyond which samples of one run are not taken for independent
METHOD = (
    "Wilson, counts divided by the lag; in rows whose self-transitions dominate, the exit probability from the lengths of complete runs "
    "times Wilson over runs for where it leads"
)


def wilson(count: np.ndarray, total: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a proportion (1927); totals need not be whole."""
    p = count / total
    scale = 1 + z**2 / total
    centre = (p + z**2 / (2 * total)) / scale
    half = z * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2)) / scale
    low = np.where(count <= 0, 0.0, np.maximum(centre - half, 0.0))
    return low, np.where(count >= total, 1.0, np.minimum(centre + half, 1.0))


def intervals(
    a: np.ndarray, b: np.ndarray, count: np.ndarray, dwell: tuple[np.ndarray, np.ndarray, np.ndarray], *, lag: int, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of every edge's probability; dwell: (mean, sd, number) of each symbol's complete runs, in lags.

    Exits from one symbol are independent if the code is a Markov chain of order 1, and Wilson holds. Where dwell times are no such waiting times (a flow
    sampled finely stays for a fixed while) it does not; runs, not samples, are what is then independent, and an interval is made of both factors' ones:
    it is conservative, as both bounds are taken at once.
    """
    z = float(ndtri(0.5 + confidence / 2))
    mean, sd, runs = dwell
    n = len(mean)
    total = np.bincount(a, count, n)
    stay = np.zeros(n)
    loop = a == b
    stay[a[loop]] = count[loop] / total[a[loop]]
    low, high = wilson(count / lag, total[a] / lag, z)
    by_runs = (stay > DOMINATES) & (runs >= 2)
    if not by_runs.any():
        return low, high
    with np.errstate(invalid="ignore", divide="ignore"):
        wide = z * sd / np.sqrt(runs / lag)
        exit_low = np.where(by_runs, 1 / (mean + wide), 0.0)
        exit_high = np.where(by_runs, np.where(mean - wide > 1, 1 / np.maximum(mean - wide, 1), 1.0), 1.0)
    loop, away = loop & by_runs[a], ~loop & by_runs[a]
    # the estimate counts cut runs too, so it may lie a little outside: it is kept within
    p = count / total[a]
    low[loop], high[loop] = np.minimum(1 - exit_high[a[loop]], p[loop]), np.maximum(1 - exit_low[a[loop]], p[loop])
    leaving = total - stay * total
    q_low, q_high = wilson(count[away] / lag, leaving[a[away]] / lag, z)
    low[away], high[away] = np.minimum(q_low * exit_low[a[away]], p[away]), np.maximum(q_high * exit_high[a[away]], p[away])
    return low, high
