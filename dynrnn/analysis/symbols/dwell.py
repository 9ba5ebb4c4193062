"""How long an orbit stays: runs of one symbol."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.symbols.sequence import Runs, fits_of, flatten, runs_of


def dwell_columns(symbols: list[np.ndarray], n_symbols: list[int]) -> dict[str, tuple[list[np.ndarray], dict[str, str]]]:
    """Per fit and symbol: mean, sd and number of the complete runs."""
    mean, sd, n = [], [], []
    for row, n_row in zip(symbols, n_symbols):
        runs = runs_of(flatten(row))
        a, b, c = moments_of(runs, n_row)
        mean.append(a), sd.append(b), n.append(c)
    return {
        "dwell_mean": (mean, {"long_name": "mean length of the complete runs, NaN where there is none", "units": "steps"}),
        "dwell_sd": (sd, {"long_name": "sd of the lengths of the complete runs, NaN below two", "units": "steps"}),
        "n_runs": (n, {"long_name": "complete runs", "units": "1"}),
    }


def moments_of(runs: Runs, n_symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, sd, number) of the complete runs of every symbol."""
    symbol, length = runs.symbol[runs.complete], runs.length[runs.complete].astype(np.float64)
    n = np.bincount(symbol, minlength=n_symbols)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(symbol, length, n_symbols) / n
        squares = np.bincount(symbol, (length - mean[symbol]) ** 2, n_symbols)
        sd = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
    return mean, sd, n


def dwell_times(code: xr.Dataset) -> xr.Dataset:
    """How often each symbol was held for how long.

    Returns a Dataset, one row for every (symbol, length) that occurs: ``held`` (fit, row) the symbol, ``length`` in steps, ``count`` of complete runs and
    ``cut`` of runs that an end of a trial or a break cuts, whose length is a lower bound; padded with ``valid``. O(time log time).

    >>> from dynrnn.analysis.symbols import code_of_symbols
    >>> table = dwell_times(code_of_symbols([0, 0, 1, 0, 0, 0, 1, 0, 0]))
    >>> [column.tolist() for column in (table.held[0].values, table.length[0].values, table["count"][0].values, table.cut[0].values)]
    [[0, 0, 1], [2, 3, 1], [0, 1, 2], [2, 0, 0]]
    """
    tables = []
    for fit in fits_of(code):
        runs = runs_of(flatten(np.asarray(fit["symbol"].transpose("trial", "time").values)))
        pairs, inverse = np.unique(np.stack([runs.symbol, runs.length], 1), axis=0, return_inverse=True)
        inverse = inverse.ravel()
        tables.append((pairs[:, 0], pairs[:, 1], *(np.bincount(inverse[k], minlength=len(pairs)) for k in (runs.complete, ~runs.complete))))
    n = max(len(table[0]) for table in tables)
    columns: dict[str, Any] = {}
    for k, (name, text, units) in enumerate(
        [("held", "symbol, -1 as padding", "1"), ("length", "length of the run", "steps"), ("count", "complete runs", "1"), ("cut", "cut runs", "1")]
    ):
        out = np.full((len(tables), n), -1 if name == "held" else 0, np.int64)
        for f, table in enumerate(tables):
            out[f, : len(table[k])] = table[k]
        columns[name] = (("fit", "row"), out, {"long_name": text, "units": units})
    columns["valid"] = (("fit", "row"), columns["held"][1] >= 0, {"long_name": "whether the row is one, not padding"})
    return xr.Dataset(columns, coords={"fit": np.atleast_1d(code.fit.values)} if "fit" in code.coords else None, attrs={"dt": code.attrs.get("dt", 1.0)})
