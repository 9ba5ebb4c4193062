"""Steps along a curve by pseudo-arclength, with the events between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dynrnn.analysis.branches.curve import BRANCH, FOLD, TORUS, Curve, Point, is_rotation, multipliers, tests, words_at, zero_between
from dynrnn.analysis.branches.family import Pieces, Words

COLLISION = "border collision"
PERSISTENCE, NONSMOOTH_FOLD = "persistence", "non-smooth fold"
SMALLEST = 1e-7              # step, of the range
TURN = 0.95                  # cosine between neighbouring tangents, at least
SHORTER = 1e-5               # of the size: a cycle so near to a shorter one has met it
FAR = 1e4                    # sizes away: the branch has left for infinity


@dataclass(frozen=True)
class Event:
    """kind, mechanism (of border collisions), arclength, the point, multipliers outside the unit circle before and after; unit and phase that switch."""

    kind: str
    mechanism: str
    s: float
    y: np.ndarray
    J: np.ndarray
    n_unstable: tuple[int, int]
    unit: int = -1
    phase: int = -1


@dataclass
class Walk:
    """One direction of a branch: arclengths, points, and events, and why it ended."""

    curve: Curve
    s: list[float]
    points: list[Point]
    words: Words
    events: list[Event] = field(default_factory=list)
    ended: str = ""

    def shorter(self, y: np.ndarray) -> int:
        """The period of the shorter cycle that y is, 0 if it is none."""
        x, _ = self.curve.split(y)
        k = len(x)
        near = SHORTER * float(self.curve.scale[0]) / np.sqrt(x.size)
        return next((p for p in range(1, k) if k % p == 0 and np.abs(x - np.roll(x, -p, 0)).max() <= near), 0)


def n_unstable(J: np.ndarray) -> int:
    return int((np.abs(multipliers(J)) > 1).sum())


def walk(curve: Curve, start: Point, low: float, high: float, step: float, max_points: int) -> Walk:
    """From the start along its tangent until the parameter leaves [low, high], the curve ends or closes, or ``max_points``. Cost O((k M)^3) an iteration."""
    out = Walk(curve, [0.0], [start], words_at(curve, start.y))
    h, now, before = step / 4, start, tests(curve, start, words_at(curve, start.y))
    just_switched = False
    while len(out.points) < max_points:
        if h < SMALLEST:
            out.ended = "no further point is found: the step became too small (a kink of the map, a branch to infinity, or an end of its domain)"
            return out
        guess = now.y + h * now.t
        after = curve.correct(guess, now.t, out.words)
        if after is None or after.t @ now.t < TURN or np.linalg.norm(after.y - guess) > 0.5 * h:
            h /= 2
            continue
        h_now, edge, end = h, None, None
        at = _interpolated(curve, now, after, h_now, out.words)
        if not low <= curve.split(after.y)[1] <= high:
            edge = high if curve.split(after.y)[1] > high else low
            end = _reach(curve, at, now, after, h_now, edge)
            h_now, after = end
        found = _collision(curve, at, now, after, h_now, out.words)
        if found is not None:
            h_now, after = found[0], found[1]
        reached = tests(curve, after, out.words)
        if not just_switched or h_now > 1e-9:
            _between(out, at, now, after, h_now, before, reached)
        if any(event.kind == BRANCH and out.shorter(event.y) for event in out.events[-2:]):
            event = next(event for event in out.events[-2:] if event.kind == BRANCH and out.shorter(event.y))
            out.ended = f"it meets the cycle of period {out.shorter(event.y)}"
            _close(out, event.s, curve.correct(event.y, now.t, out.words))
            return out
        out.s.append(out.s[-1] + h_now)
        out.points.append(after)
        if found is not None:
            if just_switched and h_now < 1e-9:
                out.ended = "it touches a border and does not cross it"
                return out
            switched = _switch(out, after, found[2])
            if switched is None:
                return out
            now, before, just_switched = switched, tests(curve, switched, out.words), True
            h = max(h / 4, 10 * SMALLEST)
            continue
        just_switched = False
        if edge is not None:
            out.ended = "the end of the parameter's range"
            return out
        if np.abs(curve.split(after.y)[0]).max() > FAR * float(curve.scale[0]):
            out.ended = "it leaves for infinity"
            return out
        if len(out.points) > 8 and _is_back(start, now, after, h_now):
            out.ended = "it closes"
            return out
        now, before = after, reached
        h = min(step, 1.5 * h) if after.n <= 3 else h if after.n <= 5 else 0.6 * h
    out.ended = f"{max_points} points are taken"
    return out


def _close(out: Walk, s: float, point: Point | None) -> None:
    if point is not None and s > out.s[-1]:
        out.s.append(s)
        out.points.append(point)


def _is_back(start: Point, now: Point, after: Point, h: float) -> bool:
    """Whether the start lies between the last two points, as on a closed branch."""
    way = start.y - now.y
    along = float(way @ now.t)
    beside = np.linalg.norm(way - along * now.t) < 0.1 * h + 1e-9
    return bool(start.t @ now.t > TURN and 0 <= along <= h and beside and np.linalg.norm(after.y - start.y) <= h)


def _interpolated(curve: Curve, a: Point, b: Point, h: float, words: Words) -> Callable[[float], Point | None]:
    """The curve's point at a distance between 0 and h along the tangent of ``a``, from a cubic through both points and tangents."""
    stretch = (b.y - a.y) @ a.t
    slope_b = b.t / max(float(b.t @ a.t), 1e-3)

    def at(d: float) -> Point | None:
        r = d / stretch
        one, other = (1 + 2 * r) * (1 - r) ** 2 * a.y + r**2 * (3 - 2 * r) * b.y, r * (1 - r) ** 2 * a.t + r**2 * (r - 1) * slope_b
        return curve.correct(one + stretch * other, a.t, words)

    return at


def _reach(curve: Curve, at: Callable[[float], Point | None], a: Point, b: Point, h: float, edge: float) -> tuple[float, Point]:
    """The point where the parameter is ``edge``, and its distance."""

    def beyond(d: float) -> float | None:
        point = at(d)
        return None if point is None else curve.split(point.y)[1] - edge

    d = zero_between(beyond, 0.0, h, curve.split(a.y)[1] - edge, curve.split(b.y)[1] - edge) if curve.split(a.y)[1] != edge else 0.0
    return d, at(d) or b


def _between(out: Walk, at: Callable[[float], Point | None], a: Point, b: Point, h: float, before: dict[str, float], after: dict[str, float]) -> None:
    """Events between two points, in order; of a fold and a branch point in one place the branch point is kept (a pitchfork)."""
    found: list[Event] = []
    for kind, value in after.items():
        if before[kind] == 0 or (before[kind] > 0) == (value > 0):
            continue

        def of(d: float, kind: str = kind) -> float | None:
            point = at(d)
            return None if point is None else tests(out.curve, point, out.words)[kind]

        d = zero_between(of, 0.0, h, before[kind], value)
        point = _beside(out, at, d, h) if kind == BRANCH else at(d)
        if point is None or (kind == TORUS and not is_rotation(point.J)):
            continue
        d = float((point.y - a.y) @ a.t)
        found.append(Event(kind, "", out.s[-1] + d, point.y, point.J, (n_unstable(a.J), n_unstable(b.J))))
    branch = [event.s for event in found if event.kind == BRANCH]
    found = [event for event in found if event.kind != FOLD or all(abs(event.s - s) > 1e-5 for s in branch)]
    out.events += sorted(found, key=lambda event: event.s)


def _beside(out: Walk, at: Callable[[float], Point | None], d: float, h: float) -> Point | None:
    """A branch point near the distance d, by inverse interpolation from four points about it: at the point itself the corrector's matrix is singular."""
    places = d + 1e-3 * min(1.0, 50 * h) * np.array([-2.0, -1.0, 1.0, 2.0])
    points = [point for point in map(at, places.tolist()) if point is not None]
    if len(points) < 4:
        return points[0] if points else None
    values = np.array([tests(out.curve, point, out.words)[BRANCH] for point in points])
    weights = np.array([np.prod([-other / (own - other) for other in values if other != own]) for own in values])     # Lagrange's, at the value 0
    best = points[int(np.abs(values).argmin())]
    return Point(weights @ np.array([point.y for point in points]), best.t, np.tensordot(weights, np.array([point.J for point in points]), 1), 0, best.residual)


def _collision(curve: Curve, at: Callable[[float], Point | None], a: Point, b: Point, h: float, words: Words) -> tuple[float, Point, np.ndarray] | None:
    """The first place where a point reaches a switching plane on the way from a to b: distance, point, and which bits (k, H) switch."""
    if words is None or not isinstance(curve.family, Pieces):
        return None
    family, side = curve.family, np.where(words, 1.0, -1.0)
    here, there = side * family.margins(*curve.split(a.y)), side * family.margins(*curve.split(b.y))
    first = None
    for i, j in np.argwhere(there < 0):

        def margin(d: float, i: int = i, j: int = j) -> float | None:
            point = at(d)
            return None if point is None else float(side[i, j] * family.margins(*curve.split(point.y))[i, j])

        d = zero_between(margin, 0.0, h, float(here[i, j]), float(there[i, j])) if here[i, j] > 0 else 0.0
        if first is None or d < first:
            first = d
    if first is None:
        return None
    point = at(first) or b
    left = side * family.margins(*curve.split(point.y))
    switching = (left <= 1e-10 * (1 + np.abs(curve.split(point.y)[0]).max())) & (there < 0)
    return first, point, switching


def _switch(out: Walk, point: Point, switching: np.ndarray) -> Point | None:
    """Record a border collision and turn into the region beyond, to the side that the margin changes to; None where the branch ends there."""
    curve, family = out.curve, out.curve.family
    if not isinstance(family, Pieces):
        return None
    shorter = out.shorter(point.y)
    new = out.words ^ switching
    i, j = (int(n) for n in np.argwhere(switching)[0])
    _, D, J = curve.system(point.y, new)
    t = np.linalg.svd(D)[2][-1]
    x, p = curve.split(point.y)
    by_x, by_p = family.margin_slope(x, p, i, j)
    M = family.dim
    change = by_x @ (t[i * M : (i + 1) * M] * curve.scale[i * M : (i + 1) * M]) + by_p * t[-1] * curve.scale[-1]
    t = t if (change > 0) == bool(new[i, j]) else -t
    mechanism = PERSISTENCE if t[-1] * point.t[-1] > 0 else NONSMOOTH_FOLD
    if shorter:
        mechanism, out.ended = f"meets the cycle of period {shorter}", f"it meets the cycle of period {shorter} at a border"
    elif abs(change) < 1e-12:
        mechanism, out.ended = "grazing", "it runs along a border"
    after = -1 if out.ended else n_unstable(J)
    out.events.append(Event(COLLISION, mechanism, out.s[-1], point.y, point.J, (n_unstable(point.J), after), j, i))
    if out.ended:
        return None
    out.words = new
    return Point(point.y, t, J, 0, point.residual)

