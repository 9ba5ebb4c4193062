"""Training and test parts: blocks of time, or whole trials. Random time points are no split: neighbours in time are nearly copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError, check_int

from .recording import uneven_or_even


def split(recording: Any, train: float = 0.8, gap: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    """(training, test) of a recording, or of what ``as_recording`` takes: one trial is cut in time, several are parted as wholes, the first ones for training.

    ``train`` is the fraction of the steps (or trials), in (0, 1). ``gap`` steps between the two blocks of one trial are in neither, so
    that test samples are not the next moments of training samples: a few autocorrelation times. Both parts keep their times.

    >>> import numpy as np
    >>> from dynrnn.data import as_recording
    >>> first, last = split(as_recording(np.arange(10.0)[:, None]), train=0.5, gap=2)
    >>> first["time"].values.tolist(), last["time"].values.tolist()
    ([0, 1, 2, 3, 4], [7, 8, 9])
    """
    if isinstance(train, str) or not 0 < train < 1:
        raise ArgumentError(f"train must be a fraction between 0 and 1, got {train!r}.")
    recording = uneven_or_even(recording)
    gap = check_int("gap", gap, low=0)
    n_trials = recording.sizes["trial"]
    if n_trials > 1:
        if gap:
            raise ArgumentError(f"gap={gap} applies to one trial, split in time; these {n_trials} trials are parted whole. Leave it out.")
        n_train = min(max(round(train * n_trials), 1), n_trials - 1)
        return _trim(recording.isel(trial=slice(0, n_train))), _trim(recording.isel(trial=slice(n_train, None)))
    length = int(recording["n_time"].values[0])
    n_train = round(train * length)
    if n_train < 1 or n_train + gap >= length:
        raise RecordingError(f"a trial of {length:,} steps has no room for train={train} and gap={gap:,}: one of the parts would be empty.")
    return _block(recording, 0, n_train), _block(recording, n_train + gap, length)


def _block(recording: xr.Dataset, start: int, stop: int) -> xr.Dataset:
    part = recording.isel(time=slice(start, stop))
    return part.assign(n_time=("trial", np.array([stop - start], dtype=np.int64)))


def _trim(recording: xr.Dataset) -> xr.Dataset:
    """Without the padding that only the other part's longer trials need."""
    return recording.isel(time=slice(0, int(recording["n_time"].max())))
