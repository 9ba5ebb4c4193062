"""Random liquid time-constant maps and forced problems for the kernel tests."""

from __future__ import annotations

import torch

from dynrnn_kernels.ltc import LTCMap


def random_ltc_map(g: torch.Generator, F: int, M: int, K: int, dense: bool, unfolds: int = 3, **tags) -> LTCMap:
    """Parameters in the ranges that models start from, float64. Without ``dense`` half of the synapses are absent."""

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=g, dtype=torch.float64)

    def synapses(n: int) -> tuple[torch.Tensor, ...]:
        w, polarity = between(0.001, 1, F, M, n), torch.where(torch.rand(F, M, n, generator=g) < 0.5, -1.0, 1.0).double()
        w = w if dense else w * (torch.rand(F, M, n, generator=g) < 0.5)
        return w, between(3, 8, F, M, n), between(-0.5, 0.8, F, M, n), polarity * between(0.5, 1, F, M, n)

    inputs: dict[str, torch.Tensor] = {}
    if K:
        inputs = dict(zip(("w_in", "sigma_in", "mu_in", "E_in"), synapses(K))) | {"input_w": between(0.5, 1.5, F, K), "input_b": between(-0.2, 0.2, F, K)}
    cm, gleak, vleak = between(0.4, 0.6, F, M), between(0.001, 1, F, M), between(-0.2, 0.2, F, M)
    return LTCMap(cm, gleak, vleak, *synapses(M), **inputs, unfolds=unfolds, **tags)


def ltc_problem(seed: int, unfolds: str, K: int, dense: bool, *, F: int = 2, B: int = 5, T: int = 7, M: int = 4, H: int = 0):
    """(map, z0, target, weight, u) in float64; ``unfolds`` as a word. A third of the entries has weight zero, and there the target is NaN."""
    g = torch.Generator().manual_seed(seed)
    map = random_ltc_map(g, F, M, K, dense, {"one": 1, "three": 3, "six": 6}[unfolds], dt=0.7)
    z0, target = torch.randn(F, B, M, generator=g, dtype=torch.float64), torch.randn(F, B, T, M, generator=g, dtype=torch.float64)
    weight = torch.rand(F, B, T, M, generator=g, dtype=torch.float64)
    weight[torch.rand(F, B, T, M, generator=g) < 0.33] = 0.0
    target[weight == 0] = float("nan")
    return map, z0, target, weight, torch.randn(F, B, T, K, generator=g, dtype=torch.float64) if K else None
