"""What a forced sequence may be given: shapes, dtypes and devices, said by argument before any work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.errors import KernelError


def check_sequence(
    map: AdditiveMap, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None, lengths: Sequence[int] | Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """rows [B, 2], target, weight, which broadcasts to it, and u; KernelError for what does not fit the map or each other."""
    F, M, K = map.n_fits, map.latent_dim, map.input_dim
    for name, x in map.tensors().items():
        _same(f"the map's {name}", x, z0)
    for name, x in (("target", target), ("u", u)):
        if x is not None:
            _same(name, x, z0)
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
        length = torch.as_tensor(lengths).to("cpu", torch.int64)
        if length.shape != (B,) or bool((length < 1).any()):
            raise KernelError(f"lengths must hold {B} whole numbers of at least 1, one for each sequence of z0, got {length.tolist()[:20]}")
        inner = (int(length.sum()),)
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


def _same(name: str, x: Tensor, z0: Tensor) -> None:
    if x.dtype != z0.dtype:
        raise KernelError(f"{name} is {x.dtype}, z0 is {z0.dtype}; convert one of them, kernels do not mix precisions")
    if x.device != z0.device:
        raise KernelError(f"{name} is on {x.device}, z0 on {z0.device}; move it with .to({str(z0.device)!r})")
