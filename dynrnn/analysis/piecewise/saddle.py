"""A saddle fixed point or cycle of a piecewise-linear map, made exact, with its stable and unstable directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import schur

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.stability import TOLERANCE
from dynrnn.errors import ArgumentError

UNSTABLE, STABLE = "unstable", "stable"
RESIDUAL = 1e-6                                                       # a point of a result that was stored in float32 still passes
BLOCK = 2000                                                          # unknowns of the cyclic system that is solved densely


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
    """points [k, M] with ``f(points[j]) = points[j + 1]``, words [k, H], multipliers of f^k [M], the product of the Jacobians from points[0] [M, M]."""

    map: PiecewiseLinearMap
    points: np.ndarray
    words: np.ndarray
    multipliers: np.ndarray
    product: np.ndarray

    @property
    def period(self) -> int:
        return len(self.points)

    @property
    def n_unstable(self) -> int:
        return int((np.abs(self.multipliers) > 1).sum())

    def directions(self, which: str) -> Directions:
        """Bases by the ordered real Schur form of the product, carried round the cycle. O(M^3 + k M^2 d)."""
        _, basis, *_ = schur(self.product, output="real", sort="ouc" if which == UNSTABLE else "iuc")
        d = self.n_unstable if which == UNSTABLE else len(basis) - self.n_unstable
        V = [basis[:, :d] * np.sign(basis[np.abs(basis[:, :d]).argmax(0), np.arange(d)])]
        K = V[0].T @ self.product @ V[0]
        for J in self.map.jacobians(self.words[:-1]):
            V.append(J @ V[-1])
        return Directions(np.stack(V), K)


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
    points = _solve(map, words, given)
    if np.abs(points - given).max() > 1e3 * RESIDUAL * (1 + np.abs(given).max()) or (map.words(points) != words).any():
        raise ArgumentError(f"point is nearly fixed (residual {residual:.2g}), but its regions {_bits(words)} hold no fixed point or cycle there (a ghost).")
    margin = map.margins(points).min()
    if margin <= 1e-12 * (1 + np.abs(points).max()):
        raise ArgumentError(f"point lies on a switching plane (distance {margin:.2g}): it has no single linearisation, so no manifold of that kind.")
    product = np.eye(map.latent_dim)
    for J in map.jacobians(words):
        product = J @ product
    multipliers = np.linalg.eigvals(product).astype(np.complex128)
    size = np.abs(multipliers)
    if (np.abs(size - 1) <= TOLERANCE).any():
        raise ArgumentError(f"point is not hyperbolic: a multiplier has modulus {size[np.abs(size - 1).argmin()]:.9f}, so its linear part does not decide.")
    n = int((size > 1).sum())
    if n in (0, map.latent_dim):
        kind = "sink: all multipliers are inside" if n == 0 else "source: all multipliers are outside"
        raise ArgumentError(f"point is not a saddle but a {kind} the unit circle (largest {size.max():.4g}), so it has no {needs} manifold of interest.")
    return Saddle(map, points, words, multipliers[np.argsort(-size, kind="stable")], product)


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


def _solve(map: PiecewiseLinearMap, words: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The cyclic system J[j] z[j] - z[j + 1] = -c[j]: well conditioned where the product of the Jacobians is not."""
    k, M = given.shape
    if k * M > BLOCK:
        return given
    J, c = map.jacobians(words), map.offsets(words)
    system = np.zeros((k, M, k, M))
    for j in range(k):
        system[j, :, j] += J[j]
        system[j, :, (j + 1) % k] -= np.eye(M)
    try:
        return np.linalg.solve(system.reshape(k * M, k * M), -c.ravel()).reshape(k, M)
    except np.linalg.LinAlgError:
        raise ArgumentError("point is not isolated: a multiplier is exactly 1, so it has no stable and unstable manifolds of its own.") from None


def _bits(words: np.ndarray) -> str:
    return " ".join("".join("01"[int(b)] for b in word) for word in words[:4]) + (" ..." if len(words) > 4 else "")
