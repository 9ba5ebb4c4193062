"""Entropies of codes: metric from word statistics with standard errors, topological from the words that occur at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.chao import unseen
from dynrnn.analysis.symbols.estimators import CORRECTIONS, entropy_of_counts
from dynrnn.analysis.symbols.sequence import Words, fits_of, sequence, words_up_to
from dynrnn.analysis.symbols.spectral import topological_entropy
from dynrnn.errors import check_int, unknown_name

FLAT = 3                                   # standard errors of a difference that count as none
WINDOWS_PER_WORD = 10                      # below, words that have not been seen weigh more than any correction mends
MISSED = 0.01                              # share of words that may be missed where all that occur are to be listed


@dataclass
class Entropies:
    """One sequence, entries by word length from 1."""

    block: list[float] = field(default_factory=list)       # H_n, corrected
    rate: list[float] = field(default_factory=list)        # h_n, corrected
    plugin: list[float] = field(default_factory=list)      # h_n of the relative frequencies
    error: list[float] = field(default_factory=list)
    top: list[float] = field(default_factory=list)
    n_words: list[int] = field(default_factory=list)
    n_windows: list[int] = field(default_factory=list)
    unseen: list[float] = field(default_factory=list)      # words that are possible and were missed, estimated
    usable: list[bool] = field(default_factory=list)
    chosen: int = 0                                         # length, 0 where there is none
    converged: bool = False

    @property
    def h_mu(self) -> float:
        return self.rate[self.chosen - 1] if self.chosen else math.nan

    @property
    def h_mu_error(self) -> float:
        return self.error[self.chosen - 1] if self.chosen else math.nan

    @property
    def h_top(self) -> float:
        """Of the longest usable words that have nearly all been seen; else of pairs, the graph of transitions."""
        if not self.top:
            return math.nan
        seen = [k for k in range(sum(self.usable)) if self.unseen[k] <= MISSED * self.n_words[k]]
        return self.top[max(seen, default=min(1, len(self.top) - 1))]


def entropies(flat: np.ndarray, n_symbols: int, max_length: int, correction: str, lag: int = 1) -> Entropies:
    """Entropies of one flat sequence; see :func:`code_entropies`. With a lag its stretches overlap, and every lag-th symbol counts as independent."""
    out = Entropies()
    size = max(1, math.isqrt(len(flat)))
    sums: list[np.ndarray] = []            # per length: sum over every block of time of -ln p(symbol | word before) less its mean
    free: list[int] = []                   # free probabilities
    for words in words_up_to(flat, max(1, n_symbols), max_length):
        before = np.bincount(words.prefix, words.count, words.n_shorter).astype(np.int64)
        N = words.n_windows
        corrected = entropy_of_counts(words.count, correction)
        out.block.append(corrected)
        out.rate.append(max(0.0, corrected - entropy_of_counts(before[before > 0], correction)))
        local = np.log(before[words.prefix] / words.count)
        out.plugin.append(float((words.count * local).sum() / N))
        sums.append(_block_sums(words, local - out.plugin[-1], size, len(flat)))
        free.append(words.n_words - int((before > 0).sum()))
        out.error.append(_standard_error(sums[-1], N, free[-1], lag))
        out.n_words.append(words.n_words)
        out.n_windows.append(N)
        out.unseen.append(unseen(words.count))
        out.usable.append(all(out.usable) and WINDOWS_PER_WORD * words.n_words <= N)
        listed = out.usable[-1] or words.length <= 2                                # longer lists say what was seen, and their graphs are as large as the data
        out.top.append(topological_entropy(words.prefix, words.suffix, words.n_shorter) if listed else math.nan)
    deepest = sum(out.usable)
    for n in range(1, deepest + 1):
        drop = out.rate[n - 1] - out.rate[deepest - 1]
        noise = _standard_error(sums[n - 1] - sums[deepest - 1], out.n_windows[deepest - 1], abs(free[deepest - 1] - free[n - 1]), lag)
        if n == deepest or drop <= FLAT * noise + 1e-12:
            out.chosen = n
            break
    out.converged = deepest > 0 and (out.chosen < deepest or out.rate[deepest - 1] <= 1e-12)
    return out


def _block_sums(words: Words, centred: np.ndarray, size: int, n: int) -> np.ndarray:
    """Sums over blocks of time, by the position of a word's last symbol, so that all lengths speak of the same symbol."""
    at = np.flatnonzero(words.rank >= 0)
    return np.bincount((at + words.length - 1) // size, centred[words.rank[at]], minlength=-(-n // size))


def _standard_error(sums: np.ndarray, N: int, free: int, lag: int) -> float:
    """Of a mean over N samples out of centred block sums, with the second-order noise free / 2N^2 of as many fitted probabilities."""
    filled = max(2, len(sums))
    return math.sqrt(lag * (float((sums**2).sum()) / N**2 * filled / (filled - 1) + lag * free / (2 * N**2)))


def code_entropies(
    code: xr.Dataset, max_length: int = 12, *, correction: str = "grassberger", self_transitions: bool = True, lag: int = 1
) -> xr.Dataset:
    """Metric and topological entropy of every fit's code, by word length.

    Parameters
    ----------
    code : Dataset of :func:`symbolic_code`. max_length : longest word, 12 by default.
    correction : of the bias of word entropies: grassberger, miller-madow, chao-shen or none.
    self_transitions : False takes a run as one symbol first; entropies are then per transition. lag : every lag-th symbol (transition).

    Returns
    -------
    Dataset in nat per step, per transition without self-transitions, per lag of either with lag > 1 (attrs ``units_of_entropy``), by (fit, length):
    ``word_entropy`` H_n, ``entropy_rate`` h_n = H_n - H_(n-1) with both over the same windows, and as it is uncorrected; its ``standard_error``;
    ``topological``: growth rate of the sequences all of whose words of this length occur, h_n <= topological_n, NaN beyond pairs where words are too many
    to be usable; ``n_words``, ``unseen_words`` (Chao's estimate
    of those missed), ``n_windows``, ``usable``, ``valid``. By (fit): ``h_mu`` and ``h_mu_standard_error`` at length ``chosen_length``; ``converged``;
    ``h_top``, of the longest usable words of which at most 1 % are missed, or of pairs; ``status``.

    Rule for the length: words are usable while there are 10 windows a word that occurs. The shortest n is chosen whose h_n lies within three standard errors
    of the difference above h at the longest usable length; where only the longest does, h_mu is an upper bound still falling and ``converged`` is False.
    Where even single symbols have fewer windows, h_mu is NaN and ``chosen_length`` 0: coarse-grain the code, or run longer.

    Method: Shannon 1948; standard errors by blocks of sqrt(n) of -ln p(symbol | word before), whose mean is the estimate (delta method), so they hold for
    correlated symbols whose memory is short beside a block. ``topological`` is ln of the spectral radius of the graph of overlapping words, per strongly
    connected component the largest; it does not increase with n, and lies below the true value where words that are possible have not been seen.
    O(max_length time log time) at worst, memory O(time). With a generating partition h_mu <= sum of the positive Lyapunov exponents.

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> result = code_entropies(code_of_symbols(np.random.default_rng(0).integers(0, 2, 10_000)), max_length=6)
    >>> result.h_mu.values.round(3), result.h_top.values.round(3), np.log(2).round(3)
    (array([0.693]), array([0.693]), np.float64(0.693))
    """
    check_int("max_length", max_length, low=1)
    if correction not in CORRECTIONS:
        raise unknown_name("correction", correction, CORRECTIONS)
    found = [entropies(sequence(fit, self_transitions, lag), int(fit.n_symbols), max_length, correction, lag) for fit in fits_of(code)]
    unit = ("nat per step" if self_transitions else "nat per transition") if lag == 1 else f"nat per {lag} {'steps' if self_transitions else 'transitions'}"
    n = max(1, max(len(one.rate) for one in found))

    def column(name: str, text: str, units: str, fill: Any = np.nan) -> tuple:
        out = np.full((len(found), n), fill)
        for f, one in enumerate(found):
            values = getattr(one, name)
            out[f, : len(values)] = values
        return ("fit", "length"), out, {"long_name": text, "units": units}

    data: dict[str, Any] = {
        "word_entropy": column("block", "entropy of words", "nat"),
        "entropy_rate": column("rate", "entropy of a symbol after a word", unit),
        "entropy_rate_uncorrected": column("plugin", "the same of relative frequencies", unit),
        "standard_error": column("error", "standard error of entropy_rate", unit),
        "topological": column("top", "growth rate of what words of this length allow", unit),
        "n_words": column("n_words", "words that occur", "1", 0),
        "unseen_words": column("unseen", "words missed, estimated (Chao 1984, bias-corrected)", "1"),
        "n_windows": column("n_windows", "windows counted", "1", 0),
        "usable": column("usable", f"at least {WINDOWS_PER_WORD} windows a word", "1", False),
    }
    data["valid"] = (("fit", "length"), data["n_words"][1] > 0, {"long_name": "whether any word has this length"})
    scalars = {
        "h_mu": ("metric entropy", unit), "h_mu_error": ("its standard error", unit), "h_top": ("topological entropy", unit),
        "chosen": ("word length of h_mu, 0 where there is none", "1"), "converged": ("whether h_n is flat before words run out", "1"),
    }
    names = {"h_mu_error": "h_mu_standard_error", "chosen": "chosen_length"}
    for name, (text, units) in scalars.items():
        data[names.get(name, name)] = (("fit",), np.array([getattr(one, name) for one in found]), {"long_name": text, "units": units})
    data["status"] = (("fit",), np.atleast_1d(code.status.values).astype(str), dict(code.status.attrs))
    coords: dict[str, Any] = {"length": np.arange(1, n + 1)}
    if "fit" in code.coords:
        coords["fit"] = np.atleast_1d(code.fit.values)
    attrs = {"correction": correction, "self_transitions": int(self_transitions), "lag": lag, "units_of_entropy": unit, "dt": code.attrs.get("dt", 1.0)}
    return xr.Dataset(data, coords=coords, attrs=attrs)
