"""Where searches start: states on trajectories with noise, and a box around them that is larger than what they visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynrnn.analysis.smooth.system import SmoothMap
from dynrnn.errors import ArgumentError

FAR = 1e4                    # a state beyond is on its way to infinity


@dataclass(frozen=True)
class Starts:
    """States z (n, M), the orbits that they come from (orbit, time, M) with NaN after escape, and the box (2, M) that they fill."""

    z: np.ndarray
    orbits: np.ndarray
    box: np.ndarray


def draw_starts(map: SmoothMap, n: int, rng: np.random.Generator, *, n_orbits: int = 32, n_steps: int = 400) -> Starts:
    """Half of the starts are states of orbits from standard normal states, with noise; half are uniform in a box of twice their range."""
    M = map.dim
    orbits = iterate(map, rng.standard_normal((n_orbits, M)), n_steps)
    pool = orbits.reshape(-1, M)
    pool = pool[np.isfinite(pool).all(-1)]
    low, high = np.quantile(pool, [0.01, 0.99], axis=0)                             # escaping states are few, but far
    centre = (low + high) / 2
    # a direction in which all orbits have come to rest still needs a range to search
    half = np.maximum((high - low) / 2, 0.1 * max(float((high - low).max()) / 2, 0.1))
    inside = pool[(np.abs(pool - centre) <= 2 * half).all(-1)]
    near = inside[rng.integers(len(inside), size=n // 2)] if len(inside) else np.broadcast_to(centre, (n // 2, M))
    near = near + 0.1 * half * rng.standard_normal(near.shape)
    wide = centre + 2 * half * rng.uniform(-1, 1, (n - n // 2, M))
    return Starts(np.concatenate([near, wide]), orbits, np.stack([centre - 2 * half, centre + 2 * half]))


@torch.no_grad()
def iterate(map: SmoothMap, z: np.ndarray, n_steps: int) -> np.ndarray:
    """Orbits (orbit, n_steps + 1, M), NaN from where they have left for infinity."""
    state = torch.tensor(z)
    states = [state]
    for _ in range(n_steps):
        state = map.step(state)
        state = torch.where(state.abs().amax(-1, keepdim=True) < FAR, state, torch.nan)
        states.append(state)
    return torch.stack(states, 1).numpy()


def given_starts(starts: Any, n_fits: int, M: int) -> list[np.ndarray] | None:
    """The user's starts (start, M) or (fit, start, M), one array a fit."""
    if starts is None:
        return None
    try:
        values = np.array(starts, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"starts must be an array of states: {error}.") from None
    if values.ndim == 2:
        values = np.broadcast_to(values, (n_fits, *values.shape))
    if values.ndim != 3 or values.shape[0] != n_fits or values.shape[2] != M or not values.shape[1]:
        raise ArgumentError(f"starts must have shape (start, {M}) or ({n_fits}, start, {M}), at least one of them, got {np.shape(starts)}.")
    if not np.isfinite(values).all():
        raise ArgumentError("starts hold values that are not finite. Drop those states.")
    return [np.array(value) for value in values]


def finite_starts(map: SmoothMap, z: np.ndarray) -> np.ndarray:
    """Those with an image; ArgumentError if there is none."""
    with torch.no_grad():
        fine = torch.isfinite(map.step(torch.tensor(z))).all(-1).numpy()
    if not fine.any():
        raise ArgumentError(
            f"the map is not finite at any of the {len(z)} starts, which lie between {z.min():.3g} and {z.max():.3g}. "
            "Check the map, or pass starts= from where it is defined."
        )
    return z[fine]
