"""Elapsed times of recordings whose samples are uneven: (trial, time), where index t is the time from sample t-1 to t. A trial's first entry is never read."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError

from ._faults import Faults
from ._sources import Trials


def elapsed_of(given: Any, trials: Trials) -> list[np.ndarray] | None:
    """One array a trial out of ``as_recording``'s argument: None, True (what the time axes say) or times."""
    if given is None or given is False:
        return None
    if given is True:
        if trials.elapsed is None:
            raise RecordingError("elapsed=True takes the times of x's own time axis, and x has none: give them, elapsed= of shape (trial, time) or (time,).")
        return trials.elapsed
    n_trials, lengths = len(trials.values), [len(values) for values in trials.values]
    if isinstance(given, (list, tuple)) and len(given) == n_trials and all(np.ndim(one) == 1 for one in given):
        parts = [np.asarray(one, dtype=np.float64) for one in given]
    else:
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"elapsed makes no array of numbers ({error}); for trials of unequal length give a list of arrays (time,).") from error
        parts = [values] if values.ndim == 1 and n_trials == 1 else list(values) if values.ndim == 2 and len(values) == n_trials else []
        if not parts:
            raise ArgumentError(
                f"elapsed has shape {values.shape}; for {n_trials} trials of {_shown(lengths)} samples give (trial, time), or a list of {n_trials} arrays "
                "(time,). Axes are never guessed from sizes: one axis of times belongs to a recording of one trial."
            )
    for k, (part, n) in enumerate(zip(parts, lengths)):
        if len(part) != n:
            raise RecordingError(
                f"elapsed of trial {k} has {len(part):,} entries, the trial {n:,} samples. There is one a sample: the time since the sample before, "
                "and anything at the first."
            )
    return [np.array(part) for part in parts]


def refuse_uneven(x: Any) -> None:
    """RecordingError where ``x`` is a recording, or an orbit, with elapsed times: for what counts samples as even steps."""
    if isinstance(x, xr.Dataset) and "elapsed" in x:
        raise RecordingError(
            "the samples are uneven in time (there is a variable 'elapsed'), and even steps are wanted here: resample them to an even axis, or generate "
            "with one number as elapsed. dr.fit, generate and evaluate use the times, with dr.LTC; dr.as_recording(x, elapsed=True) checks them."
        )


def mean_elapsed(elapsed: list[np.ndarray]) -> float | None:
    """The mean time between samples that is finite and above 0; None where there is none."""
    known = np.concatenate([part[1:] for part in elapsed])
    known = known[np.isfinite(known) & (known > 0)]
    return float(known.mean()) if known.size else None


def inside(recording: xr.Dataset) -> np.ndarray:
    """[trial, time]: where an elapsed time is read, from the second sample of a trial to its last."""
    at = np.arange(recording.sizes["time"])
    return (at >= 1) & (at < recording["n_time"].values[:, None])


def check_elapsed(recording: xr.Dataset, faults: Faults) -> None:
    """Adds what is not a time above 0 and finite, by trial and time; RecordingError for another form."""
    elapsed = recording["elapsed"]
    if tuple(elapsed.dims) != ("trial", "time") or elapsed.dtype.kind != "f":
        raise RecordingError(f"elapsed is {elapsed.dtype} along {elapsed.dims}; it must be floating along ('trial', 'time').")
    values = elapsed.values
    bad = inside(recording) & ~(np.isfinite(values) & (values > 0))
    for trial, at in np.argwhere(bad):
        faults.add(f"elapsed is {values[trial, at]:g} in trial {trial} at time index {at}: the time since the sample before must be above 0 and finite.")


def _shown(lengths: list[int]) -> str:
    return f"{lengths[0]:,}" if len(set(lengths)) == 1 else f"{min(lengths):,} to {max(lengths):,}"
