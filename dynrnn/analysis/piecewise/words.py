"""Words of regions: minimal periods, smallest rotations and Lyndon words, all exact.

A cycle is keyed by (its minimal period, the smallest rotation of its word); no position is ever rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from dynrnn_kernels.cycles.words import duval


def symbols_of(word: Bool[np.ndarray, "k H"]) -> list[bytes]:
    """One symbol a phase: the packed bits of its region."""
    return [row.tobytes() for row in np.packbits(word, axis=-1)]


def minimal_period(symbols: Sequence[object]) -> int:
    """The smallest p that divides the length and by which the word repeats.

    >>> minimal_period("abab"), minimal_period("aba")
    (2, 3)
    """
    k = len(symbols)
    return next(p for p in range(1, k + 1) if k % p == 0 and all(symbols[t] == symbols[t - p] for t in range(p, k)))


def smallest_rotation(symbols: Sequence) -> int:
    """Where the lexicographically smallest rotation starts (Shiloach 1981), O(k).

    >>> smallest_rotation("cab")
    1
    """
    k, i, j, same = len(symbols), 0, 1, 0
    while i < k and j < k and same < k:
        a, b = symbols[(i + same) % k], symbols[(j + same) % k]
        if a == b:
            same += 1
            continue
        if a > b:
            i += same + 1
        else:
            j += same + 1
        if i == j:
            j += 1
        same = 0
    return min(i, j)


def n_lyndon(n_symbols: int, k: int) -> int:
    """Words of length k that no rotation maps to themselves, one a class of rotations (Witt's formula).

    >>> [n_lyndon(2, k) for k in range(1, 11)]
    [2, 1, 2, 3, 6, 9, 18, 30, 56, 99]
    """
    below = sum(d * n_lyndon(n_symbols, d) for d in range(1, k // 2 + 1) if k % d == 0)
    return (n_symbols**k - below) // k


def lyndon_words(n_symbols: int, k: int) -> Int[np.ndarray, "words k"]:
    """One word a class of rotations, without repetitions.

    >>> lyndon_words(2, 3).tolist()
    [[0, 0, 1], [0, 1, 1]]
    """
    out = np.zeros((n_lyndon(n_symbols, k), k), np.int64)
    if len(out):
        duval(n_symbols, k, out)
    return out


def bits_of(symbols: Int[np.ndarray, "*batch"], n_units: int) -> Bool[np.ndarray, "*batch H"]:
    """Region number to bits; unit 0 is the lowest."""
    return (symbols[..., None] >> np.arange(n_units)) & 1 == 1
