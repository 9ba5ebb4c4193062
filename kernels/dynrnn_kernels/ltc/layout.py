"""How an LTCMap lies in one flat vector per fit: what the sums over synapses need, with targets in the last axis, padded to whole vectors.

    units    [3, P]       cm, gleak, gleak vleak
    synapses [M, 4, P]    scale, shift, w, w E;  the sigmoid of synapse i <- j is 1 / (1 + 2^(scale v_j + shift))
    sensory  [K, 4, P]    the same for inputs

Padded units have cm = 1 and nothing else, so that they stay at 0.
"""

from __future__ import annotations

from math import e, log2
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from dynrnn_kernels.ltc.map import LTCMap

LANES = 8
PER_E = log2(e)


class Layout(NamedTuple):
    """Units, inputs, unfolds, and units padded to whole vectors."""

    M: int
    K: int
    unfolds: int
    P: int

    @property
    def size(self) -> int:
        return (3 + 4 * self.M + 4 * self.K) * self.P


def layout_of(map: LTCMap) -> Layout:
    return Layout(map.latent_dim, map.input_dim, map.unfolds, -(-map.latent_dim // LANES) * LANES)


def _synapses(sigma: Tensor, mu: Tensor, w: Tensor, E: Tensor) -> Tensor:
    """[F, from, 4, to]."""
    scale = -PER_E * sigma
    return torch.stack([scale, -scale * mu, w, w * E], 1).permute(0, 3, 1, 2)


def pack(map: LTCMap) -> Tensor:
    """The map as [F, size]; differentiable."""
    F, M, lay = map.n_fits, map.latent_dim, layout_of(map)
    more = lay.P - M
    units = torch.cat([pad(map.cm[:, None], (0, more), value=1.0), pad(torch.stack([map.gleak, map.gleak * map.vleak], 1), (0, more))], 1)
    parts = [units.reshape(F, -1), pad(_synapses(map.sigma, map.mu, map.w, map.E), (0, more)).reshape(F, -1)]
    if map.w_in is not None and map.sigma_in is not None and map.mu_in is not None and map.E_in is not None:
        parts.append(pad(_synapses(map.sigma_in, map.mu_in, map.w_in, map.E_in), (0, more)).reshape(F, -1))
    return torch.cat(parts, 1)
