"""``as_recording``: whatever a user holds becomes the one labelled form that everything here works on, or a typed error says why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError

from ._checks import check_recording
from ._elapsed import elapsed_of, mean_elapsed, refuse_uneven
from ._sources import Trials, to_trials
from ._time import agree, check_dt, regular_step


def as_recording(
    x: Any, dt: float | int | None = None, inputs: Any = None, dims: Sequence[str] | None = None, units: str | None = None, elapsed: Any = None
) -> xr.Dataset:
    """A recording: ``observed`` (trial, time, <name>), ``n_time`` (trial), if given ``inputs`` (trial, time, input) and ``elapsed`` (trial, time).

    Returns an xr.Dataset with coordinates trial, time, <name> and the attributes ``dt`` and, where the time has one, ``units``. NaN within
    a trial's ``n_time`` steps means missing; shorter trials are padded with NaN. The values are a copy; ``x`` is never changed.

    Parameters
    ----------
    x : array, tensor or masked array (time, feature) or (trial, time, feature); a list of such (time, feature), one a trial, of any
        lengths; a pandas frame (columns are channels, a float or date index is the time); an xr.DataArray (axes by name: time, perhaps
        trial, and one more, which names the channels); a recording, which is checked and passed through. Axes are never guessed from
        sizes, so a bare 1-D array is an error.
    dt : time between samples, in ``units``. Default: from the time axis, else 1.0 without units.
    inputs : external inputs, in the same forms and of the same trials and lengths; ``u`` at index t+1 acts in the step to t+1.
        No NaN: an input that is not known cannot be stepped over.
    dims : names of a bare array's axes, in its own order, e.g. ("neuron", "time"); default as above with "feature".
    units : the unit of time; default "s" once a time is known.
    elapsed : for samples that are uneven in time, which ``dr.LTC`` takes: True keeps what the time axis says (of each trial in a list its own); or times
        (time,) of one trial, (trial, time), or a list of arrays (time,), where index t is the time since the sample before, above 0, and the first is never
        read. ``dt`` is then what counts as one step, by default the mean. None wants an even time axis, and a recording without ``elapsed``.

    Raises RecordingError naming channel, trial and time (all faults at once, the first ten shown), ArgumentError for contradictory
    arguments. Cost O(size). Fails to notice: axes passed in the wrong order, since sizes tell nothing.

    >>> import numpy as np
    >>> rec = as_recording(np.arange(6.0).reshape(3, 2), dt=0.5)
    >>> dict(rec["observed"].sizes), rec["time"].values.tolist()
    ({'trial': 1, 'time': 3, 'feature': 2}, [0.0, 0.5, 1.0])
    >>> as_recording(np.array([[1.0, 2.0], [3.0, np.inf]]))
    Traceback (most recent call last):
    dynrnn.errors.RecordingError: channel 1 is infinite (inf) in trial 0 at time index 1 (time 1). ...
    """
    dt = check_dt(dt)
    uneven = elapsed is True
    if isinstance(x, xr.Dataset):
        return _pass_through(x, dt, inputs, dims, units, elapsed)
    trials = to_trials(x, dims, "feature", "x", uneven)
    driven = None if inputs is None else to_trials(inputs, None, "input", "inputs", uneven)
    if driven is not None:
        _check_lengths(trials, driven, uneven)
    recording = _assemble(trials, driven, dt, units, elapsed_of(elapsed, trials))
    check_recording(recording)
    return recording


def uneven_or_even(x: Any) -> xr.Dataset:
    """``as_recording`` of what may have elapsed times: for callers that look at them."""
    return as_recording(x, elapsed=True if isinstance(x, xr.Dataset) and "elapsed" in x else None)


def _pass_through(x: xr.Dataset, dt: float | None, inputs: Any, dims: Any, units: str | None, elapsed: Any) -> xr.Dataset:
    if inputs is not None or dims is not None:
        raise ArgumentError("x is a recording already: its inputs and the names of its axes are part of it, so leave inputs and dims out.")
    if "observed" not in x.data_vars:
        names = ", ".join(map(str, x.data_vars)) or "none"
        raise RecordingError(f"this Dataset is no recording: it has no variable 'observed' (it has: {names}). Pass the DataArray itself.")
    recording = x.copy(deep=False)  # attributes and small variables may be added; values are shared and stay as they are
    if "n_time" not in recording and recording["observed"].ndim == 3 and {"trial", "time"} <= set(recording["observed"].dims):
        recording["n_time"] = ("trial", np.full(recording.sizes["trial"], recording.sizes["time"], dtype=np.int64))
    wanted = elapsed is not None and elapsed is not False
    if not wanted:
        refuse_uneven(recording)
    if wanted and not (elapsed is True and "elapsed" in recording):
        _keep_elapsed(recording, elapsed)
    stated = check_dt(recording.attrs.get("dt"))
    if stated is None and "elapsed" in recording:
        stated = mean_elapsed([values[: int(n)] for values, n in zip(recording["elapsed"].values, recording["n_time"].values)])
    if stated is None and "time" in recording.coords and recording["time"].dtype.kind in "fmM":
        stated = regular_step(recording["time"].values)[1]
    recording.attrs["dt"] = float((dt or stated if "elapsed" in recording else agree(dt, stated)) or 1.0)
    if units is not None:
        recording.attrs["units"] = units
    check_recording(recording)
    return recording


def _keep_elapsed(recording: xr.Dataset, elapsed: Any) -> None:
    """``elapsed`` as a variable of a recording that comes without one."""
    n_time = np.asarray(recording["n_time"].values)
    values = [recording["observed"].values[k, : int(n)] for k, n in enumerate(n_time)]
    gaps = None
    if elapsed is True and "time" in recording.coords:
        times = regular_step(recording["time"].values, uneven=True)[0]
        gaps = [np.diff(times[: int(n)], prepend=np.nan) for n in n_time]
    parts = elapsed_of(elapsed, Trials(values, str(recording["observed"].dims[-1]), elapsed=gaps))
    if parts is not None:
        recording["elapsed"] = ("trial", "time"), _pad([part[:, None] for part in parts], recording.sizes["time"])[..., 0]


def _check_lengths(trials: Trials, driven: Trials, uneven: bool) -> None:
    if len(trials.values) != len(driven.values):
        raise RecordingError(f"inputs have {len(driven.values)} trials, the recording has {len(trials.values)}. They must match.")
    for k, (values, u) in enumerate(zip(trials.values, driven.values)):
        if values.shape[0] != u.shape[0]:
            raise RecordingError(
                f"inputs of trial {k} have {u.shape[0]:,} time steps, its observations {values.shape[0]:,}. They must match: "
                "inputs are sampled at the same times."
            )
    if uneven and trials.elapsed is not None and driven.elapsed is not None:
        for k, (own, theirs) in enumerate(zip(trials.elapsed, driven.elapsed)):
            if not np.allclose(own[1:], theirs[1:], rtol=0.01, atol=0):
                raise RecordingError(f"inputs of trial {k} are sampled at other times than its observations. Resample them to the same times.")
    elif not uneven and trials.step and driven.step and abs(trials.step / driven.step - 1) > 0.01:
        raise RecordingError(f"inputs are sampled every {driven.step:g}, the recording every {trials.step:g}. Resample to one step.")


def _assemble(trials: Trials, driven: Trials | None, dt: float | None, units: str | None, elapsed: list[np.ndarray] | None) -> xr.Dataset:
    n_time = np.array([len(values) for values in trials.values], dtype=np.int64)
    length = int(n_time.max(initial=0))
    step = agree(dt, trials.step) if elapsed is None else dt or mean_elapsed(elapsed)
    if units is None:
        units = trials.units if trials.step is not None else ("s" if dt is not None or elapsed is not None else None)
    if trials.times is not None and trials.times.size == length:
        times = trials.times
    elif elapsed is not None and len(elapsed) == 1 and (elapsed[0][1:] > 0).all():
        times = np.concatenate([[0.0], np.cumsum(elapsed[0][1:])])
    else:
        times = np.arange(length) if step is None else step * np.arange(length)
    coords: dict[str, Any] = {
        "trial": np.arange(len(n_time)),
        "time": ("time", times, {} if units is None else {"units": units}),
        trials.dim: _labels(trials),
    }
    variables: dict[str, Any] = {"observed": (("trial", "time", trials.dim), _pad(trials.values, length)), "n_time": ("trial", n_time)}
    if driven is not None:
        if driven.dim == trials.dim:
            raise RecordingError(f"inputs and observations both name their channels' axis {trials.dim!r}. Rename that of the inputs.")
        variables["inputs"] = (("trial", "time", "input"), _pad(driven.values, length))
        coords["input"] = _labels(driven)
    if elapsed is not None:
        variables["elapsed"] = ("trial", "time"), _pad([part[:, None] for part in elapsed], length)[..., 0]
    attrs = {**trials.attrs, "dt": float(step or 1.0)}
    if units is not None:
        attrs["units"] = units
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _labels(trials: Trials) -> np.ndarray:
    n_channels = trials.values[0].shape[1]
    if trials.names is None:
        return np.arange(n_channels)
    if all(isinstance(name, int) and not isinstance(name, bool) for name in trials.names):
        return np.array(trials.names, dtype=np.int64)
    out = np.empty(n_channels, dtype=object)  # strings of variable length, as the stores need them
    out[:] = [str(name) for name in trials.names]
    return out


def _pad(values: list[np.ndarray], length: int) -> np.ndarray:
    dtype = np.result_type(*(item.dtype for item in values))
    out = np.full((len(values), length, values[0].shape[1]), np.nan, dtype=dtype)
    for k, item in enumerate(values):
        out[k, : len(item)] = item
    return out
