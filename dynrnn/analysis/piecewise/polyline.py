"""One-dimensional unstable manifolds as exact polylines: a fundamental segment, its images, split at every switching plane."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.saddle import UNSTABLE, Saddle

ROUNDING = 64 * np.finfo(float).eps                                   # relative; a state so near to a plane counts as on it


@dataclass
class Curve:
    """Polylines, one after the other; entry i of the segment's arrays is the segment from vertex i to i + 1, where ``starts[i]``.

    The map in closed form: iterated ``iteration`` times (backward for unstable, forward for stable manifolds) a vertex lies at
    ``z[phase] + parameter v[phase]``; ``segment_*`` say the same of both ends of a segment, within one iteration.
    """

    location: np.ndarray                                              # [V, M]
    parameter: np.ndarray                                             # [V]
    iteration: np.ndarray                                             # [V]
    phase: np.ndarray                                                 # [V]
    branch: np.ndarray                                                # [V]
    starts: np.ndarray                                                # [V]
    region: np.ndarray                                                # [V, H]
    segment_parameter: np.ndarray                                     # [V, 2]
    segment_iteration: np.ndarray                                     # [V]
    segment_phase: np.ndarray                                         # [V]
    side: np.ndarray                                                  # [branch] -1, +1, or 0 off the saddle
    home: np.ndarray                                                  # [branch] which point of the cycle it starts at, or -1
    stopped: list[str] = field(default_factory=list)                  # why it is not complete
    facts: dict = field(default_factory=dict)

    @property
    def arclength(self) -> np.ndarray:
        """From the start of each branch."""
        steps = np.zeros(len(self.location))
        steps[1:] = np.where(self.starts[:-1], np.linalg.norm(np.diff(self.location, axis=0), axis=1), 0)
        total = np.cumsum(steps)
        first = np.unique(self.branch, return_index=True)[1]
        return total - total[first][self.branch] if len(total) else total


def cut(curve: Curve, max_length: float) -> Curve:
    """Each branch up to ``max_length``, the last segment cut there exactly."""
    length = curve.arclength
    if not (length > max_length).any():
        return curve
    nxt = np.minimum(np.arange(len(length)) + 1, len(length) - 1)
    crossing = curve.starts & (length < max_length) & (length[nxt] > max_length)
    share = np.where(crossing, (max_length - length) / np.where(crossing, length[nxt] - length, 1), 1.0)
    ends = nxt[crossing]
    at, alpha = np.flatnonzero(crossing), share[crossing]
    curve = replace(curve, **{name: getattr(curve, name).copy() for name in ("location", "parameter", "iteration", "phase", "starts", "segment_parameter")})
    curve.location[ends] = curve.location[at] + alpha[:, None] * (curve.location[ends] - curve.location[at])
    t = curve.segment_parameter[at]
    curve.parameter[ends] = t[:, 0] + alpha * (t[:, 1] - t[:, 0])
    curve.iteration[ends], curve.phase[ends] = curve.segment_iteration[at], curve.segment_phase[at]
    curve.segment_parameter[at, 1] = curve.parameter[ends]
    curve.starts[ends] = False
    keep = length < max_length
    keep[ends] = True
    names = ("location", "parameter", "iteration", "phase", "branch", "starts", "region", "segment_parameter", "segment_iteration", "segment_phase")
    return replace(curve, **{name: getattr(curve, name)[keep] for name in names}, stopped=[*curve.stopped, "max_length"])


def plane_values(map: PiecewiseLinearMap, z: np.ndarray) -> np.ndarray:
    """``W2 z + h2`` with what is within rounding of a plane set on it."""
    y, size = map.preactivations(z)
    y[np.abs(y) <= ROUNDING * size] = 0
    return y


def reach(saddle: Saddle, j: int, d: np.ndarray) -> float:
    """Largest t with ``points[j] + t d`` still in the closed region of points[j]; inf where no plane stops it."""
    y, rate = saddle.map.W2 @ saddle.points[j] + saddle.map.h2, saddle.map.W2 @ d
    stops = y * rate < 0
    return float((-y[stops] / rate[stops]).min()) if stops.any() else np.inf


def split(map: PiecewiseLinearMap, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polyline z [n, M] with parameters t [n]; a vertex more wherever a segment crosses a switching plane. O(n H M)."""
    y = plane_values(map, z)
    segment, plane = np.nonzero(y[:-1] * y[1:] < 0)
    if not len(segment):
        return z, t
    alpha = y[segment, plane] / (y[segment, plane] - y[segment + 1, plane])
    order = np.lexsort((alpha, segment))
    segment, alpha = segment[order], alpha[order]
    # units that share a plane cross at one place
    fresh = np.r_[True, (np.diff(segment) > 0) | (np.diff(alpha) > ROUNDING)]
    segment, alpha = segment[fresh], alpha[fresh]
    at = segment + 1
    return (
        np.insert(z, at, z[segment] + alpha[:, None] * (z[segment + 1] - z[segment]), axis=0),
        np.insert(t, at, t[segment] + alpha * (t[segment + 1] - t[segment])),
    )


def unstable_polyline(saddle: Saddle, n_iterations: int, max_length: float, max_vertices: int) -> Curve:
    """Both branches at every point of the cycle. A generation is the image of the one before; generation n + p goes on where generation n ends,
    p the steps after which a branch comes back to itself (k, or 2k where the multiplier is negative)."""
    map, k = saddle.map, saddle.period
    directions = saddle.directions(UNSTABLE)
    mu = float(directions.K[0, 0])
    p = k if mu > 0 else 2 * k
    factor = mu ** (p // k)
    V = directions.V[:, :, 0]
    along = [V[n % k] * (mu if n >= k else 1.0) for n in range(p)]                # images of v after n steps
    n_steps = max(n_iterations * k, p - 1)
    branches, stopped = [], []
    sides = (1.0, -1.0) if mu > 0 else (1.0,)
    for sign in sides:
        total = 0
        a = min(reach(saddle, n % k, sign * along[n]) for n in range(p))
        a = sign * (a if np.isfinite(a) else 1.0)                                 # no plane on this side: a ray, any segment of it will do
        t = np.array([a / factor, a])
        z = saddle.points[0] + t[:, None] * along[0]
        generations, length = [(z, t)], np.zeros(p)
        for n in range(n_steps + 1):
            if n:
                z = map.step(z)
                if not np.isfinite(z).all() or np.abs(z).max() > 1e150:
                    stopped.append("overflow")
                    break
                if n < p:                                                         # still straight: from the closed form
                    z = saddle.points[n % k] + t[:, None] * along[n]
                else:
                    z, t = split(map, z, t)
                generations.append((z, t))
            total += len(z)
            if total > max_vertices // len(sides):                                # a share each: a side that grows fast leaves room for the other
                generations.pop()
                stopped.append("max_vertices")
                break
            length[n % p] += np.linalg.norm(np.diff(z, axis=0), axis=1).sum()
            if (length > max_length).all():
                break
        for r in range(min(p, len(generations))):
            start = saddle.points[r % k]
            branches.append((r % k, sign * (1 if r < k else -1), _joined(start, generations[r::p], range(r, len(generations), p), a / factor)))
    branches.sort(key=lambda item: (item[0], item[1]))
    return cut(_curve(map, branches, list(dict.fromkeys(stopped))), max_length)


def _joined(start: np.ndarray, generations: list, numbers: range, first: float) -> tuple[np.ndarray, ...]:
    """One branch from the saddle on: vertices, parameters and iterations, and of every segment both ends' parameters and its iteration."""
    z, t, it = [start[None]], [np.zeros(1)], [np.array([numbers[0]])]
    ends, numbered = [np.array([[0.0, first]])], [np.array([numbers[0]])]
    for i, ((z_n, t_n), n) in enumerate(zip(generations, numbers)):
        new = slice(0 if i == 0 else 1, None)                                     # it begins with the vertex that the last one ended with
        z.append(z_n[new])
        t.append(t_n[new])
        it.append(np.full(len(t_n[new]), n))
        ends.append(np.stack([t_n[:-1], t_n[1:]], 1))
        numbered.append(np.full(len(t_n) - 1, n))
    return np.concatenate(z), np.concatenate(t), np.concatenate(it), np.concatenate(ends), np.concatenate(numbered)


def _curve(map: PiecewiseLinearMap, branches: list, stopped: list[str]) -> Curve:
    z, t, it, ends, numbered, starts, words, ids = [], [], [], [], [], [], [], []
    for b, (_, _, (z_b, t_b, it_b, ends_b, numbered_b)) in enumerate(branches):
        z.append(z_b)
        t.append(t_b)
        it.append(it_b)
        ends.append(np.concatenate([ends_b, np.full((1, 2), t_b[-1])]))
        numbered.append(np.append(numbered_b, it_b[-1]))
        starts.append(np.arange(len(z_b)) < len(z_b) - 1)
        middle = map.words((z_b[:-1] + z_b[1:]) / 2)
        words.append(np.concatenate([middle, middle[-1:]]))
        ids.append(np.full(len(z_b), b))
    z = np.concatenate(z)
    zero = np.zeros(len(z), dtype=np.int64)                                       # all start from the first point of the cycle
    return Curve(
        z, np.concatenate(t), np.concatenate(it), zero, np.concatenate(ids), np.concatenate(starts), np.concatenate(words), np.concatenate(ends),
        np.concatenate(numbered), zero.copy(), np.array([int(s) for _, s, _ in branches]), np.array([j for j, _, _ in branches]), stopped,
    )  # fmt: skip
