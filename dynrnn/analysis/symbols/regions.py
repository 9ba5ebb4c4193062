"""Labels met along an orbit, block by block: each gets a number at its first visit, with the mean and spread of the states that bear it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int

from dynrnn.analysis.symbols.sequence import BREAK

BLOCK_NUMBERS = 2**21                      # numbers of one block of states held at once


def pack(words: Bool[np.ndarray, "n unit"]) -> np.ndarray:
    """Words as rows of whole 64-bit numbers, (n, ceil(unit / 64)) and at least one."""
    rows = np.packbits(words, axis=1)
    padded = np.zeros((len(rows), 8 * max(1, -(-words.shape[1] // 64))), np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.view(np.int64)


def unpack(keys: np.ndarray, n_units: int) -> Bool[np.ndarray, "n unit"]:
    """Words of packed rows."""
    return np.unpackbits(np.ascontiguousarray(keys).view(np.uint8), axis=1, count=n_units).astype(bool)


def unique_rows(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first index, number of every row) of the distinct rows of keys (n, k), numbered by first occurrence."""
    one = keys[:, 0] if keys.shape[1] == 1 else np.ascontiguousarray(keys).view(np.dtype((np.void, 8 * keys.shape[1])))[:, 0]
    _, first, number = np.unique(one, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[number.ravel()]


class Moments:
    """Sums of states by number, and their overall spread; taken about the first state, so that little cancels."""

    def __init__(self) -> None:
        self.shift: np.ndarray | None = None
        self.sum = np.zeros((0, 0))
        self.square = np.zeros(0)
        self.count = np.zeros(0)
        self.n = 0

    def add(self, number: np.ndarray, values: np.ndarray, n_numbers: int) -> None:
        """States (n, dim) with their numbers below ``n_numbers``; those that are not finite (missing channels) do not enter."""
        kept = np.isfinite(values).all(1)
        number, values = number[kept], values[kept]
        if self.shift is None:
            if not len(values):
                return
            self.shift, self.sum, self.square = values[0].copy(), np.zeros((0, values.shape[1])), np.zeros(values.shape[1])
        grow = n_numbers - len(self.sum)
        if grow > 0:
            self.sum, self.count = np.pad(self.sum, ((0, grow), (0, 0))), np.pad(self.count, (0, grow))
        which, local = np.unique(number, return_inverse=True)
        belongs = sp.csr_array((np.ones(len(number)), (local, np.arange(len(number)))), shape=(len(which), len(number)))
        with np.errstate(over="ignore", invalid="ignore"):
            centred = values - self.shift
            self.sum[which] += belongs @ centred
            self.square += (centred**2).sum(0)
        self.count += np.bincount(number, minlength=len(self.sum))
        self.n += len(values)

    def centroids(self, order: np.ndarray, dim: int) -> np.ndarray:
        """Mean state of every number, in this order; NaN where none was complete, inf where their sum overflows."""
        if self.shift is None:
            return np.full((len(order), dim), np.nan)
        grown = np.full((max(len(self.sum), int(order.max(initial=-1)) + 1), dim), np.nan)
        full = np.flatnonzero(self.count)
        grown[full] = self.shift + np.where(np.isnan(self.sum[full]), np.inf, self.sum[full]) / self.count[full, None]
        return grown[order]

    def spread(self, dim: int) -> np.ndarray:
        """Standard deviation of all states, (dim,); inf where it overflows."""
        if self.shift is None:
            return np.full(dim, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            variance = self.square / self.n - (self.sum.sum(0) / self.n) ** 2
        return np.sqrt(np.where(np.isfinite(variance), np.maximum(variance, 0), np.inf))


class Numbering:
    """Packed labels -> numbers 0, 1, ... by first visit, across blocks and trials."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}
        self.keys: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.keys)

    def number(self, keys: np.ndarray) -> Int[np.ndarray, " n"]:
        """Numbers of rows (n, k)."""
        first, local = unique_rows(keys)
        new = np.empty(len(first), np.int64)
        for i, row in enumerate(keys[first]):
            raw = row.tobytes()
            if raw not in self.known:
                self.known[raw] = len(self.keys)
                self.keys.append(row.copy())
            new[i] = self.known[raw]
        return new[local]


def number_orbit(label: Callable[[np.ndarray], np.ndarray], states, others, *, stop_at_first: bool, width: int):
    """Numbers (trial, time) of the labels of one fit's states, the keys of the numbers, and moments of the states and of ``others``.

    label : states (n, dim) -> keys (n, k) of 64-bit numbers. states, others : DataArrays (trial, time, dim), read block by block; others may be None.
    stop_at_first : an orbit that is not finite once stays so, and ends there; else each sample that is not finite is a break of its own.
    """
    n_trials, n_time, dim = states.shape
    out = np.full((n_trials, n_time), BREAK, np.int32)
    numbering, inside, outside = Numbering(), Moments(), Moments()
    block = max(256, BLOCK_NUMBERS // max(dim, width, 1 if others is None else others.shape[2], 1))
    for trial in range(n_trials):
        for start in range(0, n_time, block):
            part = slice(start, start + block)
            z = np.asarray(states[trial, part].values, dtype=np.float64)
            good = np.isfinite(z).all(1)
            ended = stop_at_first and not good.all()
            if ended:
                good = np.logical_and.accumulate(good)
            if good.any():
                with np.errstate(over="ignore", invalid="ignore"):                  # the last states before an orbit overflows
                    number = numbering.number(label(z[good]))
                out[trial, start : start + len(z)][good] = number
                inside.add(number, z[good], len(numbering))
                if others is not None:
                    outside.add(number, np.asarray(others[trial, part].values, dtype=np.float64)[good], len(numbering))
            if ended:
                break
    return out, numbering.keys, inside, outside
