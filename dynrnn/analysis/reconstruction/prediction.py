"""Short-term scores of forecasts from many starts: error at one lead, and how long a forecast stays valid."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dynrnn.errors import ArgumentError, RecordingError, check_int


class ValidTime(NamedTuple):
    """Median valid prediction time over the starts, and the share of starts that stayed valid over the whole horizon."""

    value: float
    censored: float


def prediction_error(
    truth: Float[np.ndarray, "start lead channel"],
    forecast: Float[np.ndarray, "start lead channel"],
    *,
    n: int = 20,
    sd: Float[np.ndarray, " channel"] | None = None,
) -> float:
    """Mean squared error at lead ``n`` alone (not up to it), over starts and channels, in units of each channel's variance.

    ``truth`` and ``forecast`` (start, lead, channel) hold leads 1, 2, ...; ``sd`` (channel,) standardises them (default: they already are).
    Missing (NaN) entries of ``truth`` do not enter. A non-finite forecast at lead ``n`` gives ``inf``. 2 is the error of an independent
    draw from the invariant measure, 1 that of its mean.

    Method: PE(n) of Koppe et al. 2019 (PLoS Comput. Biol. 15:e1007263). Cost: O(start * channel).

    >>> truth = np.zeros((5, 3, 2))
    >>> prediction_error(truth, truth + np.arange(1, 4)[:, None], n=2)
    4.0
    """
    n = check_int("n", n, low=1, high=truth.shape[1])
    actual, predicted = truth[:, n - 1].astype(np.float64), forecast[:, n - 1].astype(np.float64)
    observed = ~np.isnan(actual)
    if not observed.any():
        raise RecordingError(f"no sample of the true recording is observed {n} steps after any start, so prediction_error has no entry.")
    if not np.isfinite(predicted).all():
        return math.inf
    with np.errstate(over="ignore"):
        squared = ((predicted - actual) / (1.0 if sd is None else sd)) ** 2
        return float(np.mean(squared[observed]))


def valid_prediction_time(
    truth: Float[np.ndarray, "start lead channel"],
    forecast: Float[np.ndarray, "start lead channel"],
    *,
    dt: float = 1.0,
    max_lyapunov: float | None = None,
    threshold: float = 0.4,
    sd: Float[np.ndarray, " channel"] | None = None,
) -> float:
    """Median over starts of the time for which a forecast stays within ``threshold`` of the truth.

    The error at a lead is the root mean square over channels of (forecast - truth) / sd. A forecast is valid up to the last lead before
    the first one whose error exceeds ``threshold``: 0 if lead 1 already does, the whole horizon if none does (censored; see
    :func:`valid_times`). In units of ``dt``, or in Lyapunov times (multiplied by ``max_lyapunov``, per unit of time) where that is given.

    ``truth`` and ``forecast`` (start, lead, channel), leads 1, 2, ...; missing (NaN) entries of ``truth`` do not enter. A non-finite
    forecast is invalid from there on.

    Method: valid prediction time of Vlachas et al. 2020 (Neural Networks 126:191), with the threshold 0.4 of Pathak et al. 2018 (PRL
    120:024102), who normalise by the total instead of each channel's sd. Cost: O(start * lead * channel).

    >>> truth = np.zeros((4, 10, 1))
    >>> valid_prediction_time(truth, truth + 0.15 * np.arange(1, 11)[:, None], dt=0.5)      # 0.15, 0.30, then 0.45 > 0.4
    1.0
    """
    return valid_times(truth, forecast, dt=dt, max_lyapunov=max_lyapunov, threshold=threshold, sd=sd).value


def valid_times(
    truth: Float[np.ndarray, "start lead channel"],
    forecast: Float[np.ndarray, "start lead channel"],
    *,
    dt: float = 1.0,
    max_lyapunov: float | None = None,
    threshold: float = 0.4,
    sd: Float[np.ndarray, " channel"] | None = None,
) -> ValidTime:
    """:func:`valid_prediction_time` together with the share of starts at which it is only a lower bound."""
    if not threshold > 0:
        raise ArgumentError(f"threshold must be positive, got {threshold!r}.")
    if not truth.size:
        raise ArgumentError(f"truth has no entries (shape {truth.shape}): no start or no lead.")
    observed = ~np.isnan(truth)
    bad = ~np.isfinite(forecast).all(axis=2)
    with np.errstate(over="ignore", invalid="ignore"):
        squared = ((forecast.astype(np.float64) - truth) / (1.0 if sd is None else sd)) ** 2
        error = np.sqrt(np.where(observed, squared, 0.0).sum(axis=2) / np.maximum(observed.sum(axis=2), 1))
        exceeds = bad | (error > threshold)
    n_valid = np.where(exceeds.any(axis=1), exceeds.argmax(axis=1), truth.shape[1])
    unit = dt * (1.0 if max_lyapunov is None else max_lyapunov)
    return ValidTime(float(np.median(n_valid)) * unit, float(np.mean(n_valid == truth.shape[1])))
