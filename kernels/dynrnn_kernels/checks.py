"""What a forced sequence may be given: shapes, dtypes and devices, said by argument before any work."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError

if TYPE_CHECKING:
    from dynrnn_kernels.recurrences import Map


def check_sequence(
    map: Map, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None, lengths: Sequence[int] | Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """rows [B, 2], target, weight, which broadcasts to it, and u; KernelError for what does not fit the map or each other."""
    F, M, K = map.n_fits, map.latent_dim, map.input_dim
    for name, x in map.tensors().items():
        _same(f"the map's {name}", x, z0)
    for name, x in (("target", target), ("u", u)):
        if x is not None:
            _same(name, x, z0)
    if not isinstance(weight, Tensor):
        weight = z0.new_full((), weight)
    if not weight.dtype.is_floating_point:
        raise KernelError(f"weight is {weight.dtype}; it lies between 0 and 1 and must be real: convert it with .to({z0.dtype})")
    if weight.device != z0.device:
        raise KernelError(f"weight is on {weight.device}, z0 on {z0.device}; move it with .to({str(z0.device)!r})")
    if z0.dtype not in (torch.float32, torch.float64):
        raise KernelError(f"z0 is {z0.dtype}; kernels compute in float32 or float64, convert with .float() or .double()")
    if z0.ndim != 3 or (z0.shape[0], z0.shape[2]) != (F, M):
        raise KernelError(f"z0 must have shape (fit, sequence, latent) = ({F}, any, {M}), got {tuple(z0.shape)}")
    B = z0.shape[1]
    if lengths is None:
        if target.ndim != 4 or (*target.shape[:2], target.shape[3]) != (F, B, M):
            raise KernelError(f"target must have shape (fit, sequence, time, latent) = ({F}, {B}, any, {M}), got {tuple(target.shape)}")
        T = target.shape[2]
        length = torch.full((B,), T, dtype=torch.int64)
        inner: tuple[int, ...] = (B, T)
    else:
        length, total = _lengths(lengths, B, target)
        inner = (total,)
        if target.shape != (F, *inner, M):
            raise KernelError(f"with lengths, target must have shape (fit, sum of lengths, latent) = ({F}, {inner[0]}, {M}), got {tuple(target.shape)}")
    try:
        weight = weight.to(z0.dtype)
        weight.expand(target.shape)
    except RuntimeError:
        raise KernelError(f"weight of shape {tuple(weight.shape)} does not broadcast to target's {tuple(target.shape)}") from None
    if u is None and K > 0:
        raise KernelError(f"the map takes {K} inputs, u is missing; give a tensor of shape {(F, *inner, K)}")
    if u is not None and u.shape != (F, *inner, K):
        raise KernelError(f"u must have shape {(F, *inner, K)} (fit, sequence and time as in target, input), got {tuple(u.shape)}")
    first = torch.cumsum(length, 0) - length
    return torch.stack([first, length], 1).to(z0.device), target, weight, u


def _lengths(lengths: Sequence[int] | Tensor, B: int, target: Tensor) -> tuple[Tensor, int]:
    """Lengths [B] int64, and their sum."""
    if isinstance(lengths, Tensor) and torch.compiler.is_compiling():           # values are not known yet: a graph checks them when it runs
        if lengths.shape != (B,) or lengths.dtype.is_floating_point or lengths.dtype.is_complex:
            raise KernelError(f"lengths must hold {B} whole numbers, one for each sequence of z0, got {lengths.dtype} of shape {tuple(lengths.shape)}")
        length, total = lengths.to(torch.int64), target.shape[1]
        torch._assert_async((length >= 1).all() & (length.sum() == total), "lengths must be at least 1 each, and their sum the target's second axis")
        return length, total
    given = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    try:
        whole = [operator.index(n) for n in given]
    except TypeError:
        whole = []
    if len(whole) != B or any(n < 1 for n in whole):
        raise KernelError(f"lengths must hold {B} whole numbers of at least 1, one for each sequence of z0, got {given[:20]}")
    return torch.tensor(whole, dtype=torch.int64), sum(whole)


def _same(name: str, x: Tensor, z0: Tensor) -> None:
    if x.dtype != z0.dtype:
        raise KernelError(f"{name} is {x.dtype}, z0 is {z0.dtype}; convert one of them, kernels do not mix precisions")
    if x.device != z0.device:
        raise KernelError(f"{name} is on {x.device}, z0 on {z0.device}; move it with .to({str(z0.device)!r})")
