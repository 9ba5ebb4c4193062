"""Initial states whose ends are looked at: given ones, random ones in a box, and for models random latent states as those of training data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Subject
from dynrnn.analysis.smooth.starts import given_starts
from dynrnn.errors import ArgumentError
from dynrnn.streams import stream

FEWEST = 8               # random starts: of fewer the intervals say nothing


def box_of(box: Any, M: int) -> np.ndarray:
    """``box`` as corners (2, M), low and high; ArgumentError for what is none."""
    wanted = f"box must be (low, high), each a number or one number for each of the {M} variables"
    try:
        low, high = (np.broadcast_to(np.asarray(side, dtype=np.float64), (M,)) for side in box)
    except (TypeError, ValueError):
        raise ArgumentError(f"{wanted}, got {box!r}.") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ArgumentError(f"{wanted}, all finite, got {box!r}.")
    if not (low < high).all():
        i = int(np.argmin(low < high))
        raise ArgumentError(f"the box is empty in variable {i}: low = {low[i]:g} is not below high = {high[i]:g}. {wanted[0].upper()}{wanted[1:]}.")
    return np.stack([low, high])


def initial_states(subject: Subject, n_starts: int, box: Any, starts: Any, random_state: int) -> Tensor:
    """States [F, S, M] of the usable fits; every fit draws its own by its label, or all take the box's or given ones."""
    M, fits = subject.carrier.dim, subject.fit[subject.usable]
    if starts is not None:
        if box is not None:
            raise ArgumentError("give starts or a box to draw them from, not both.")
        own = given_starts(starts, len(subject.usable), M)
        return torch.tensor(np.array(own)[subject.usable])
    if n_starts < FEWEST:
        raise ArgumentError(f"n_starts = {n_starts} says nothing: take at least {FEWEST} (256 for shares to a few per cent), or name them with starts=.")
    if box is None and subject.model is None:
        raise ArgumentError(
            "a bare map or known system does not say where orbits may start: pass box=(low, high), each a number "
            f"or {M} numbers, or starts= of shape (start, {M})."
        )
    if box is None:
        return subject.model.random_states(n_starts, random_state)[torch.as_tensor(subject.usable)]
    low, high = box_of(box, M)
    return torch.tensor(np.stack([low + (high - low) * stream(random_state, "initial state", int(k)).random((n_starts, M)) for k in fits]))
