"""A chain of additive maps in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from dynrnn_kernels.additive import reference as additive
from dynrnn_kernels.chain.map import ChainMap


def step(map: ChainMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """One step of every state: z [F, B, M], u [F, B, K] -> [F, B, M]."""
    for stage in map.stages:
        z = additive.step(stage, z, u if stage.input_dim else None)
    return z


def jacobian(map: ChainMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """The product of the stages' Jacobians, each where the stages before it have led: z [F, B, M] -> [F, B, M, M]."""
    product = None
    for stage in map.stages:
        drive = u if stage.input_dim else None
        own = additive.jacobian(stage, z, drive)
        product = own if product is None else own @ product
        z = additive.step(stage, z, drive)
    assert product is not None
    return product


def forced_sequence(map: ChainMap, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None = None) -> Tensor:
    """T steps of the whole chain, each after a pull towards its target: see the additive recurrence's. [F, B, T, M]."""
    weight = weight.expand_as(target)
    target = torch.where(weight == 0, torch.zeros_like(target), target)       # a missing target may be NaN
    z, out = z0, []
    for t in range(target.shape[2]):
        z = z + weight[:, :, t] * (target[:, :, t] - z)
        z = step(map, z, None if u is None else u[:, :, t])
        out.append(z)
    return torch.stack(out, 2)
