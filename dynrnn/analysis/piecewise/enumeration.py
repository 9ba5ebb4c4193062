"""Which way of going through all regions is cheaper, and going that way."""

from __future__ import annotations

import itertools

import numpy as np

from dynrnn.analysis.piecewise.all_words import enumerate_words, n_words
from dynrnn.analysis.piecewise.arrangement import n_edges
from dynrnn.analysis.piecewise.candidates import Candidates
from dynrnn.analysis.piecewise.edges import enumerate_arrangement
from dynrnn.analysis.piecewise.reduced import Reduced

WORDS, ARRANGEMENT = "words", "arrangement"
MAX_WORD_UNITS = 62                       # bits of one integer


def sizes(reduced: Reduced) -> dict[str, int]:
    """Regions that either route solves, and that can be gone."""
    out = {WORDS: n_words(reduced.n_units)}
    if (edges := n_edges(reduced.n_units, reduced.rank)) > 0:
        out[ARRANGEMENT] = edges
    return out


def size_of(reduced: Reduced) -> tuple[str, int]:
    """The cheaper route and its size."""
    route, size = min(sizes(reduced).items(), key=lambda item: item[1])
    return route, size


def enumerate_regions(reduced: Reduced, route: str, n_virtual: int = 0, draw: int = 0) -> Candidates:
    """Go through all regions on this route."""
    if route == ARRANGEMENT:
        return enumerate_arrangement(reduced, n_virtual, draw)
    if reduced.sign == 0:
        return _all_words(reduced)
    return enumerate_words(reduced, n_virtual)


def _all_words(reduced: Reduced) -> Candidates:
    """Where I - J is singular, or nearly so, in all regions that were tried: every word, to be examined in full."""
    found = Candidates(degree=np.nan)
    for bits in itertools.product((False, True), repeat=reduced.n_units):
        found.add_singular(np.array([bits], dtype=bool).reshape(1, -1), np.ones(1, bool))
        found.n_candidates += 1
        if found.full:
            break
    return found
