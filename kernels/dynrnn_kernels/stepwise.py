"""Forced sequences step by step in torch: what every reference does, and all that there is of recurrences without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dynrnn_kernels.backends import BACKENDS
from dynrnn_kernels.checks import check_sequence
from dynrnn_kernels.errors import KernelError


def forced_steps(
    step: Callable[..., Tensor], z0: Tensor, target: Tensor, weight: Tensor, driven: tuple[Tensor | None, ...], rows: Tensor | None = None
) -> Tensor:
    """T forced steps: ``z[t+1] = step(z[t] + weight[t] (target[t] - z[t]), *driven[t])``.

    z0 [F, B, M], target [F, B, T, M], weight broadcastable to target, each of ``driven`` [F, B, T, ...] or None (the one at t acts in the step from t to t+1).
    Returns the unforced predictions z[1..T] as [F, B, T, M]. An entry of weight zero is never read from ``target``.
    With ``rows`` [B, 2], first sample and length of each sequence in packed tensors [F, N, ...], the result is packed likewise.
    """
    weight = weight.expand_as(target)
    if rows is not None:
        parts = []
        for b, (first, length) in enumerate(rows.tolist()):
            where = slice(first, first + length)
            own = tuple(None if x is None else x[:, None, where] for x in driven)
            parts.append(forced_steps(step, z0[:, b, None], target[:, None, where], weight[:, None, where], own)[:, 0])
        return torch.cat(parts, 1)
    target = torch.where(weight == 0, torch.zeros_like(target), target)       # a missing target may be NaN
    z, out = z0, []
    for t in range(target.shape[2]):
        z = z + weight[:, :, t] * (target[:, :, t] - z)
        z = step(z, *(None if x is None else x[:, :, t] for x in driven))
        out.append(z)
    return torch.stack(out, 2)


def forced_stepwise(
    step: Callable[..., Tensor], map: Any, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None, lengths: Sequence[int] | Tensor | None,
    backend: str | None,
) -> Tensor:
    """The forced sequence of ``step(map, z, u)`` with the arguments of ``dynrnn_kernels.additive.forced_sequence``, of a recurrence without a kernel.

    backend : ``reference`` and ``cpu`` are torch's steps, where the tensors are; KernelError for ``triton``. Differentiable in everything, as often as
        one likes.
    """
    if backend is not None and backend not in BACKENDS[:2]:
        raise KernelError(f"backend must be one of {BACKENDS[:2]} for {type(map).__name__}, which has no kernel of its own, got {backend!r}")
    rows, target, weight, u = check_sequence(map, z0, target, weight, u, lengths)
    if target.numel() == 0:
        return target + sum(x.sum() for x in (*map.tensors().values(), z0, *([] if u is None else [u])))
    return forced_steps(partial(step, map), z0, target, weight, (u,), None if lengths is None else rows)
