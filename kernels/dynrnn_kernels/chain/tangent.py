"""Tangent vectors carried along orbits of chains."""

from __future__ import annotations

from torch import Tensor

from dynrnn_kernels.additive.tangent import Carried, by_torch, checked, in_place
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.chain import cpu
from dynrnn_kernels.chain.map import ChainMap
from dynrnn_kernels.chain.reference import step, tangents
from dynrnn_kernels.chain.stages import packed


def carry(
    map: ChainMap, z: Tensor, Q: Tensor, n_steps: int, interval: int | Tensor = 1, *, u: Tensor | None = None, pair: Tensor | None = None,
    distance: float | Tensor = 1e-7, keep_path: bool = False, backend: str | None = None,
) -> Carried:
    """Arguments and result as those of ``dynrnn_kernels.additive.tangent.carry``, by ``cpu``, compiled, or ``reference``. No Jacobian is formed: cost
    O(F S n_steps k (numbers of all stages + k M / interval)), memory O(k M) a thread beside the results."""
    backend = choose_backend(z.device, backend, ("reference", "cpu"))
    u, every, apart = checked(map, z, Q, n_steps, interval, u, pair, distance)
    if backend == "reference":
        return by_torch(map, step, tangents, z, Q, every, u, pair, apart, keep_path)
    stages = packed(map.to(z.dtype))
    return in_place(lambda *tensors: cpu.carry(*stages, *(x.numpy() for x in tensors)), z, Q, every, u, pair, apart, keep_path)
