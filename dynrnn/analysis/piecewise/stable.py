"""One-dimensional stable manifolds as exact polylines: the straight part at the saddle and all its preimages, joined by where they come from.

The straight part is all that stays in the saddle's own regions for ever. Its preimages through every other region, and all preimages of these, are
new each time, and together they are the whole stable set, which for a map that is not invertible falls into many curves.
"""

from __future__ import annotations

import numpy as np

from dynrnn.analysis.piecewise.polyline import Curve, cut, reach
from dynrnn.analysis.piecewise.preimages import Pulled, Regions, pull_segments, singular_hits
from dynrnn.analysis.piecewise.saddle import STABLE, Saddle
from dynrnn.errors import ArgumentError


class _Pieces:
    """Segments between vertices that have numbers; a vertex is known by the key of how it arose, so segments that share one are joined without rounding."""

    def __init__(self) -> None:
        self.location: list[np.ndarray] = []
        self.closed_form: list[tuple[float, int, int]] = []                       # parameter, iteration, phase of each vertex
        self.by_key: dict[tuple, int] = {}
        self.ends: list[tuple[int, int]] = []
        self.parameter: list[tuple[float, float]] = []
        self.number: list[tuple[int, int, int]] = []                              # iteration, phase, region of each segment

    def vertex(self, key: tuple | None, z: np.ndarray, t: float, iteration: int, phase: int) -> int:
        if key is not None and key in self.by_key:
            return self.by_key[key]
        self.location.append(z)
        self.closed_form.append((t, iteration, phase))
        if key is not None:
            self.by_key[key] = len(self.location) - 1
        return len(self.location) - 1

    def add(self, ends: tuple[int, int], parameter: tuple[float, float], number: tuple[int, int, int]) -> None:
        self.ends.append(ends)
        self.parameter.append(parameter)
        self.number.append(number)


def stable_polyline(saddle: Saddle, regions: Regions, n_iterations: int, max_length: float, max_vertices: int, far: float = 0.0) -> Curve:
    """The two branches of every point of the cycle first, then the curves that do not hold one. ``far``: a straight part without end is that long at least."""
    directions = saddle.directions(STABLE)
    mu, V, k = float(directions.K[0, 0]), directions.V[:, :, 0], saddle.period
    if mu == 0 and k > 1:
        raise ArgumentError("the cycle's stable multiplier is 0: the stable direction is lost within one round, so it has no stable manifold of dimension one.")
    pieces, stopped = _Pieces(), []
    extent, rays = straight_part(saddle, V, mu, n_iterations, max_length, far)
    if rays:
        stopped.append("ray")
    own = [regions.find(word) for word in saddle.words]
    home = [pieces.vertex(None, saddle.points[j], 0.0, 0, j) for j in range(k)]
    for j in range(k):
        for i in (0, 1):
            t = extent[j, i] * (-1, 1)[i]
            pieces.add((home[j], pieces.vertex(None, saddle.points[j] + t * V[j], t, 0, j)), (0.0, t), (0, j, own[j]))
    singular, front = 0, range(2 * k)
    for n in range(1, n_iterations * k + 1):
        p = np.array([[pieces.location[v] for v in pieces.ends[s]] for s in front]).reshape(len(front), 2, -1)
        singular += singular_hits(regions, p)
        pulled = pull_segments(regions, p)
        if len(pieces.ends) + len(pulled.parent) > max_vertices:
            stopped.append("max_vertices")
            break
        first = len(pieces.ends)
        if n == 1:
            _take_over(pieces, pulled, regions, own, mu, k)
        for row in range(len(pulled.parent)):
            parent = front[pulled.parent[row]]
            if n > 1 or pulled.region[row] != own[pieces.number[parent][1] - 1]:
                _add_child(pieces, pulled, row, parent, n, regions)
        front = range(first, len(pieces.ends))
        if not len(front):
            break
    if singular:
        stopped.append("singular")
    curve = _chained(pieces, regions, home, stopped)
    curve.facts = {"n_singular": int(singular)}
    return cut(curve, max_length)


def straight_part(saddle: Saddle, V: np.ndarray, mu: float, n_iterations: int, max_length: float, far: float = 0.0) -> tuple[np.ndarray, bool]:
    """How far to both sides (k, 2) a point may start on the line through each point of the cycle and stay in the cycle's regions for ever.

    A side without end is cut after |mu|^-n_iterations or ``far``, or max_length where that is less; the second value says so."""
    k = saddle.period
    extent = np.array([[reach(saddle, j, -V[j]), reach(saddle, j, V[j])] for j in range(k)])
    for _ in range(2 * k + 1):
        for j in reversed(range(k)):
            ahead = extent[(j + 1) % k]
            if j == k - 1 and mu != 0:
                ahead = (ahead if mu > 0 else ahead[::-1]) / abs(mu)
            extent[j] = np.minimum(extent[j], ahead)
    endless = np.isinf(extent)
    if endless.any():
        length = np.maximum(np.linalg.norm(V, axis=1), 1e-300)[:, None]
        cut_at = np.maximum(min(max(abs(mu), 1e-3) ** -n_iterations, 1e12), far / length)
        extent[endless] = np.minimum(cut_at, 2 * max_length / length).repeat(2, 1)[endless]
    return extent, bool(endless.any())


def _keys(pulled: Pulled, row: int, parent: int, ends: tuple[int, int], regions: Regions) -> list[tuple]:
    """How the two ends of a preimage arose: through a region from a vertex, or from a segment where planes cut it.

    Across these planes lies the next region, whose own preimage of the segment has the same end: the units of the cutting planes are left out."""
    region, keys = int(pulled.region[row]), []
    for share, tied, v in ((pulled.low[row], pulled.low_tied[row], ends[0]), (pulled.high[row], pulled.high_tied[row], ends[1])):
        if share in (0.0, 1.0):
            keys.append(("vertex", v, region))
        else:
            keys.append(("cut", parent, (regions.words[region] & ~tied).tobytes(), tied.tobytes()))
    return keys


def _take_over(pieces: _Pieces, pulled: Pulled, regions: Regions, own: list[int], mu: float, k: int) -> None:
    """The straight part is its own preimage through the saddle's regions: its ends get the keys that the preimages beyond them will ask for."""
    for row in range(len(pulled.parent)):
        parent = int(pulled.parent[row])
        j, side = divmod(parent, 2)
        before = (j - 1) % k
        if pulled.region[row] != own[before]:
            continue
        side = 1 - side if j == 0 and mu < 0 else side
        ends = pieces.ends[2 * before + side]
        for key, v in zip(_keys(pulled, row, parent, pieces.ends[parent], regions), ends):
            pieces.by_key.setdefault(key, v)


def _add_child(pieces: _Pieces, pulled: Pulled, row: int, parent: int, n: int, regions: Regions) -> None:
    t0, t1 = pieces.parameter[parent]
    phase = pieces.number[parent][1]
    t = (t0 + pulled.low[row] * (t1 - t0), t1 if pulled.high[row] == 1 else t0 + pulled.high[row] * (t1 - t0))
    keys = _keys(pulled, row, parent, pieces.ends[parent], regions)
    ends = [pieces.vertex(key, z, at, n, phase) for key, z, at in zip(keys, pulled.z[row], t)]
    pieces.add((ends[0], ends[1]), t, (n, phase, int(pulled.region[row])))


def _chained(pieces: _Pieces, regions: Regions, home: list[int], stopped: list[str]) -> Curve:
    """Segments in their order along each curve: from the saddle outward to both sides, then curves with ends, then loops."""
    touching: dict[int, list[int]] = {}
    for s, ends in enumerate(pieces.ends):
        for v in ends:
            touching.setdefault(v, []).append(s)
    used = np.zeros(len(pieces.ends), dtype=bool)
    chains: list[tuple[list[int], list[int], int, int]] = []                      # vertices, segments, side, home

    def walk(v: int, s: int, side: int, start: int) -> None:
        vertices, segments = [v], []
        while not used[s]:
            used[s] = True
            segments.append(s)
            a, b = pieces.ends[s]
            v = b if v == a else a
            vertices.append(v)
            beyond = [other for other in touching[v] if not used[other]]
            if len(beyond) != 1 or v in home:
                break
            s = beyond[0]
        chains.append((vertices, segments, side, start))

    for j, v in enumerate(home):
        for i, side in enumerate((-1, 1)):
            walk(v, 2 * j + i, side, j)
    loose = [v for v, around in touching.items() if len(around) != 2 or v in home]
    for v in [*loose, *touching]:
        for s in touching[v]:
            if not used[s]:
                walk(v, s, 0, -1)
    rows = np.array([v for vertices, *_ in chains for v in vertices])
    order = np.array([s for _, segments, *_ in chains for s in [*segments, -segments[-1] - 1]])   # the last vertex repeats its segment
    starts, order = order >= 0, np.where(order >= 0, order, -order - 1)
    ends, parameter, number = np.array(pieces.ends), np.array(pieces.parameter), np.array(pieces.number)
    parameter = np.where((ends[order, 0] == rows)[:, None], parameter[order], parameter[order][:, ::-1])
    closed = np.array(pieces.closed_form)
    return Curve(
        np.array(pieces.location)[rows], closed[rows, 0], closed[rows, 1].astype(np.int64), closed[rows, 2].astype(np.int64),
        np.repeat(np.arange(len(chains)), [len(vertices) for vertices, *_ in chains]), starts, regions.words[number[order, 2]],
        parameter, number[order, 0], number[order, 1], np.array([side for *_, side, _ in chains]), np.array([start for *_, start in chains]), stopped,
    )  # fmt: skip
