"""What every metric asks of its two arrays, and the random streams of this folder."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, RecordingError

Trials = list[np.ndarray]  # one (time, channel) float64 array a trial; NaN = missing


def as_matrix(name: str, values: np.ndarray) -> np.ndarray:
    """``values`` as float64 (time, channel), not empty."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ArgumentError(f"{name} must be a non-empty array (time, channel), got shape {matrix.shape}.")
    return matrix


def as_pair(true: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as float64 (time, channel) with the same channels; the true one without infinities."""
    true, generated = as_matrix("true", true), as_matrix("generated", generated)
    if true.shape[1] != generated.shape[1]:
        raise ArgumentError(f"true has {true.shape[1]} channels and generated has {generated.shape[1]}; they must be the same channels.")
    refuse_infinite([true])
    return true, generated


def refuse_infinite(trials: Sequence[np.ndarray]) -> None:
    for trial, values in enumerate(trials):
        if np.isinf(values).any():
            time, channel = (int(i) for i in np.argwhere(np.isinf(values))[0])
            raise RecordingError(
                f"the true recording is infinite at trial {trial}, time index {time}, channel {channel}. "
                "Mark a broken sample as missing with NaN; it then enters no score."
            )


def require_variation(values: np.ndarray, names: Sequence[Any] | None = None) -> np.ndarray:
    """Standard deviation (channel,) over the observed entries (NaN = missing); refuses a channel that has none, by its name in ``names``."""
    names = range(values.shape[1]) if names is None else names
    count = np.isfinite(values).sum(axis=0)
    if (count < 2).any():
        channel = int(np.argmax(count < 2))
        raise RecordingError(
            f"channel {names[channel]!r} of the true recording has {count[channel]} observed samples, too few to score. "
            "Drop it from both recordings."
        )
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    if (low == high).any():
        channel = int(np.argmax(low == high))
        raise RecordingError(
            f"channel {names[channel]!r} of the true recording is constant (all {count[channel]} observed samples equal {low[channel]:g}), "
            "so it has neither a range nor a spectrum to compare. Drop it from both recordings."
        )
    return np.nanstd(values, axis=0, ddof=1)


def stream(random_state: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A generator that depends on (random_state, purpose, index) and on nothing else."""
    return np.random.default_rng([random_state, zlib.crc32(purpose.encode()), index])
