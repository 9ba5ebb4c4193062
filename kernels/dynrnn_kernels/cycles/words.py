"""Lyndon words."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True)
def duval(n_symbols: int, k: int, out: np.ndarray) -> None:
    """All Lyndon words of length k in lexicographic order (Duval 1988), O(words k)."""
    word = np.zeros(k, np.int64)
    length, found = 1, 0
    while length > 0:
        if length == k:
            out[found] = word
            found += 1
        for t in range(length, k):
            word[t] = word[t - length]
        length = k
        while length > 0 and word[length - 1] == n_symbols - 1:
            length -= 1
        if length > 0:
            word[length - 1] += 1
