"""Every region of an arrangement of planes, without a list of words: along all lines in which r - 1 planes meet.

In general position each region of H > r planes in r dimensions has a vertex, hence an edge, and an edge lies on a line that is the intersection
of r - 1 planes, between two crossings with others. Along a line the crossings are sorted and each flips one unit, so that word, matrix and right
side follow by rank-1 updates; the 2^(r-1) sign patterns of the tight planes are the regions around an edge. Every region is met at least
r times, at most C(H, r-1) (H - r + 2) 2^(r-1) times in all. Parallel, coincident and concurrent planes are separated by moving every plane a
little: regions wider than that remain. Lines with nearly parallel planes are left out. (Edelsbrunner 1987, Algorithms in Combinatorial
Geometry, chapter 7, on what arrangements look like.)
"""

from __future__ import annotations

import itertools
from math import comb
from typing import Any, no_type_check

import numpy as np
from numba import njit

from dynrnn.analysis.piecewise.canonical import one_map
from dynrnn.analysis.piecewise.reduced import Reduced, reduce
from dynrnn.errors import ArgumentError

MOVED = 1e-9                              # how far planes are moved, of the length scale of the arrangement
PARALLEL = 1e-10                          # sine of an angle below which planes, or a plane and a line, count as parallel
LINES = 1024                              # lines of one compiled call, which bounds memory to O(LINES H)


def n_edges(n_units: int, rank: int) -> int:
    """Regions that are solved, repeated ones included; 0 where the arrangement is no arrangement of lines (H <= r: every word is a region)."""
    if rank == 0 or n_units <= rank:
        return 0
    return comb(n_units, rank - 1) * (n_units - rank + 2) * 2 ** (rank - 1)


def n_regions(n_units: int, rank: int) -> int:
    """Regions of H planes in general position in r dimensions: sum over i <= r of C(H, i) (Zaslavsky 1975).

    >>> n_regions(100, 3)
    166751
    """
    return sum(comb(n_units, i) for i in range(rank + 1))


def length_scale(reduced: Reduced) -> float:
    """What is large for this arrangement: the furthest plane's distance from the origin, or the constant term where all pass through it."""
    return float(max(np.abs(reduced.o).max(initial=0), np.abs(reduced.g).max(initial=0)) or 1.0)


def lines(reduced: Reduced, draw: int):
    """Blocks of lines: tight (L, r-1), and every plane's value ``start + t slope`` along them, both (L, H); planes moved by draw ``draw``."""
    H, r = reduced.n_units, reduced.rank
    length = np.linalg.norm(reduced.rows, axis=1)
    rows = reduced.rows / length[:, None]
    o = reduced.o / length + MOVED * length_scale(reduced) * np.random.default_rng([draw, 1]).uniform(-1, 1, H)
    subsets = itertools.combinations(range(H), r - 1)
    while block := list(itertools.islice(subsets, LINES)):
        tight = np.array(block, dtype=np.int64).reshape(len(block), r - 1)
        q, upper = np.linalg.qr(rows[tight].transpose(0, 2, 1), mode="complete")    # (L, r, r), (L, r, r-1)
        upper = upper[:, : r - 1]
        sound = (np.abs(np.diagonal(upper, axis1=1, axis2=2)) > PARALLEL).all(1)
        tight, q, upper = tight[sound], q[sound], upper[sound]
        if not len(tight):
            continue
        inner = np.linalg.solve(upper.transpose(0, 2, 1), -o[tight][..., None])     # (L, r-1, 1)
        point = (q[:, :, : r - 1] @ inner)[..., 0]
        slope = q[:, :, r - 1] @ rows.T
        np.put_along_axis(slope, tight, 0.0, axis=1)                                # the planes that meet in the line
        yield tight, point @ rows.T + o, slope


def count_regions(model: Any, *, limit: int = 10**8, inputs: Any = None, fit: int | None = None) -> int:
    """How many regions the switching planes make, in general position (planes that meet in more than r at a point are moved apart).

    model, inputs: what ``canonical`` takes; fit: which of several.

    Counted, not computed: distinct 128-bit hashes of the words met (Zobrist 1970), so wrong with a chance of some n^2 / 2^128. limit: the
    largest number of regions met, repeated ones included. Cost O(C(H, r-1) H 2^(r-1)), memory 32 bytes a region.

    >>> rng = np.random.default_rng(0)
    >>> count_regions((np.zeros(2), np.ones((2, 10)), rng.standard_normal((10, 2)), np.zeros(2), rng.standard_normal(10)))
    56
    """
    reduced = reduce(one_map(model, inputs, fit)[0])
    H, r = reduced.n_units, reduced.rank
    if r >= H:
        return 2**H
    if (size := n_edges(H, r)) > limit:
        raise ArgumentError(
            f"counting the regions of {H} planes in {r} dimensions meets {size:,} of them, more than limit={limit:,}. Raise limit if you can wait; "
            f"in general position there are {n_regions(H, r):,}."
        )
    keys = np.random.default_rng(2).integers(1, 2**63 - 1, (H, 2), dtype=np.int64).astype(np.uint64)
    table = np.zeros((1 << int(2 * n_regions(H, r)).bit_length(), 2), np.uint64)
    return sum(_count(tight, start, slope, PARALLEL, keys, table) for tight, start, slope in lines(reduced, 0))


@njit(cache=True, nogil=True)
@no_type_check
def begin(tight, start, slope, parallel, word, times, order):
    """The word far back on a line, tight units off, and the crossings in order: returns how many."""
    n = 0
    for i in range(len(start)):
        if abs(slope[i]) > parallel:
            word[i] = slope[i] < 0
            times[n], order[n] = -start[i] / slope[i], i
            n += 1
        else:
            word[i] = start[i] > 0
    for i in tight:
        word[i] = False
    rank = np.argsort(times[:n])
    kept = order[:n].copy()
    for i in range(n):
        order[i] = kept[rank[i]]
    return n


@njit(cache=True, nogil=True)
@no_type_check
def _count(tight, start, slope, parallel, keys, table):
    H, n_tight = start.shape[1], tight.shape[1]
    word, times, order = np.empty(H, np.bool_), np.empty(H), np.empty(H, np.int64)
    mask = np.uint64(len(table) - 1)
    new = 0
    for line in range(len(tight)):
        n = begin(tight[line], start[line], slope[line], parallel, word, times, order)
        a, b = np.uint64(1), np.uint64(1)                                           # of the empty word: a free slot is (0, 0)
        for i in range(H):
            if word[i]:
                a, b = a ^ keys[i, 0], b ^ keys[i, 1]
        for edge in range(n + 1):
            if edge:
                a, b = a ^ keys[order[edge - 1], 0], b ^ keys[order[edge - 1], 1]
            for pattern in range(1 << n_tight):
                c, d = a, b
                for j in range(n_tight):
                    if pattern >> j & 1:
                        c, d = c ^ keys[tight[line, j], 0], d ^ keys[tight[line, j], 1]
                slot = c & mask
                while True:
                    if table[slot, 0] == c and table[slot, 1] == d:
                        break
                    if table[slot, 0] == 0 and table[slot, 1] == 0:
                        table[slot, 0], table[slot, 1] = c, d
                        new += 1
                        break
                    slot = (slot + np.uint64(1)) & mask
    return new
