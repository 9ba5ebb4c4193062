"""Samples of a stream as they come: checked before anything is changed, with what is bad about them named or counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, RecordingError

GAP = 1.5                   # times the usual distance of two samples, from which on they do not follow each other


@dataclass
class Clock:
    """Time of the last sample and the usual distance of two, by which gaps are found. Without times a stream has no gaps."""

    dt: float | None = None
    last: float | None = None


@dataclass
class Block:
    """What is to be learned: x [T, N] with NaN for missing, u [T, K], restart [T] where a gap was; and the time after it."""

    x: np.ndarray
    u: np.ndarray
    restart: np.ndarray
    last: float | None
    found: dict[str, int] = field(default_factory=dict)


def checked(x: Any, u: Any, time: Any, n_channels: int, n_inputs: int, clock: Clock, on_bad: str, first: int) -> Block:
    """The block, with bad samples as missing ones (or left out, if their time goes backwards) where ``on_bad`` is ``skip``; ``first``: number of the first."""
    values, found = _matrix(x, n_channels, "channels", on_bad, first)
    T = len(values)
    if n_inputs == 0 and u is not None:
        raise ArgumentError("inputs were given, but the model takes none (input_dim=0).")
    if n_inputs and u is None:
        raise ArgumentError(f"the model takes {n_inputs} inputs: give u of shape ({n_inputs},) with every sample, or (time, {n_inputs}) with a block.")
    drive = np.zeros((T, 0)) if u is None else _inputs(u, T, n_inputs, first)
    if np.isinf(values).any():
        t, n = (int(k) for k in np.argwhere(np.isinf(values))[0])
        if on_bad == "raise":
            raise RecordingError(
                f"sample {first + t} is infinite in channel {n}. Nothing was learned from this block. Clean the source, give NaN where a value is missing, "
                "or take on_bad='skip', which counts such samples and goes on without them."
            )
        bad = np.isinf(values).any(1)
        found["infinite"] = int(bad.sum())
        values[bad] = np.nan
    found["missing"] = int(np.isnan(values).any(1).sum()) - found.get("infinite", 0) - found.get("width", 0)
    restart = np.zeros(T, dtype=np.bool_)
    if time is None:
        return Block(values, drive, restart, clock.last, found)
    return _timed(values, drive, np.atleast_1d(np.asarray(time, dtype=np.float64)), clock, on_bad, first, found)


def _matrix(x: Any, n: int, what: str, on_bad: str, first: int) -> tuple[np.ndarray, dict[str, int]]:
    try:
        values = np.array(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise RecordingError(f"sample {first}: {what} must be numbers, of shape ({n},) or (time, {n}), got {type(x).__name__}.") from None
    values = values[None] if values.ndim == 1 else values
    if values.ndim == 2 and values.shape[1] == n:
        return np.ascontiguousarray(values), {}
    if on_bad == "skip" and values.ndim == 2:
        return np.full((len(values), n), np.nan), {"width": len(values)}
    raise RecordingError(f"sample {first} has the shape {np.shape(x)}, but the model observes {n} {what}: samples are ({n},), blocks (time, {n}).")


def _inputs(u: Any, T: int, n: int, first: int) -> np.ndarray:
    drive = np.array(u, dtype=np.float64)
    drive = drive[None] if drive.ndim == 1 else drive
    if drive.shape != (T, n):
        raise RecordingError(f"inputs from sample {first} on must have shape ({T}, {n}), as many as samples, got {np.shape(u)}.")
    if not np.isfinite(drive).all():
        t, k = (int(i) for i in np.argwhere(~np.isfinite(drive))[0])
        raise RecordingError(f"sample {first + t}: input {k} is {drive[t, k]}. Inputs drive the model and cannot be missing: fill them in first.")
    return np.ascontiguousarray(drive)


def _timed(x: np.ndarray, u: np.ndarray, time: np.ndarray, clock: Clock, on_bad: str, first: int, found: dict[str, int]) -> Block:
    if time.shape != (len(x),) or not np.isfinite(time).all():
        raise RecordingError(f"time must be one finite number for each of {len(x)} samples from {first} on, got shape {time.shape}.")
    keep, restart, last = np.ones(len(x), dtype=np.bool_), np.zeros(len(x), dtype=np.bool_), clock.last
    for t, now in enumerate(time.tolist()):
        if last is not None and now <= last:
            if on_bad == "raise":
                raise RecordingError(
                    f"sample {first + t} is of time {now:g}, not after the one before it, of {last:g}. Nothing was learned from this block. Sort the source, "
                    "or take on_bad='skip', which counts and leaves out what comes too late."
                )
            keep[t], found["late"] = False, found.get("late", 0) + 1
            continue
        if last is not None and clock.dt is not None and now - last > GAP * clock.dt:
            restart[t], found["gaps"] = True, found.get("gaps", 0) + 1
        last = now
    return Block(x[keep], u[keep], restart[keep], last, found)
