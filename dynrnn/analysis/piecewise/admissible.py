"""Words that states follow: all Lyndon words of one length after another whose set of starting states is not empty.

Breadth first, a level a step. A set is cut at every switching plane and mapped on; a word that no rotation of which can be smallest is dropped (the tree of
prenecklaces: Fredricksen, Kessler & Maiorana; Ruskey et al. 1992). In the plane sets are polygons, otherwise linear programmes say whether they are empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from scipy.linalg import block_diag

from dynrnn.analysis.piecewise.cycle_solver import arrays_of
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn_kernels.cycles.polygons import CORNERS, split

INFEASIBLE = 2                            # linprog's status
REACH = 1e-6                              # a set that reaches no farther beyond a plane is not beyond it; linear programmes are solved to 1e-7


class TooMany(Exception):
    """A level holds more words than the limit."""


class States(Protocol):
    """Sets of states of one level; ``step`` cuts and maps them, ``keep`` selects."""

    def step(self, limit: int) -> tuple[np.ndarray, np.ndarray]: ...

    def keep(self, rows: np.ndarray) -> None: ...


def admissible_words(map: PiecewiseLinearMap, longest: int, limit: int) -> Iterator[np.ndarray]:
    """Level by level, a superset of the Lyndon words (words k H) of admissible cycles of period 1, 2, ... ``longest``; TooMany ends it."""
    states: States = Polygons(map) if map.latent_dim <= 2 else Polyhedra(map)
    number: dict[bytes, int] = {}
    bits: list[np.ndarray] = []
    symbols, lyndon = np.zeros((1, 0), np.int64), np.ones(1, np.int64)
    for level in range(1, longest + 1):
        parents, regions = states.step(limit)
        symbol = np.empty(len(parents), np.int64)
        for row, key in enumerate(np.packbits(regions, axis=1)):
            name = key.tobytes()
            if name not in number:
                number[name] = len(number)
                bits.append(regions[row])
            symbol[row] = number[name]
        if level == 1:
            grown, longer = symbol[:, None], np.ones(len(symbol), np.int64)
            fine = np.ones(len(symbol), bool)
        else:
            before = symbols[parents, level - 1 - lyndon[parents]]
            fine = symbol >= before
            grown, longer = np.hstack([symbols[parents], symbol[:, None]]), np.where(symbol == before, lyndon[parents], level)
        symbols, lyndon = grown[fine], longer[fine]
        states.keep(fine)
        found = np.unique(symbols[lyndon == level], axis=0)
        yield np.array(bits)[found] if len(found) else np.zeros((0, level, map.n_units), bool)


class Polygons:
    """Sets in the plane; a map of the line is one of the plane that forgets the second coordinate."""

    def __init__(self, map: PiecewiseLinearMap) -> None:
        A, W1, W2, h1, h2 = arrays_of(map)
        if map.latent_dim == 1:
            A, W1, W2, h1 = np.diag([A[0, 0], 0.0]), np.vstack([W1, 0 * W1]), np.hstack([W2, 0 * W2]), np.append(h1, 0.0)
        length = np.linalg.norm(W2, axis=1)
        size = max((np.abs(h2[length > 0]) / length[length > 0]).max(initial=0), np.abs(h1).max()) or 1.0
        self.map = (A, W1, np.ascontiguousarray(W2), h1 / size, h2 / size)          # in units of its own size: the tolerances are absolute
        # the quadrants meet far from where planes cross, so that few words are in two of them
        self.polygons, self.corners = _whole_plane(np.array([-1.1e4, -1.7e4]))

    def step(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        room = min(limit, 4 * len(self.polygons) + 1000)
        while True:
            out = np.zeros(room, np.int64), np.zeros((room, len(self.map[4])), bool), np.zeros((room, *self.polygons.shape[1:])), np.zeros(room, np.int64)
            n = split(*self.map, self.polygons, self.corners, *out)
            if n >= 0:
                break
            if room >= limit:
                raise TooMany
            room = min(limit, 4 * room)
        parents, words, self.polygons, self.corners = (value[:n] for value in out)
        return parents, words

    def keep(self, rows: np.ndarray) -> None:
        self.polygons, self.corners = self.polygons[rows], self.corners[rows]


def _whole_plane(apex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four quadrants around ``apex`` and their numbers of corners."""
    polygons = np.zeros((4, CORNERS, 3))
    tip = np.append(apex, 1.0)
    for q, (s, t) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        polygons[q, :3] = [[s, 0, 0], [0, t, 0], tip / np.abs(tip).max()]
    return polygons, np.full(4, 3)


class Polyhedra:
    """Sets of orbits z[0], ..., z[t] with a given word, by linear programmes over all their states: rounding then only ever adds orbits."""

    def __init__(self, map: PiecewiseLinearMap) -> None:
        self.map, self.words = map, [np.zeros((0, map.n_units), bool)]
        length = np.linalg.norm(map.W2, axis=1)
        self.scale = np.where(length > 0, length, 1.0)

    def step(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        parents, regions = [], []
        for parent, word in enumerate(self.words):
            parts = [np.zeros(0, bool)]
            for _ in range(self.map.n_units):
                parts = [longer for part in parts for longer in self._sides(word, part)]
                if len(parents) + len(parts) > limit:
                    raise TooMany
            parents += [parent] * len(parts)
            regions += parts
        self.words = [np.vstack([self.words[parent], region]) for parent, region in zip(parents, regions, strict=True)]
        return np.array(parents, np.int64), np.array(regions, bool).reshape(len(parents), self.map.n_units)

    def keep(self, rows: np.ndarray) -> None:
        self.words = [word for word, row in zip(self.words, rows, strict=True) if row]

    def _sides(self, word: np.ndarray, part: np.ndarray) -> list[np.ndarray]:
        """The bits ``part`` of the newest state's first units, and one more: both sides of the next plane, or the one that there is."""
        unit, (row, level) = len(part), (self.map.W2[len(part)], self.map.h2[len(part)])
        if not row.any():
            return [np.append(part, level > 0)]
        on, off = (self._farthest(word, part, sign * row, sign * level) > REACH * self.scale[unit] for sign in (1, -1))
        return [np.append(part, side) for side in (True, False) if (on if side else off or not on)]

    def _farthest(self, word: np.ndarray, part: np.ndarray, row: np.ndarray, level: float) -> float:
        """max row z + level over the newest states; inf where the programme says nothing."""
        from scipy.optimize import linprog

        map, (t, M) = self.map, (len(word), len(row))
        bits = [*word, part]
        sign = [np.where(b, 1.0, -1.0) / self.scale[: len(b)] for b in bits]
        inside = block_diag(*(-s[:, None] * map.W2[: len(s)] for s in sign))
        onward = np.zeros((t * M, (t + 1) * M))
        onward[:, M:] = np.eye(t * M)
        onward[:, : t * M] -= np.asarray(block_diag(*map.jacobians(word)) if t else np.zeros((0, 0)))
        goal = np.concatenate([np.zeros(t * M), -row])
        limits = np.concatenate([s * map.h2[: len(s)] for s in sign])
        best = linprog(goal, A_ub=inside, b_ub=limits, A_eq=onward, b_eq=map.offsets(word).ravel(), bounds=(None, None), method="highs")
        if best.status == INFEASIBLE:
            return -np.inf
        return -best.fun + level if best.status == 0 else np.inf
