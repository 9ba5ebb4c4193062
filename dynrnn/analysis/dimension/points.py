"""Orbits as clouds of points: what is taken of what the user holds, how long it remembers, and what makes it unfit."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.symbols.orbits import as_states
from dynrnn.data import as_recording, refuse_uneven
from dynrnn.errors import ArgumentError

FEWEST = 500             # points
MEMORY = 3               # Theiler windows are so many times the longest decay of an autocorrelation to 1 / e
DISTINCT = 0.99          # share of distinct points below which values count as rounded


def as_orbits(data: Any, variable: str) -> tuple[np.ndarray, xr.DataArray, float]:
    """(values [fit, trial, time, feature] float64, the DataArray that they are from, dt). Recordings, orbits of ``generate``, arrays."""
    refuse_uneven(data)
    if not isinstance(data, (xr.Dataset, xr.DataArray, np.ndarray)):
        data = as_recording(data)
    states, _, dt = as_states(data, variable)
    values = np.asarray(states.values, dtype=np.float64)
    if isinstance(data, xr.Dataset) and "n_time" in data and variable == "observed":
        beyond = np.arange(values.shape[2]) >= data["n_time"].values[:, None]
        values = np.where(beyond[None, :, :, None], np.nan, values)
    if values.shape[2] < FEWEST:
        raise ArgumentError(f"the orbit has {values.shape[2]} samples, and at least {FEWEST} are needed, or no range of distances scales. Give more.")
    return values, states, dt


def decay_time(x: np.ndarray) -> int:
    """Samples after which the autocorrelation of every channel of x [time, feature] has first fallen below 1 / e; missing samples count as the mean.

    >>> decay_time(np.cos(2 * np.pi * np.arange(1_000) / 90)[:, None]) in (17, 18)               # cos(2 pi t / 90) = 1 / e at t = 17.1
    True
    """
    n = len(x)
    away = np.nan_to_num(x - np.nanmean(x, axis=0))
    away = away[:, (away**2).sum(0) > 0]
    power = np.abs(np.fft.rfft(away, 2 * n, axis=0)) ** 2
    correlation = np.fft.irfft(power, axis=0)[:n] / (n - np.arange(n))[:, None]
    below = correlation < correlation[0] / np.e
    return int(np.where(below.any(0), below.argmax(0), n).max(initial=1))


def unfit(x: np.ndarray) -> str:
    """Why the points x [time, feature] (missing ones dropped) have no distances to scale; empty if they have."""
    if not np.isfinite(x).all():
        return "orbit not finite"
    if len(x) < FEWEST:
        return f"only {len(x)} samples that are not missing, fewer than {FEWEST}"
    if (x.max(0) == x.min(0)).all():
        return "constant: every sample is the same"
    distinct = len(np.unique(x, axis=0))
    if distinct < FEWEST:
        return f"only {distinct} distinct points: a cycle, or values that were rounded"
    return ""


def resolution(x: np.ndarray) -> float:
    """The step to which values were rounded, 0 where nothing speaks for it: the largest over channels in which values repeat."""
    if len(np.unique(x, axis=0)) >= DISTINCT * len(x):
        return 0.0
    steps = [np.diff(np.unique(channel)) for channel in x.T]
    return max((float(step.min()) for step, channel in zip(steps, x.T, strict=True) if len(step) and len(step) + 1 < DISTINCT * len(channel)), default=0.0)


def embedded(x: np.ndarray, dimension: int, delay: int) -> np.ndarray:
    """Delay vectors (x_t, x_{t+delay}, ...) [time - (dimension - 1) delay, feature * dimension].

    >>> embedded(np.arange(6.0)[:, None], 3, 2).tolist()
    [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    """
    n = len(x) - (dimension - 1) * delay
    return np.concatenate([x[i * delay : i * delay + n] for i in range(dimension)], 1)
