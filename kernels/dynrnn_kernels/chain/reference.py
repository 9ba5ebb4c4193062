"""A chain of additive maps in plain torch."""

from __future__ import annotations

from torch import Tensor

from dynrnn_kernels.additive import reference as additive
from dynrnn_kernels.additive import tangent
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


def tangents(map: ChainMap, z: Tensor, Q: Tensor, u: Tensor | None = None) -> Tensor:
    """J q of every vector, stage by stage: z [F, S, M], Q [F, S, k, M] -> [F, S, k, M]."""
    for stage in map.stages:
        drive = u if stage.input_dim else None
        Q, z = tangent.tangents(stage, z, Q, drive), additive.step(stage, z, drive)
    return Q
