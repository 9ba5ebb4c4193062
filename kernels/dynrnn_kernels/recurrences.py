"""The recurrences that there are: a new one is a folder and a row here. Functions on any map find its row by its type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from dynrnn_kernels import additive, chain, ltc, polynomial
from dynrnn_kernels.additive import tangent
from dynrnn_kernels.additive.tangent import Carried
from dynrnn_kernels.errors import KernelError


@runtime_checkable
class Map(Protocol):
    """F maps of latent states by their tensors, whose first axis is the fit."""

    @property
    def n_fits(self) -> int: ...
    @property
    def latent_dim(self) -> int: ...
    @property
    def input_dim(self) -> int: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def with_tensors(self, tensors: dict[str, Tensor]) -> Self: ...
    def to(self, dtype: torch.dtype) -> Self: ...


class Recurrence(NamedTuple):
    """What every recurrence offers, on F maps of type ``map`` and states [F, B, M].

    forced_sequence : (map, z0, target, weight, u, *, lengths, backend) -> the predictions before forcing, differentiable once.
    step : (map, z, u) -> the next states. jacobian : (map, z, u) -> the step's derivative by z [F, B, M, M].
    backends : their names, ``reference`` first; the folder has a file of each name. With ``reference`` alone it is torch, whatever backend is asked for.
    Where they are compiled, else None: orbit : (map, z, n_steps, u, *, backend) -> the states after each step, without gradients. carry, tangents : tangent
    vectors along orbits, and J q of every vector, without J; ``additive.tangent`` has their arguments.
    """

    map: type
    forced_sequence: Callable[..., Tensor]
    step: Callable[..., Tensor]
    jacobian: Callable[..., Tensor]
    backends: tuple[str, ...]
    orbit: Callable[..., Tensor] | None = None
    carry: Callable[..., Carried] | None = None
    tangents: Callable[..., Tensor] | None = None


RECURRENCES = {
    "additive": Recurrence(
        additive.AdditiveMap, additive.forced_sequence, additive.step, additive.jacobian, additive.backends(), carry=tangent.carry, tangents=tangent.tangents
    ),
    "chain": Recurrence(
        chain.ChainMap, chain.forced_sequence, chain.step, chain.jacobian, chain.backends(), chain.orbit, chain.carry, chain.tangents
    ),
    "polynomial": Recurrence(
        polynomial.PolynomialMap, polynomial.forced_sequence, polynomial.step, polynomial.jacobian, polynomial.backends()
    ),
    "ltc": Recurrence(ltc.LTCMap, ltc.forced_sequence, ltc.step, ltc.jacobian, ltc.backends()),
}


def recurrence_of(map: Map) -> Recurrence:
    """The row of this map's type."""
    for row in RECURRENCES.values():
        if isinstance(map, row.map):
            return row
    raise KernelError(f"a map of one of the recurrences {tuple(RECURRENCES)} is wanted, got {type(map).__name__}")


def forced_sequence(
    map: Map, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None = None, *, lengths: Sequence[int] | Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """T steps of any map, each after a pull towards its target: see the recurrence's own ``forced_sequence``."""
    return recurrence_of(map).forced_sequence(map, z0, target, weight, u, lengths=lengths, backend=backend)


def step(map: Map, z: Tensor, u: Tensor | None = None) -> Tensor:
    """One step of any map: states z [F, B, M], u [F, B, K]."""
    return recurrence_of(map).step(map, z, u)


def jacobian(map: Map, z: Tensor, u: Tensor | None = None) -> Tensor:
    """Its derivative by z, [F, B, M, M]."""
    return recurrence_of(map).jacobian(map, z, u)
