"""From what users hold (arrays, tensors, frames, labelled arrays, lists of any of them) to trials of values with names and times.

Axes are taken by name or by the stated order, never guessed from sizes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError

from ._faults import plain
from ._tables import is_clock
from ._time import regular_step

# dims of results, and variables of recordings: a channel axis of such a name would collide with them
RESERVED = frozenset(
    ["fit", "trial", "time", "latent", "input", "exponent", "fixed_point", "cycle", "symbol", "update", "frequency", "epoch",
     "observed", "n_time", "inputs"]
)


@dataclass
class Trials:
    """``values``: one [time, channel] array a trial; ``names`` None where the source has none; ``step`` None where it keeps no time.

    ``elapsed``, with a time axis alone: one [time] array a trial, the time since the sample before, NaN at the first."""

    values: list[np.ndarray]
    dim: str
    names: list[Any] | None = None
    times: np.ndarray | None = None
    step: float | None = None
    units: str | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    elapsed: list[np.ndarray] | None = None


def to_trials(x: Any, dims: Sequence[str] | None, default: str, what: str, uneven: bool = False) -> Trials:
    """``x`` as trials; ``what`` names it in messages ('x' or 'inputs'), ``default`` is its channel dim where the source names none; time axes may be
    ``uneven``."""
    if isinstance(x, xr.DataArray):
        _no_dims(dims, what, "an xr.DataArray")
        return _labelled(x, default, what, uneven)
    if isinstance(x, pd.Series):
        raise RecordingError(f"{what} is one column: pass a frame, {what}.to_frame(), so that it is one channel over time.")
    if isinstance(x, pd.DataFrame):
        _no_dims(dims, what, "a frame")
        return _frame(x, default, what, uneven)
    if isinstance(x, (list, tuple)):
        return _listed(x, dims, default, what, uneven)
    return _bare(x, dims, default, what)


def _no_dims(dims: Sequence[str] | None, what: str, kind: str) -> None:
    if dims is not None:
        raise ArgumentError(f"{what} is {kind}, whose axes have names of their own: leave dims out, or rename its axes.")


def _bare(x: Any, dims: Sequence[str] | None, default: str, what: str) -> Trials:
    values = numbers(x, what)
    if dims is None:
        if values.ndim not in (2, 3):
            hint = f"one channel over time is {what}[:, None]" if values.ndim == 1 else "pass dims=, the names of its axes"
            raise RecordingError(
                f"{what} has {values.ndim} axes, shape {values.shape}, but a recording is (time, {default}) or (trial, time, {default}): "
                f"{hint}."
            )
        dims = ("time", default) if values.ndim == 2 else ("trial", "time", default)
    dims = [dims] if isinstance(dims, str) else list(dims)
    if len(dims) != values.ndim:
        raise ArgumentError(f"dims={tuple(dims)} names {len(dims)} axes, but {what} has {values.ndim}, shape {values.shape}.")
    name = channel_dim(dims, default, what)
    order = [dims.index(axis) for axis in ("trial", "time", name) if axis in dims]
    values = values.transpose(order)
    return Trials(list(values) if values.ndim == 3 else [values], name)


def channel_dim(dims: Sequence[Any], default: str, what: str) -> str:
    """The axis that is neither 'trial' nor 'time', after a check that the three make a recording."""
    shown = ", ".join(map(repr, dims))
    unnamed = [axis for axis in dims if not isinstance(axis, str) or axis.startswith("dim_")]
    if unnamed:
        raise RecordingError(f"axis {unnamed[0]!r} of {what} has no name (axes: {shown}). Rename its axes to 'time' and, say, 'neuron'.")
    if "time" not in dims or len(set(dims)) < len(dims):
        raise RecordingError(f"{what} needs one axis named 'time', each name once; its axes are {shown}. Rename the one over time.")
    rest = [axis for axis in dims if axis not in ("trial", "time")]
    if len(rest) != 1:
        raise RecordingError(
            f"{what} needs exactly one axis beside 'time' and 'trial', that of its channels; its axes are {shown}. "
            + ("Add one: a single channel is an axis of size 1." if not rest else "Stack them into one.")
        )
    if rest[0] in RESERVED and rest[0] != default:
        raise RecordingError(f"axis {rest[0]!r} of {what} bears a reserved name. Rename it, for example to 'channel'.")
    return rest[0]


def _gaps(times: np.ndarray | None, n_trials: int) -> list[np.ndarray] | None:
    return None if times is None else [np.diff(times, prepend=np.nan)] * n_trials


def _labelled(x: xr.DataArray, default: str, what: str, uneven: bool) -> Trials:
    name = channel_dim(list(x.dims), default, what)
    x = x.transpose(*(axis for axis in ("trial", "time", name) if axis in x.dims))
    times, step, units = None, None, None
    if "time" in x.coords:
        times, step, units = regular_step(x["time"].values, f"the time axis of {what}", uneven)
        units = x["time"].attrs.get("units", units or ("s" if x["time"].dtype.kind == "f" else None))
    values = numbers(x.values, what)
    names = [plain(label) for label in x[name].values] if name in x.coords else None
    values = list(values) if values.ndim == 3 else [values]
    return Trials(values, name, names, times, step, units, dict(x.attrs), _gaps(times, len(values)))


def _frame(x: pd.DataFrame, default: str, what: str, uneven: bool) -> Trials:
    if x.columns.nlevels > 1 or x.index.nlevels > 1:
        raise RecordingError(f"{what} has a hierarchical index; a recording's frame has one row a sample and one column a channel.")
    clocks = [column for column in x.columns if isinstance(column, str) and is_clock(column)]
    if len(clocks) == 1 and isinstance(x.index, pd.RangeIndex):                       # as in a file: this column is the time
        x = x.set_index(clocks[0])
    columns = []
    for place, column in enumerate(x.columns):
        series = x.iloc[:, place]
        if pd.api.types.is_datetime64_any_dtype(series) or pd.api.types.is_timedelta64_dtype(series):
            raise RecordingError(f"column {column!r} of {what} holds dates, not numbers. If it is the time, make it the index.")
        if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_complex_dtype(series):
            columns.append(series.to_numpy(dtype=float, na_value=np.nan))
        else:
            columns.append(numbers(series.to_numpy(dtype=object, na_value=np.nan), f"column {column!r} of {what}"))
    values = np.stack(columns, axis=1) if columns else np.empty((len(x), 0))
    dim = x.columns.name if isinstance(x.columns.name, str) and x.columns.name not in RESERVED else default
    names = [plain(column) for column in x.columns]
    if isinstance(x.index, pd.RangeIndex) and x.index.start == 0 and x.index.step == 1:
        return Trials([values], dim, names)
    times, step, units = regular_step(x.index.to_numpy(), f"the index of {what}", uneven)
    if x.index.dtype.kind in "iu" and step == 1:  # a count of samples, not a time
        return Trials([values], dim, names)
    return Trials([values], dim, names, times, step, units or ("s" if x.index.dtype.kind == "f" else None), elapsed=_gaps(times, 1))


def _listed(x: Sequence[Any], dims: Sequence[str] | None, default: str, what: str, uneven: bool) -> Trials:
    if len(x) == 0:
        raise RecordingError(f"{what} is an empty list: there is no trial in it.")
    if all(np.ndim(item) == 0 or isinstance(item, (str, bytes)) for item in x) or isinstance(x[0], (list, tuple)):
        raise RecordingError(
            f"{what} is a list of numbers or of lists. A list means trials, each an array (time, {default}); use np.asarray(...)."
        )
    parts = []
    for k, item in enumerate(x):
        part = to_trials(item, dims, default, f"trial {k} of {what}", uneven)
        if len(part.values) != 1:
            raise RecordingError(f"trial {k} of {what} has a trial axis of its own. In a list each item is one trial, (time, {default}).")
        parts.append(part)
    first = parts[0]
    for k, part in enumerate(parts):
        if part.dim != first.dim or part.values[0].shape[1] != first.values[0].shape[1]:
            raise RecordingError(
                f"trial {k} of {what} has {part.values[0].shape[1]} channels along {part.dim!r}, trial 0 has "
                f"{first.values[0].shape[1]} along {first.dim!r}. All trials need the same channels."
            )
        if part.names != first.names:
            raise RecordingError(f"trial {k} of {what} names its channels {part.names}, trial 0 names them {first.names}.")
        if (part.step is None) != (first.step is None) or (not uneven and part.step and first.step and abs(part.step / first.step - 1) > 0.01):
            raise RecordingError(f"trial {k} of {what} is sampled every {part.step}, trial 0 every {first.step}. Resample to one step.")
    longest = max(parts, key=lambda part: part.values[0].shape[0])
    together = all(part.times is not None and part.times[:1] == first.times[:1] for part in parts if first.times is not None)
    if uneven:
        together = len(parts) == 1
    times = longest.times if together else None  # trials that start at different times share an axis from 0
    gaps = [part.elapsed[0] for part in parts if part.elapsed is not None]
    elapsed = gaps if len(gaps) == len(parts) else None
    return Trials([part.values[0] for part in parts], first.dim, first.names, times, first.step, first.units, first.attrs, elapsed)


def numbers(x: Any, what: str) -> np.ndarray:
    """``x`` as a new float array (float32 stays), masked entries as NaN; RecordingError for what is no number."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        x = x.to_dense() if x.layout != torch.strided else x
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).resolve_conj().numpy()
    try:
        masked = np.ma.isMaskedArray(x)
        array = np.asarray(np.ma.getdata(x) if masked else x)
    except (ValueError, TypeError) as error:
        raise RecordingError(f"{what} makes no array of numbers ({error}). Trials of unequal length go in a list of arrays.") from error
    if array.dtype.kind == "c":
        raise RecordingError(f"{what} is complex. Pass real channels: .real and .imag, or modulus and angle, as channels of their own.")
    if array.dtype.kind == "O":
        array = _from_objects(array, what)
    if array.dtype.kind == "U" and not array.ndim:
        raise RecordingError(f"{what} is the text {str(x)!r}. A file is read by dr.read_recording(path), a known system made by dr.load_dataset(name).")
    if array.dtype.kind not in "biuf":
        raise RecordingError(f"{what} is not numeric: its type is {array.dtype}. Drop or encode what is no number.")
    dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    with np.errstate(over="ignore"):
        array = np.array(array, dtype=dtype)
    if masked:
        array[np.ma.getmaskarray(x)] = np.nan
    return array


def _from_objects(array: np.ndarray, what: str) -> np.ndarray:
    out = np.empty(array.shape, dtype=float)
    for place, item in np.ndenumerate(array):
        try:
            out[place] = np.nan if item is None or item is pd.NA else float(item)
            good = not isinstance(item, (str, bytes))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise RecordingError(f"{what} is not numeric: it holds {item!r} at index {place}. Drop or encode what is no number.")
    return out
