"""Words that states follow: all Lyndon words of one length after another whose set of starting states is not empty.

Breadth first, a level a step. A set is cut at every switching plane and mapped on; a word that no rotation of which can be smallest is dropped (the tree of
prenecklaces: Fredricksen, Kessler & Maiorana; Ruskey et al. 1992). In the plane sets are polygons, otherwise linear programmes say whether they are empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from dynrnn.analysis.piecewise.cycle_solver import arrays_of
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.polygons import split, whole_plane

UNBOUNDED = 3                             # linprog's status


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
        self.map = (A, W1, np.ascontiguousarray(W2), h1, h2)
        length = np.linalg.norm(W2, axis=1)
        size = 1 + (np.abs(h2[length > 0]) / length[length > 0]).max(initial=0) + np.abs(h1).max()
        # the quadrants meet far from where planes cross, so that few words are in two of them
        self.polygons, self.corners = whole_plane(size * np.array([-1.1e4, -1.7e4]))

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


class Polyhedra:
    """Sets of first states as inequalities ``G z <= g``, with the affine map ``P z + d`` that leads from there to now."""

    def __init__(self, map: PiecewiseLinearMap) -> None:
        M = map.latent_dim
        self.map, self.nodes = map, [(np.zeros((0, M)), np.zeros(0), np.eye(M), np.zeros(M))]

    def step(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        parents, words, nodes = [], [], []
        for parent, (G, g, P, d) in enumerate(self.nodes):
            rows, level = self.map.W2 @ P, self.map.W2 @ d + self.map.h2
            parts = [(np.zeros(self.map.n_units, bool), G, g)]
            for unit in range(self.map.n_units):
                parts = [half for part in parts for half in self._halves(part, unit, rows[unit], level[unit])]
                if len(nodes) + len(parts) > limit:
                    raise TooMany
            for word, H, h in parts:
                J, c = self.map.jacobians(word), self.map.offsets(word)
                parents.append(parent)
                words.append(word)
                nodes.append((H, h, J @ P, J @ d + c))
        self.nodes = nodes
        return np.array(parents, np.int64), np.array(words, bool).reshape(len(nodes), self.map.n_units)

    def keep(self, rows: np.ndarray) -> None:
        self.nodes = [node for node, row in zip(self.nodes, rows, strict=True) if row]

    @staticmethod
    def _halves(part: tuple[np.ndarray, np.ndarray, np.ndarray], unit: int, row: np.ndarray, level: float) -> Iterator[tuple]:
        from scipy.optimize import linprog

        word, G, g = part
        size = np.abs(row).max()
        if size <= 1e-14 * (1 + abs(level)):
            on = word.copy()
            on[unit] = level > 0
            yield on, G, g
            return
        row, level = row / size, level / size
        for sign in (-1.0, 1.0):
            # the farthest that the set goes to this side; a failed programme keeps the part, which its cycle's solution then judges
            best = linprog(-sign * row, A_ub=G if len(G) else None, b_ub=g if len(g) else None, bounds=(None, None), method="highs")
            if best.status == 2 or (best.status == 0 and -best.fun + sign * level < -1e-9 * (1 + abs(level))):
                continue
            bits = word.copy()
            bits[unit] = sign > 0
            yield bits, np.vstack([G, -sign * row]), np.append(g, sign * level + 1e-9 * (1 + abs(level)))
