"""How an AdditiveMap lies in one flat vector per fit, so that compiled code takes one array and a tuple of offsets.

A structure's few values take the place of its matrix where ``pattern.stays`` says so; ``map.written_out()`` has none of them.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS, AdditiveMap
from dynrnn_kernels.additive.pattern import compact, pattern, stays
from dynrnn_kernels.additive.structure import Sparse, Structure


class Layout(NamedTuple):
    """Sizes, tags (as indices into PHI_KINDS and W2_KINDS) and the offset of each tensor in the flat vector; -1 where there is none.

    ``pattern`` is for CPU kernels (``cpu_layout``): where the values of structures are. Without it all of this is hashable.
    """

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
    pattern: np.ndarray | None = None


def shapes(map: AdditiveMap) -> dict[str, tuple[int, ...]]:
    """Shapes of the packed tensors without the fit axis, in the order of the map's fields."""
    stored = {name: part.values if isinstance(part, Structure) and stays(part) else part for name, part in map.parts().items()}
    return {"a": (map.latent_dim,)} | {name: tuple(part.shape[1:]) for name, part in stored.items() if name != "a"}


def layout_of(map: AdditiveMap) -> Layout:
    """The layout of ``map``: its tensors in the order of its fields."""
    offsets: dict[str, int] = dict.fromkeys(("a", "W1", "h1", "A", "W2", "h2", "C", "D", "slope", "threshold"), -1)
    end = 0
    for name, shape in shapes(map).items():
        offsets[name] = end
        end += prod(shape)
    n_bases = 0 if map.slope is None else map.slope.shape[1]
    tags = {"n_bases": n_bases, "phi": PHI_KINDS.index(map.phi), "w2": W2_KINDS.index(map.w2)}
    return Layout(M=map.latent_dim, H=map.hidden_dim, K=map.input_dim, **tags, **offsets, size=end, pattern=None)


def cpu_layout(map: AdditiveMap) -> Layout:
    """The layout with its pattern."""
    return layout_of(map)._replace(pattern=pattern(map).numpy())


def pack(map: AdditiveMap) -> Tensor:
    """All tensors of the map as [F, size]; differentiable."""
    return torch.cat([value.reshape(map.n_fits, -1) for value in compact(map).tensors().values()], 1)


def unpack(flat: Tensor, map: AdditiveMap) -> AdditiveMap:
    """The inverse of ``pack``: a map like ``map`` with the entries of ``flat``, written out where they were packed so."""
    parts, end = map.parts(), 0
    new = {}
    for name, shape in shapes(map).items():
        start, end = end, end + prod(shape)
        value, part = flat[:, start:end].reshape(flat.shape[0], *shape), parts.get(name)
        if name != "a" and isinstance(part, Structure) and stays(part):
            value = part.with_values(value[:, part.row_order().argsort()] if isinstance(part, Sparse) else value)
        new[name] = value
    return replace(map, **new)
