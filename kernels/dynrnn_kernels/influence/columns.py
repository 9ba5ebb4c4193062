"""Which of a map's numbers have a column in the influence matrix of a compiled kernel, and where it lies."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from dynrnn_kernels.additive.layout import Layout

TENSORS = ("a", "W1", "h1", "A", "W2", "h2", "C", "D", "slope", "threshold")


class Columns(NamedTuple):
    """For each tensor of the map its first column, -1 for none: what is not trained needs none. ``size`` is their number.

    ``own``: W1 is diagonal, so that a hidden unit acts on one state alone, and what enters it has one row in a step's terms.
    """

    a: int
    W1: int
    h1: int
    A: int
    W2: int
    h2: int
    C: int
    D: int
    slope: int
    threshold: int
    size: int
    own: bool


def sizes(lay: Layout) -> dict[str, int]:
    """How many numbers each tensor has that the map has."""
    M, H, K, bases = lay.M, lay.H, lay.K, lay.n_bases
    every = {"a": M, "W1": M * H, "h1": M, "A": M * M, "W2": H * M, "h2": H, "C": M * K, "D": H * K, "slope": bases, "threshold": H * bases}
    return {name: n for name, n in every.items() if getattr(lay, name) >= 0}


def columns_of(lay: Layout, wanted: Collection[str] = TENSORS, own: bool = False) -> tuple[Columns, np.ndarray]:
    """The columns of the wanted tensors that the map has, and of each the place of its number in the flat vector, [size]."""
    first: dict[str, int] = dict.fromkeys(TENSORS, -1)
    places = [np.zeros(0, np.int64)]
    end = 0
    for name, n in sizes(lay).items():
        if name in wanted:
            first[name], start = end, getattr(lay, name)
            places.append(np.arange(start, start + n))
            end += n
    return Columns(**first, size=end, own=own), np.concatenate(places)


def has_own_units(lay: Layout, zero: np.ndarray) -> bool:
    """Whether W1 is diagonal, by which numbers [..., size] are zero."""
    W1 = zero[..., lay.W1 : lay.W1 + lay.M * lay.H].reshape(-1, lay.M, lay.H)
    return lay.M == lay.H and bool(W1[:, ~np.eye(lay.M, dtype=bool)].all())


def columns_for(lay: Layout, trained: np.ndarray, fixed: np.ndarray, value: np.ndarray) -> tuple[Columns, np.ndarray]:
    """``columns_of`` the tensors with a number that is trained; W1 is diagonal where all else is fixed at zero. All [size], in the flat vector's order."""
    wanted = [name for name, n in sizes(lay).items() if trained[getattr(lay, name) :][:n].any()]
    return columns_of(lay, wanted, has_own_units(lay, fixed & (value == 0)))
