"""Attracting fixed points and cycles: candidates polished by Newton's iteration and judged by the multipliers of the whole period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dynrnn.analysis.basins.orbits import stretch
from dynrnn.analysis.lyapunov.carrier import Carrier
from dynrnn.analysis.piecewise.multipliers import product_eigenvalues
from dynrnn.analysis.stability import TOLERANCE

NEAR = 1e-6              # of the size of a fit's states: an orbit so near a sink is on it
APPROACH = 1e-2          # and within this distance it must be seen to come nearer
WATCHED = 100            # steps over which it is watched
SAME = 1e-8              # of the size: two points are one
ITERATIONS = 30


@dataclass(frozen=True)
class Sink:
    """A cycle whose multipliers all lie inside the unit circle: points (period, M), ln|mu| and arg mu of the whole period (M,)."""

    points: np.ndarray
    log_modulus: np.ndarray
    angle: np.ndarray

    def distance(self, z: np.ndarray) -> np.ndarray:
        """Largest component of the way to its next point, (n,), from states (n, M)."""
        apart = np.full(len(z), np.inf)
        for point in self.points:                                                   # one at a time: a long cycle and many states fit no memory
            apart = np.minimum(apart, np.abs(z - point).max(-1))
        return apart


def polish(carrier: Carrier, z: np.ndarray, period: int, size: float) -> Sink | str:
    """The attracting cycle next to z (M,), or why there is none: ``unstable``, ``not hyperbolic``, or ``no root``. carrier: of one fit. O(period M^3)."""
    M, points, J = len(z), np.empty((period, len(z))), np.empty((period, len(z), len(z)))
    start = torch.tensor(z)[None, None]
    best = np.inf
    for _ in range(ITERATIONS):
        path = torch.cat([start[:, :, None], stretch(carrier, start, period)], 2)
        points, gap = path[0, 0, :-1].numpy(), (path[0, 0, -1] - path[0, 0, 0]).numpy()
        if not np.isfinite(gap).all() or np.abs(points[0] - z).max() > size:
            return "no root"
        with torch.no_grad():
            J = carrier.jacobians(path[:, 0, :-1]).detach().numpy()[0]
        miss = np.abs(gap).max()
        if miss <= 1e-11 * size and miss >= 0.5 * best:
            break
        best = min(best, miss)
        try:
            step = np.linalg.solve(np.eye(M) - _product(J), gap)
        except np.linalg.LinAlgError:
            return "not hyperbolic"
        if not np.isfinite(step).all():
            return "no root"
        start = torch.tensor(points[0] + step)[None, None]
    else:
        if best > 1e-9 * size:
            return "no root"
    for p in range(1, period):
        if period % p == 0 and np.abs(np.roll(points, -p, 0) - points).max() <= SAME * size:
            points, J = points[:p], J[:p]
            break
    log, angle = product_eigenvalues(J)
    if log[0] >= -TOLERANCE:
        return "not hyperbolic" if log[0] <= TOLERANCE else "unstable"
    return Sink(points.copy(), log, angle)


def _product(J: np.ndarray) -> np.ndarray:
    out = np.eye(J.shape[-1])
    for one in J:
        out = one @ out
    return out


def at_sink(carrier: Carrier, sinks: list[Sink], z: np.ndarray, closed: np.ndarray, size: float) -> np.ndarray:
    """Number of the sink that each state (n, M) is at, -1 where it is at none: within 1e-6 of the size, or, of orbits that have all but come to
    rest (closed), within 1e-2 and coming nearer, as they do for long where a multiplier is next to 1."""
    label = np.full(len(z), -1)
    if not sinks or not len(z):
        return label
    apart = np.stack([sink.distance(z) for sink in sinks])                          # [sink, n]
    nearest, distance = apart.argmin(0), apart.min(0)
    label[distance <= NEAR * size] = nearest[distance <= NEAR * size]
    doubtful = np.flatnonzero((label < 0) & closed & (distance <= APPROACH * size))
    if len(doubtful):
        later = carrier.advance(torch.tensor(z[doubtful])[None], WATCHED)[0].numpy()
        after = np.array([sinks[nearest[i]].distance(one[None])[0] for i, one in zip(doubtful, later, strict=True)])
        coming = after < 0.999999 * distance[doubtful]
        label[doubtful[coming]] = nearest[doubtful[coming]]
    return label
