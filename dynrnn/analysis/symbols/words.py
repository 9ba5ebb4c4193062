"""Words of a code: how often they occur, and which are forbidden though all that they are made of occurs."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.symbols.sequence import fits_of, one_fit, sequence, words_up_to
from dynrnn.errors import ArgumentError, check_int

MOST_CANDIDATES = 10_000_000


def word_counts(code: xr.Dataset, length: int, *, self_transitions: bool = True, lag: int = 1) -> xr.Dataset:
    """All words of one length and how often each occurs, windows overlapping, never across a trial's end or a break.

    length : symbols. self_transitions : False takes a run as one symbol first.
    Returns a Dataset: ``word`` (fit, row, position) symbols, -1 as padding, and ``count`` (fit, row), the most frequent first. O(length time log time).

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> table = word_counts(code_of_symbols([0, 0, 1, 0, 0, 1, 0]), 2)
    >>> table.word[0].values.tolist(), table["count"][0].values.tolist()
    ([[0, 0], [0, 1], [1, 0]], [2, 2, 2])
    """
    check_int("length", length, low=1)
    found = []
    for fit in fits_of(code):
        flat = sequence(fit, self_transitions, lag)
        levels = deque(words_up_to(flat, max(1, int(fit.n_symbols)), length), maxlen=1)
        if not levels or levels[0].length < length:
            found.append((np.zeros((0, length), np.int64), np.zeros(0, np.int64)))
            continue
        last = levels[0]
        order = np.argsort(-last.count, kind="stable")
        found.append((last.spelled(flat)[order], last.count[order]))
    n = max(len(count) for _, count in found)
    word, count = np.full((len(found), n, length), -1), np.zeros((len(found), n), np.int64)
    for f, (w, c) in enumerate(found):
        word[f, : len(w)], count[f, : len(c)] = w, c
    return xr.Dataset(
        {
            "word": (("fit", "row", "position"), word, {"long_name": "symbols of the word, -1 as padding"}),
            "count": (("fit", "row"), count, {"long_name": "windows", "units": "1"}),
            "valid": (("fit", "row"), count > 0, {"long_name": "whether the row is a word, not padding"}),
        },
        coords={"fit": np.atleast_1d(code.fit.values)} if "fit" in code.coords else None,
        attrs={"self_transitions": int(self_transitions), "lag": lag},
    )


def forbidden_words(code: xr.Dataset, max_length: int = 6, *, fit: int | None = None, self_transitions: bool = True, lag: int = 1) -> xr.Dataset:
    """Minimal forbidden words: absent, though all their sub-words occur.

    max_length : of the words, from 2 up. fit : which fit, where there are several.

    Returns a Dataset by ``row``: ``word`` (row, position) padded with -1, ``length``, ``expected``: how many a chain that remembers length - 2 symbols
    would show, and ``p_value`` = exp(-expected), Poisson: a word that is absent by chance has a p_value that is not small. Rows by length, most expected first.
    Attrs say how many words of each length were judged. Without self-transitions no symbol follows itself, and such words are not listed.

    Method: words of length n - 1 joined where they overlap (Chirikov & Misiurewicz; Beal, Mignosi & Restivo 1996). O(time + candidates); ArgumentError where
    there are more than 10,000,000 candidates.

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> golden = forbidden_words(code_of_symbols([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0]), max_length=2)
    >>> golden.word.values.tolist()
    [[1, 1]]
    """
    check_int("max_length", max_length, low=2)
    chosen = one_fit(code, fit)
    flat, A = sequence(chosen, self_transitions, lag), int(chosen.n_symbols)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    judged: dict[str, Any] = {}
    shorter = None
    for words in words_up_to(flat, A, max_length):
        if shorter is not None:
            missing, expected, n = _absent(shorter, words)
            spelled = shorter.spelled(flat)
            whole = np.concatenate([spelled[missing[:, 0]], spelled[missing[:, 1]][:, -1:]], 1)
            if not self_transitions:
                other = (whole[:, 1:] != whole[:, :-1]).all(1)
                n, whole, expected = n - int((~other).sum()), whole[other], expected[other]
            order = np.argsort(-expected, kind="stable")
            rows.append((whole[order], expected[order]))
            judged[f"n_candidates_{words.length}"] = n
        shorter = words
    total = sum(len(word) for word, _ in rows)
    word, length, expected = np.full((total, max_length), -1), np.zeros(total, np.int64), np.zeros(total)
    at = 0
    for w, e in rows:
        here = slice(at, at + len(w))
        word[here, : w.shape[1]], length[here], expected[here] = w, w.shape[1], e
        at += len(w)
    return xr.Dataset(
        {
            "word": (("row", "position"), word, {"long_name": "symbols of the word, -1 as padding"}),
            "length": (("row",), length, {"long_name": "symbols", "units": "1"}),
            "expected": (("row",), expected, {"long_name": "occurrences expected of a chain of order length - 2", "units": "1"}),
            "p_value": (("row",), np.exp(-expected), {"long_name": "probability of none by chance", "units": "1"}),
        },
        attrs={"self_transitions": int(self_transitions), "lag": lag, "max_length": max_length, **judged},
    )


def _absent(shorter: Any, words: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """(pairs of numbers of shorter words that overlap but never follow, expected number of each, number of candidates)."""
    n, m = shorter.n_words, shorter.n_shorter
    by_prefix = np.argsort(shorter.prefix, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(shorter.prefix, minlength=m))])
    fan = np.diff(start)[shorter.suffix]                                            # words that may come next, for each
    candidates = int(fan.sum())
    if candidates > MOST_CANDIDATES:
        raise ArgumentError(
            f"{candidates:,} words of length {shorter.length + 1} would have to be judged, more than {MOST_CANDIDATES:,}. "
            "Lower max_length, or merge symbols with coarse_grain."
        )
    left = np.repeat(np.arange(n), fan)
    offset = np.arange(candidates) - np.repeat(np.cumsum(fan) - fan, fan)
    right = by_prefix[start[shorter.suffix[left]] + offset]
    seen = np.isin(left * n + right, words.prefix * n + words.suffix)
    left, right = left[~seen], right[~seen]
    middle = np.bincount(shorter.prefix, shorter.count, m)[shorter.suffix[left]]
    return np.stack([left, right], 1), shorter.count[left] * shorter.count[right] / middle, candidates
