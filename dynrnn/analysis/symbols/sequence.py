"""A code's symbols as one flat sequence with breaks, and its words of every length, counted exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from dynrnn.errors import ArgumentError, check_int

BREAK = -1
TABLE = 2**22                              # cells of a table of counts that is cheaper than sorting, whatever the length


def one_fit(code: xr.Dataset, fit: int | None, name: str = "code") -> xr.Dataset:
    """The code of one fit, without the dim ``fit``; ArgumentError where several are there and none is named, or where it holds no symbol."""
    if not isinstance(code, xr.Dataset) or "symbol" not in code.variables or "n_symbols" not in code:
        raise ArgumentError(f"{name} must be a Dataset of symbolic_code(...), got {type(code).__name__}. Make one of integers with code_of_symbols(...).")
    if "fit" not in code.dims:
        chosen = code
    else:
        labels = code.fit.values.tolist()
        if fit is None and len(labels) > 1:
            raise ArgumentError(f"{name} holds {len(labels)} fits ({_some(labels)}) and a graph is of one: name it, e.g. fit={labels[0]}.")
        if fit is not None and fit not in labels:
            raise ArgumentError(f"fit={fit!r} is not in {name}, which holds {_some(labels)}.")
        chosen = code.isel(fit=0 if fit is None else labels.index(fit))
    if int(chosen.n_symbols) == 0:
        raise ArgumentError(f"{name} of fit {chosen.fit.item() if 'fit' in chosen.coords else 0} holds no symbol: {chosen.status.item()}. Choose another fit.")
    return chosen


def fits_of(code: xr.Dataset) -> Iterator[xr.Dataset]:
    """Every fit's code, diverged ones too."""
    if not isinstance(code, xr.Dataset) or "symbol" not in code.variables:
        raise ArgumentError(f"code must be a Dataset of symbolic_code(...), got {type(code).__name__}. Make one of integers with code_of_symbols(...).")
    for k in range(code.sizes.get("fit", 1)):
        yield code.isel(fit=k) if "fit" in code.dims else code


def _some(labels: list) -> str:
    return ", ".join(map(str, labels[:8])) + (", ..." if len(labels) > 8 else "")


def flatten(symbols: Int[np.ndarray, "trial time"]) -> Int[np.ndarray, " n"]:
    """Trials one after the other, a break before each: nothing is counted across."""
    padded = np.full((symbols.shape[0], symbols.shape[1] + 1), BREAK, np.int64)
    padded[:, 1:] = symbols
    return padded.ravel()


def compress(flat: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """Runs taken as one symbol each."""
    return flat[np.concatenate([[True], flat[1:] != flat[:-1]])]


def decimate(flat: Int[np.ndarray, " n"], lag: int) -> Int[np.ndarray, " m"]:
    """Every ``lag``-th symbol, from each of the ``lag`` starts of every stretch, with breaks between: steps of the result are lags of the old."""
    if lag == 1:
        return flat
    at = np.flatnonzero(flat >= 0)
    if not len(at):
        return flat
    last_break = np.maximum.accumulate(np.where(flat < 0, np.arange(len(flat)), -1))[at]
    offset = at - last_break - 1
    order = np.lexsort((offset, offset % lag, last_break))
    at, stretch, phase = at[order], last_break[order], (offset % lag)[order]
    new = np.concatenate([[True], (stretch[1:] != stretch[:-1]) | (phase[1:] != phase[:-1])])
    out = np.full(len(at) + int(new.sum()), BREAK, np.int64)
    out[np.arange(len(at)) + np.cumsum(new)] = flat[at]
    return out


def sequence(code: xr.Dataset, self_transitions: bool = True, lag: int = 1) -> Int[np.ndarray, " n"]:
    """The flat sequence of one fit's code; the lag counts steps, or transitions where runs are taken as one symbol."""
    check_int("lag", lag, low=1)
    flat = flatten(np.asarray(code["symbol"].transpose("trial", "time").values))
    return decimate(flat if self_transitions else compress(flat), lag)


@dataclass(frozen=True)
class Words:
    """All words of one length: a number each, in order of the symbols' numbers."""

    length: int
    rank: Int[np.ndarray, " position"]      # of the window that starts here, -1 where it holds a break
    count: Int[np.ndarray, " word"]
    prefix: Int[np.ndarray, " word"]        # number of the word of length - 1 that it begins with
    suffix: Int[np.ndarray, " word"]        # ... that it ends with
    first: Int[np.ndarray, " word"]         # a position where it stands
    n_shorter: int                         # words of length - 1

    @property
    def n_windows(self) -> int:
        return int(self.count.sum())

    @property
    def n_words(self) -> int:
        return len(self.count)

    def spelled(self, flat: np.ndarray) -> Int[np.ndarray, "word length"]:
        """Symbols of every word."""
        return flat[self.first[:, None] + np.arange(self.length)]


def words_up_to(flat: Int[np.ndarray, " n"], n_symbols: int, max_length: int) -> Iterator[Words]:
    """Words of length 1, 2, ... ``max_length``; ends before where no window is that long.

    A word's key is (number of its prefix) * n_symbols + last symbol, and keys are numbered anew at every length, so that they stay below
    n * n_symbols and are exact: nothing is hashed. O(n) a length where a table of keys is cheap, else O(n log n); memory O(n).
    """
    flat = flat.astype(np.int64)
    rank, n_words = np.zeros(len(flat), np.int64), 1
    for length in range(1, max_length + 1):
        if len(flat) < length:
            return
        shorter, last = rank[: len(flat) - length + 1], flat[length - 1 :]
        ok = (shorter >= 0) & (last >= 0)
        if not ok.any():
            return
        where = np.flatnonzero(ok)
        new, count = _number(shorter[where] * n_symbols + last[where], n_words * n_symbols)
        first = np.empty(len(count), np.int64)
        first[new[::-1]] = where[::-1]
        following = np.zeros(len(count), np.int64) if length == 1 else rank[first + 1]
        out = np.full(len(shorter), -1, np.int64)
        out[where] = new
        yield Words(length, out, count, shorter[first], following, first, n_words)
        rank, n_words = out, len(count)


def _number(key: np.ndarray, bound: int) -> tuple[np.ndarray, np.ndarray]:
    """Dense numbers of keys in [0, bound), in their order, and how often each occurs."""
    if bound <= max(TABLE, 4 * len(key)):
        table = np.bincount(key, minlength=bound)
        return (np.cumsum(table > 0) - 1)[key], table[table > 0]
    _, number, count = np.unique(key, return_inverse=True, return_counts=True)
    return number.ravel(), count


def transitions(flat: Int[np.ndarray, " n"], n_symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (from, to) that follow each other, sorted, and how often: as many entries as there are edges."""
    a, b = flat[:-1], flat[1:]
    ok = (a >= 0) & (b >= 0)
    key, count = np.unique(a[ok].astype(np.int64) * n_symbols + b[ok], return_counts=True)
    return key // n_symbols, key % n_symbols, count


@dataclass(frozen=True)
class Runs:
    """Stretches of one symbol, in order."""

    symbol: Int[np.ndarray, " run"]
    length: Int[np.ndarray, " run"]
    complete: Bool[np.ndarray, " run"]      # not cut by the ends of a trial or by a break


def runs_of(flat: Int[np.ndarray, " n"]) -> Runs:
    """Runs of a flat sequence; those at a break are cut, so their length is a lower bound."""
    if not len(flat):
        return Runs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))
    start = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    symbol, length = flat[start].astype(np.int64), np.diff(np.append(start, len(flat)))
    inside = np.concatenate([[BREAK], symbol, [BREAK]]) >= 0
    complete = inside[:-2] & inside[2:]
    real = symbol >= 0
    return Runs(symbol[real], length[real], complete[real])
