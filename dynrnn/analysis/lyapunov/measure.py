"""The run behind a spectrum: segments carried with their frames, recorded a few dozen times on the way, checked as they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Carrier, Subject
from dynrnn.analysis.lyapunov.segments import TOO_WIDE, WIDE, choose_interval, first_states, frames, pair_of, segment_states
from dynrnn.analysis.lyapunov.verdict import LONGEST, period_of
from dynrnn.errors import ArgumentError

N_RECORDS = 32


@dataclass(frozen=True)
class Measured:
    """Of all usable fits: sums of logarithms per record and segment, and what was checked.

    log_r [R, F, S, k], log_pair [R, F, S], steps [R]; interval [F]; widest [F]; diverged [F]: the first step found not finite in any segment, -1 where none is;
    determinant [F]: largest difference a step between the frame's growth and ln |det J|, NaN where k < M or a direction
    died; period [F].
    """

    log_r: np.ndarray
    log_pair: np.ndarray
    steps: np.ndarray
    interval: np.ndarray
    widest: np.ndarray
    diverged: np.ndarray
    determinant: np.ndarray
    period: np.ndarray


def measure(
    subject: Subject, k: int, n_steps: int, n_segments: int, transient: int, warmup: int, interval: int | None, initial: Any, random_state: int
) -> Measured:
    """Cost O(F S (warmup + n_steps) (k + 2) M H) for models, and an orbit of S (warmup + n_steps) steps before it; memory O(F S (k M + 32 k))."""
    carrier, fits = subject.carrier, subject.fit[subject.usable]
    z = first_states(subject, initial, n_segments, transient, warmup, random_state)
    z = segment_states(carrier, z, n_segments, n_steps, warmup, random_state)
    Q = frames(carrier, fits, n_segments, k, random_state)
    every = choose_interval(carrier, z, Q) if interval is None else torch.full((len(fits),), interval, dtype=torch.int64)
    found = _run(carrier, z, Q, n_steps, warmup, every)
    while interval is None and bool((suspect := _suspect(found)).any()):
        # a stretch was steeper than the pilot's, or a direction died, which a frame that is left to itself too long looks like: again, step by step there
        every = torch.where(torch.as_tensor(suspect), torch.ones_like(every), every)
        found = _run(carrier, z, Q, n_steps, warmup, every)
    if interval is not None and interval > 1 and bool((suspect := _suspect(found)).any()):
        careful = _run(carrier, z, Q, n_steps, warmup, torch.ones_like(every))
        lost = suspect & ((_dead(found) > _dead(careful)) | (found.widest > TOO_WIDE))
        if lost.any():
            k_bad = int(lost.argmax())
            raise ArgumentError(
                f"interval = {interval} lets the frame of fit {fits[k_bad]} collapse: float64 has a factor e^36 between its vectors, and they part by "
                f"e^{careful.widest[k_bad]:.2g} in one step. Leave interval out, or take at most {max(1, int(WIDE / max(careful.widest[k_bad], 1e-9)))}."
            )
    return found


def _dead(found: Measured) -> np.ndarray:
    """Directions of each fit that died in some segment."""
    return np.isneginf(found.log_r).any((0, 2)).sum(-1)


def _suspect(found: Measured) -> np.ndarray:
    """Fits whose frame may have been left to itself too long."""
    return ((found.widest > TOO_WIDE) | (_dead(found) > 0)) & (found.interval > 1)


def _run(carrier: Carrier, z: Tensor, Q: Tensor, n_steps: int, warmup: int, every: Tensor) -> Measured:
    F, S, k, M = Q.shape
    pair, distance = pair_of(z, Q)
    edges = np.unique(np.linspace(0, n_steps, min(N_RECORDS, n_steps) + 1).round().astype(int))
    steps, checked = np.diff(edges), len(edges) // 2 - 1
    log_r, log_pair = np.empty((len(steps), F, S, k)), np.empty((len(steps), F, S))
    diverged, widest, determinant = np.full(F, -1), np.zeros(F), np.full(F, np.nan)
    now, frame, beside = z, Q, pair
    done = 0
    for record, n in enumerate([warmup, *steps.tolist()]):
        keep = record == checked + 1 and k == M
        part = carrier.carry(now, frame, n, every, None, beside, distance, keep)
        now, frame, beside = part.z, part.Q, part.pair
        failed = part.failed.numpy()
        first = np.where(failed >= 0, failed + done, np.iinfo(int).max).min(1)
        diverged = np.where((diverged < 0) & (first < np.iinfo(int).max), first, diverged)
        done += n
        if record == 0:
            continue
        widest = np.maximum(widest, np.nan_to_num(part.widest.numpy(), nan=0.0).max(1))
        log_r[record - 1], log_pair[record - 1] = part.log_r.numpy(), part.log_pair.numpy()
        if keep:
            with torch.no_grad():
                whole = torch.linalg.slogdet(carrier.jacobians(part.path)).logabsdet.sum(1).numpy()
            growth = log_r[record - 1, :, 0].sum(-1)
            determinant = np.where(np.isfinite(growth), np.abs(np.where(np.isfinite(growth), growth, 0.0) - whole) / n, np.nan)
    path = carrier.path(now[:, :1].contiguous(), LONGEST + 1)[:, 0].numpy()
    period = np.array([period_of(one) for one in path])
    return Measured(log_r, log_pair, steps, every.numpy(), widest, diverged, determinant, period)
