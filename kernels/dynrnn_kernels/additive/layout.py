"""How an AdditiveMap lies in one flat vector per fit, so that compiled code takes one array and a tuple of offsets.

Structures are written out here: compiled code knows none of them.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS, AdditiveMap


class Layout(NamedTuple):
    """Sizes, tags (as indices into PHI_KINDS and W2_KINDS) and the offset of each tensor in the flat vector; -1 where there is none."""

    M: int
    H: int
    K: int
    n_bases: int
    phi: int
    w2: int
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


def shapes(map: AdditiveMap) -> dict[str, tuple[int, ...]]:
    """Shapes of the written-out map's tensors without the fit axis, in the order of its fields."""
    return {"a": (map.latent_dim,)} | {name: tuple(part.shape[1:]) for name, part in map.parts().items() if name != "a"}


def layout_of(map: AdditiveMap) -> Layout:
    """The layout of ``map``: its tensors in the order of its fields."""
    offsets: dict[str, int] = dict.fromkeys(("a", "W1", "h1", "A", "W2", "h2", "C", "D", "slope", "threshold"), -1)
    end = 0
    for name, shape in shapes(map).items():
        offsets[name] = end
        end += prod(shape)
    n_bases = 0 if map.slope is None else map.slope.shape[1]
    return Layout(map.latent_dim, map.hidden_dim, map.input_dim, n_bases, PHI_KINDS.index(map.phi), W2_KINDS.index(map.w2), **offsets, size=end)


def pack(map: AdditiveMap) -> Tensor:
    """All tensors of the written-out map as [F, size]; differentiable."""
    return torch.cat([value.reshape(map.n_fits, -1) for value in map.written_out().tensors().values()], 1)


def unpack(flat: Tensor, map: AdditiveMap) -> AdditiveMap:
    """The inverse of ``pack``: a written-out map like ``map`` with the entries of ``flat``."""
    tensors, end = {}, 0
    for name, shape in shapes(map).items():
        start, end = end, end + prod(shape)
        tensors[name] = flat[:, start:end].reshape(flat.shape[0], *shape)
    return replace(map, **tensors)
