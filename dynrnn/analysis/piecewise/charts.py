"""Manifolds of three and more dimensions as affine charts: pieces ``base + chart q`` over polytopes ``G q <= g``, one for each region that they meet.

Cost: a linear programme in d + 1 unknowns for every piece and switching plane that may cut it, about two milliseconds each; the number of pieces may grow
as fast as the number of itineraries (874 pieces of d = 3 in M = 10 with H = 5 took 10 s).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linprog

from dynrnn.analysis.piecewise.ball import largest_ball
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.preimages import Regions, singular_hits
from dynrnn.analysis.piecewise.saddle import STABLE, UNSTABLE, Saddle

THIN = 1e-9                                                           # share of the first box below which a cut-off piece is nothing


@dataclass
class Piece:
    """``z = base + chart q`` for ``G q <= g``; f^iteration, backward or forward, takes it to ``z[phase] + V[phase] q``.

    centre, radius: of the largest ball in q, or of one that was the largest before the last image.
    """

    base: np.ndarray
    chart: np.ndarray
    G: np.ndarray
    g: np.ndarray
    iteration: int
    phase: int
    word: np.ndarray
    centre: np.ndarray
    radius: float


@dataclass
class Charts:
    pieces: list[Piece]
    stopped: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)


def box(saddle: Saddle, V: np.ndarray, B: np.ndarray) -> float:
    """Half the side of a box in the subspace's coordinates whose images under all powers of the contraction B stay in the cycle's regions."""
    map = saddle.map
    y = np.abs(saddle.points @ map.W2.T + map.h2)
    power, rho = np.eye(len(B)), np.inf
    for _ in range(100_000):
        width = np.stack([np.abs(map.W2 @ V[j] @ power).sum(1) for j in range(saddle.period)])
        bound = np.where(width > 0, y / np.where(width > 0, width, 1), np.inf)
        rho = min(rho, float(bound.min(initial=np.inf)))
        power = B @ power
        if np.linalg.norm(power, np.inf) <= 1:                        # |w P^(m + n)|_1 <= |w P^m|_1 |P^n|_inf: later images are no wider
            break
    return rho if np.isfinite(rho) else 1.0


def first_piece(saddle: Saddle, which: str, phase: int) -> Piece:
    directions = saddle.directions(which)
    d, V = directions.dim, directions.V
    rho = box(saddle, V, np.linalg.inv(directions.K) if which == UNSTABLE else directions.K)
    G = np.concatenate([np.eye(d), -np.eye(d)])
    return Piece(saddle.points[phase], V[phase], G, np.full(2 * d, rho), 0, phase, saddle.words[phase], np.zeros(d), rho)


def unstable_charts(saddle: Saddle, n_iterations: int, max_pieces: int) -> Charts:
    """Pieces of f^n(D), D a box at the saddle: those of a later n cover the earlier ones again."""
    front = [first_piece(saddle, UNSTABLE, 0)]
    out, thin, stopped = list(front), THIN * front[0].radius, []
    for n in range(1, n_iterations * saddle.period + 1):
        new: list[Piece] = []
        for piece in front:
            J, c = saddle.map.jacobians(piece.word), saddle.map.offsets(piece.word)
            image = replace(piece, base=J @ piece.base + c, chart=J @ piece.chart, iteration=n)
            new += split(saddle.map, image, thin)
            if len(out) + len(new) > max_pieces:
                return Charts(out, ["max_vertices"])
        out += new
        front = new
    return Charts(out, stopped)


def split(map: PiecewiseLinearMap, piece: Piece, thin: float) -> list[Piece]:
    """The parts of one piece in each region that it meets. O(2 H) linear programmes a part, those without need left out."""
    parts = [replace(piece, word=np.zeros(map.n_units, dtype=bool))]
    values, slopes = map.W2 @ piece.base + map.h2, map.W2 @ piece.chart
    for i in range(map.n_units):
        cut: list[Piece] = []
        for part in parts:
            length = np.linalg.norm(slopes[i])
            here = values[i] + slopes[i] @ part.centre
            sides = [here > 0]
            if length > 0:
                for side in (True, False):
                    if side != (here > 0) and _extreme(part, slopes[i], side) * (1 if side else -1) > (-values[i]) * (1 if side else -1) + thin * length:
                        sides.append(side)
            for side in sides:
                child = replace(part, word=part.word.copy())
                child.word[i] = side
                if len(sides) > 1:
                    sign = -1.0 if side else 1.0
                    child.G, child.g = np.vstack([part.G, sign * slopes[i]]), np.append(part.g, -sign * values[i])
                    ball = largest_ball(child.G, child.g, most=None)
                    if ball is None or ball[1] <= thin:
                        continue
                    child.centre, child.radius = ball
                cut.append(child)
        parts = cut
    return parts


def _extreme(piece: Piece, slope: np.ndarray, largest: bool) -> float:
    sign = -1.0 if largest else 1.0
    found = linprog(sign * slope, piece.G, piece.g, bounds=(None, None))
    return float(slope @ found.x) if found.status == 0 else (np.inf if largest else -np.inf)


def stable_charts(saddle: Saddle, regions: Regions, n_iterations: int, max_pieces: int) -> Charts:
    """Pieces of f^-n(D), through every region."""
    map = saddle.map
    front = [first_piece(saddle, STABLE, j) for j in range(saddle.period)]
    out, thin, singular, stopped = list(front), THIN * min(piece.radius for piece in front), 0, []
    for n in range(1, n_iterations * saddle.period + 1):
        new: list[Piece] = []
        for piece in front:
            if regions.singular.any():
                singular += singular_hits(regions, _hull(piece)[None])
            for r in np.flatnonzero(~regions.singular):
                base, chart = regions.inverse[r] @ (piece.base - regions.c[r]), regions.inverse[r] @ piece.chart
                sign = np.where(regions.words[r], -1.0, 1.0)
                G = np.vstack([piece.G, sign[:, None] * (map.W2 @ chart)])
                g = np.append(piece.g, -sign * (map.W2 @ base + map.h2))
                ball = largest_ball(G, g, most=None)
                if ball is not None and ball[1] > thin:
                    new.append(Piece(base, chart, G, g, n, piece.phase, regions.words[r], *ball))
            if len(out) + len(new) > max_pieces:
                stopped.append("max_vertices")
                return Charts(out, stopped, {"n_singular": int(singular)})
        out += new
        front = new
    return Charts(out, stopped + ["singular"] * (singular > 0), {"n_singular": int(singular)})


def _hull(piece: Piece) -> np.ndarray:
    """Corners of a box around the piece, of which there are few enough to ask whether a singular region reaches it."""
    d = piece.chart.shape[1]
    low = np.array([_extreme(piece, axis, False) for axis in np.eye(d)])
    high = np.array([_extreme(piece, axis, True) for axis in np.eye(d)])
    corners = (np.arange(2 ** min(d, 10))[:, None] >> np.arange(d) & 1).astype(bool)
    return piece.base + np.where(corners, high, low) @ piece.chart.T
