"""One fixed point or cycle followed while the map changes in a straight line: where it crosses a border, changes its stability, or ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from dynrnn.analysis.piecewise.cycle_solver import solve_words
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.multipliers import product_eigenvalues

CROSSING, STABILITY, COLLISION, ESCAPE = "border crossing", "stability change", "border collision", "escape"
LARGEST_PRODUCT = 1e8                     # of a product: an eigenvalue near 1 then still has 8 digits
BESIDE = 1e-7                             # so far beside a border collision, in parts of the path, is looked which side an object exists on


@dataclass(frozen=True)
class Step:
    """An event at ``s`` along the path. ``words`` are those after it; None where the object ends."""

    s: float
    kind: str
    location: np.ndarray
    words: np.ndarray | None
    n_unstable: tuple[int, int]


def between(first: PiecewiseLinearMap, second: PiecewiseLinearMap, s: float) -> PiecewiseLinearMap:
    """The map at part ``s`` of the straight way from the first to the second."""
    mix = {name: (1 - s) * getattr(first, name) + s * getattr(second, name) for name in ("A", "W1", "W2", "h1", "h2")}
    return replace(first, **mix)


def orbit_of(map: PiecewiseLinearMap, words: Bool[np.ndarray, "k H"]) -> Float[np.ndarray, "k M"]:
    """The points that the affine pieces of the words cycle through; NaN where they are not isolated. O(k M^3)."""
    return solve_words(map, words[None])[0][0]


def outside(map: PiecewiseLinearMap, words: Bool[np.ndarray, "k H"]) -> tuple[int, int]:
    """Multipliers outside the unit circle, and those of them that are real and positive, whose number's parity is the index."""
    J = map.jacobians(words)
    product = J[0]
    for factor in J[1:]:
        product = factor @ product
        if not np.abs(product).max() <= LARGEST_PRODUCT:                            # its small eigenvalues would be rounding of the large ones
            log, angle = product_eigenvalues(J)
            return int((log > 0).sum()), int(((log > 0) & (angle == 0)).sum())
    mu = np.linalg.eigvals(product)
    return int((np.abs(mu) > 1).sum()), int(((np.imag(mu) == 0) & (np.real(mu) > 1)).sum())


def signed_margins(map: PiecewiseLinearMap, words: Bool[np.ndarray, "k H"]) -> Float[np.ndarray, "k H"]:
    """Distances of the points to all switching planes, negative on the wrong side of the word: the object is real where all are positive."""
    z = orbit_of(map, words)
    length = np.linalg.norm(map.W2, axis=1)
    return np.where(words, 1.0, -1.0) * (z @ map.W2.T + map.h2) / np.where(length > 0, length, 1.0)


@dataclass
class _Walk:
    """Where an object is on its way, and questions about it elsewhere on the path."""

    first: PiecewiseLinearMap
    second: PiecewiseLinearMap
    words: np.ndarray
    s: float
    events: list[Step]

    def map(self, s: float) -> PiecewiseLinearMap:
        return between(self.first, self.second, s)

    def real(self, s: float) -> bool:
        return bool((signed_margins(self.map(s), self.words) > 0).all())

    def index(self, s: float) -> int:
        return (-1) ** outside(self.map(s), self.words)[1]

    def n_unstable(self, s: float) -> int:
        return n_unstable(self.map(s), self.words)

    def record(self, s: float, kind: str, words: np.ndarray | None, counts: tuple[int, int]) -> None:
        self.events.append(Step(s, kind, orbit_of(self.map(s), self.words)[0], words, counts))

    def across(self, beyond: float) -> np.ndarray:
        """The words on the other side of the border that the object is past."""
        words = self.words.copy()
        at = np.unravel_index(np.argmin(signed_margins(self.map(beyond), words)), words.shape)
        words[at] = ~words[at]
        return words


def n_unstable(map: PiecewiseLinearMap, words: Bool[np.ndarray, "k H"]) -> int:
    """Multipliers outside the unit circle, of the object with these words."""
    return outside(map, words)[0]


def follow(
    first: PiecewiseLinearMap, second: PiecewiseLinearMap, words: Bool[np.ndarray, "k H"], *, backward: bool = False, n_checks: int = 16,
) -> tuple[list[Step], Bool[np.ndarray, "k H"] | None]:
    """All events of the object with these words on the way from ``first`` to ``second`` (or back), and its words at the end, None if it ends before.

    It is looked at in ``n_checks`` places and events between two of them are found by bisection; two opposite events between neighbours are
    missed. Its end is a border collision, where it meets its partner in the next region (or the shorter cycle that it comes from), or
    an escape to infinity, where I - J becomes singular. Cost O(n_checks k M^3), and 40 times that for each event.
    """
    direction = -1.0 if backward else 1.0
    end = 0.0 if backward else 1.0
    walk = _Walk(first, second, words.copy(), 1.0 - end, [])
    while walk.s != end:
        sign, count = walk.index(walk.s), walk.n_unstable(walk.s)
        ahead = float(np.clip(walk.s + direction / n_checks, 0.0, 1.0))
        if walk.index(ahead) != sign:                                               # singular between, unless the object leaves its region before
            singular = bisect(lambda x, walk=walk, sign=sign: walk.index(x) == sign, walk.s, ahead)
            ahead = singular - direction * BESIDE
            if walk.real(ahead):
                walk.record(ahead, ESCAPE, None, (count, count))
                return walk.events, None
        leaves = not walk.real(ahead)
        stop = bisect(walk.real, walk.s, ahead) if leaves else ahead
        if walk.n_unstable(stop) != count:
            at = bisect(lambda x, walk=walk, count=count: walk.n_unstable(x) == count, walk.s, stop)
            walk.record(at, STABILITY, walk.words, (count, walk.n_unstable(stop)))
            count = walk.n_unstable(stop)
        walk.s = stop
        if not leaves:
            continue
        beyond = float(np.clip(stop + direction * BESIDE, 0.0, 1.0))
        crossed = _Walk(first, second, walk.across(beyond), beyond, walk.events)
        if beyond != stop and crossed.real(beyond) and not _repeats(crossed.words):
            walk.record(stop, CROSSING, crossed.words, (count, crossed.n_unstable(beyond)))
            walk = crossed
        else:
            walk.record(stop, COLLISION, None, (count, count))
            return walk.events, None
    return walk.events, walk.words


def _repeats(words: np.ndarray) -> bool:
    """Whether the words are those of a shorter cycle, gone through several times."""
    k = len(words)
    return any(k % n == 0 and (words == np.roll(words, -n, 0)).all() for n in range(1, k))


def bisect(holds: Callable[[float], bool], good: float, bad: float) -> float:
    """The last place, from ``good`` on towards ``bad``, where ``holds`` does; to 2^-40 of their distance."""
    for _ in range(40):
        middle = 0.5 * (good + bad)
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good
