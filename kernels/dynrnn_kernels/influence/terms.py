"""What one step does to the influence on its state, by automatic derivatives: the slow truth for any recurrence."""

from __future__ import annotations

import torch
from torch import Tensor

from dynrnn_kernels.recurrences import Map, step


def sizes_of(map: Map) -> dict[str, torch.Size]:
    """Shapes of the map's tensors without the fit axis, in the order in which influence has its columns."""
    return {name: x.shape[1:] for name, x in map.tensors().items()}


def split(columns: Tensor, map: Map) -> dict[str, Tensor]:
    """columns [F, Q or more] as a tensor for each of the map's, [F, ...]."""
    out, end = {}, 0
    for name, shape in sizes_of(map).items():
        start, end = end, end + shape.numel()
        out[name] = columns[:, start:end].reshape(len(columns), *shape)
    return out


def terms(map: Map, z: Tensor, u: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(next states [F, B, M], J [F, B, M, M], E [F, B, M, Q]) at the states z [F, B, M]: derivatives of the step by z and by the map's numbers.

    Every sequence gets a copy of the map, so that M passes backwards give the derivatives of each. O(F B M (M + Q)).
    """
    F, B, M = z.shape
    copies = {name: x.detach().repeat_interleave(B, 0).requires_grad_() for name, x in map.tensors().items()}
    states = z.detach().reshape(F * B, 1, M).requires_grad_()
    drive = None if u is None else u.detach().reshape(F * B, 1, -1)
    with torch.enable_grad():
        after = step(map.with_tensors(copies), states, drive)
        rows = [torch.autograd.grad(after[:, 0, m].sum(), [states, *copies.values()], retain_graph=True, allow_unused=True) for m in range(M)]
    J = torch.stack([row[0].reshape(F * B, M) if row[0] is not None else states.new_zeros(F * B, M) for row in rows], 1)
    flat = [torch.cat([(torch.zeros_like(x) if g is None else g).flatten(1) for g, x in zip(row[1:], copies.values())], 1) for row in rows]
    return after.detach().reshape(F, B, M), J.reshape(F, B, M, M), torch.stack(flat, 1).reshape(F, B, M, -1)
