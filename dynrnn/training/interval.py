"""How often to force, estimated from the data: first minimum of the mutual information, decay of the autocorrelation."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.signal import correlate

from dynrnn.data import uneven_or_even
from dynrnn.errors import unknown_name

INTERVAL_RULES = ("mutual-information", "autocorrelation", "shortest")
N_BINS, MAX_LAG = 64, 100


def _first_minimum(curve: np.ndarray) -> int:
    """Index of the first local minimum; the last index if the curve falls throughout."""
    turns = np.nonzero((curve[1:-1] <= curve[:-2]) & (curve[1:-1] < curve[2:]))[0]
    return int(turns[0]) + 1 if len(turns) else len(curve) - 1


def mutual_information(x: Float[np.ndarray, time], max_lag: int = MAX_LAG, n_bins: int = N_BINS) -> Float[np.ndarray, lag]:
    """Mutual information (nat) of x[t] and x[t + lag] for lag 0..max_lag, from histograms; pairs with a missing value are left out. O(time max_lag)."""
    low, high = np.nanmin(x), np.nanmax(x)
    seen = ~np.isnan(x)
    code = np.zeros(len(x), dtype=np.int64)
    code[seen] = np.minimum(((x[seen] - low) / (high - low) * n_bins).astype(np.int64), n_bins - 1)
    out = np.empty(max_lag + 1)
    for lag in range(max_lag + 1):
        both = seen[: len(x) - lag] & seen[lag:]
        pairs = code[: len(x) - lag][both] * n_bins + code[lag:][both]
        joint = np.bincount(pairs, minlength=n_bins * n_bins).reshape(n_bins, n_bins) / max(len(pairs), 1)
        outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        hit = joint > 0
        out[lag] = np.sum(joint[hit] * np.log(joint[hit] / outer[hit]))
    return out


def autocorrelation(x: Float[np.ndarray, time], max_lag: int = MAX_LAG) -> Float[np.ndarray, lag]:
    """Autocorrelation for lag 0..max_lag over the pairs that were seen. O(time log time)."""
    seen = (~np.isnan(x)).astype(np.float64)
    values = np.where(seen > 0, x - np.nanmean(x), 0.0)
    middle = len(x) - 1
    total = correlate(values, values, method="fft")[middle : middle + max_lag + 1]
    pairs = correlate(seen, seen, method="fft")[middle : middle + max_lag + 1]
    mean = total / np.maximum(np.round(pairs), 1)
    return mean / mean[0]


def estimate_interval(recording: Any, rule: str = "shortest") -> int:
    """Samples between forcings: the smallest over channels, at the longest trial, by the rule.

    ``mutual-information``: its first minimum (64 bins). ``autocorrelation``: the first lag where it is below 1/e, or its first minimum if that comes before.
    ``shortest``: the smaller of the two. At least 1, at most 100 or a quarter of the trial.
    """
    if rule not in INTERVAL_RULES:
        raise unknown_name("rule", rule, INTERVAL_RULES)
    recording = uneven_or_even(recording)
    trial = int(recording.n_time.values.argmax())
    n_time = int(recording.n_time[trial])
    x = np.asarray(recording.observed.isel(trial=trial).values[:n_time], dtype=np.float64)
    max_lag = max(2, min(MAX_LAG, n_time // 4))
    found = []
    for channel in x.T:
        if np.isnan(channel).all() or np.nanmin(channel) == np.nanmax(channel):
            continue
        if rule != "autocorrelation":
            found.append(_first_minimum(mutual_information(channel, max_lag)))
        if rule != "mutual-information":
            curve = autocorrelation(channel, max_lag)
            below = np.nonzero(curve < np.exp(-1))[0]
            found.append(min(int(below[0]) if len(below) else max_lag, _first_minimum(curve)))
    return max(1, min(found, default=1))
