"""Free orbits of chains, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.chain import cpu, reference
from dynrnn_kernels.chain.map import ChainMap
from dynrnn_kernels.chain.stages import packed
from dynrnn_kernels.errors import KernelError


def orbit(map: ChainMap, z: Tensor, n_steps: int, u: Tensor | None = None, *, backend: str | None = None) -> Tensor:
    """The states [F, S, n_steps, M] after each of ``n_steps`` from z [F, S, M] on.

    u : inputs [1 or F, 1 or S, n_steps, K], of which index t acts in step t; needed where the map takes inputs. backend : ``cpu``, compiled, or
    ``reference``. Cost O(F S n_steps times the numbers of all stages). Sums do not depend on the number of fits, orbits or threads.
    """
    backend = choose_backend(z.device, backend, ("reference", "cpu"))
    F, S, M = z.shape
    K = map.input_dim
    if (F, M) != (map.n_fits, map.latent_dim):
        raise KernelError(f"z must have shape (fit, orbit, latent) = ({map.n_fits}, any, {map.latent_dim}), got {tuple(z.shape)}")
    if u is None and K:
        raise KernelError(f"the map takes {K} inputs: give u of shape (1 or {F}, 1 or {S}, {n_steps}, {K})")
    u = z.new_zeros(1, 1, n_steps, 0) if u is None else u
    if u.ndim != 4 or u.shape[0] not in (1, F) or u.shape[1] not in (1, S) or u.shape[2:] != (n_steps, K) or u.dtype != z.dtype:
        raise KernelError(f"u must have shape (1 or {F}, 1 or {S}, {n_steps}, {K}) and be {z.dtype}, got {tuple(u.shape)} of {u.dtype}")
    map, path = map.to(z.dtype), z.new_empty(F, S, n_steps, M)
    if backend == "cpu":
        cpu.orbits(*packed(map), z.detach().contiguous().numpy(), u.detach().contiguous().numpy(), path.numpy())
        return path
    with torch.no_grad():
        for t in range(n_steps):
            path[:, :, t] = z = reference.step(map, z, u[:, :, t].expand(F, S, -1) if K else None)
    return path
