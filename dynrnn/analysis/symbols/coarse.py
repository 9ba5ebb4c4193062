"""Codes made coarser: symbols merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.symbols.code import code_of_symbols
from dynrnn.analysis.symbols.sequence import fits_of
from dynrnn.errors import ArgumentError


def coarse_grain(code: xr.Dataset, groups: Any = None, *, units: Sequence[int] | None = None) -> xr.Dataset:
    """The code in which symbols of one group are one symbol.

    groups : (symbol,) or (fit, symbol), whole numbers from 0 up, the group of every symbol; or ``units``: the units of the words that still count.

    Returns the Dataset of :func:`code_of_symbols` (``label`` is the group), with centroids where ``code`` has them and ``region`` where units were given.
    Symbols are numbered anew by occupancy. O(time log time).

    >>> coarse_grain(code_of_symbols([0, 1, 0, 2, 0, 1]), groups=[0, 1, 1]).symbol.values.tolist()
    [[[0, 1, 0, 1, 0, 1]]]
    """
    if (groups is None) == (units is None):
        raise ArgumentError("give groups, or the units of the words that are to count.")
    fits = list(fits_of(code))
    S, T = code.sizes.get("symbol", 0), [fit["symbol"].transpose("trial", "time").values for fit in fits]
    if units is not None:
        if "region" not in code:
            raise ArgumentError("units are units of region words, and this code has none. Give groups.")
        if not len(units) or min(units) < 0 or max(units) >= code.sizes["unit"]:
            raise ArgumentError(f"units must be some of 0 ... {code.sizes['unit'] - 1}, got {list(units)}.")
        words = np.stack([fit["region"].transpose("symbol", "unit").values[:, list(units)] for fit in fits])
        kept, table = np.unique(words.reshape(-1, len(units)), axis=0, return_inverse=True)
        table = table.reshape(len(fits), S)
    else:
        table = np.asarray(groups)
        if table.dtype.kind not in "iu" or table.shape not in ((S,), (len(fits), S)) or (table < 0).any():
            raise ArgumentError(f"groups must be whole numbers from 0 up of shape ({S},) or ({len(fits)}, {S}), got {table.dtype} {table.shape}.")
        table, kept = np.broadcast_to(table, (len(fits), S)), None
    padded = np.concatenate([table.astype(np.int64), np.full((len(fits), 1), -1)], 1)   # the last entry stands for -1
    coarse: xr.Dataset = code_of_symbols(np.stack([row[t] for row, t in zip(padded, T)]), dt=code.attrs.get("dt", 1.0))
    coords: dict[str, Any] = {name: code.coords[name] for name in ("trial", "time") if name in code.coords}
    if "fit" in code.coords:
        coords["fit"] = np.atleast_1d(code.fit.values)
    if kept is not None:
        region = kept[np.maximum(coarse.label.values, 0)] & coarse.valid.values[..., None]
        coarse = coarse.assign(region=(("fit", "symbol", "unit"), region, {"long_name": "units that are on"}))
    centroids: dict[str, Any] = {}
    for name in ("centroid", "centroid_observed"):
        if name in code:
            dim = str(code[name].dims[-1])
            merged = np.full((len(fits), coarse.sizes["symbol"], code.sizes[dim]), np.nan)
            for f, fit in enumerate(fits):
                n = int(fit.n_symbols)
                place = np.full(int(table.max()) + 1, -1)
                place[coarse.label.values[f, : int(coarse.n_symbols[f])]] = np.arange(int(coarse.n_symbols[f]))
                to, weight = place[table[f, :n]], fit["count"].values[:n].astype(float)
                total = np.zeros(merged.shape[1:])
                np.add.at(total, to, weight[:, None] * fit[name].transpose("symbol", dim).values[:n])
                merged[f] = np.where(coarse.valid.values[f][:, None], total / np.maximum(coarse["count"].values[f], 1)[:, None], np.nan)
            centroids[name] = (("fit", "symbol", dim), merged, dict(code[name].attrs))
            spread = "spread" + name.removeprefix("centroid")
            centroids[spread] = (("fit", dim), np.atleast_2d(code[spread].values), dict(code[spread].attrs))
            if dim in code.coords and code.coords[dim].dims == (dim,):
                coords[dim] = code.coords[dim].values
    return coarse.assign(centroids).assign_coords(coords)
