"""All cycles of a map by the routes that suit it: every word, every admissible word, or a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dynrnn.analysis.chao import unseen as unseen_of
from dynrnn.analysis.piecewise.admissible import TooMany, admissible_words
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.analysis.piecewise.cycle_list import CycleList
from dynrnn.analysis.piecewise.cycle_search import random_starts, walk_words
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.words import bits_of, lyndon_words, n_lyndon
from dynrnn.errors import ArgumentError

ALL, PRUNED, SEARCH, SMOOTH = "all", "pruned", "search", "smooth"
ROUTES = (ALL, PRUNED, SEARCH, SMOOTH)
WORK = 2e10                               # multiplications that every word may cost before the automatic route searches instead


@dataclass(frozen=True)
class Settings:
    periods: tuple[int, ...]
    route: str | None
    words: Sequence[np.ndarray]           # (k, H) each
    n_starts: int
    limit: int
    virtual: bool
    random_state: int


@dataclass(frozen=True)
class Finding:
    """Cycles of one map; per period, whether all are there, and otherwise about how many are not."""

    cycles: CycleList
    complete: np.ndarray
    unseen: np.ndarray                    # NaN where nothing is known
    n_continua: np.ndarray
    status: str = ANALYSED


def find_cycles(map: PiecewiseLinearMap, how: Settings, orbits: Sequence[np.ndarray], fit: int) -> Finding:
    """Cycles of ``how.periods``; orbits: each (time, M), finite."""
    cycles = CycleList(map, how.periods, how.virtual)
    complete, notes = dict.fromkeys(how.periods, False), []
    for word in how.words:
        cycles.add(word[None])
    if how.route == PRUNED or (how.route is None and map.latent_dim <= 2):
        level = 0
        try:
            for level, words in enumerate(admissible_words(map, max(how.periods), how.limit), 1):
                if level in complete:
                    cycles.add(words)
                    complete[level] = True
        except TooMany:
            if how.route == PRUNED:
                notes.append(f"stopped at period {level + 1}: more than {how.limit:,} admissible words")
    elif how.route != SEARCH:
        for k in how.periods:
            if how.route == ALL or _affordable(map, k, how.limit):
                cycles.add(bits_of(lyndon_words(2**map.n_units, k), map.n_units))
                complete[k] = True
    for k in how.periods:
        complete[k] &= not cycles.n_continua(k) and not cycles.unexamined[k]
    unseen = {k: 0.0 if complete[k] else np.nan for k in how.periods}
    searched = []
    for k in how.periods:
        if complete[k] or how.route in (ALL, PRUNED):
            continue
        rng = np.random.default_rng(np.random.SeedSequence(how.random_state, spawn_key=(fit, k)))
        words, moves = walk_words(map, _starts(map, k, how, orbits, rng))
        cycles.add(words[moves > 0], count=True)
        searched.append(k)
    for k in searched:                                                              # a search for one period may hit cycles of another
        unseen[k] = unseen_of(cycles.hits(k))
    continua = {k: cycles.n_continua(k) for k in how.periods}
    notes += [f"a continuum of cycles of period {k}" for k in how.periods if continua[k]]
    notes += [f"{n:,} words of period {k} without an isolated cycle were not examined for a continuum" for k, n in sorted(cycles.unexamined.items()) if n]
    status = "; ".join([ANALYSED, *notes])
    return Finding(cycles, np.array(list(complete.values())), np.array(list(unseen.values())), np.array(list(continua.values())), status)


def check_all_words(map: PiecewiseLinearMap, how: Settings) -> None:
    """ArgumentError where every word is asked for and there are too many."""
    for k in how.periods if how.route == ALL else ():
        if map.n_units * k > 62 or n_lyndon(2**map.n_units, k) > how.limit:
            count = f"2**{map.n_units * k}" if map.n_units * k > 62 else f"{n_lyndon(2**map.n_units, k):,}"
            raise ArgumentError(
                f"route='all' would solve {count} words for period {k} ({map.n_units} units), more than limit={how.limit:,}. "
                "Leave periods out, raise limit, or use route='pruned' (admissible words only) or route='search'."
            )


def _affordable(map: PiecewiseLinearMap, k: int, limit: int) -> bool:
    if map.n_units * k > 62:
        return False
    count = n_lyndon(2**map.n_units, k)
    return count <= limit and count * k * map.latent_dim**2 * (map.latent_dim + map.n_units) <= WORK


def _starts(map: PiecewiseLinearMap, k: int, how: Settings, orbits: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Words asked for, words of stretches of orbits, words around orbits' states, and random ones, each a share."""
    given = [word for word in how.words if len(word) == k]
    long = [orbit for orbit in orbits if len(orbit) >= k]
    parts = [np.stack([word for word in given for _ in range(2)])] if given else []             # one for each way of moving on
    n = how.n_starts
    if orbits:
        for _ in range(n // 4 if long else 0):
            orbit = long[rng.integers(len(long))]
            first = rng.integers(len(orbit) - k + 1)
            parts.append(map.words(orbit[first : first + k])[None])
        parts.append(random_starts(map, k, n // 4, rng, np.concatenate(list(orbits))))
        n -= 2 * (n // 4)
    parts.append(random_starts(map, k, n, rng, np.zeros((0, map.latent_dim))))
    return np.concatenate(parts)
