"""The forced sequence of a chain: what callers use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dynrnn_kernels.additive.checks import check_sequence
from dynrnn_kernels.backends import BACKENDS
from dynrnn_kernels.chain import reference
from dynrnn_kernels.chain.map import ChainMap
from dynrnn_kernels.errors import KernelError


def backends() -> tuple[str, ...]:
    """torch alone: deep reservoirs are driven and run by ``dynrnn_kernels.reservoir``."""
    return ("reference",)


def forced_sequence(
    map: ChainMap, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None = None, *, lengths: Sequence[int] | Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """T steps of the chain, with arguments and result as those of ``dynrnn_kernels.additive.forced_sequence``.

    backend : whichever of the known ones is named, the steps are torch's, where the tensors are. Differentiable in everything, as often as one likes.
    Cost O(F B T sum of the stages' M H).
    """
    if backend is not None and backend not in BACKENDS:
        raise KernelError(f"backend must be one of {BACKENDS}, got {backend!r}")
    rows, target, weight, u = check_sequence(map, z0, target, weight, u, lengths)
    if target.numel() == 0:
        return target + sum(x.sum() for x in (*map.tensors().values(), z0, *([] if u is None else [u])))
    if lengths is None:
        return reference.forced_sequence(map, z0, target, weight, u)
    parts, weight = [], weight.expand_as(target)
    for b, (first, length) in enumerate(rows.tolist()):
        where = slice(first, first + length)
        drive = None if u is None else u[:, None, where]
        parts.append(reference.forced_sequence(map, z0[:, b, None], target[:, None, where], weight[:, None, where], drive)[:, 0])
    return torch.cat(parts, 1)
