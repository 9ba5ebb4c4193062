"""One quadratic metric for the regions that an orbit visits, and balls around its end that are proven to stay within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.contraction.programs import have_solver, jacobians_program
from dynrnn.analysis.contraction.quadratic import jacobians_margin, smallest_rate
from dynrnn.analysis.lyapunov.verdict import period_of
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError
from dynrnn.rounding import gamma, margin_of_definiteness

MAX_REGIONS = 4096
GRADIENT_STEPS = 400
MAX_CENTRES = 64


def orbit_states(orbit: Any, fits: np.ndarray, M: int) -> list[np.ndarray]:
    """States (n, M) of every fit, the last trial's last at the end.

    orbit: what ``generate`` gives, or states (time, M), (trial, time, M) or (fit, trial, time, M).
    """
    if isinstance(orbit, xr.Dataset):
        if "latent" not in orbit:
            raise ArgumentError("orbit has no variable 'latent': pass what dynrnn.generate(model, n_steps=...) gives, or an array of states (time, latent).")
        if not np.isin(fits, orbit.fit.values).all():
            raise ArgumentError(f"orbit lacks fit {fits[~np.isin(fits, orbit.fit.values)][0]}: generate it from the same model.")
        values = orbit.latent.sel(fit=fits).transpose("fit", "trial", "time", "latent").values
    else:
        values = np.asarray(orbit, dtype=np.float64)
        if values.ndim in (2, 3):
            values = np.broadcast_to(values, (len(fits), *((1,) if values.ndim == 2 else ()), *values.shape))
    if values.ndim != 4 or values.shape[0] != len(fits) or values.shape[3] != M or 0 in values.shape:
        raise ArgumentError(f"orbit must hold states (time, {M}), (trial, time, {M}) or ({len(fits)} fits, trial, time, {M}), got shape {values.shape}.")
    return list(values.astype(np.float64).reshape(len(fits), -1, M))


@dataclass(frozen=True)
class Visited:
    """rate, metric P, words (n, H); centres (c, M) and the radius of balls in the metric that map into each other in a ring; radius 0 where none was shown."""

    rate: float
    metric: np.ndarray
    words: np.ndarray
    centres: np.ndarray
    radius: float


def certify_visited(map: PiecewiseLinearMap, states: np.ndarray, metrics: list[np.ndarray], tolerance: float) -> Visited | str:
    """A metric in which all regions of ``states`` contract, or why there is none; metrics: where to start."""
    if not np.isfinite(states).all():
        return "visited: the orbit is not finite"
    words = np.unique(map.words(states), axis=0)
    if len(words) > MAX_REGIONS:
        return f"visited: more than {MAX_REGIONS} regions"
    J = map.jacobians(words)
    low = float(np.abs(np.linalg.eigvals(J)).max())
    if low >= 1:
        return f"visited: a region of the orbit expands (spectral radius {low:.4g})"
    growth = [_growth(J, P) for P in metrics]
    P = metrics[int(np.argmin(growth))]
    best = _proven(map, words, P, low, min(growth))
    if have_solver():
        best = jacobians_program(map, words, best, low, tolerance)
    else:
        best = _gradient(map, words, J, best, low, tolerance)
    if not best[0] < 1:
        return "visited: no common metric was found"
    centres, radius = invariant_balls(map, words, best[1], best[0], states)
    return Visited(best[0], best[1], words, centres, radius)


def _growth(J: np.ndarray, P: np.ndarray) -> float:
    """Largest factor of all J in the metric P."""
    R = np.linalg.cholesky(P).T
    return float(np.linalg.norm(R @ J @ np.linalg.inv(R), 2, axis=(-2, -1)).max())


def _proven(map: PiecewiseLinearMap, words: np.ndarray, P: np.ndarray, low: float, growth: float) -> tuple[float, np.ndarray]:
    return smallest_rate(lambda g: jacobians_margin(map, words, P, g), low, growth * (1 + 1e-6) + 1e-9), P


def _gradient(
    map: PiecewiseLinearMap, words: np.ndarray, J: np.ndarray, best: tuple[float, np.ndarray], low: float, tolerance: float
) -> tuple[float, np.ndarray]:
    """Without a solver: P moves against the most violated inequality by Polyak's step, which ends after finitely many if a metric of that rate exists
    (Liberzon and Tempo 2004, IEEE Trans. Automatic Control 49, 990); bisection over the rate."""
    high = best[0] if np.isfinite(best[0]) else 1.0
    for _ in range(12):
        if high - low <= max(tolerance, 1e-2) * high:
            break
        g = (low + min(high, 1.0)) / 2 if high < 1 else 1 - 1e-6
        P, found = best[1] * len(best[1]) / np.trace(best[1]), False
        for _ in range(GRADIENT_STEPS):
            lowest, vectors = np.linalg.eigh(P)
            if lowest[0] < 1e-6:                                                       # back into the cone
                P = (vectors * np.maximum(lowest, 1e-6)) @ vectors.T
            value, vector = np.linalg.eigh(J.transpose(0, 2, 1) @ P @ J - g * g * P)
            worst = int(value[:, -1].argmax())
            if value[worst, -1] < -1e-9:
                found = True
                break
            x = vector[worst, :, -1]
            moved = J[worst] @ x
            slope = np.outer(moved, moved) - g * g * np.outer(x, x)
            length = float(np.linalg.norm(slope))
            P = P - (value[worst, -1] + 1e-2 * length) / length**2 * slope
            P = (P + P.T) / 2
        trial = _proven(map, words, P, low, _growth(J, P)) if found else (np.inf, P)
        if trial[0] < min(high, 1.0):
            best, high = trial, trial[0]
        elif high >= 1:
            break
        else:
            low = g
    return best


def invariant_balls(map: PiecewiseLinearMap, words: np.ndarray, P: np.ndarray, rate: float, states: np.ndarray) -> tuple[np.ndarray, float]:
    """Balls around the fixed point or cycle at the orbit's end, all of whose states lie in the regions of ``words``: they are forward invariant.

    A ball is convex, so within it distances to its centre shrink by the rate. Returns centres (period, M) and the radius, or none and 0.
    """
    tail = states[-2 * MAX_CENTRES :]
    period = period_of(tail[::-1])
    centres = tail[len(tail) - period :]
    for _ in range(200):                                                               # of a map that contracts, so these are steps towards the cycle
        centres = np.roll(map.step(centres), 1, axis=0) if period else centres
    if not 0 < period <= MAX_CENTRES:
        return np.empty((0, map.latent_dim)), 0.0
    radius = min(reach(map, words, P, z) for z in centres)
    radius = min(radius, 1e100)
    return (centres, radius) if balls_hold(map, words, P, rate, centres, radius) else (np.empty((0, map.latent_dim)), 0.0)


def reach(map: PiecewiseLinearMap, words: np.ndarray, P: np.ndarray, centre: np.ndarray) -> float:
    """Radius, in the metric P, of a ball that is proven to meet regions of ``words`` alone; inf where no plane bounds it.

    It may cross the planes that are nearer than the radius; all words that these can make must be among ``words``.
    """
    M = map.latent_dim
    value = map.W2 @ centre + map.h2
    size = gamma(M + 2) * (np.abs(map.W2) @ np.abs(centre) + np.abs(map.h2))
    inverse = np.linalg.inv(P)
    length = np.sqrt(np.maximum(np.einsum("hi,ij,hj->h", map.W2, inverse, map.W2), 0)) * (1 + 1e-7)
    real: np.ndarray = np.asarray(np.abs(map.W2).any(1))
    # [[P, w], [w', l^2]] > 0 proves w'z <= l |z|_P
    whole = np.zeros((map.n_units, M + 1, M + 1))
    whole[:, :M, :M], whole[:, :M, M], whole[:, M, :M] = P, map.W2, map.W2
    whole[:, M, M] = length**2
    off = np.zeros_like(whole)
    off[:, M, M] = gamma(2) * length**2
    sound: np.ndarray = np.asarray(~real)
    sound[real] = margin_of_definiteness(whole[real], off[real]) > 0
    distance = np.where(real, np.maximum(np.abs(value) - size, 0) / np.where(real, length, 1.0) * (1 - 1e-12), np.inf)
    distance[~sound] = 0.0
    known = {word.tobytes() for word in words}
    here = value > 0
    if here.tobytes() not in known:
        return 0.0
    reached = [here]
    for h in np.argsort(distance, kind="stable"):
        if not np.isfinite(distance[h]):
            return np.inf
        other = [word.copy() for word in reached]
        for word in other:
            word[h] = ~word[h]
        if not all(word.tobytes() in known for word in other):
            return float(distance[h])
        reached += other
    return np.inf


def balls_hold(map: PiecewiseLinearMap, words: np.ndarray, P: np.ndarray, rate: float, centres: np.ndarray, radius: float) -> bool:
    """Whether the balls lie in the regions of ``words``, and each is mapped into the next: rate radius + |F(centre) - next centre|_P <= radius."""
    if not (len(centres) and np.isfinite(centres).all() and radius > 0 and rate < 1):
        return False
    if min(reach(map, words, P, z) for z in centres) < radius:
        return False
    M, H = map.latent_dim, map.n_units
    off = map.step(centres) - np.roll(centres, -1, axis=0)
    size = np.abs(centres) @ np.abs(map.A).T + np.abs(map.h1) + (np.abs(centres) @ np.abs(map.W2).T + np.abs(map.h2)) @ np.abs(map.W1).T
    off = np.abs(off) + 1.01 * gamma(M + 2 * H + 10) * (size + np.abs(centres))
    length = np.sqrt(np.trace(P)) * np.linalg.norm(off, axis=1)                      # |z|_P^2 <= trace(P) |z|^2
    return bool((length * (1 + 1e-9) <= (1 - rate) * radius).all())
