"""A model's parameters as one flat vector per fit, and which of them each entry of an additive map is."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import Layout, cpu_layout, layout_of, pack


@dataclass(frozen=True)
class FlatParameters:
    """Where parameters lie in the flat vector, and how it fills the map.

    offsets: first index and shape of each parameter (without the fit axis). fill [S]: index of the parameter that each entry of the
    map is, -1 for constants, whose values are in ``constant`` [S]. Without a layout, both empty, where the map is filled in another way.
    """

    offsets: dict[str, tuple[int, tuple[int, ...]]]
    size: int
    layout: Layout | None
    fill: np.ndarray
    constant: np.ndarray

    def slice(self, name: str) -> slice:
        start, shape = self.offsets[name]
        return slice(start, start + int(np.prod(shape)))

    def offset(self, name: str) -> int:
        return self.offsets[name][0] if name in self.offsets else -1


def trainable(model: Model, flat: FlatParameters) -> np.ndarray:
    """1 for each parameter that is trained, 0 for those that stay as they are: [P] float64."""
    out = np.ones(flat.size)
    for name, mask in model.frozen_entries().items():
        out[flat.slice(name)] = ~mask.ravel()
    return out


def read(model: Model, dtype: type = np.float32) -> np.ndarray:
    """All parameters, [F, P]."""
    return np.concatenate([p.detach().numpy().reshape(model.n_fits, -1) for p in model.parameters()], 1).astype(dtype)


def write(model: Model, theta: np.ndarray) -> None:
    """The inverse of ``read``, in place."""
    end = 0
    with torch.no_grad():
        for p in model.parameters():
            start, end = end, end + p[0].numel()
            p.copy_(torch.as_tensor(theta[:, start:end].copy()).reshape(p.shape))


def flat_parameters(model: Model, written_out: bool = False) -> FlatParameters:
    """The layout of ``model``, for CPU kernels or, with structured matrices ``written_out``, for a device.

    How parameters fill it is found by probing: parameters are replaced by their own indices and the map is filled with them.
    Two probes with different offsets tell parameters (which move by the offset) from constants (which do not). This is right for maps
    that take parameters by index, as all of the PLRNN family do; of any other, only the offsets are known.
    """
    form = AdditiveMap.written_out if written_out else lambda map: map
    offsets, end = {}, 0
    for name, p in model.named_parameters():
        offsets[name] = (end, tuple(p.shape[1:]))
        end += p[0].numel()
    elsewhere = FlatParameters(offsets, end, None, np.zeros(0, np.int64), np.zeros(0))
    if not isinstance(model, AdditiveModel):
        return elsewhere
    probe = copy.deepcopy(model).double()
    shift = 2.0 * end + 2
    flats = []
    for base in (1.0, 1.0 + shift):
        index = np.broadcast_to(base + np.arange(end), (model.n_fits, end))
        write(probe, index)
        with torch.no_grad():
            flats.append(pack(form(probe.additive_map()))[0].numpy())
    moved = flats[1] - flats[0]
    is_parameter = moved == shift
    if not (is_parameter | (moved == 0)).all():
        return elsewhere
    fill = np.where(is_parameter, np.round(flats[0] - 1.0), -1).astype(np.int64)
    layout = layout_of(model.additive_map().written_out()) if written_out else cpu_layout(model.additive_map())
    return FlatParameters(offsets, end, layout, fill, np.where(is_parameter, 0.0, flats[0]))
