"""Where unstable branches go: to which attractor, or to infinity."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.polyline import reach
from dynrnn.analysis.piecewise.saddle import UNSTABLE, Saddle

DIVERGES, UNCLEAR = -1, -2
N_STARTS, N_KEPT, FAR = 16, 500, 1e8


def branch_starts(saddle: Saddle) -> np.ndarray:
    """States [2, n, M] over one fundamental segment of each side of the one-dimensional unstable manifold, -1 first; of the straight part's inner half."""
    directions = saddle.directions(UNSTABLE)
    v, mu = directions.V[0, :, 0], abs(float(directions.K[0, 0]))
    out = []
    for sign in (-1, 1):
        a = min(min(reach(saddle, j, s * directions.V[j, :, 0]) for j in range(saddle.period)) for s in (sign, -sign))
        a = a if np.isfinite(a) else 1.0
        t = sign * a / mu * np.geomspace(1 / mu**2, 1, N_STARTS, endpoint=False)      # two rounds: a negative multiplier changes sides in one
        out.append(saddle.points[0] + t[:, None] * v)
    return np.stack(out)


def label(map: PiecewiseLinearMap, starts: np.ndarray, n_steps: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Number of the attractor that each state of starts [n, M] reaches within n_steps, -1 where it diverges, and one late state of each attractor.

    Two late orbits are of one attractor if each lies along the other: half of its points are as near to it as its own are to each other, or nearer
    than ``tolerance`` times the size of both."""
    z, tails = starts.copy(), np.empty((N_KEPT, *starts.shape))
    limit = FAR * (1 + np.abs(starts).max())
    for n in range(n_steps + N_KEPT):
        z = np.where(np.abs(z) < limit, map.step(z), z)
        if n >= n_steps:
            tails[n - n_steps] = z
    labels, found = np.full(len(z), DIVERGES), []
    for i in range(len(z)):
        if (np.abs(z[i]) < limit).all():
            labels[i] = next((k for k, other in enumerate(found) if _alike(tails[:, i], other, tolerance)), len(found))
            if labels[i] == len(found):
                found.append(tails[:, i])
    return labels, np.array([tail[-1] for tail in found]).reshape(len(found), starts.shape[1])


def _alike(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    size = tolerance * np.abs(np.concatenate([a, b])).max()
    for x, y in ((a, b), (b, a)):
        tree = KDTree(y)
        own = np.median(tree.query(y, 2)[0][:, 1])
        if np.median(tree.query(x)[0]) > size + 5 * own:
            return False
    return True
