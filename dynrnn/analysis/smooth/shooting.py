"""Cycles as roots: all points of a cycle at once, since an orbit run round a long unstable cycle forgets where it started."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.smooth.starts import Starts, iterate
from dynrnn.analysis.smooth.system import SmoothMap

NEAREST = 0.25               # share of an orbit's near recurrences that seeds are drawn from


def shooting(map: SmoothMap, k: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Residual (B, k M) -> (B, k M) with ``F(x_i) - x_{i+1}``, indices modulo k, and its Jacobian (B, k M, k M), block by block."""
    M = map.dim

    def residual(x: Tensor) -> Tensor:
        points = x.reshape(-1, k, M)
        return map.step(points.reshape(-1, M)).reshape(-1, k * M) - points.roll(-1, 1).reshape(-1, k * M)

    def jacobian(x: Tensor) -> Tensor:
        blocks = map.jacobian(x.reshape(-1, M)).reshape(-1, k, M, M)
        out = torch.zeros(len(blocks), k, M, k, M, dtype=x.dtype)
        eye = torch.eye(M, dtype=x.dtype)
        for i in range(k):
            out[:, i, :, i] += blocks[:, i]
            out[:, i, :, (i + 1) % k] -= eye
        return out.reshape(-1, k * M, k * M)

    return residual, jacobian


def seeds(map: SmoothMap, k: int, n: int, starts: Starts, white: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Starts (n, k, M): a half near recurrences |x_{t+k} - x_t| of orbits, a quarter any stretches of them, a quarter independent points of the box."""
    orbits = starts.orbits
    n_steps = orbits.shape[1] - k
    whole = np.isfinite(orbits[:, k:]).all(-1)                                     # an orbit that has left does not come back
    which, when = np.nonzero(whole)
    out = [starts.box[0] + (starts.box[1] - starts.box[0]) * rng.random((n, k, map.dim))]
    if len(which) and n_steps > 0:
        back = np.linalg.norm((orbits[which, when + k] - orbits[which, when]) @ white, axis=-1)
        near = np.argsort(back, kind="stable")[: max(1, int(NEAREST * len(back)))]
        picks = np.concatenate([near[rng.integers(len(near), size=n // 2)], rng.integers(len(which), size=n // 4)])
        out.insert(0, orbits[which[picks, None], when[picks, None] + np.arange(k)])
    return np.concatenate(out)[:n]


def stretches(map: SmoothMap, z: np.ndarray, k: int) -> np.ndarray:
    """Orbits (n, k, M) from the user's starts, those that stay finite."""
    orbits = iterate(map, z, k)[:, :k]
    return orbits[np.isfinite(orbits).all((1, 2))]
