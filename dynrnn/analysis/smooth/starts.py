"""Where searches start: states on trajectories with noise, and a box around them that is larger than what they visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynrnn.analysis.smooth.system import SmoothMap
from dynrnn.errors import ArgumentError

EARLY = 10                   # steps that count as transient
NEAR, FAR = 10.0, 1e4                    # units of the starts; a state beyond FAR is on its way to infinity


@dataclass(frozen=True)
class Starts:
    """States z (n, M), the orbits that they come from (orbit, time, M) with NaN after escape, and the box (2, M) that they fill."""

    z: np.ndarray
    orbits: np.ndarray
    box: np.ndarray


def draw_starts(map: SmoothMap, n: int, rng: np.random.Generator, *, n_orbits: int = 32, n_steps: int = 400) -> Starts:
    """Half of the starts are states of orbits from standard normal states, early ones as often as late ones on a scale of ln t, with noise of
    many sizes; half are uniform in a box of twice the range of transients and long-run states."""
    M = map.dim
    orbits = iterate(map, rng.standard_normal((n_orbits, M)), n_steps)
    # of an orbit to infinity only its beginning tells where to look
    escaping = np.isnan(orbits[:, -1:]).any(-1)
    usable = np.isfinite(orbits).all(-1) & ~(escaping & (np.nan_to_num(np.abs(orbits).max(-1), nan=np.inf) > NEAR))
    which, when = np.nonzero(usable)
    early = when < EARLY
    ranges = [np.quantile(orbits[which[at], when[at]], [0.01, 0.99], axis=0) for at in (early, ~early) if at.any()]
    low, high = np.min(ranges, axis=(0, 1)), np.max(ranges, axis=(0, 1))
    centre, half = (low + high) / 2, (high - low) / 2
    weight = 1 / (1 + when)
    picks = rng.choice(len(when), size=n // 2, p=weight / weight.sum())
    near = orbits[which[picks], when[picks]]
    near = near + half * 10 ** rng.uniform(-3, -0.5, (len(near), 1)) * rng.standard_normal(near.shape)
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
