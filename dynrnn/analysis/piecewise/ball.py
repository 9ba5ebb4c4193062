"""How deep inside a polyhedron one can be: the centre of the largest ball in it, by a linear programme (its Chebyshev centre)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from dynrnn.errors import ArgumentError

INFEASIBLE = 2                            # linprog's status
Box = Sequence[tuple[float | None, float | None]]


def largest_ball(
    G: np.ndarray, g: np.ndarray, length: np.ndarray | None = None, *, most: float | None = 1.0, box: Box | None = None
) -> tuple[np.ndarray, float] | None:
    """t (n,) with the largest s <= ``most`` such that G t + s length <= g, and s; None where the programme has no solution.

    length: of the rows of G by default, so that s is a radius; negative where the polyhedron is empty. ``box``: bounds of every t.
    One programme in n + 1 unknowns, by HiGHS; ArgumentError where it fails for another reason than that there is no solution.

    >>> largest_ball(np.array([[1.0], [-1.0]]), np.array([3.0, -2.0]))
    (array([2.5]), 0.5)
    """
    n = G.shape[1]
    size = np.asarray(np.linalg.norm(G, axis=1)) if length is None else length
    if not len(g) and box is None and most is not None:
        return np.zeros(n), most
    if n == 1 and len(g) and np.abs(G).min() > 0:                                   # an interval, mostly empty: no need for a programme
        ends, rising = g / G[:, 0], G[:, 0] > 0
        if ends[~rising].max(initial=-np.inf) > ends[rising].min(initial=np.inf):
            return None
    bounds = [*(box or [(None, None)] * n), (None, most)]
    found = linprog(np.r_[np.zeros(n), -1.0], A_ub=np.column_stack([G, size]), b_ub=g, bounds=bounds, method="highs")
    if found.status == INFEASIBLE:
        return None
    if found.status != 0:
        raise ArgumentError(f"a linear programme over a region failed: {found.message} Rescale the map, so that its states and parameters are of order 1.")
    return found.x[:-1], float(found.x[-1])
