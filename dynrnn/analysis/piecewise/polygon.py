"""Two-dimensional manifolds as exact sets of convex polygons: a polygon at the saddle, its images or preimages, clipped at every switching plane."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.polyline import plane_values, reach
from dynrnn.analysis.piecewise.preimages import Regions, singular_hits
from dynrnn.analysis.piecewise.saddle import STABLE, UNSTABLE, Saddle
from dynrnn.errors import ArgumentError

MAX_SIDES = 512
SLIVER = 1e-16                                                        # area, by the square of the size, of what rounding leaves at a plane


@dataclass
class Polygon:
    """Convex, vertices in order. f^iteration, backward for unstable and forward for stable manifolds, takes z [v, M] to z[phase] + V[phase] q [v, 2]."""

    z: np.ndarray
    q: np.ndarray
    iteration: int
    phase: int
    word: np.ndarray


@dataclass
class Patches:
    polygons: list[Polygon]
    stopped: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)


def contracted_polygon(B: np.ndarray) -> np.ndarray:
    """A convex polygon [n, 2] about 0, counter-clockwise, that the contraction B [2, 2] takes into itself.

    A parallelogram along real eigenvectors; else a polygon inscribed in an invariant ellipse, with as many sides as the contraction asks for.
    """
    values, vectors = np.linalg.eig(B)
    turns = np.iscomplexobj(values)
    basis = np.column_stack([np.real(vectors[:, 0]), np.imag(vectors[:, 0])]) if turns else np.real(vectors)
    sound = np.linalg.cond(basis) < 1e3
    if sound and not turns:
        shape = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) @ basis.T
    else:
        if sound:
            rate = float(np.abs(values[0]))
        else:                                                         # nearly defective: the norm of Lyapunov's equation B'QB - Q = -1
            Q = solve_discrete_lyapunov(B.T, np.eye(2))
            basis, rate = np.linalg.inv(np.linalg.cholesky(Q).T), np.sqrt(1 - 1 / np.linalg.eigvalsh(Q).max())
        n = int(max(8, np.ceil(np.pi / np.arccos(min(rate, 1 - 1e-16))) + 1))
        if n > MAX_SIDES:
            raise ArgumentError(
                f"the two multipliers of the manifold are too near to the unit circle (rate {rate:.6f}): a polygon that the map keeps would need {n} sides, "
                f"more than {MAX_SIDES}."
            )
        turn = 2 * np.pi * np.arange(n) / n
        shape = np.column_stack([np.cos(turn), np.sin(turn)]) @ basis.T
    twice_area = shape[:, 0] @ np.roll(shape[:, 1], -1) - shape[:, 1] @ np.roll(shape[:, 0], -1)
    shape = shape if twice_area > 0 else shape[::-1]
    return shape / np.abs(shape).max()


def halves(values: np.ndarray, *arrays: np.ndarray) -> tuple[list[np.ndarray] | None, list[np.ndarray] | None]:
    """A convex polygon cut where ``values`` at its vertices change sign (Sutherland & Hodgman 1974): its parts at values >= 0 and <= 0, None if empty."""
    if (values >= 0).all():
        return list(arrays), None
    if (values <= 0).all():
        return None, list(arrays)
    following = np.roll(values, -1)
    cuts = values * following < 0
    share = np.where(cuts, values / np.where(cuts, values - following, 1), 0)
    parts = []
    for sign in (1, -1):
        keep = sign * values >= 0
        order = np.argsort(np.concatenate([np.flatnonzero(keep), np.flatnonzero(cuts) + 0.5]), kind="stable")
        part = []
        for a in arrays:
            crossing = a[cuts] + share[cuts, None] * (np.roll(a, -1, axis=0)[cuts] - a[cuts])
            part.append(np.concatenate([a[keep], crossing])[order])
        parts.append(part if len(part[0]) > 2 else None)
    return parts[0], parts[1]


def difference(outer: np.ndarray, inner: np.ndarray) -> list[np.ndarray]:
    """Convex polygons in the plane whose union is ``outer`` without the convex ``inner`` (counter-clockwise)."""
    pieces, rest = [], outer
    for a, b in zip(inner, np.roll(inner, -1, axis=0)):
        left = (b - a)[0] * (rest - a)[:, 1] - (b - a)[1] * (rest - a)[:, 0]
        left[np.abs(left) <= 1e-14 * np.abs(left).max()] = 0
        inside, outside = halves(left, rest)
        if outside is not None:
            pieces.append(outside[0])
        if inside is None:
            break
        rest = inside[0]
    return pieces


def area(z: np.ndarray) -> float:
    """Of a plane polygon [v, M] in any dimension."""
    d = z[1:] - z[0]
    a, b = d[:-1], d[1:]
    return float(0.5 * np.sqrt(np.maximum(0, (a * a).sum(1) * (b * b).sum(1) - (a * b).sum(1) ** 2)).sum())


def start(saddle: Saddle, V: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The largest multiple of ``shape`` that stays in the cycle's regions once around, in the subspace's coordinates; 1 where nothing bounds it."""
    scale = min(reach(saddle, j, V[j] @ corner) for j in range(saddle.period) for corner in shape)
    return shape * (scale if np.isfinite(scale) else 1.0)


def unstable_polygons(saddle: Saddle, n_iterations: int, max_pieces: int) -> Patches:
    """D at the saddle with D in f^k(D); the ring between D and its preimage is iterated, so that the pieces cover the manifold once."""
    map, k = saddle.map, saddle.period
    directions = saddle.directions(UNSTABLE)
    V, B = directions.V, np.linalg.inv(directions.K)
    D = start(saddle, V, contracted_polygon(B))
    core = D @ B.T
    out = [Polygon(saddle.points[j] + core @ V[j].T, core, j, 0, saddle.words[j]) for j in range(k)]
    front = [Polygon(saddle.points[0] + q @ V[0].T, q, 0, 0, saddle.words[0]) for q in difference(D, core)]
    stopped = []
    for n in range(n_iterations * k + 1):
        if n:
            front = [piece for polygon in front for piece in cut_at_planes(map, map.step(polygon.z), polygon.q, n, 0)]
        if len(out) + len(front) > max_pieces:
            stopped.append("max_vertices")
            break
        if not all(np.isfinite(polygon.z).all() for polygon in front):
            stopped.append("overflow")
            break
        out += front
    return Patches(out, stopped)


def cut_at_planes(map: PiecewiseLinearMap, z: np.ndarray, q: np.ndarray, iteration: int, phase: int) -> list[Polygon]:
    """The parts of one polygon in each region that it meets."""
    parts = [[z, q]]
    y = plane_values(map, z)
    for i in np.flatnonzero((y > 0).any(0) & (y < 0).any(0)):
        cut = []
        for part in parts:
            values = plane_values(map, part[0])[:, i]
            cut += [half for half in halves(values, *part) if half is not None]
        parts = cut
    return [Polygon(z, q, iteration, phase, map.words(z.mean(0))) for z, q in parts]


def stable_polygons(saddle: Saddle, regions: Regions, n_iterations: int, max_pieces: int) -> Patches:
    """D at the saddle with f^k(D) in D, and all its preimages but itself."""
    map, k = saddle.map, saddle.period
    directions = saddle.directions(STABLE)
    V, K = directions.V, directions.K
    own = [regions.find(word) for word in saddle.words]
    D = start(saddle, V, contracted_polygon(K))
    out = [Polygon(saddle.points[j] + D @ V[j].T, D, 0, j, saddle.words[j]) for j in range(k)]
    front, stopped, singular = list(out), [], 0
    for n in range(1, n_iterations * k + 1):
        for polygon in front:
            singular += singular_hits(regions, polygon.z[None])
        new = [child for polygon in front for child in pull_polygon(regions, polygon, n, own[polygon.phase - 1] if n == 1 else -1)]
        if n == 1 and not regions.singular[own].any():                # through the saddle's own region D comes back, with a ring about it
            for ring in difference(D @ np.linalg.inv(K).T, D):
                z = saddle.points[-1] + ring @ V[-1].T
                inner = plane_values(map, z) * np.where(saddle.words[-1], 1, -1)
                new += clipped(z, ring @ K.T, inner, n, 0, saddle.words[-1], map)
        if len(out) + len(new) > max_pieces:
            stopped.append("max_vertices")
            break
        out += new
        front = new
    return Patches(out, stopped + ["singular"] * (singular > 0), {"n_singular": int(singular)})


def pull_polygon(regions: Regions, polygon: Polygon, iteration: int, without: int = -1) -> list[Polygon]:
    """Preimages in every region that is not singular. O(R v M (M + H))."""
    map, found = regions.map, []
    z = np.einsum("rmn,rvn->rvm", regions.inverse, polygon.z[None] - regions.c[:, None])
    inner = plane_values(map, z) * np.where(regions.words, 1.0, -1.0)[:, None]
    meets = (inner > 0).any(1).all(-1) & ~regions.singular
    for r in np.flatnonzero(meets):
        if r != without:
            found += clipped(z[r], polygon.q, inner[r], iteration, polygon.phase, regions.words[r], map)
    return found


def clipped(z: np.ndarray, q: np.ndarray, inner: np.ndarray, iteration: int, phase: int, word: np.ndarray, map: PiecewiseLinearMap) -> list[Polygon]:
    """The part with all ``inner`` values >= 0, none if its area is nothing."""
    for i in np.flatnonzero((inner < 0).any(0)):
        values = plane_values(map, z)[:, i] * (1 if word[i] else -1)
        part, _ = halves(values, z, q)
        if part is None:
            return []
        z, q = part
    return [Polygon(z, q, iteration, phase, word)] if area(z) > SLIVER * (1 + np.abs(z).max()) ** 2 else []
