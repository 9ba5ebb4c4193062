"""The list of a map's cycles: words are solved, judged, reduced to their minimal period and smallest rotation, and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from dynrnn.analysis.piecewise.cycle_solver import solve_words
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.multipliers import product_eigenvalues
from dynrnn.analysis.piecewise.words import minimal_period, smallest_rotation, symbols_of

BORDER = 1e-10                            # of a preactivation's terms: a state so near a plane counts as on it, for rounding cannot tell
ROOT = 1e-9                               # from a root of 1, in logarithm and angle
MOST_TESTED = 200                         # words without an isolated solution that are looked at, a linear programme each

Key = tuple[int, tuple[bytes, ...]]


@dataclass
class Cycle:
    """Points (k, M) and their regions (k, H), from the smallest rotation's start; logarithms of multipliers (M,); hits of a search."""

    points: np.ndarray
    word: np.ndarray
    log_modulus: np.ndarray
    angle: np.ndarray
    virtual: bool = False
    hits: int = 0


@dataclass
class CycleList:
    """Cycles of a map by key (minimal period, smallest rotation of the word)."""

    map: PiecewiseLinearMap
    periods: tuple[int, ...]
    virtual: bool = False                 # whether solutions outside their regions are kept too
    found: dict[Key, Cycle] = field(default_factory=dict)
    apart: dict[Key, Cycle] = field(default_factory=dict)
    continua: set[Key] = field(default_factory=set)                                 # words that have cycles, but none that is isolated
    unexamined: Counter[int] = field(default_factory=Counter)                       # by length, words that may have such

    def add(self, words: Bool[np.ndarray, "n k H"], count: bool = False) -> None:
        """Judge words of one length; ``count`` their hits."""
        for block in np.array_split(words, max(1, len(words) * words.shape[1] // 100_000)):
            z, ratio = solve_words(self.map, block)
            real = ratio > 0
            near = real & self._inside(z, block, 1e-6)
            self._store(block[near], count)
            if self.virtual:
                self._store_virtual(block[real & ~near])
            single = block[~real]
            self.continua |= {key_of(word)[0] for word in single[:MOST_TESTED] if holds_continuum(self.map, word)}
            self.unexamined[words.shape[1]] += max(0, len(single) - MOST_TESTED)

    def _inside(self, z: Float[np.ndarray, "n k M"], words: Bool[np.ndarray, "n k H"], tolerance: float) -> Bool[np.ndarray, " n"]:
        y, terms = self.map.preactivations(np.nan_to_num(z))
        return np.asarray(np.where(words, y > -tolerance * terms, y <= tolerance * terms).all((1, 2)))

    def _store(self, words: np.ndarray, count: bool) -> None:
        z, ratio = solve_words(self.map, words, refine=True)
        inside = (ratio > 0) & self._inside(z, words, BORDER)
        y, terms = self.map.preactivations(z[inside])
        for points, word in zip(z[inside], y > BORDER * terms, strict=True):        # on a plane a unit is off
            self._put(self.found, points, word, False, count)
        if self.virtual:
            self._put_all(z[~inside & (ratio > 0)], words[~inside & (ratio > 0)])

    def _store_virtual(self, words: np.ndarray) -> None:
        z, ratio = solve_words(self.map, words, refine=True)
        self._put_all(z[ratio > 0], words[ratio > 0])

    def _put_all(self, z: np.ndarray, words: np.ndarray) -> None:
        for points, word in zip(z, words, strict=True):
            self._put(self.apart, points, word, True, False)

    def _put(self, where: dict[Key, Cycle], points: np.ndarray, word: np.ndarray, virtual: bool, count: bool) -> None:
        key, turned = key_of(word)
        if key[0] not in self.periods:
            return
        if key not in where:
            z, ratio = solve_words(self.map, word[turned][None], refine=True)       # the same to the last bit whichever rotation was found
            spectrum = product_eigenvalues(self.map.jacobians(word[turned]))
            where[key] = Cycle(z[0] if ratio[0] > 0 else points[turned], word[turned], *spectrum, virtual)
        where[key].hits += count

    def n_continua(self, period: int) -> int:
        """Words of this period without an isolated cycle that have some, and shorter cycles that are surrounded by cycles of this period."""
        return sum(p == period for p, _ in self.continua) + self._surrounded(period)

    def _surrounded(self, period: int) -> int:
        """Shorter cycles with a multiplier that is a root of 1, so that cycles of this period with their word surround them."""
        count = 0
        for (p, _), cycle in self.found.items():
            turn = cycle.angle * (period // p)
            root = (np.abs(cycle.log_modulus) < ROOT) & (np.abs(np.remainder(turn + np.pi, 2 * np.pi) - np.pi) < ROOT) & (np.abs(cycle.angle) > ROOT)
            count += bool(p < period and period % p == 0 and root.any())
        return count

    def hits(self, period: int) -> np.ndarray:
        return np.array([cycle.hits for (p, _), cycle in self.found.items() if p == period], np.int64)

    def rows(self) -> list[Cycle]:
        """By period and word; virtual ones after all real ones."""
        return [part[key] for part in (self.found, self.apart) for key in sorted(part)]


def key_of(word: Bool[np.ndarray, "k H"]) -> tuple[Key, list[int]]:
    """The key of a cycle's word, and which phases it takes in which order."""
    symbols = symbols_of(word)
    period = minimal_period(symbols)
    first = smallest_rotation(symbols[:period])
    turned = [(first + t) % period for t in range(period)]
    return (period, tuple(symbols[t] for t in turned)), turned


def holds_continuum(map: PiecewiseLinearMap, word: Bool[np.ndarray, "k H"]) -> bool:
    """Whether a word without an isolated solution has points in its regions after all (a linear programme in k M unknowns)."""
    from scipy.optimize import linprog
    from scipy.sparse import block_diag, eye_array, kron

    k, M = len(word), map.latent_dim
    J, c = map.jacobians(word), map.offsets(word)
    onward = kron(np.roll(np.eye(k), 1, axis=1), eye_array(M))
    sign = np.where(word, 1.0, -1.0)
    inside = block_diag([-s[:, None] * map.W2 for s in sign]) if map.n_units else None
    limits = (sign * map.h2).ravel() if map.n_units else None
    best = linprog(np.zeros(k * M), A_ub=inside, b_ub=limits, A_eq=onward - block_diag(list(J)), b_eq=c.ravel(), bounds=(None, None), method="highs")
    return best.status != 2
