"""How long each step of a free run takes, out of what the user gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.data import uneven_or_even
from dynrnn.errors import ArgumentError
from dynrnn.models.base import Model


def elapsed_steps(model: Model, elapsed: Any, initial: Any, needed: int, n_trials: int) -> np.ndarray | None:
    """Elapsed times [B, needed] in the recording's unit, in which index t acts in the step to t; None where each step takes the model's own."""
    if elapsed is None and isinstance(initial, xr.Dataset) and "elapsed" in initial:
        recording = uneven_or_even(initial)
        beyond = np.arange(recording.sizes["time"]) >= recording.n_time.values[:, None]
        elapsed = np.where(beyond, float(recording.attrs["dt"]), recording.elapsed.values)      # of trials that are shorter than others
    if elapsed is None:
        return None
    if not model.takes_elapsed:
        raise ArgumentError(f"elapsed was given, but a {model.family} model takes even steps; dr.LTC gives each step its own time.")
    if isinstance(elapsed, xr.DataArray):
        elapsed = elapsed.transpose(*(axis for axis in ("trial", "time") if axis in elapsed.dims)).values
    times = np.asarray(elapsed, dtype=np.float64)
    if times.ndim == 0:
        times = np.full((1, needed), float(times))
    elif times.ndim == 1 and n_trials == 1:
        times = times[None]
    if times.ndim != 2 or times.shape[0] not in (1, n_trials):
        raise ArgumentError(
            f"elapsed must be a number, or have shape (trial, time) = ({n_trials}, {needed:,} or more), got {times.shape}. Axes are never guessed: times "
            "(time,) that are the same for several trials are given as elapsed[None]."
        )
    if times.shape[1] < needed:
        raise ArgumentError(
            f"elapsed covers {times.shape[1]:,} samples, but transient + n_steps = {needed:,} are wanted. Give longer times, fewer steps, or one number."
        )
    bad = ~(np.isfinite(times) & (times > 0))[:, 1:needed]
    if bad.any():
        trial, at = (int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(f"elapsed is {times[trial, at + 1]:g} in trial {trial} at time index {at + 1}: the time of each step must be above 0 and finite.")
    return np.broadcast_to(times[:, :needed], (n_trials, needed))
