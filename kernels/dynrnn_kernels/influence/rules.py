"""How influence, or what stands for it, moves on by a step: one class an algorithm, in plain torch, for any recurrence that has the terms it needs.

A rule gets the map of the step, J [F, B, M, M], already times what forcing kept of each state, E [F, B, M, Q], and the forced states z with ``kept``.
It gives the derivative [F, B, Q + M] of a scalar whose derivative by the state is g [F, B, M]: by the map's numbers, and behind them by the state that the
sequence began with.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from dynrnn_kernels.additive import reference
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.additive.structure import Structure
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.influence.algorithms import Algorithm
from dynrnn_kernels.influence.terms import sizes_of
from dynrnn_kernels.recurrences import Map

TINY = 1e-300


class Rule(Protocol):
    """``tensors`` are what it carries on, by name, and ``adopt`` takes them up again."""

    def advance(self, map: Map, J: Tensor, E: Tensor, z: Tensor, kept: Tensor, u: Tensor | None) -> None: ...
    def gradient(self, g: Tensor) -> Tensor: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def adopt(self, tensors: dict[str, Tensor]) -> None: ...


class Carried:
    """What a rule carries on are the attributes named here: tensors, lists of them, or whole numbers."""

    carried: tuple[str, ...]

    def tensors(self) -> dict[str, Tensor]:
        out = {}
        for name in self.carried:
            value = getattr(self, name)
            if isinstance(value, list):
                out |= {f"{name}.{k}": part.clone() for k, part in enumerate(value)}
            else:
                out[name] = torch.as_tensor(value).clone()
        return out

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        for name in self.carried:
            old = getattr(self, name)
            if isinstance(old, list):
                setattr(self, name, [tensors[f"{name}.{k}"].clone() for k in range(len(old))])
            else:
                setattr(self, name, int(tensors[name]) if isinstance(old, int) else tensors[name].clone())


class Influence(Carried):
    """S [F, B, M, Q + M] itself, exact, or with a part of J: S' = J S + E."""

    carried = ("S", "steps")

    def __init__(self, map: Map, B: int, part: str = "full", reset: int = 0):
        F, M = map.n_fits, map.latent_dim
        self.Q = sum(shape.numel() for shape in sizes_of(map).values())
        like = next(iter(map.tensors().values()))
        self.S = torch.cat([like.new_zeros(F, B, M, self.Q), torch.eye(M, dtype=like.dtype).expand(F, B, M, M)], -1)
        self.part, self.reset, self.steps = part, reset, 0
        if part == "leak" and not isinstance(map, AdditiveMap):
            raise KernelError(f"rflo carries influence by a unit's leak, and {type(map).__name__} has none of its own: take 'diagonal'")

    def advance(self, map: Map, J: Tensor, E: Tensor, z: Tensor, kept: Tensor, u: Tensor | None) -> None:
        if self.reset and self.steps and self.steps % self.reset == 0:
            self.S = torch.zeros_like(self.S)
        self.steps += 1
        if self.part == "full":
            self.S = J @ self.S
        else:
            own = torch.diagonal(J if self.part == "diagonal" else cast(AdditiveMap, map).dense_A()[:, None], dim1=-2, dim2=-1)
            by = own if self.part == "diagonal" else own * kept
            self.S = by[..., None] * self.S
        self.S[..., : self.Q] += E

    def gradient(self, g: Tensor) -> Tensor:
        return torch.einsum("fbm,fbmq->fbq", g, self.S)


class SnAp(Influence):
    """Sparse n-step approximation (Menick et al. 2021, arXiv:2006.07232): S where a number reaches a unit within n steps, and 0 elsewhere.

    Which these are is read off the nonzero entries of J and E seen so far: all where one step mixes all units.
    """

    carried = ("S", "steps", "J_pattern", "E_pattern")

    def __init__(self, map: Map, B: int, n: int):
        super().__init__(map, B)
        self.n, self.J_pattern, self.E_pattern = n, torch.zeros(()), torch.zeros(())

    def advance(self, map: Map, J: Tensor, E: Tensor, z: Tensor, kept: Tensor, u: Tensor | None) -> None:
        super().advance(map, J, E, z, kept, u)
        self.J_pattern = torch.maximum(self.J_pattern, (J != 0).to(J.dtype).amax(1, keepdim=True))
        self.E_pattern = torch.maximum(self.E_pattern, (E != 0).to(E.dtype).amax(1, keepdim=True))
        reached = self.E_pattern
        for _ in range(self.n - 1):
            reached = ((self.J_pattern @ reached + reached) > 0).to(E.dtype)
        self.S[..., : self.Q] *= reached


class UORO(Carried):
    """Unbiased online recurrent optimisation (Tallec & Ollivier 2018, arXiv:1702.05043): S as one outer product s t', right in the mean over its signs."""

    carried = ("s", "t")

    def __init__(self, map: Map, B: int, rng: torch.Generator):
        F, M, like = map.n_fits, map.latent_dim, next(iter(map.tensors().values()))
        self.Q, self.rng = sum(shape.numel() for shape in sizes_of(map).values()), rng
        self.s = self._signs(like.new_zeros(F, B, M))
        self.t = torch.cat([like.new_zeros(F, B, self.Q), self.s], -1)          # the identity by the first state is the mean of s s'

    def _signs(self, like: Tensor) -> Tensor:
        return 2.0 * torch.randint(0, 2, like.shape, generator=self.rng).to(like.dtype) - 1

    def advance(self, map: Map, J: Tensor, E: Tensor, z: Tensor, kept: Tensor, u: Tensor | None) -> None:
        signs = self._signs(self.s)
        moved, drawn = torch.einsum("fbmn,fbn->fbm", J, self.s), torch.einsum("fbm,fbmq->fbq", signs, E)
        old = (self.t.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True).clamp_min(TINY)).sqrt().clamp_min(TINY)
        new = (drawn.norm(dim=-1, keepdim=True) / signs.norm(dim=-1, keepdim=True)).sqrt().clamp_min(TINY)
        self.s = old * moved + new * signs
        self.t = self.t / old
        self.t[..., : self.Q] += drawn / new

    def gradient(self, g: Tensor) -> Tensor:
        return (g * self.s).sum(-1, keepdim=True) * self.t


def has_factors(map: Map) -> bool:
    """Whether what a step adds to the influence is one vector times one matrix for each of W1 and W2: what ``kronecker`` needs."""
    if not isinstance(map, AdditiveMap) or map.phi not in ("relu", "tanh", "identity"):
        return False
    return not any(isinstance(part, Structure) for part in map.parts().values())


class Kronecker(Carried):
    """Kronecker-factored RTRL (Mujika et al. 2018, arXiv:1805.10842), for additive maps: S by W1 and by W2 each as one vector times a matrix.

    What a step adds is of that form by itself: (phi, 1, u, z) times the identity for W1, h1, C and A, (z, 1, u) times W1 diag(phi') for W2, h2 and D. Unbiased;
    the derivative by the first state is carried exactly.
    """

    carried = ("u", "A", "first")

    def __init__(self, map: Map, B: int, rng: torch.Generator):
        if not has_factors(map):
            raise KernelError("kronecker wants an additive map without structured matrices whose phi is relu, tanh or identity")
        self.rng, self.names, map = rng, sizes_of(map), cast(AdditiveMap, map)
        self.M, self.H, self.K = map.latent_dim, map.hidden_dim, map.input_dim
        F, M, H, K = map.n_fits, map.latent_dim, map.hidden_dim, map.input_dim
        zeros = map.h1.new_zeros
        self.u = [zeros(F, B, H + 1 + K + M), zeros(F, B, M + 1 + K)]
        self.A = [zeros(F, B, M, M), zeros(F, B, M, H)]
        self.first = torch.eye(M, dtype=map.h1.dtype).expand(F, B, M, M)

    def advance(self, map: Map, J: Tensor, E: Tensor, z: Tensor, kept: Tensor, u: Tensor | None) -> None:
        map = cast(AdditiveMap, map)
        v = reference.preactivation(map, z, u)
        phi, slope, one = reference.activation(map, v), reference.activation_slope(map, v), torch.ones_like(z[..., :1])
        drive = z[..., :0] if u is None else u.expand(*z.shape[:2], -1)
        added_u = [torch.cat([phi, one, drive, z], -1), torch.cat([z, one, drive], -1)]
        added_A = [torch.eye(z.shape[-1], dtype=z.dtype).expand_as(self.A[0]), map.dense_W1()[:, None] * slope[..., None, :]]
        size = lambda x: x.flatten(2).norm(dim=-1).clamp_min(TINY)  # noqa: E731
        for k in range(2):
            signs = 2.0 * torch.randint(0, 2, (2, *z.shape[:2]), generator=self.rng).to(z.dtype) - 1
            moved = J @ self.A[k]
            old, new = (size(moved) / size(self.u[k])).sqrt().clamp_min(TINY), (size(added_A[k]) / size(added_u[k])).sqrt()
            self.A[k] = (signs[0] / old)[..., None, None] * moved + (signs[1] / new)[..., None, None] * added_A[k]
            self.u[k] = (signs[0] * old)[..., None] * self.u[k] + (signs[1] * new)[..., None] * added_u[k]
        self.first = J @ self.first

    def gradient(self, g: Tensor) -> Tensor:
        M, H, K = self.M, self.H, self.K
        outer = [torch.einsum("fbm,fbmr,fbq->fbrq", g, A, u) for A, u in zip(self.A, self.u)]
        ends = {
            "W1": outer[0][..., :H], "h1": outer[0][..., H], "C": outer[0][..., H + 1 : H + 1 + K], "A": outer[0][..., H + 1 + K :],
            "W2": outer[1][..., :M], "h2": outer[1][..., M], "D": outer[1][..., M + 1 :],
        }
        ends["a"] = torch.diagonal(ends["A"], dim1=-2, dim2=-1)
        return torch.cat([*(ends[name].flatten(2) for name in self.names), torch.einsum("fbm,fbmn->fbn", g, self.first)], -1)


def rule_of(algorithm: Algorithm, map: Map, B: int, rng: torch.Generator) -> Rule:
    """A fresh one, for B sequences of each fit."""
    if algorithm.name == "snap":
        return SnAp(map, B, algorithm.n)
    if algorithm.name == "uoro":
        return UORO(map, B, rng)
    if algorithm.name == "kronecker":
        return Kronecker(map, B, rng)
    part = {"rtrl": "full", "truncated": "full", "diagonal": "diagonal", "e-prop": "diagonal", "rflo": "leak"}[algorithm.name]
    return Influence(map, B, part, algorithm.n)
