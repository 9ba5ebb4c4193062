"""Many orbits at once: those still running, short stretches with all states kept, and some fits taken out of a carrier."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Carrier, Mapped, free_run

STRETCH_NUMBERS = 2**22      # latent numbers of the stretches held at once: 32 MiB


def stretch(carrier: Carrier, z: Tensor, n_steps: int) -> Tensor:
    """The states after each of ``n_steps``, [F, S, n_steps, M], from z [F, S, M]."""
    if isinstance(carrier, Mapped):
        return free_run(carrier.map, z, n_steps, carrier.constant.expand(1, 1, n_steps, -1) if carrier.input_dim else None)
    states = []
    for _ in range(n_steps):
        z = carrier.advance(z, 1)
        states.append(z)
    return torch.stack(states, 2)


def some_fits(carrier: Carrier, first: int, last: int) -> Carrier:
    """The carrier of fits number ``first`` to ``last`` (from 0, the last one not among them) alone."""
    if isinstance(carrier, Mapped) and last - first < carrier.n_fits:
        own = {name: x[first:last].contiguous() for name, x in carrier.map.tensors().items()}
        return Mapped(carrier.map.with_tensors(own), carrier.constant)
    return carrier


def running(active: np.ndarray) -> Tensor:
    """Numbers [F, n] of the starts that run on, of every fit equally many: where it has fewer, its first one is repeated. active [F, S]."""
    n = int(active.sum(1).max())
    return torch.as_tensor(np.argsort(~active, axis=1, kind="stable")[:, :n])


def closing(carrier: Carrier, z: Tensor, max_period: int, tolerance: np.ndarray) -> np.ndarray:
    """The smallest number of steps after which each orbit is back at z within tolerance [F], 0 where it is not within ``max_period``; [F, S]."""
    F, S, M = z.shape
    near, found, now = torch.as_tensor(tolerance)[:, None, None], torch.zeros(F, S, dtype=torch.int64), z
    done, block = 0, 8
    while done < max_period and bool((found == 0).any()):
        n = min(block, max_period - done, max(1, STRETCH_NUMBERS // max(1, F * S * M)))
        path = stretch(carrier, now, n)
        back = (path - z[:, :, None]).abs().amax(-1) <= near
        first = back.to(torch.int64).argmax(-1) + 1 + done
        found = torch.where((found == 0) & back.any(-1), first, found)
        now, done, block = path[:, :, -1], done + n, 2 * block
    return found.numpy()
