"""States far along orbits whose way there nobody wants: no memory beside the states, and fast where there are few of them."""

from __future__ import annotations

import torch
from torch import Tensor

from dynrnn_kernels.additive import cpu_orbit
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.additive.pattern import stays
from dynrnn_kernels.additive.structure import Structure, dense
from dynrnn_kernels.errors import KernelError

PLAIN = ("relu", "clipped", "identity")
FEW = 8                                                                         # orbits of a fit; from there on cpu.py's lanes are full


def suits(map: AdditiveMap, n_orbits: int) -> bool:
    """Whether ``later`` can do it, and is the faster way."""
    native = any(isinstance(part, Structure) and stays(part) for name, part in map.parts().items() if name != "a")
    return map.phi in PLAIN and n_orbits < FEW and map.h1.device.type == "cpu" and not native


def later(map: AdditiveMap, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor:
    """States ``n_steps`` after z [F, B, M], along the constant input u [K] (zero by default). One orbit a thread; O(F B n_steps M H)."""
    return _followed(map, z, n_steps, u, False)[0]


def orbit(map: AdditiveMap, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor:
    """The states [F, B, n_steps, M] of ``later`` on the way, from z on."""
    return _followed(map, z, n_steps, u, True)[1]


def _followed(map: AdditiveMap, z: Tensor, n_steps: int, u: Tensor | None, keep: bool) -> tuple[Tensor, Tensor]:
    if map.phi not in PLAIN or z.device.type != "cpu":
        raise KernelError(f"orbits are followed this way on a CPU with phi one of {PLAIN}, got {map.phi!r} on {z.device}; use forced_sequence")
    F, B, M = z.shape
    H, map = map.hidden_dim, map.to(z.dtype)
    nothing = z.new_zeros(map.input_dim) if u is None else u.to(z.dtype)
    shift = z.new_zeros(F, H) if map.D is None else map.D @ nothing
    h1 = map.h1 if map.C is None else map.h1 + map.C @ nothing
    h2 = z.new_zeros(F, H) if map.h2 is None else map.h2
    A = z.new_zeros(F, 0, 0) if map.A is None else dense(map.A)
    columns = z.new_zeros(F, M, 0) if map.W2 is None else dense(map.W2).mT
    out = z.detach().clone(memory_format=torch.contiguous_format)
    path = z.new_empty(F, B, n_steps if keep else 0, M)
    tensors = map.diagonal(), dense(map.W1), h1, A, columns, shift, h2, out
    cpu_orbit.orbits(map.phi, map.w2, [x.detach().contiguous().numpy() for x in tensors], n_steps, path.numpy())
    return out, path
