"""The fixed points of a piecewise-linear map as a problem in as few unknowns as its units span.

With ``x = V' z``, the coordinates of the row space of W2 (rank r), a region's fixed point solves r equations instead of M,

    B x = b,    B = B0 - sum over units that are on of g_i u_i',    b = g + sum over units that are on of g_i o_i,    y = U x + o,

where u_i is a unit's switching plane scaled to length 1 and o_i its offset, so that y_i are distances. All routes work on this form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap

WELL, ILL = 1e6, 1e12                     # condition of I - A: another base region is tried above the first, M equations are kept above the second
RANK = 1e-10                              # singular values below it, of rows of length 1, do not count


@dataclass(frozen=True)
class Reduced:
    """``map`` in the form above; units that never switch or drive nothing are left out.

    U (H, n), o (H,), G (n, H), B0 (n, n), g (n,); rows (H, r): the planes in an orthonormal basis of the space that they span. shift (n,): the
    right side of the map at infinity with a generic vector. sign: of det(I - J) / det B, 0 where M equations had to be kept and n = M.
    size, reach: a fixed point's state is about as large as size + reach |x|, in all coordinates, and y is rounded like it; x alone may be nothing but rounding.
    """

    map: PiecewiseLinearMap
    units: np.ndarray                     # indices of the units that take part
    base: np.ndarray                      # (H,) bits: the units that are turned round, see _turned
    B0: np.ndarray
    G: np.ndarray
    U: np.ndarray
    o: np.ndarray
    g: np.ndarray
    shift: np.ndarray
    rows: np.ndarray
    sign: int
    size: float
    reach: float

    @property
    def n_units(self) -> int:
        return len(self.units)

    @property
    def rank(self) -> int:
        return self.rows.shape[1]

    def full_words(self, bits: np.ndarray) -> np.ndarray:
        """Words (..., all units) of the map from bits (..., units that take part); those that drive nothing are off, until a state is known."""
        out = np.zeros((*bits.shape[:-1], self.map.n_units), dtype=bool)
        out[..., :] = ~self.map.W2.any(1) & (self.map.h2 > 0)
        out[..., self.units] = bits ^ self.base
        return out


def reduce(map: PiecewiseLinearMap) -> Reduced:
    """The reduced form; O(M^3 + M^2 H)."""
    switching, driving = map.W2.any(1), map.W1.any(0)
    constant = ~switching
    h1 = map.h1 + map.W1[:, constant] @ np.maximum(map.h2[constant], 0)
    units = np.flatnonzero(switching & driving)
    length = np.linalg.norm(map.W2[units], axis=1)
    core = PiecewiseLinearMap(map.A, map.W1[:, units] * length, map.W2[units] / length[:, None], h1, map.h2[units] / length)
    M, H = core.latent_dim, core.n_units
    base = _base(core)
    core = _turned(core, base)
    left, values, right = np.linalg.svd(core.W2, full_matrices=False)
    r = int((values > RANK).sum())
    rows, V = left[:, :r] * values[:r], right[:r].T
    v = np.random.default_rng(0).standard_normal(M)
    away = np.eye(M) - core.A
    if np.linalg.cond(away) < ILL:
        forward = np.linalg.solve(away, np.column_stack([core.W1, core.h1, v]))
        reach, size = np.linalg.norm(forward[:, :H], axis=0).max(initial=0), np.linalg.norm(forward[:, H])
        forward = V.T @ forward
        sign = int(np.linalg.slogdet(away)[0])
        parts = np.eye(r), forward[:, :H], rows, forward[:, H], forward[:, H + 1]
    else:
        sign, reach, size = 0, 1.0, 0.0                                             # x is the whole state
        parts = away, core.W1, core.W2, core.h1, v
    B0, G, U, g, shift = (np.ascontiguousarray(part) for part in parts)
    size += reach * np.abs(core.h2).max(initial=0)                                  # what a unit adds at x = 0
    return Reduced(map, units, base, B0, G, U, core.h2.copy(), g, shift, np.ascontiguousarray(rows), sign, float(size), float(reach))


def _base(core: PiecewiseLinearMap) -> np.ndarray:
    """A region whose I - J is well conditioned: the one with all units off, or the best of some."""
    M, H = core.latent_dim, core.n_units
    off = np.zeros(H, dtype=bool)
    if np.linalg.cond(np.eye(M) - core.A) < WELL or H == 0:
        return off
    tried = np.vstack([off, ~off, np.random.default_rng(0).random((30, H)) < 0.5])
    return tried[np.argmin([np.linalg.cond(np.eye(M) - core.jacobians(word)) for word in tried])]


def _turned(core: PiecewiseLinearMap, base: np.ndarray) -> PiecewiseLinearMap:
    """The same map with the units of ``base`` turned round: relu(y) = y + relu(-y), so that J of that region becomes its A."""
    side = np.where(base, -1.0, 1.0)
    return replace(
        core, A=core.jacobians(base), h1=core.offsets(base), W2=core.W2 * side[:, None], h2=core.h2 * side,
    )
