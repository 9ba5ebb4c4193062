"""Samples and targets as a learner's compiled loop takes them: shapes refused, and bad samples found before anything is changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, RecordingError
from dynrnn_kernels.columnar import ASKED, CLASSIFICATION, LARGEST, RESET, SKIP, TD


class Block(NamedTuple):
    """x [F or 1, T, D], target [F or 1, T, P] float64, flags [F, T] int64."""

    x: np.ndarray
    target: np.ndarray
    flags: np.ndarray


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
        f, t = (int(i) for i in np.argwhere(bad)[np.argwhere(bad)[:, 1].argmin()])
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
