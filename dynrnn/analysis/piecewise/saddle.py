"""A saddle fixed point or cycle of a piecewise-linear map, made exact, with its stable and unstable directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynrnn.analysis.piecewise.cycle_solver import solve_words
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.multipliers import as_complex, product_eigenvalues
from dynrnn.analysis.piecewise.subspaces import carried, dominant, weakest
from dynrnn.analysis.stability import TOLERANCE
from dynrnn.errors import ArgumentError

UNSTABLE, STABLE = "unstable", "stable"
RESIDUAL = 1e-6                                                       # a point of a result that was stored in float32 still passes


@dataclass(frozen=True)
class Directions:
    """The invariant subspace at every point of the cycle: ``z[j] + V[j] q`` goes to ``z[j + 1] + V[j + 1] q``, and once around to ``z[0] + V[0] K q``."""

    V: np.ndarray                                                     # [k, M, d]; V[0] orthonormal
    K: np.ndarray                                                     # [d, d]

    @property
    def dim(self) -> int:
        return self.V.shape[2]


@dataclass(frozen=True)
class Saddle:
    """points [k, M] with ``f(points[j]) = points[j + 1]``, words [k, H], multipliers of f^k [M], largest first."""

    map: PiecewiseLinearMap
    points: np.ndarray
    words: np.ndarray
    multipliers: np.ndarray

    @property
    def period(self) -> int:
        return len(self.points)

    @property
    def n_unstable(self) -> int:
        return int((np.abs(self.multipliers) > 1).sum())

    def directions(self, which: str) -> Directions:
        """Of this kind, see subspaces.py."""
        J, d = self.map.jacobians(self.words), self.n_unstable
        return Directions(*carried(J, dominant(J, d) if which == UNSTABLE else weakest(J, self.map.latent_dim - d)))


def find_saddle(map: PiecewiseLinearMap, point: Any, needs: str) -> Saddle:
    """The saddle at ``point`` (M,) or at the points (k, M) of a cycle in their order, solved again in its regions, so that it is exact to rounding.

    ArgumentError if it is of another dimension, not fixed, on a switching plane, not hyperbolic, or has no direction of the kind ``needs``.
    """
    given = read_points(point, map.latent_dim)
    residual = np.abs(map.step(given) - np.roll(given, -1, axis=0)).max()
    if not residual <= RESIDUAL * (1 + np.abs(given).max()):
        raise ArgumentError(
            f"point is no {'fixed point' if len(given) == 1 else f'{len(given)}-cycle'}: f(z) differs from it by {residual:.2g}. "
            "Take a row of fixed_points or cycles of this very model (and its inputs); the points of a cycle go in their order in time."
        )
    words = map.words(given)
    points, ratio = (found[0] for found in solve_words(map, words[None], refine=True))
    if ratio <= 0:
        raise ArgumentError("point is not isolated: a multiplier is exactly 1, so it has no stable and unstable manifolds of its own.")
    if np.abs(points - given).max() > 1e3 * RESIDUAL * (1 + np.abs(given).max()) or (map.words(points) != words).any():
        raise ArgumentError(f"point is nearly fixed (residual {residual:.2g}), but its regions {_bits(words)} hold no fixed point or cycle there (a ghost).")
    margin = map.margins(points).min()
    if margin <= 1e-12 * (1 + np.abs(points).max()):
        raise ArgumentError(f"point lies on a switching plane (distance {margin:.2g}): it has no single linearisation, so no manifold of that kind.")
    multipliers = as_complex(*product_eigenvalues(map.jacobians(words)))
    size = np.abs(multipliers)
    if (np.abs(size - 1) <= TOLERANCE).any():
        raise ArgumentError(f"point is not hyperbolic: a multiplier has modulus {size[np.abs(size - 1).argmin()]:.9f}, so its linear part does not decide.")
    n = int((size > 1).sum())
    if n in (0, map.latent_dim):
        kind = "sink: all multipliers are inside" if n == 0 else "source: all multipliers are outside"
        raise ArgumentError(f"point is not a saddle but a {kind} the unit circle (largest {size.max():.4g}), so it has no {needs} manifold of interest.")
    return Saddle(map, points, words, multipliers)


def read_points(point: Any, M: int) -> np.ndarray:
    """Points [k, M] of an array, a list of points, or an object with ``location`` and perhaps ``period`` (a row of a result)."""
    period = None
    if hasattr(point, "location"):
        period = int(np.asarray(point.period)) if hasattr(point, "period") else None
        point = point.location
    try:
        values = np.asarray(getattr(point, "values", point), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"point must be numbers: an array (M,), a cycle's points (k, M), or a row of a result: {error}.") from None
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != M or not len(values):
        raise ArgumentError(f"point must have shape ({M},), or (k, {M}) for a cycle, since the map has {M} latent units; got {values.shape}.")
    values = values[:period] if period else values[~np.isnan(values).all(1)]
    if not len(values) or not np.isfinite(values).all():
        raise ArgumentError("point holds values that are not finite: it is padding of a result. Select rows where `valid` is true.")
    return values


def _bits(words: np.ndarray) -> str:
    return " ".join("".join("01"[int(b)] for b in word) for word in words[:4]) + (" ..." if len(words) > 4 else "")
