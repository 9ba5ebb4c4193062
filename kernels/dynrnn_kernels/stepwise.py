"""Forced sequences of recurrences that have no kernel: their reference, step by step in torch, with arguments checked and packed sequences taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dynrnn_kernels.additive.checks import check_sequence
from dynrnn_kernels.backends import BACKENDS
from dynrnn_kernels.errors import KernelError


def forced_stepwise(
    compute: Callable[..., Tensor], map: Any, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None, lengths: Sequence[int] | Tensor | None,
    backend: str | None,
) -> Tensor:
    """compute(map, z0 [F, B, M], target [F, B, T, M], weight, u) of what ``dynrnn_kernels.additive.forced_sequence`` takes.

    backend : whichever of the known ones is named, the steps are torch's, where the tensors are. Differentiable in everything, as often as one likes.
    """
    if backend is not None and backend not in BACKENDS:
        raise KernelError(f"backend must be one of {BACKENDS}, got {backend!r}")
    rows, target, weight, u = check_sequence(map, z0, target, weight, u, lengths)
    if target.numel() == 0:
        return target + sum(x.sum() for x in (*map.tensors().values(), z0, *([] if u is None else [u])))
    if lengths is None:
        return compute(map, z0, target, weight, u)
    parts, weight = [], weight.expand_as(target)
    for b, (first, length) in enumerate(rows.tolist()):
        where = slice(first, first + length)
        drive = None if u is None else u[:, None, where]
        parts.append(compute(map, z0[:, b, None], target[:, None, where], weight[:, None, where], drive)[:, 0])
    return torch.cat(parts, 1)
