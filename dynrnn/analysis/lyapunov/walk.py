"""Frames carried along orbits step by step, all of them kept if asked for: by the kernels for models, through Jacobians of many states at once for
callables."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Carrier, Mapped
from dynrnn_kernels.additive.tangent import orthonormal
from dynrnn_kernels.recurrences import recurrence_of

STATES = 2**20           # numbers of Jacobians of a callable held at once


@dataclass(frozen=True)
class Walked:
    """z [F, S, M] and frame Q [F, S, k, M] at the end, log_r [F, S, k], failed [F, S]; states [F, S, n + 1, M] and frames [F, S, n + 1, k, M] if kept."""

    z: Tensor
    Q: Tensor
    log_r: Tensor
    failed: Tensor
    states: Tensor
    frames: Tensor


def forward_of(carrier: Carrier, z: Tensor, Q: Tensor, n: int, keep: bool = False) -> Walked:
    """``n`` steps from z [F, S, M] with frames Q [F, S, k, M], made orthonormal after each."""
    F, S, k, M = Q.shape
    states, frames = z.new_empty(F, S, n + 1 if keep else 0, M), z.new_empty(F, S, n + 1 if keep else 0, k, M)
    if keep:
        states[:, :, 0], frames[:, :, 0] = z, Q
    if not isinstance(carrier, Mapped):
        return _of_callable(carrier, z, Q, n, states, frames)
    one, z, Q = torch.ones(F, dtype=torch.int64), z.contiguous(), Q.contiguous()
    log_r, failed = z.new_zeros(F, S, k), torch.zeros(F, S, dtype=torch.bool)
    for t in range(n if keep else 1):
        part = carrier.carry(z, Q, 1 if keep else n, one, None, None, one.double(), False)
        z, Q, log_r, failed = part.z, part.Q, log_r + part.log_r, failed | (part.failed >= 0)
        if keep:
            states[:, :, t + 1], frames[:, :, t + 1] = z, Q
    return Walked(z, Q, log_r, failed, states, frames)


def _of_callable(carrier: Carrier, z: Tensor, Q: Tensor, n: int, states: Tensor, frames: Tensor) -> Walked:
    """Of one fit, whose S states are one and the same: the orbit first, then its Jacobians block by block, then the frames through them.

    A dual evaluation of every single step would cost some fifty times as much as the step.
    """
    state, frame, log_r, block = z[:, :1], Q[0], Q.new_zeros(Q.shape[1:3]), max(1, STATES // z.shape[-1] ** 2)
    for first in range(0, n, block):
        path = [state]
        for _ in range(min(block, n - first)):
            path.append(carrier.advance(path[-1], 1))
        orbit = torch.cat(path, 1)
        state = path[-1]
        for t, J in enumerate(carrier.jacobians(orbit[:, :-1])[0], start=first):
            frame, lengths = orthonormal(frame @ J.mT)
            log_r += torch.log(lengths)
            if frames.shape[2]:
                states[0, :, t + 1], frames[0, :, t + 1] = orbit[0, t + 1 - first], frame
    end = state.expand_as(z)
    return Walked(end, frame[None], log_r[None], ~torch.isfinite(end).all(-1), states, frames)


def images(carrier: Carrier, z: Tensor, Q: Tensor) -> Tensor:
    """J q of all vectors Q [F, S, k, M] at the states z [F, S, M]."""
    with torch.no_grad():
        if isinstance(carrier, Mapped) and (tangents := recurrence_of(carrier.map).tangents) is not None:
            return tangents(carrier.map, z, Q, carrier.constant.expand(*z.shape[:2], -1) if carrier.input_dim else None)
    return Q @ carrier.jacobians(z).mT
