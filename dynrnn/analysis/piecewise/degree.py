"""Index sums: what the indices of all fixed points must add up to, and the index of one that lies on switching planes.

The index of a fixed point is sign det(I - J). While no fixed point comes from or goes to infinity, the sum over all is the degree of z - f(z),
which continuous changes of f leave as it is (Ortega & Rheinboldt 1970, Iterative Solution of Nonlinear Equations, chapter 6). If f(z) - A z
is bounded it is sign det(I - A). Otherwise it is that of the map at infinity, z -> A z + W1 relu(W2 z), provided that this has no fixed point
but 0; the fixed points of that map plus a generic vector are found along with those of f, since its cones are regions of f too.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from dynrnn.analysis.piecewise.candidates import Candidates
from dynrnn.analysis.piecewise.enumeration import enumerate_regions, size_of
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.point import SINGULAR, FixedPoint
from dynrnn.analysis.piecewise.reduced import Reduced, reduce

LOCAL_LIMIT = 2**22                       # regions that meet in a fixed point, for its index


def bounded_degree(map: PiecewiseLinearMap) -> float:
    """sign det(I - A) of a bounded map, NaN where that is singular or the map is not bounded."""
    if not map.bounded:
        return np.nan
    away = np.eye(map.latent_dim) - map.A
    size = np.linalg.svd(away, compute_uv=False)
    return np.nan if size[-1] <= SINGULAR * max(1.0, size[0]) else float(np.linalg.slogdet(away)[0])


def enumerated_degree(reduced: Reduced, found: Candidates) -> float:
    """The degree that a complete enumeration found; NaN where fixed points may lie at infinity."""
    if not np.isfinite(found.degree) or any(_escapes(reduced.map, reduced.full_words(word)) for word in found.escaping.values()):
        return np.nan
    return float(found.degree)


def _escapes(map: PiecewiseLinearMap, word: np.ndarray) -> bool:
    """Whether the map at infinity keeps a direction of this cone fixed: w != 0 with J w = w and every W2 w on the word's side or 0."""
    _, size, right = np.linalg.svd(np.eye(map.latent_dim) - map.jacobians(word))
    flat = right[size <= SINGULAR * max(1.0, size[0])].T
    if not flat.shape[1]:
        return False
    driving = map.W1.any(0)
    side = (np.where(word, 1.0, -1.0)[:, None] * (map.W2 @ flat))[driving]
    side[np.abs(side) < 1e-10 * np.linalg.norm(map.W2[driving], axis=1)[:, None]] = 0
    for j in range(flat.shape[1]):
        for value in (-1.0, 1.0):
            bounds = [(None, None)] * flat.shape[1]
            bounds[j] = (value, value)
            if not len(side) or linprog(np.zeros(flat.shape[1]), A_ub=-side, b_ub=np.zeros(len(side)), bounds=bounds, method="highs").status == 0:
                return True
    return False


def border_index(map: PiecewiseLinearMap, point: FixedPoint) -> int:
    """The index of a fixed point on switching planes: the degree of the map around it; 0 where that is not known."""
    on, tight = point.word & ~point.border, point.border
    local = PiecewiseLinearMap(
        map.A + (map.W1 * on) @ map.W2, map.W1[:, tight], map.W2[tight], np.zeros(map.latent_dim), np.zeros(int(tight.sum()))
    )
    reduced = reduce(local)
    route, size = size_of(reduced)
    if size > LOCAL_LIMIT:
        return 0
    degree = enumerated_degree(reduced, enumerate_regions(reduced, route))
    return 0 if np.isnan(degree) else int(degree)
