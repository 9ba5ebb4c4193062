"""Samples as learners take them: shapes refused, and bad samples found before anything is changed, named or counted.

``checked`` is for models of dynamics, whose samples are observations with times, gaps and missing values; ``block_of`` for learners of units that do
not mix, which have inputs and targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError
from dynrnn_kernels.columnar import ASKED, CLASSIFICATION, LARGEST, RESET, SKIP, TD

GAP = 1.5                   # times the usual distance of two samples, from which on they do not follow each other


class Block(NamedTuple):
    """x [F or 1, T, D], target [F or 1, T, P] float64, flags [F, T] int64."""

    x: np.ndarray
    target: np.ndarray
    flags: np.ndarray


def first_of(bad: np.ndarray) -> tuple[int, ...]:
    """Where the first true entry is, in the order of the axes."""
    return tuple(int(i) for i in np.argwhere(bad)[0])


def numbers(name: str, value: Any) -> np.ndarray:
    """A real array in the order (fit, time, ...); named dims are put in this order."""
    if isinstance(value, xr.DataArray):
        value = value.transpose(*(d for d in ("fit", "time") if d in value.dims), ...)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ArgumentError(f"{name} must be an array of real numbers: {error}.") from None
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"{name} must hold real numbers, got {array.dtype}.")
    return array


def block_of(
    x: Any, target: Any, asked: Any, reset: Any, *, n_fits: int, input_dim: int, output_dim: int, kind: int, seen: int, skips: bool
) -> Block:
    """What may be learned, with the samples that may not flagged; ArgumentError for shapes, RecordingError for the first bad sample unless it is to be skipped.

    A block of another width is all bad samples.
    """
    F, D, P = n_fits, input_dim, output_dim
    x = numbers("the block", x)
    if x.ndim not in (2, 3) or (x.ndim == 3 and len(x) != F):
        raise ArgumentError(f"a block must be (time, input) or (fit, time, input) with {F} fits and {D} inputs, got shape {x.shape}.")
    x = x.reshape(-1, *x.shape[-2:])
    T = x.shape[1]
    if x.shape[2] != D:
        if not skips:
            raise RecordingError(f"samples have {x.shape[2]} inputs from sample {seen} of the stream on, the learner has {D}. Its state is as it was.")
        return Block(np.zeros((1, T, D)), np.zeros((1, T, P)), np.full((F, T), SKIP))
    flags = np.zeros((F, T), np.int64)
    if target is None:
        if asked is not None:
            raise ArgumentError("asked says at which samples there is a target; there is none without target.")
        goal = np.zeros((1, T, P))
    else:
        flags |= ASKED if asked is None else ASKED * truth("asked", asked, F, T)
        goal = targets(target, F, T, P, kind)
    if reset is not None and reset is not False:
        flags |= RESET * truth("reset", reset, F, T)
    x, goal = (np.require(a, np.float64, ["C", "W"]) for a in (x, goal))                     # compiled for one kind of array
    if not T or (np.abs(x).max() <= LARGEST and np.abs(goal).max() <= LARGEST):             # false for NaN
        return Block(x, goal, flags)
    fine, known = np.abs(x) <= LARGEST, np.abs(goal) <= LARGEST
    bad = np.broadcast_to(~fine.all(2), (F, T)) | (np.broadcast_to(~known.all(2), (F, T)) & (flags & ASKED != 0))
    if bad.any() and not skips:
        t, f = first_of(bad.T)
        row = fine[min(f, len(fine) - 1), t]
        k = None if row.all() else int(np.flatnonzero(~row)[0])
        what = "its target" if k is None else f"input {k} is {x[min(f, len(x) - 1), t, k]}"
        if k is None:
            what += " is out of range" if kind == CLASSIFICATION else f" is {goal[min(f, len(goal) - 1), t].tolist()}"
        raise RecordingError(
            f"sample {seen + t} of the stream (number {t} of the block, fit {f}): {what}; numbers must be finite and within {LARGEST:g}, labels from 0 to "
            f"output_dim - 1. Nothing of the block was used. Mend it, or take on_bad='skip', which leaves such samples out and counts them in n_skipped."
        )
    return Block(x, goal, flags | SKIP * bad)


def truth(name: str, value: Any, F: int, T: int) -> np.ndarray:
    """Booleans [F, T] of one value, of (time), or of (fit, time)."""
    array = np.asarray(value)
    if array.dtype != bool or array.shape not in ((), (T,), (F, T)):
        raise ArgumentError(f"{name} must be booleans of shape ({T},), or ({F}, {T}) with the fit first; got {array.dtype} of shape {array.shape}.")
    return np.broadcast_to(array, (F, T)).astype(np.int64)


def targets(target: Any, F: int, T: int, P: int, kind: int) -> np.ndarray:
    """[F or 1, T, P]. Labels become one-hot; a label out of range is NaN, so that it is found with other bad targets."""
    goal = numbers("target", target)
    scalar, vector = ((T,), (F, T)), ((T, P), (F, T, P))
    allowed = scalar if kind in (TD, CLASSIFICATION) else scalar + vector if P == 1 else vector
    if goal.shape not in allowed:
        what = {TD: "cumulants", CLASSIFICATION: "labels"}.get(kind, "targets")
        raise ArgumentError(f"{what} must be of shape {allowed[0]}, or {allowed[1]} with the fit first; got {goal.shape}.")
    if kind == CLASSIFICATION:
        if goal.dtype.kind not in "iu":
            raise ArgumentError(f"labels must be whole numbers from 0 to {P - 1}, got {goal.dtype}.")
        out = np.where(((goal >= 0) & (goal < P))[..., None], np.eye(P)[np.clip(goal, 0, P - 1)], np.nan)
        return out.reshape(-1, T, P)
    return goal.reshape(-1, T, P)


@dataclass
class Clock:
    """Time of the last sample and the usual distance of two, by which gaps are found. Without times a stream has no gaps."""

    dt: float | None = None
    last: float | None = None


@dataclass
class Observations:
    """What is to be learned: x [T, N] with NaN for missing, u [T, K], restart [T] where a gap was; and the time after it."""

    x: np.ndarray
    u: np.ndarray
    restart: np.ndarray
    last: float | None
    found: dict[str, int] = field(default_factory=dict)


def checked(x: Any, u: Any, time: Any, n_channels: int, n_inputs: int, clock: Clock, on_bad: str, first: int) -> Observations:
    """What a model of dynamics observes; bad samples as missing ones (or left out, if their time goes backwards) where ``on_bad`` is ``skip``.

    first : number of the first.
    """
    values, found = matrix(x, n_channels, "channels", on_bad, first)
    T = len(values)
    if n_inputs == 0 and u is not None:
        raise ArgumentError("inputs were given, but the model takes none (input_dim=0).")
    if n_inputs and u is None:
        raise ArgumentError(f"the model takes {n_inputs} inputs: give u of shape ({n_inputs},) with every sample, or (time, {n_inputs}) with a block.")
    drive = np.zeros((T, 0)) if u is None else drives(u, T, n_inputs, first)
    if np.isinf(values).any():
        t, n = first_of(np.isinf(values))
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
        return Observations(values, drive, restart, clock.last, found)
    return timed(values, drive, np.atleast_1d(np.asarray(time, dtype=np.float64)), clock, on_bad, first, found)


def matrix(x: Any, n: int, what: str, on_bad: str, first: int) -> tuple[np.ndarray, dict[str, int]]:
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


def drives(u: Any, T: int, n: int, first: int) -> np.ndarray:
    drive = np.array(u, dtype=np.float64)
    drive = drive[None] if drive.ndim == 1 else drive
    if drive.shape != (T, n):
        raise RecordingError(f"inputs from sample {first} on must have shape ({T}, {n}), as many as samples, got {np.shape(u)}.")
    if not np.isfinite(drive).all():
        t, k = first_of(~np.isfinite(drive))
        raise RecordingError(f"sample {first + t}: input {k} is {drive[t, k]}. Inputs drive the model and cannot be missing: fill them in first.")
    return np.ascontiguousarray(drive)


def timed(x: np.ndarray, u: np.ndarray, time: np.ndarray, clock: Clock, on_bad: str, first: int, found: dict[str, int]) -> Observations:
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
    return Observations(x[keep], u[keep], restart[keep], last, found)
