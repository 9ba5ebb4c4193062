"""The time axis: is it regular, what is its step, in which unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, RecordingError

TOLERANCE = 0.05  # of a step: timestamps rounded to a few digits pass, a lost sample does not


def check_dt(dt: Any) -> float | None:
    """``dt`` as a positive float, or None."""
    if dt is None:
        return None
    try:
        number = float(dt)
    except (TypeError, ValueError):
        number = np.nan
    if isinstance(dt, bool) or not (np.isfinite(number) and number > 0):
        raise ArgumentError(f"dt must be a positive number (the time between samples), got {dt!r}.")
    return number


def regular_step(times: Any, what: str = "the time axis", uneven: bool = False) -> tuple[np.ndarray, float | None, str | None]:
    """(times as float, step, unit) of a regular axis; step None for fewer than two samples, unit "s" for dates, None if not known.

    Raises RecordingError where times are not finite, do not ascend, or keep no one step: each time must lie within 5 % of a step of the
    regular grid from first to last, and each gap within 5 % of the mean one (plus the rounding of the times' own type). With ``uneven`` gaps may be
    any, and the times stay as they are; the step is their mean.
    """
    times = np.asarray(times)
    unit = None
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise RecordingError(f"{what} holds no time (NaT) at index {int(np.argmax(np.isnat(times)))}.")
        times, unit = times - times[:1], "s"
    if times.dtype.kind == "m":
        times, unit = times / np.timedelta64(1, "s"), "s"
    if times.dtype.kind not in "iuf":
        raise RecordingError(f"{what} is not numeric (its type is {times.dtype}): give times in seconds, or leave them out and pass dt.")
    coarse = times.dtype.kind == "f" and times.dtype.itemsize < 8
    spacing = float(np.spacing(np.abs(times).max())) if times.dtype.kind == "f" and times.size else 0.0
    times = times.astype(float)
    finite = np.isfinite(times)
    if not finite.all():
        raise RecordingError(f"{what} is not finite at index {int(np.argmin(finite))}: a sample without a time has no place here.")
    if times.size < 2:
        return times, None, unit
    gaps = np.diff(times)
    if (gaps <= 0).any():
        at = int(np.argmax(gaps <= 0))
        raise RecordingError(
            f"{what} does not ascend: index {at} is at {times[at]:g}, index {at + 1} at {times[at + 1]:g}. "
            "Where it begins again, a trial begins: give trials as a list; sort what is out of order."
        )
    step = (times[-1] - times[0]) / (times.size - 1)
    if uneven:
        return times, step, unit
    slack = TOLERANCE * step + 2 * spacing
    drift = np.abs(times - (times[0] + step * np.arange(times.size)))
    if (np.abs(gaps - step) > slack).any() or (drift > slack).any():
        usual = float(np.median(gaps))
        at = int(np.argmax(np.abs(gaps - usual)))
        raise RecordingError(
            f"{what} has unequal steps: the worst gap is {gaps[at]:g}, from index {at} (time {times[at]:g}) to index {at + 1} "
            f"(time {times[at + 1]:g}), where the usual one is {usual:g}. Samples are missing or irregular: put NaN where samples are "
            "missing, interpolate to a regular axis yourself, or keep the times with as_recording(x, elapsed=True), which dr.LTC can use."
        )
    if coarse:  # the rounding of float32 would look irregular in float64: put the times back on the grid that they round
        times = times[0] + step * np.arange(times.size)
    return times, step, unit


def agree(dt: float | None, step: float | None) -> float | None:
    """The one step of an argument and an axis that may each be absent; ArgumentError where they contradict each other."""
    if dt is not None and step is not None and abs(dt - step) > TOLERANCE * step:
        raise ArgumentError(f"dt={dt:g} contradicts the time axis, whose step is {step:g}. Leave dt out, or drop the time coordinate.")
    return step if dt is None else dt
