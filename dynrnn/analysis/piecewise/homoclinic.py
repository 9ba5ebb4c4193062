"""Points on the unstable manifold of one saddle and the stable manifold of the same or another one, and the orbits that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynrnn.analysis.piecewise.crossings import crossings
from dynrnn.analysis.piecewise.polyline import Curve
from dynrnn.analysis.piecewise.saddle import STABLE, UNSTABLE, Directions, Saddle

ROWS = ("z", "unstable_parameter", "unstable_iteration", "stable_parameter", "stable_iteration", "phase", "angle")


@dataclass
class Connections:
    """z [n, M]; the closed form of both sides: f^i(z[0] + s v) = z for the unstable, f^n(z) = z[phase] + q for the stable one; and checks of both."""

    z: np.ndarray
    unstable_parameter: np.ndarray                                    # [n]
    unstable_iteration: np.ndarray                                    # [n]
    stable_parameter: np.ndarray                                      # [n, d]
    stable_iteration: np.ndarray                                      # [n]
    phase: np.ndarray                                                 # [n]
    angle: np.ndarray                                                 # [n] between the manifolds, radians
    parallel: int = 0

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: np.ndarray) -> Connections:
        return Connections(**{name: getattr(self, name)[rows] for name in ROWS}, parallel=self.parallel)


def in_the_plane(unstable: Curve, stable: Curve, same: bool) -> Connections:
    """Segment against segment, for maps of two latent units; ``same``: both of one saddle, which is itself no homoclinic point."""
    u, s = np.flatnonzero(unstable.starts), np.flatnonzero(stable.starts)
    p, q = (np.stack([curve.location[rows], curve.location[rows + 1]], 1) for curve, rows in ((unstable, u), (stable, s)))
    i, j, alpha, beta, parallel = crossings(p, q)
    d, e = p[i, 1] - p[i, 0], q[j, 1] - q[j, 0]
    sine, cosine = np.abs(d[:, 0] * e[:, 1] - d[:, 1] * e[:, 0]), np.abs((d * e).sum(1))
    t, tau = unstable.segment_parameter[u[i]], stable.segment_parameter[s[j]]
    found = Connections(
        p[i, 0] + alpha[:, None] * (p[i, 1] - p[i, 0]), t[:, 0] + alpha * (t[:, 1] - t[:, 0]), unstable.segment_iteration[u[i]],
        (tau[:, 0] + beta * (tau[:, 1] - tau[:, 0]))[:, None], stable.segment_iteration[s[j]], stable.segment_phase[s[j]], np.arctan2(sine, cosine), parallel,
    )  # fmt: skip
    # a crossing at a common end of two segments is met twice
    at_end = (np.minimum(alpha, 1 - alpha) < 1e-9) | (np.minimum(beta, 1 - beta) < 1e-9)
    keep = np.ones(len(i), dtype=bool)
    if same:                                                          # the saddle's own points: both straight parts begin there
        keep &= ~((np.abs(found.unstable_parameter) <= 1e-13 * np.abs(t).max(1)) & (np.abs(tau[:, 0] * tau[:, 1]) == 0) & (np.minimum(beta, 1 - beta) < 1e-9))
    for row in np.flatnonzero(at_end & keep):
        near = np.abs(found.z[:row] - found.z[row]).max(1) <= 1e-11 * (1 + np.abs(found.z[row]).max())
        keep[row] = not (near & at_end[:row] & keep[:row]).any()
    return found.take(np.flatnonzero(keep))


def at_the_straight_part(unstable: Curve, saddle: Saddle, same: bool) -> Connections:
    """Segments against the straight part of a stable manifold of dimension M - 1, for a saddle with one unstable direction, in any dimension.

    Every homoclinic orbit enters the straight part, so one that passes it within the computed iterations is found where it does.
    """
    stable = saddle.directions(STABLE)
    u = np.flatnonzero(unstable.starts)
    p0, p1 = unstable.location[u], unstable.location[u + 1]
    parts = []
    for phase in range(saddle.period):
        chart = stable.V[phase]
        normal = np.linalg.svd(chart)[0][:, -1]
        g0, g1 = (p0 - saddle.points[phase]) @ normal, (p1 - saddle.points[phase]) @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = g0 / (g0 - g1)
        rows = np.flatnonzero((g0 * g1 <= 0) & (g0 != g1) & (alpha < 1))          # half open: a vertex counts once
        z = p0[rows] + alpha[rows, None] * (p1 - p0)[rows]
        q = (z - saddle.points[phase]) @ np.linalg.pinv(chart).T
        t = unstable.segment_parameter[u[rows]]
        t = t[:, 0] + alpha[rows] * (t[:, 1] - t[:, 0])
        keep = stays(saddle, stable, phase, q)
        if same:
            keep &= t != 0
        d = (p1 - p0)[rows]
        angle = np.arcsin(np.clip(np.abs(d @ normal) / np.linalg.norm(d, axis=1), 0, 1))
        number = np.zeros(len(rows), dtype=np.int64)
        parts.append(Connections(z, t, unstable.segment_iteration[u[rows]], q, number, number + phase, angle).take(np.flatnonzero(keep)))
    return Connections(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in ROWS}, parallel=0)


def stays(saddle: Saddle, stable: Directions, phase: int, q: np.ndarray, n_rounds: int = 100_000) -> np.ndarray:
    """Whether points with coordinates q [n, d] in the stable subspace stay in the cycle's closed regions for ever.

    Iterated in the subspace until they, and all that they can still grow to, are nearer to the cycle than any plane.
    """
    map, k = saddle.map, saddle.period
    y = saddle.points @ map.W2.T + map.h2                             # [k, H]
    growth, power = 1.0, np.eye(len(stable.K))                        # max_n |K^n|, found once a power is below 1/2: later ones are products
    for _ in range(n_rounds):
        power = stable.K @ power
        size = np.linalg.norm(power, 2)
        growth = max(growth, size)
        if size < 0.5:
            break
    rates = np.stack([map.W2 @ stable.V[j] for j in range(k)])        # [k, H, d]
    reach = np.linalg.norm(rates, axis=2)
    safe = float(np.where(reach > 0, np.abs(y) / np.where(reach > 0, reach, 1), np.inf).min(initial=np.inf)) / growth
    inside, q = np.ones(len(q), dtype=bool), q.copy()
    sign = np.sign(y)
    for n in range(n_rounds * k):
        j = (phase + n) % k
        inside &= (sign[j] * (y[j] + q @ rates[j].T) >= 0).all(1)
        if j == k - 1:
            q = q @ stable.K.T
        if j == k - 1 and (~inside | (np.linalg.norm(q, axis=1) < safe)).all():
            break
    return inside


def check(found: Connections, saddle: Saddle, target: Saddle) -> tuple[np.ndarray, np.ndarray]:
    """Distances of plain iteration from the closed form: from the straight unstable part up to the point, and from it to the straight stable part.

    Rounding grows with the unstable multiplier on both ways."""
    map = saddle.map
    start = saddle.points[0] + found.unstable_parameter[:, None] * saddle.directions(UNSTABLE).V[0, :, 0]
    chart = target.directions(STABLE).V[found.phase]
    end = target.points[found.phase] + np.einsum("nmd,nd->nm", chart, found.stable_parameter)
    up = np.linalg.norm(iterate(map, start, found.unstable_iteration) - found.z, axis=1)
    return up, np.linalg.norm(iterate(map, found.z, found.stable_iteration) - end, axis=1)


def iterate(map, z: np.ndarray, n: np.ndarray) -> np.ndarray:
    """f^n of every state, each its own n."""
    z = z.copy()
    for i in range(int(n.max(initial=0))):
        z[n > i] = map.step(z[n > i])
    return z


def orbits(found: Connections, saddle: Saddle, target: Saddle) -> np.ndarray:
    """A number per orbit: points of one orbit have the same itinerary but for a shift. It is known as the words between the saddle's regions and the
    target's: they fix the orbit, as the crossing of two affine spaces."""
    map, total = saddle.map, found.unstable_iteration + found.stable_iteration
    v = saddle.directions(UNSTABLE).V[0, :, 0]
    names: dict[tuple, int] = {}
    out = np.zeros(len(found), dtype=np.int64)
    z = saddle.points[0] + found.unstable_parameter[:, None] * v
    words = np.zeros((int(total.max(initial=0)), len(z), map.n_units), dtype=bool)
    for i in range(len(words)):
        words[i] = map.words(z)
        # through the crossing itself the orbit is taken up from the closed form, so that its rounding does not add up
        z = np.where((found.unstable_iteration == i + 1)[:, None], found.z, map.step(z))
    home, goal, k, period = saddle.words, target.words, saddle.period, target.period
    for row in range(len(found)):
        N = int(total[row])
        first, last = 0, N
        while first < N and (words[first, row] == home[first % k]).all():
            first += 1
        while last > first and (words[last - 1, row] == goal[(found.phase[row] - (N - last) - 1) % period]).all():
            last -= 1
        key = (first % k, words[first:last, row].tobytes(), int(found.phase[row] - (N - last)) % period)
        out[row] = names.setdefault(key, len(names))
    return out
