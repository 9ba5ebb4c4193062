"""What makes an xr.Dataset a recording; every fault is found, not only the first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import xarray as xr

from dynrnn.errors import RecordingError

from ._elapsed import check_elapsed
from ._faults import Faults, observed_dim, plain
from ._sources import channel_dim
from ._time import agree, regular_step


def check_recording(recording: xr.Dataset) -> None:
    """RecordingError unless ``recording`` keeps to the form that ``as_recording`` describes. Cost O(size), scanned in whole."""
    _check_form(recording)
    dim = observed_dim(recording)
    observed = recording["observed"].values
    length, n_channels = observed.shape[1:]
    faults = Faults()

    for axis in (dim, "input") if "inputs" in recording else (dim,):
        if axis in recording.coords:
            twice = [name for name, count in Counter(map(plain, recording[axis].values)).items() if count > 1]
            for name in twice:
                faults.add(f"two channels along {axis!r} are named {name!r}. Give each a name of its own.")
    names = recording[dim].values if dim in recording.coords else np.arange(n_channels)
    times = recording["time"].values if "time" in recording.coords else np.arange(length)
    times = times.astype(float) if times.dtype.kind in "iuf" else np.arange(length, dtype=float)

    n_time = recording["n_time"].values
    for trial in np.flatnonzero((n_time < 1) | (n_time > length)):
        faults.add(f"n_time of trial {trial} is {n_time[trial]}, but a trial holds 1 to {length:,} steps.")
    if (n_time > length).any():
        faults.raise_if_any("A recording that was cut along time keeps the lengths that it had: drop them with rec.drop_vars('n_time').")
    if (n_time < 1).any():
        faults.raise_if_any("Leave out trials without a step.")
    inside = np.arange(length) < n_time[:, None]  # [trial, time]
    faults.add_entries(np.isinf(observed), observed, names, "channel", "is infinite", times)
    present = ~np.isnan(observed)
    if "elapsed" in recording:
        check_elapsed(recording, faults)
    beyond = present & ~inside[:, :, None]
    for trial in np.flatnonzero(beyond.any(axis=(1, 2))):
        step = int(np.argmax(beyond[trial].any(axis=1)))
        faults.add(f"trial {trial} has n_time {n_time[trial]:,} but holds values at time index {step}: beyond n_time all must be NaN.")
    for channel in np.flatnonzero(~present.any(axis=(0, 1))):
        name = plain(names[channel])
        faults.add(f"channel {name!r} is missing throughout (all NaN, in every trial). Drop it with rec.drop_sel({dim}={name!r}).")
    if "inputs" in recording:
        inputs = recording["inputs"].values
        labels = recording["input"].values if "input" in recording.coords else np.arange(inputs.shape[-1])
        faults.add_entries(np.isinf(inputs), inputs, labels, "input", "is infinite", times)
        faults.add_entries(np.isnan(inputs) & inside[:, :, None], inputs, labels, "input", "is missing", times)
    if faults.shown and all(fault.startswith("elapsed") for fault in faults.shown):
        faults.raise_if_any("Times must ascend; drop samples that were taken twice.")
    faults.raise_if_any("Mark what is missing as NaN; NaN in inputs is not allowed: the step into that time cannot be taken without it.")


def _check_form(recording: xr.Dataset) -> None:
    """Structural faults, which leave nothing further to look at, are raised one at a time."""
    observed = recording["observed"]
    dim = channel_dim(list(observed.dims), "feature", "observed")
    if tuple(observed.dims) != ("trial", "time", dim):
        raise RecordingError(f"observed has the axes {observed.dims}; a recording has ('trial', 'time', {dim!r}), in this order.")
    if observed.dtype.kind not in "f":
        raise RecordingError(f"observed holds {observed.dtype}, not floating-point numbers: build the recording with dr.as_recording.")
    empty = [f"{axis!r}" for axis, size in observed.sizes.items() if size == 0]
    if empty:
        raise RecordingError(f"the recording is empty: no entries along {', '.join(empty)}.")
    n_time = recording.get("n_time")
    if n_time is None or n_time.dims != ("trial",) or n_time.dtype.kind not in "iu":
        raise RecordingError("n_time must give the valid steps of each trial: whole numbers along ('trial',).")
    if "time" in recording.coords:
        _, step, _ = regular_step(recording["time"].values, uneven="elapsed" in recording)
        if "elapsed" not in recording and step is not None and recording["time"].dtype.kind == "f":
            agree(float(recording.attrs["dt"]), step)
    if "inputs" in recording:
        inputs = recording["inputs"]
        if tuple(inputs.dims) != ("trial", "time", "input") or inputs.dtype.kind not in "f":
            raise RecordingError(f"inputs are {inputs.dtype} along {inputs.dims}; they must be floating along ('trial', 'time', 'input').")
        if inputs.sizes["input"] == 0:
            raise RecordingError("inputs have no channel. Leave them out.")
