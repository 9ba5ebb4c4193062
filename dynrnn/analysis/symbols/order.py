"""How many symbols back a code remembers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import chi2

from dynrnn.analysis.symbols.sequence import Words, fits_of, sequence, words_up_to
from dynrnn.errors import ArgumentError, check_int

FEWEST = 5                                 # expected samples a cell of a contingency table, on average, for it to enter


def markov_order(code: xr.Dataset, max_order: int = 5, *, level: float = 0.01, self_transitions: bool = True, lag: int = 1) -> xr.Dataset:
    """The order of the shortest Markov chain that a code does not contradict.

    max_order : longest memory that may be found; orders up to it are compared with the next. level : of the whole family of tests, Bonferroni.

    Returns a Dataset: by (fit, memory = 0 ... max_order) the likelihood-ratio ``statistic`` of order ``memory`` against the next, its ``freedom``,
    ``p_value``, ``rejected``, ``tested`` and ``bic`` (of the chain of order ``memory``, per symbol a term ln n / 2 for each free probability, in nat); by (fit)
    ``order`` = 1 + the largest order rejected, 0 if none is; ``at_least`` where even max_order is rejected; and ``order_bic``, the least bic.

    Method: within each word of ``memory`` symbols, is the next symbol independent of the one before the word? Twice the log-likelihood ratio is chi2 with
    sum (R - 1)(S - 1) degrees over the words, with R and S the symbols that do occur before and after: structural zeros cost nothing (Hoel 1954;
    Billingsley 1961). Tables with under 5 samples a cell are left out, where chi2 does not hold. All orders are tested, since a chain may look independent
    of one symbol back and depend on two. BIC (Katz 1981; Csiszar & Shields 2000) beside: consistent, with more caution at short length.
    O(max_order time log time).

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> coin = code_of_symbols(np.random.default_rng(0).integers(0, 2, 5_000))
    >>> markov_order(coin).order.values
    array([0])
    """
    check_int("max_order", max_order, low=0)
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, got {level!r}.")
    found = [_tests(sequence(fit, self_transitions, lag), max(1, int(fit.n_symbols)), max_order, lag) for fit in fits_of(code)]
    table = np.stack([row for row, _ in found])                                     # fit, memory, (statistic, freedom)
    bic = np.stack([score for _, score in found])
    tested = table[..., 1] > 0
    with np.errstate(invalid="ignore"):
        p = np.where(tested, chi2.sf(table[..., 0], np.maximum(table[..., 1], 1)), 1.0)
    rejected = tested & (p * np.maximum(tested.sum(1, keepdims=True), 1) < level)
    memory = np.arange(max_order + 1)
    order = np.where(rejected, memory + 1, 0).max(1)
    dims = ("fit", "memory")
    data: dict[str, Any] = {
        "statistic": (dims, table[..., 0], {"long_name": "twice the log-likelihood ratio against the next order", "units": "1"}),
        "freedom": (dims, table[..., 1].astype(np.int64), {"long_name": "degrees of freedom", "units": "1"}),
        "p_value": (dims, p, {"long_name": "chance of such a statistic, before Bonferroni", "units": "1"}),
        "rejected": (dims, rejected, {"long_name": "whether this order is too short"}),
        "tested": (dims, tested, {"long_name": "whether there was enough to test"}),
        "bic": (dims, bic, {"long_name": "minus log-likelihood and penalty, NaN where no word is that long", "units": "nat"}),
        "order": (("fit",), order, {"long_name": "Markov order", "units": "1"}),
        "at_least": (("fit",), order > max_order, {"long_name": "whether the order is a lower bound"}),
        "order_bic": (("fit",), np.where(np.isnan(bic), np.inf, bic).argmin(1), {"long_name": "Markov order of least BIC", "units": "1"}),
        "status": (("fit",), np.atleast_1d(code.status.values).astype(str), dict(code.status.attrs)),
    }
    coords = {"memory": memory} | ({"fit": np.atleast_1d(code.fit.values)} if "fit" in code.coords else {})
    return xr.Dataset(data, coords=coords, attrs={"level": level, "self_transitions": int(self_transitions), "lag": lag})


def _tests(flat: np.ndarray, n_symbols: int, max_order: int, lag: int) -> tuple[np.ndarray, np.ndarray]:
    table, bic = np.zeros((max_order + 1, 2)), np.full(max_order + 1, np.nan)
    levels = list(words_up_to(flat, n_symbols, max_order + 2))
    for words in levels[: max_order + 1]:
        memory = words.length - 1
        before = np.bincount(words.prefix, words.count, words.n_shorter)
        N = words.n_windows
        minus_likelihood = float((words.count * np.log(before[words.prefix] / words.count)).sum())
        # every order is judged on as many symbols as the longest, or shorter ones would look worse for the symbols that only they predict
        scale = levels[min(max_order, len(levels) - 1)].n_windows / N
        penalty = 0.5 * (words.n_words - int((before > 0).sum())) * np.log(max(N / lag, 1))
        bic[memory] = minus_likelihood * scale / lag + penalty
    for shorter, longer in pairwise(levels):
        if longer.length - 2 <= max_order:
            table[longer.length - 2] = _statistic(shorter, longer, lag)
    return table, bic


def _statistic(shorter: Words, longer: Words, lag: int) -> tuple[float, int]:
    """(2 log-likelihood ratio, degrees of freedom) of the order ``longer.length - 2`` against one more.

    A word a w s of ``longer`` lies in the table of its middle w, row a w (its prefix), column w s (its suffix). Stretches of a lag overlap, so likelihoods
    are divided by it: conservative.
    """
    row, column = longer.prefix, longer.suffix
    middle = shorter.suffix[row]
    n = shorter.n_shorter
    in_row = np.bincount(row, longer.count, shorter.n_words)
    in_column = np.bincount(column, longer.count, shorter.n_words)
    in_table = np.bincount(middle, longer.count, n)
    rows = np.bincount(shorter.suffix, in_row > 0, n)
    columns = np.bincount(shorter.prefix, in_column > 0, n)
    enters = in_table >= FEWEST * lag * rows * columns
    cell = longer.count * np.log(longer.count * in_table[middle] / (in_row[row] * in_column[column]))
    freedom = int(((rows - 1) * (columns - 1))[enters & (in_table > 0)].sum())
    return max(0.0, 2 * float(cell[enters[middle]].sum()) / lag), freedom
