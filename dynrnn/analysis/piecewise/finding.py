"""From a map and a route to its fixed points: candidates, each examined in full, and what speaks for these being all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from dynrnn.analysis.chao import unseen
from dynrnn.analysis.piecewise.arrangement import MOVED, length_scale
from dynrnn.analysis.piecewise.candidates import Candidates
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.analysis.piecewise.degree import border_index, bounded_degree, enumerated_degree
from dynrnn.analysis.piecewise.enumeration import ARRANGEMENT, enumerate_regions
from dynrnn.analysis.piecewise.point import POINT, FixedPoint, examine, region_exists
from dynrnn.analysis.piecewise.reduced import Reduced
from dynrnn.analysis.piecewise.search import search_words

SEARCH = "search"
SPARE = 4                                 # times as many virtual candidates where some may belong to no region


@dataclass
class Found:
    """The fixed points of one map, real ones first."""

    points: list[FixedPoint]
    complete: bool
    method: str
    n_candidates: int
    degree: float
    n_unseen: float
    resolution: float
    status: str

    @property
    def n_real(self) -> int:
        return sum(not point.virtual for point in self.points)

    @property
    def index_sum(self) -> int:
        return sum(point.index for point in self.points if not point.virtual)


def find(reduced: Reduced, route: str, n_virtual: int, n_starts: int, rng: np.random.Generator, tolerance: float) -> Found:
    """Fixed points on this route; see :func:`dynrnn.analysis.fixed_points`."""
    status, resolution, hits = ANALYSED, 0.0, Counter()
    every_word = reduced.n_units <= reduced.rank
    asked = n_virtual if route == ARRANGEMENT or every_word else SPARE * n_virtual
    if route == SEARCH:
        found, hits = search_words(reduced, n_starts, asked, rng)
    else:
        found = enumerate_regions(reduced, route, asked)
    real, key_of = _examined(reduced, found, tolerance)
    complete = route != SEARCH and not found.full
    if found.full:
        status = "analysed in part; more fixed points, or regions with singular I - J, than are kept"
    if route == ARRANGEMENT:
        resolution = MOVED * length_scale(reduced)
        second = enumerate_regions(reduced, route, 0, draw=1)
        again, _ = _examined(reduced, second, tolerance)
        if real.keys() != again.keys():
            complete, status = False, "analysed; two displacements of the switching planes disagreed"
        real |= again
        found.n_candidates += second.n_candidates
    points = [_with_index(reduced, real[key]) for key in sorted(real)]
    degree = bounded_degree(reduced.map)
    if np.isnan(degree) and route != SEARCH and not found.full:
        degree = enumerated_degree(reduced, found)
    total, counted = sum(point.index for point in points), all(point.index for point in points) and np.isfinite(degree)
    if complete and counted and total != degree:
        complete, status = False, f"analysed; the index sum is {total} and must be {degree:.0f}, so a fixed point is missing"
    n_unseen = 0.0
    if not complete:
        objects = Counter()
        for word, n in hits.items():
            if word in key_of:
                objects[key_of[word]] += n
        n_unseen = float(np.fmax(unseen(np.array(list(objects.values()), np.int64)), abs(degree - total) if counted else np.nan))
    virtual = (examine(reduced.map, reduced.full_words(word), tolerance, virtual=True) for word in found.virtual)
    kept = [point for point in virtual if point is not None and (every_word or region_exists(reduced.map, point.word))][:n_virtual]
    return Found([*points, *kept], complete, route, found.n_candidates, degree, n_unseen, resolution, status)


def _examined(reduced: Reduced, found: Candidates, tolerance: float) -> tuple[dict[bytes, FixedPoint], dict[bytes, bytes]]:
    """Fixed points by their region's word, and that word by the candidate's."""
    points, key_of = {}, {}
    for key, word in (found.real | found.singular).items():
        point = examine(reduced.map, reduced.full_words(word), tolerance)
        if point is not None:
            points[point.key], key_of[key] = point, point.key
    return points, key_of


def _with_index(reduced: Reduced, point: FixedPoint) -> FixedPoint:
    if point.kind != POINT or not point.border.any():
        return point
    return replace(point, index=border_index(reduced.map, point))
