"""Numbered orbits as one labelled Dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.symbols.dwell import dwell_columns
from dynrnn.analysis.symbols.regions import Moments
from dynrnn.analysis.symbols.sequence import BREAK


@dataclass
class Coded:
    """One fit: numbers by first visit, and what is known of each."""

    number: np.ndarray                     # (trial, time)
    status: str
    region: np.ndarray | None = None       # (number, unit)
    label: np.ndarray | None = None        # (number,)
    inside: Moments | None = None
    outside: Moments | None = None


def code_dataset(coded: list[Coded], fits: np.ndarray, states: xr.DataArray, observed: xr.DataArray | None, dt: float) -> xr.Dataset:
    """Fits as one Dataset, each renumbered by occupancy; see ``symbolic_code``."""
    counts = [np.bincount(c.number[c.number >= 0]) for c in coded]
    orders = [np.argsort(-count, kind="stable") for count in counts]               # numbers are by first visit, so ties are too
    n_symbols = [len(order) for order in orders]
    S = max(n_symbols)
    symbol = np.stack([_renumbered(c.number, order) for c, order in zip(coded, orders)])
    n_coded = np.array([int(count.sum()) for count in counts])
    data: dict[str, Any] = {
        "symbol": (("fit", "trial", "time"), symbol, {"long_name": "symbols by occupancy, -1 where there is none", "units": "1"}),
        "valid": (("fit", "symbol"), np.arange(S) < np.array(n_symbols)[:, None], {"long_name": "whether the row is a symbol, not padding"}),
        "count": (("fit", "symbol"), _padded([n[order] for n, order in zip(counts, orders)], S, 0), {"long_name": "samples", "units": "1"}),
        "n_symbols": (("fit",), np.array(n_symbols), {"long_name": "symbols", "units": "1"}),
        "n_coded": (("fit",), n_coded, {"long_name": "samples with a symbol", "units": "1"}),
        "status": (("fit",), np.array([c.status for c in coded], dtype=str), {"long_name": "what could be done"}),
    }
    data["occupancy"] = (("fit", "symbol"), data["count"][1] / np.maximum(n_coded, 1)[:, None], {"long_name": "share of the samples", "units": "1"})
    if any(c.region is not None for c in coded):
        H = max(c.region.shape[1] for c in coded if c.region is not None)
        regions = [
            np.zeros((0, H), bool) if c.region is None else np.pad(c.region, ((0, 0), (0, H - c.region.shape[1])))[order] for c, order in zip(coded, orders)
        ]
        data["region"] = (("fit", "symbol", "unit"), _padded(regions, S, False), {"long_name": "units that are on"})
    if any(c.label is not None for c in coded):
        labels = [np.zeros(0, np.int64) if c.label is None else c.label[order] for c, order in zip(coded, orders)]
        data["label"] = (("fit", "symbol"), _padded(labels, S, BREAK), {"long_name": "number that the partition gave"})
    coords: dict[str, Any] = {"fit": fits}
    for kind, array, suffix in (("inside", states, ""), ("outside", observed, "_observed")):
        if array is None or all(getattr(c, kind) is None for c in coded):
            continue
        dim, n = str(array.dims[3]), array.shape[3]
        moments = [getattr(c, kind) or Moments() for c in coded]
        centres = [m.centroids(order, n) for m, order in zip(moments, orders)]
        data[f"centroid{suffix}"] = (("fit", "symbol", dim), _padded(centres, S, np.nan), {"long_name": "mean state of the symbol"})
        data[f"spread{suffix}"] = (("fit", dim), np.stack([m.spread(n) for m in moments]), {"long_name": "standard deviation of all states"})
        if dim in array.coords and array.coords[dim].dims == (dim,):               # the variable latent is a coordinate of its own name to xarray
            coords[dim] = array.coords[dim].values
    for name, (rows, attrs) in dwell_columns(list(symbol), n_symbols).items():
        data[name] = (("fit", "symbol"), _padded(rows, S, 0 if rows[0].dtype.kind == "i" else np.nan), attrs)
    coords |= {dim: states.coords[dim].values for dim in ("trial", "time") if dim in states.coords}
    return xr.Dataset(data, coords=coords, attrs={"dt": dt})


def _renumbered(number: np.ndarray, order: np.ndarray) -> np.ndarray:
    place = np.full(len(order) + 1, BREAK, np.int32)                                # the last entry stands for -1
    place[order] = np.arange(len(order))
    return place[number]


def _padded(rows: list[np.ndarray], n: int, fill: Any) -> np.ndarray:
    shape = next((row.shape[1:] for row in rows), ())
    out = np.full((len(rows), n, *shape), fill, dtype=np.result_type(*[row.dtype for row in rows]))
    for k, row in enumerate(rows):
        out[k, : len(row)] = row
    return out
