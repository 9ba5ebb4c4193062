"""Matrices of the map with fewer parameters than entries: each can be written out, and multiplied without being written out.

The two routes share nothing, so that tests compare them. A structure holds one tensor of parameters, ``values``, with the fit axis first;
where they go (a size, an index pattern) is the same for all fits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError


@dataclass(frozen=True, eq=False)
class Structure(ABC):
    """A matrix [F, n, m] by its parameters ``values`` [F, ...]."""

    values: Tensor

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(F, n, m), as if it were written out."""

    @abstractmethod
    def dense(self) -> Tensor:
        """The matrix written out, [F, n, m]; differentiable, and every entry is one of the values or 0."""

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """The product with x [F, B, m]: [F, B, n]."""

    @abstractmethod
    def transposed(self) -> Self:
        """The transpose, of the same kind."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """Entries that are not 0 by the form alone, of n m."""

    @property
    def parameters_per_fit(self) -> int:
        return self.values.shape[1:].numel()

    def with_values(self, values: Tensor) -> Self:
        return replace(self, values=values)

    def _fits(self, right: bool, wanted: str) -> None:
        if not right:
            raise KernelError(f"{type(self).__name__}: values must have shape {wanted}, got {tuple(self.values.shape)}")


@dataclass(frozen=True, eq=False)
class Scalar(Structure):
    """``c I`` with values c [F, 1]."""

    size: int

    def __post_init__(self) -> None:
        self._fits(self.values.ndim == 2 and self.values.shape[1] == 1, "(fit, 1)")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape[0], self.size, self.size

    def dense(self) -> Tensor:
        return torch.diag_embed(self.values.expand(-1, self.size))

    def apply(self, x: Tensor) -> Tensor:
        return self.values[:, None] * x

    def transposed(self) -> Self:
        return self

    @property
    def terms(self) -> int:
        return self.size


@dataclass(frozen=True, eq=False)
class Permutation(Structure):
    """``y[i] = s[i] x[source[i]]`` with values s [F, n], or [F, 1] for one scale of all; source [n] int64 holds each of 0..n-1 once.

    A shift along a ring, y[i] = x[i - 1], has source = (-1, 0, 1, ..., n - 2) modulo n.
    """

    source: Tensor

    def __post_init__(self) -> None:
        n = self.source.numel()
        self._fits(self.values.ndim == 2 and self.values.shape[1] in (1, n), f"(fit, 1) or (fit, {n}), for the {n} places of source")
        if self.source.dtype != torch.int64 or not torch.equal(self.source.sort().values, torch.arange(n, device=self.source.device)):
            raise KernelError(f"Permutation: source must hold each of 0..{n - 1} once, as int64 [{n}]")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape[0], self.source.numel(), self.source.numel()

    def dense(self) -> Tensor:
        return torch.diag_embed(self.values.expand(-1, self.source.numel()))[..., self.source.argsort()]

    def apply(self, x: Tensor) -> Tensor:
        return self.values[:, None] * x[..., self.source]

    def transposed(self) -> Self:
        back = self.source.argsort()
        return replace(self, values=self.values if self.values.shape[1] == 1 else self.values[:, back], source=back)

    @property
    def terms(self) -> int:
        return self.source.numel()


@dataclass(frozen=True, eq=False)
class Block(Structure):
    """Block-diagonal, n blocks of h x m: values [F, n, h, m] make a matrix [F, n h, n m]."""

    def __post_init__(self) -> None:
        self._fits(self.values.ndim == 4, "(fit, block, rows, columns)")

    @property
    def shape(self) -> tuple[int, int, int]:
        F, n, h, m = self.values.shape
        return F, n * h, n * m

    def dense(self) -> Tensor:
        return torch.diag_embed(self.values.permute(0, 2, 3, 1)).permute(0, 3, 1, 4, 2).reshape(self.shape)

    def apply(self, x: Tensor) -> Tensor:
        _, n, _, m = self.values.shape
        return torch.einsum("fbnm,fnhm->fbnh", x.reshape(*x.shape[:2], n, m), self.values).flatten(2)

    def transposed(self) -> Self:
        return replace(self, values=self.values.transpose(2, 3))

    @property
    def terms(self) -> int:
        return self.parameters_per_fit


@dataclass(frozen=True, eq=False)
class Circulant(Structure):
    """Circular convolution of channels on a ring: values [F, c_out, c_in, taps] make [F, c_out size, c_in size], units of a channel together.

        y[o, p] = sum over i and t of values[o, i, t] x[i, (p - shifts[t]) mod size]

    ``shifts`` are the places of the values in a block's first column, the others are 0. Without it the values are the whole column,
    and taps = size. Wave-RNN: as many channels in as out, shifts (-1, 0, 1). Sums are taken directly, not by Fourier transforms, which
    would leave rounding errors in place of the zeros where relu has its kink.
    """

    size: int
    shifts: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        taps = self.places
        self._fits(self.values.ndim == 4 and self.values.shape[3] == len(taps), f"(fit, channels out, channels in, {len(taps)})")
        if len({s % self.size for s in taps}) != len(taps):
            raise KernelError(f"Circulant: shifts must differ modulo the size {self.size}, got {taps}")

    @property
    def places(self) -> tuple[int, ...]:
        """The shift of each value."""
        return tuple(range(self.size)) if self.shifts is None else self.shifts

    @property
    def shape(self) -> tuple[int, int, int]:
        F, out, into, _ = self.values.shape
        return F, out * self.size, into * self.size

    def dense(self) -> Tensor:
        where = torch.tensor(self.places, device=self.values.device) % self.size
        column = self.values.new_zeros(*self.values.shape[:3], self.size).index_copy(3, where, self.values)
        ring = torch.arange(self.size, device=self.values.device)
        blocks = column[..., (ring[:, None] - ring) % self.size]                      # [F, c_out, c_in, p, q]
        return blocks.transpose(2, 3).reshape(self.shape)

    def apply(self, x: Tensor) -> Tensor:
        ring, shift = torch.arange(self.size, device=x.device), torch.tensor(self.places, device=x.device)
        channels = x.reshape(*x.shape[:2], -1, self.size)
        return torch.einsum("foit,fbitp->fbop", self.values, channels[..., (ring - shift[:, None]) % self.size]).flatten(2)

    def transposed(self) -> Self:
        return replace(self, values=self.values.transpose(1, 2), shifts=tuple(-s for s in self.places))

    @property
    def terms(self) -> int:
        return self.size * self.parameters_per_fit


@dataclass(frozen=True, eq=False)
class Sparse(Structure):
    """values [F, k] at the places (rows[k], columns[k]) of a matrix n_rows x n_columns, the same places in all fits, each once."""

    rows: Tensor
    columns: Tensor
    n_rows: int
    n_columns: int

    def __post_init__(self) -> None:
        k = self.rows.numel()
        self._fits(self.values.ndim == 2 and self.values.shape[1] == k, f"(fit, {k}), for the {k} places of rows and columns")
        for name, index, size in (("rows", self.rows, self.n_rows), ("columns", self.columns, self.n_columns)):
            if index.dtype != torch.int64 or index.shape != (k,) or bool(((index < 0) | (index >= size)).any()):
                raise KernelError(f"Sparse: {name} must be int64 [{k}] from 0 to {size - 1}, got {index.dtype} of shape {tuple(index.shape)}")
        if torch.unique(self._places).numel() != k:
            raise KernelError("Sparse: rows and columns name a place twice; add its values up")

    @property
    def _places(self) -> Tensor:
        return self.rows * self.n_columns + self.columns

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape[0], self.n_rows, self.n_columns

    def dense(self) -> Tensor:
        F, n, m = self.shape
        return self.values.new_zeros(F, n * m).index_copy(1, self._places, self.values).reshape(F, n, m)

    def apply(self, x: Tensor) -> Tensor:
        terms = self.values[:, None] * x[..., self.columns]
        return x.new_zeros(*x.shape[:2], self.n_rows).scatter_add(2, self.rows.expand(terms.shape), terms)

    def transposed(self) -> Self:
        return replace(self, rows=self.columns, columns=self.rows, n_rows=self.n_columns, n_columns=self.n_rows)

    @property
    def terms(self) -> int:
        return self.rows.numel()

    def row_order(self) -> Tensor:
        """[k] where the values lie if they are put row by row, and by columns in a row."""
        return self._places.argsort()


def apply(matrix: Tensor | Structure, x: Tensor) -> Tensor:
    """The product of a matrix [F, n, m], structured or not, with x [F, B, m]: [F, B, n]."""
    return matrix.apply(x) if isinstance(matrix, Structure) else torch.einsum("fbm,fnm->fbn", x, matrix)


def dense(matrix: Tensor | Structure) -> Tensor:
    """The matrix written out, [F, n, m]."""
    return matrix.dense() if isinstance(matrix, Structure) else matrix
