"""The map that predicts the next sample by a polynomial of the last ones, and the table of its monomials."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError


@dataclass(frozen=True)
class PolynomialMap:
    """``x' = [x +] b + W p(z, u)`` on the line of the last samples ``z = (x[t], x[t - 1], ...)``, of which the oldest is dropped; for F fits at once.

    W [F, N, P] and b [F, N]; ``table`` int64 [P, order] says which entries of (z, u, 1) each of the P monomials multiplies: latent_dim + input_dim is the 1.
    increment: whether x is added.
    """

    W: Tensor
    b: Tensor
    table: Tensor
    latent_dim: int
    input_dim: int = 0
    increment: bool = True

    def __post_init__(self) -> None:
        F, N, P = self.W.shape
        if self.b.shape != (F, N) or self.table.ndim != 2 or len(self.table) != P or self.latent_dim < N or self.latent_dim % N:
            raise KernelError(
                f"W [F, N, P], b [F, N], table [P, order] and a line of whole samples are wanted, got {tuple(self.W.shape)}, {tuple(self.b.shape)}, "
                f"{tuple(self.table.shape)} and {self.latent_dim} latent units"
            )
        if P and not (0 <= int(self.table.min()) and int(self.table.max()) <= self.latent_dim + self.input_dim):
            raise KernelError(f"table must hold places from 0 to {self.latent_dim + self.input_dim}")

    @property
    def n_fits(self) -> int:
        return self.W.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        return {"W": self.W, "b": self.b}

    def with_tensors(self, tensors: dict[str, Tensor]) -> PolynomialMap:
        return replace(self, **tensors)

    def to(self, dtype: torch.dtype) -> PolynomialMap:
        return replace(self, W=self.W.to(dtype), b=self.b.to(dtype))


def monomials(places: Sequence[int], orders: Sequence[int], one: int) -> Tensor:
    """All different products of ``order`` of these places, for each order, [P, largest order]; rows of lower order are filled up with ``one``."""
    longest = max(orders)
    rows = [(*row, *[one] * (longest - order)) for order in orders for row in itertools.combinations_with_replacement(places, order)]
    return torch.tensor(rows, dtype=torch.int64)
