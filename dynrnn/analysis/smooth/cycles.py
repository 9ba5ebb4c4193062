"""Cycles of any differentiable map, by search."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import xarray as xr

from dynrnn.analysis.chao import unseen
from dynrnn.analysis.smooth.groups import SAFETY, components, leaders, whitening
from dynrnn.analysis.smooth.newton import ROOT, newton_errors, solve
from dynrnn.analysis.smooth.shooting import seeds, shooting, stretches
from dynrnn.analysis.smooth.starts import draw_starts, finite_starts, given_starts
from dynrnn.analysis.smooth.system import SmoothMap, smooth_maps
from dynrnn.analysis.smooth.tables import Column, padded
from dynrnn.analysis.stability import TOLERANCE, describe, sorted_multipliers
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state

ROUNDS = 4                   # of n_starts each, while there are cycles that were hit once
LARGEST = 600                # unknowns k M of one cycle: the linear systems are dense
COARSE = 1e-2                # whitened radius beyond which Newton's error of a degenerate root joins nothing


def smooth_cycles(
    system: Any, periods: int | Iterable[int], dim: int | None = None, inputs: Any = None, *, starts: Any = None, n_starts: int = 1000,
    random_state: int | None = 0,
) -> xr.Dataset:
    """Cycles of the given minimal periods of any differentiable map, by multiple shooting from many starts.

    system, dim, inputs, starts : as in ``smooth_fixed_points``; ``starts`` are states whose orbits are the seeds.
    periods : one minimal period or several; 1 means fixed points. period * latent_dim may be 600 at most.
    n_starts : seeds a period and round; a half are near recurrences of long orbits, a quarter any stretches of them, a quarter independent points
        of a box of twice the orbits' range. Up to 4 rounds, until every cycle was hit more than once.

    Returns a dataset with dims fit, cycle, phase, latent, mode (padded, ``valid``), sorted by period:
        period (minimal); location (phase, latent) in the order of the orbit, from its lexicographically smallest point; multiplier (mode) of J
        round the cycle, largest modulus first, cut at e^700, its log_modulus, which is not, with all that ``stability.describe`` says
        (time_constant and frequency in time of dt); index = sign det(I - J round the cycle), 0 where a multiplier is 1 within 1e-6; residual,
        the largest |F(x_i) - x_{i+1}|; error, the bound of Newton's error; hits.
    and per fit and period: complete (always False), n_unseen (Chao's estimate of cycles that no start met; NaN where none was met); status (fit).

    Method: Newton's iteration with the damping of Levenberg and Marquardt on all points of a cycle at once (multiple shooting; Deuflhard 2011,
    Newton Methods for Nonlinear Problems, chapter 7). Roots are certified by the bound of Newton's error, |K^-1| (|r| + rounding) with the
    block-cyclic K: two cycles are one if a point of the one lies within 1e3 bounds of a point of the other, which joins all rotations, and a
    cycle has a smaller period if it meets itself so. Symbols, which would tell cycles apart exactly, a smooth map has not.
    Cost O(n_starts (k M)^3) an iteration. Multipliers below 1e-16 of the largest are rounding.

    >>> found = smooth_cycles(lambda z: 3.3 * z * (1 - z), [1, 2], dim=1, n_starts=100)
    >>> found.period.values.ravel().tolist(), found.location.values[0, 2].ravel().round(6).tolist()
    ([1, 1, 2], [0.479427, 0.823603])
    """
    maps = smooth_maps(system, dim, inputs)
    wanted = _periods(periods, maps.dim)
    n_starts = check_int("n_starts", n_starts, low=1)
    seed = check_random_state(random_state)
    own = given_starts(starts, len(maps.maps), maps.dim)
    rows, n_unseen = [], []
    for f, (map, fit) in enumerate(zip(maps.maps, maps.fit, strict=True)):
        found: list[dict[str, Any]] = []
        if map is not None:
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(fit),)))
            found = _search(map, wanted, rng, None if own is None else own[f], n_starts)
        rows.append(found)
        n_unseen.append([unseen(np.array([row["hits"] for row in found if row["period"] == k])) for k in wanted])
    M, nan = maps.dim, math.nan
    columns: dict[str, Column] = {
        "period": ({}, 0, "minimal period"),
        "location": ({"phase": max(wanted), "latent": M}, nan, "states of the cycle"),
        "multiplier": ({"mode": M}, complex(nan, nan), "multipliers of the whole period"),
        "log_modulus": ({"mode": M}, nan, "logarithm of the multiplier's modulus"),
        "index": ({}, 0, "sign of det(I - J) with J of the whole period"),
        "residual": ({}, nan, "largest component of what a step misses the next point by"),
        "error": ({}, nan, "bound of Newton's error of the points together"),
        "hits": ({}, 0, "starts that ended here"),
    }
    out = padded(rows, "cycle", columns, maps.fit)
    out["period"].attrs["units"], out["log_modulus"].attrs["units"] = "steps", "nat / period"
    out.update(describe(out["multiplier"], maps.dt))
    steps = out["period"].where(out["valid"])
    with np.errstate(divide="ignore"):
        time_constant = -maps.dt * steps / out["log_modulus"]
    out["time_constant"] = time_constant.where(out["log_modulus"] != 0, np.inf).where(out["valid"]).assign_attrs(out["time_constant"].attrs)
    out["frequency"] = (out["frequency"] / steps).assign_attrs(out["frequency"].attrs)
    out = out.assign_coords(cycle_period=np.array(wanted))
    each = ("fit", "cycle_period")
    out["complete"] = (each, np.zeros((len(rows), len(wanted)), dtype=bool), {"long_name": "whether these are all, which a search never knows"})
    out["n_unseen"] = (each, np.array(n_unseen), {"long_name": "estimate of cycles that no start met", "units": "1"})
    out["status"] = (("fit",), maps.status, {"long_name": "what could be done"})
    return out.assign_attrs(route="smooth", periods=wanted, n_starts=n_starts, random_state=seed, dt=maps.dt)


def _periods(periods: int | Iterable[int], M: int) -> list[int]:
    try:
        several = list(periods)  # type: ignore[arg-type]  # a whole number is not iterable
    except TypeError:
        several = [periods]
    wanted = sorted({check_int("periods", k, low=1) for k in several})
    if not wanted:
        raise ArgumentError("periods is empty. Name at least one, such as range(1, 11).")
    if wanted[-1] * M > LARGEST:
        raise ArgumentError(
            f"period {wanted[-1]} with {M} latent units makes {wanted[-1] * M} unknowns, beyond the {LARGEST} of dense multiple shooting. "
            f"Ask for periods up to {LARGEST // M}; a piecewise-linear model has an exact route, cycles(...), without this limit."
        )
    return wanted


def _search(map: SmoothMap, wanted: list[int], rng: np.random.Generator, given: np.ndarray | None, n_starts: int) -> list[dict[str, Any]]:
    drawn = draw_starts(map, n_starts, rng, n_steps=400 + wanted[-1])
    z = finite_starts(map, drawn.z if given is None else given)
    white = whitening(z)
    radius = 2 * float(np.linalg.norm(z.std(0))) or 1 + float(np.linalg.norm(z[0]))
    found: list[dict[str, Any]] = []
    for k in wanted:
        gathered: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        own: list[dict[str, Any]] = []
        for _ in range(ROUNDS if given is None else 1):
            begin = seeds(map, k, n_starts, drawn, white, rng) if given is None else stretches(map, z, k)
            gathered.append(_roots(map, k, begin, radius, white))
            x, r, error = (np.concatenate(part) for part in zip(*gathered, strict=True))
            own = _distinct(map, k, x, r, error)
            if all(row["hits"] > 1 for row in own):
                break
        found += own
    return found


def _roots(map: SmoothMap, k: int, begin: np.ndarray, radius: float, white: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cycles of minimal period k, (n, k, M), with their residual and the bound of Newton's error."""
    residual, jacobian = shooting(map, k)
    solved = solve(residual, jacobian, begin.reshape(len(begin), k * map.dim), radius=radius * math.sqrt(k), n_iterations=60)
    done = solved.state == ROOT
    x, r = solved.x[done], solved.r[done]
    error = np.minimum(newton_errors(jacobian, x, r)[0], COARSE / SAFETY / np.linalg.norm(white, 2))
    points = x.reshape(-1, k, map.dim)
    minimal = np.ones(len(points), dtype=bool)
    for p in range(1, k):
        if k % p == 0:
            minimal &= np.linalg.norm(points - np.roll(points, -p, 1), axis=-1).max(-1) > SAFETY * error
    return points[minimal], np.abs(r).max(-1)[minimal], error[minimal]


def _distinct(map: SmoothMap, k: int, x: np.ndarray, r: np.ndarray, error: np.ndarray) -> list[dict[str, Any]]:
    """One row a cycle. Rotations are joined by their points; coincident cycles are first thinned in one rotation."""
    if not len(x):
        return []
    turned = np.stack([np.roll(cycle, -_first(cycle, SAFETY * bound), 0) for cycle, bound in zip(x, error, strict=True)])
    best, counts = leaders(turned.reshape(len(x), -1), SAFETY * error * math.sqrt(k), r)
    label = components(turned[best].reshape(-1, map.dim), np.repeat(SAFETY * error[best], k), np.repeat(np.arange(len(best)), k))
    hits = np.bincount(label, weights=counts).astype(np.int64)
    chosen = best[np.unique(label, return_index=True)[1]]
    rows = [_row(map, turned[i], float(r[i]), float(error[i]), int(hits[n])) for n, i in enumerate(chosen)]
    return sorted(rows, key=lambda row: tuple(row["location"][0]))


def _first(cycle: np.ndarray, tolerance: float) -> int:
    """The lexicographically smallest point, coordinates within the tolerance being equal."""
    left = np.arange(len(cycle))
    for axis in range(cycle.shape[1]):
        left = left[cycle[left, axis] <= cycle[left, axis].min() + tolerance]
    return int(left[0])


def _row(map: SmoothMap, cycle: np.ndarray, residual: float, error: float, hits: int) -> dict[str, Any]:
    product, scale = np.eye(map.dim), 0.0
    for J in map.jacobian(torch.tensor(cycle)).detach().numpy():                    # scaled, since the product may overflow
        product = J @ product
        size = float(np.abs(product).max()) or 1.0
        product, scale = product / size, scale + math.log(size)
    mu = sorted_multipliers(product[None])[0]
    with np.errstate(divide="ignore"):
        log = np.log(np.abs(mu)) + scale
    mu = mu * math.exp(min(scale, 700.0))
    index = 0 if (np.abs(mu - 1) <= TOLERANCE).any() else (-1) ** int(((mu.imag == 0) & (mu.real > 1)).sum())
    return {
        "period": len(cycle), "location": cycle, "multiplier": mu, "log_modulus": log, "index": index, "residual": residual, "error": error, "hits": hits,
    }
