"""The search for one map: descent, Newton, then which end points are one and what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from dynrnn.analysis.chao import unseen
from dynrnn.analysis.smooth.groups import SAFETY, distinct, whitening
from dynrnn.analysis.smooth.newton import MINIMUM, ROOT, newton_errors, solve
from dynrnn.analysis.smooth.slow import EXTENT, JOINED, Continuum, continua, descend, slow_multipliers
from dynrnn.analysis.smooth.starts import draw_starts, finite_starts
from dynrnn.analysis.smooth.system import SmoothMap
from dynrnn.analysis.stability import TOLERANCE, sorted_multipliers

FIXED_POINT, SLOW_POINT, LINE_ATTRACTOR, CONTINUUM = "fixed point", "slow point", "line attractor", "continuum"
SINGULAR = 1e6            # |(J - I)^-1| beyond which a root is not told from its neighbours by Newton's error
SAME_SLOW = 0.05          # whitened distance within which slow points are one
ROUNDS = 4                # of n_starts each, while the indices do not add up to a known degree
MOST_PROJECTED = 256      # starts that look for continua


@dataclass(frozen=True)
class Found:
    """What is known of one fit."""

    rows: list[dict[str, Any]]
    index_sum: float
    n_unseen: float
    n_starts: int


def search(map: SmoothMap, rng: np.random.Generator, given: np.ndarray | None, n_starts: int, tolerance: float, slow: float) -> Found:
    """Rows of ``smooth_fixed_points`` for one map: fixed points, then continua, then slow points, each by location."""

    def residual(z: Tensor) -> Tensor:
        return map.step(z) - z

    def jacobian(z: Tensor) -> Tensor:
        return map.jacobian(z) - torch.eye(map.dim, dtype=z.dtype)

    used, x, r, state = [], [], [], []
    while True:
        z = finite_starts(map, draw_starts(map, n_starts, rng).z if given is None else given)
        radius = 2 * float(np.linalg.norm(z.std(0))) or 1 + float(np.linalg.norm(z[0]))
        solved = solve(residual, jacobian, descend(map, z), radius=radius, tolerance=tolerance)
        for gathered, value in zip((used, x, r, state), (z, solved.x, solved.r, solved.state), strict=True):
            gathered.append(value)
        ends, step, ended = np.concatenate(x), np.concatenate(r), np.concatenate(state)
        points, hits = _roots(jacobian, ends[ended == ROOT], step[ended == ROOT], whitening(np.concatenate(used)))
        index = _index(map, points)
        done = math.isnan(map.degree) or index.sum() == map.degree
        if done or given is not None or len(used) == ROUNDS or (index == 0).any():
            break
    z = np.concatenate(used)
    white = whitening(z)
    with torch.no_grad():
        slow_speed = slow * float(np.median(residual(torch.tensor(z)).norm(dim=-1)))
    slowest, slow_hits = _slow(ends[ended == MINIMUM], np.linalg.norm(step[ended == MINIMUM], axis=-1), slow_speed, white)
    sets: list[Continuum] = []
    if (slow_multipliers(_multipliers(map, np.concatenate([points, slowest]))) > 0).any():
        some = z if len(z) <= MOST_PROJECTED else z[rng.permutation(len(z))[:MOST_PROJECTED]]
        sets = continua(map, np.concatenate([some, points[index == 0], slowest]), white, slow_speed, radius)
    # beyond its ends a continuum is met too rarely to be joined to it
    on_root, on_slow = _groups(points, sets, white, np.where(index == 0, 2 * EXTENT, JOINED)), _groups(slowest, sets, white, 2 * EXTENT)
    isolated = (on_root < 0) | (index != 0)
    points, hits, index, on_root = points[isolated], hits[isolated], index[isolated], on_root[isolated]
    slowest, slow_hits = slowest[on_slow < 0], slow_hits[on_slow < 0]
    dims = [each.dimension for each in sets]
    order = np.lexsort(points.T[::-1])
    rows = [
        _row(map, points[i], FIXED_POINT, hits[i], int(index[i]), int(on_root[i]), dims[on_root[i]] if on_root[i] >= 0 else 0, math.nan) for i in order
    ]
    for row, bound in zip(rows, _kantorovich(map, points[order], radius, rng), strict=True):
        row["kantorovich"] = bound
    for g, each in enumerate(sets):
        mu = _multipliers(map, each.z)
        across = np.abs(np.take_along_axis(mu, np.argsort(np.abs(mu - 1), -1), -1)[:, each.dimension :])
        attracting = each.dimension == 1 and (not across.size or np.median(across.max(-1)) < 1)
        kind = LINE_ATTRACTOR if attracting else CONTINUUM
        rows += [_row(map, each.z[i], kind, each.hits[i], 0, g, each.dimension, each.drift[i]) for i in range(len(each.z))]
    rows += [_row(map, slowest[i], SLOW_POINT, slow_hits[i], 0, -1, 0, math.nan) for i in np.lexsort(slowest.T[::-1])]
    return Found(rows, float(index.sum()), unseen(hits), len(z))


def _roots(jacobian: Any, x: np.ndarray, r: np.ndarray, white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct roots and their hits. Where J - I is singular, Newton's error says nothing, and roots are told apart as slow points are."""
    errors, norms = newton_errors(jacobian, x, r)
    regular = norms < SINGULAR
    q = np.linalg.norm(r, axis=-1)
    best, hits = distinct(x[regular], SAFETY * errors[regular], q[regular])
    singular, more = distinct(x[~regular] @ white, np.full((~regular).sum(), SAME_SLOW), q[~regular])
    return np.concatenate([x[regular][best], x[~regular][singular]]), np.concatenate([hits, more])


def _slow(x: np.ndarray, speed: np.ndarray, slow_speed: float, white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, speed = x[speed <= slow_speed], speed[speed <= slow_speed]
    best, hits = distinct(x @ white, np.full(len(x), SAME_SLOW), speed)
    return x[best], hits


def _groups(x: np.ndarray, sets: list[Continuum], white: np.ndarray, reach: np.ndarray | float) -> np.ndarray:
    """Number of the continuum that each state lies on, -1 for none within ``reach``."""
    out = np.full(len(x), -1)
    for g, each in enumerate(sets):
        if len(x):
            out[(KDTree(each.cloud @ white).query(x @ white)[0] <= reach) & (out < 0)] = g
    return out


def _jacobians(map: SmoothMap, x: np.ndarray) -> np.ndarray:
    if not len(x):
        return np.zeros((0, map.dim, map.dim))
    return map.jacobian(torch.tensor(x)).detach().numpy()


def _multipliers(map: SmoothMap, x: np.ndarray) -> np.ndarray:
    return sorted_multipliers(_jacobians(map, x))


def _index(map: SmoothMap, x: np.ndarray) -> np.ndarray:
    J = _jacobians(map, x)
    sign = np.linalg.slogdet(np.eye(map.dim) - J)[0]
    return np.where((np.abs(sorted_multipliers(J) - 1) <= TOLERANCE).any(-1), 0, sign).astype(np.int64)


def _kantorovich(map: SmoothMap, x: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """beta eta Lip of each root (n,), with Lip the largest of 16 samples of |J(x + d) - J(x)| / |d| at |d| = radius / 1e4."""
    if not len(x):
        return np.zeros(0)
    J, lipschitz, length = _jacobians(map, x), np.zeros(len(x)), 1e-4 * radius
    for _ in range(16):
        d = rng.standard_normal(x.shape)
        change = _jacobians(map, x + length * d / np.linalg.norm(d, axis=-1, keepdims=True)) - J
        lipschitz = np.maximum(lipschitz, np.linalg.norm(change, 2, axis=(-2, -1)) / length)
    with torch.no_grad():
        r = (map.step(torch.tensor(x)) - torch.tensor(x)).norm(dim=-1).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = 1 / np.linalg.norm(J - np.eye(map.dim), -2, axis=(-2, -1))
        return np.where(r == 0, 0.0, beta**2 * r * lipschitz)


def _row(map: SmoothMap, x: np.ndarray, kind: str, hits: Any, index: int, group: int, dimension: int, drift: float) -> dict[str, Any]:
    with torch.no_grad():
        step = (map.step(torch.tensor(x[None]))[0] - torch.tensor(x)).numpy()
    speed = float(np.linalg.norm(step))
    return {
        "location": x, "eigenvalue": _multipliers(map, x[None])[0], "kind": kind, "speed": speed, "q": speed**2 / 2, "index": index,
        "residual": float(np.abs(step).max()), "kantorovich": math.nan, "hits": hits, "group": group, "dimension": dimension, "drift": drift,
    }
