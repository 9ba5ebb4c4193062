"""Symbolic codes: an orbit as the sequence of the regions that it visits, or of the cells of a partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE, canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.symbols.dwell import dwell_columns
from dynrnn.analysis.symbols.orbits import as_states, match_fits
from dynrnn.analysis.symbols.partition import partition_labels
from dynrnn.analysis.symbols.regions import Moments, number_orbit, pack, unpack
from dynrnn.analysis.symbols.sequence import BREAK
from dynrnn.errors import ArgumentError

DIVERGED, DIVERGES = "orbit not finite", "analysed until the orbit diverged"


@dataclass
class _Coded:
    """One fit: numbers by first visit, and what is known of each."""

    number: np.ndarray                     # (trial, time)
    status: str
    region: np.ndarray | None = None       # (number, unit)
    label: np.ndarray | None = None        # (number,)
    inside: Moments | None = None
    outside: Moments | None = None


def symbolic_code(model: Any, orbit: Any = None, *, symbols: Any = None, inputs: Any = None) -> xr.Dataset:
    """The symbols of an orbit: which region of a piecewise-linear model each state lies in.

    Parameters
    ----------
    model : a model or run of piecewise-linear units, or a bare map (A, W1, W2, h1, h2). A callable ``states (n, dim) -> whole numbers (n,)`` or an array of
        centres (cell, dim) codes by that partition instead, as :func:`code_of_partition` does; None goes with ``symbols``.
    orbit : the Dataset of ``generate``, on disk or in memory, or latent states (time, latent), (trial, time, latent) or (fit, trial, time, latent).
    symbols : instead of model and orbit, whole numbers (time,), (trial, time) or (fit, trial, time), see :func:`code_of_symbols`.
    inputs : constant input (K,) for models whose input shifts their switching planes, 0 by default.

    Returns
    -------
    Dataset. ``symbol`` (fit, trial, time): int, numbered by occupancy, 0 the most visited, ties by first visit; -1 where the orbit is not finite or padded.
    ``region`` (fit, symbol, unit): its word, exactly the signs of ``W2 z + h2 > 0``, no margin; clipped units count twice, as in ``PiecewiseLinearMap``.
    ``count``, ``occupancy``, ``centroid`` (mean latent state), ``centroid_observed``, ``dwell_mean``, ``dwell_sd``, ``n_runs`` (fit, symbol ...), padded with
    ``valid``; ``spread`` and ``spread_observed`` (sd of the orbit); ``n_symbols``, ``n_coded``, ``status`` (fit). Dwell times are in steps, of complete runs; attrs: dt.
    xarray holds ``symbol`` as a coordinate, since a dim has the same name.

    Method: Brenner et al. 2024 (arXiv:2410.14240), Lind & Marcus 1995. Cost O(time M H), memory O(time + block H + n_symbols H): words are packed bits,
    and no table over pairs of regions is made. ArgumentError: smooth units, or an orbit that does not fit the model.

    >>> tent = PiecewiseLinearMap(A=[2.0], W1=[[-4.0]], W2=[[1.0]], h1=[0.0], h2=[-0.5])
    >>> code = symbolic_code(tent, np.array([[0.1], [0.2], [0.4], [0.8], [0.4]]))
    >>> code.symbol.values.tolist(), code.region.values.tolist(), code.occupancy.values.tolist()
    ([[[0, 0, 0, 1, 0]]], [[[False], [True]]], [[0.8, 0.2]])
    """
    if symbols is not None:
        if model is not None or orbit is not None:
            raise ArgumentError("symbols= is already a code: give it with model=None and no orbit.")
        return code_of_symbols(symbols)
    if model is None or orbit is None:
        raise ArgumentError("give a model and its orbit, or symbols= alone.")
    if isinstance(model, np.ndarray) or (callable(model) and not hasattr(model, "additive_map") and not hasattr(model, "model")):
        return code_of_partition(model, orbit)
    maps = canonical(model, inputs)
    states, observed, dt = as_states(orbit)
    states = match_fits(states, maps.fit, "model")
    if observed is not None:
        observed = match_fits(observed, maps.fit, "model")
    for map in maps.maps:
        if map is not None and states.shape[3] != map.latent_dim:
            raise ArgumentError(
                f"orbit has states of {states.shape[3]} numbers (shape {states.shape}), the model's latent states have {map.latent_dim}. "
                "Give latent states, not observations: generate(...).latent."
            )
    coded = []
    for k, map in enumerate(maps.maps):
        if map is None:
            coded.append(_Coded(np.full(states.shape[1:3], BREAK, np.int32), NOT_FINITE))
            continue
        number, keys, inside, outside = number_orbit(
            _packer(map), _row(states, k), None if observed is None else _row(observed, k), stop_at_first=True, width=map.n_units
        )
        region = unpack(np.array(keys).reshape(len(keys), -1), map.n_units) if keys else np.zeros((0, map.n_units), bool)
        status = ANALYSED if (number >= 0).all() else DIVERGES if keys else DIVERGED
        coded.append(_Coded(number, status, region, None, inside, None if observed is None else outside))
    return _dataset(coded, maps.fit, states, observed, dt)


def code_of_partition(partition: Any, orbit: Any, *, variable: str = "latent") -> xr.Dataset:
    """The code of an orbit or recording by a partition that is given: the common ground on which recordings are compared.

    partition : callable, states (n, dim) -> whole numbers (n,), or centres (cell, dim), of which the nearest counts (Voronoi cells).
    orbit : as in :func:`symbolic_code`, or a recording with ``variable="observed"``. A sample that is not finite is a break (-1).

    Returns the Dataset of :func:`symbolic_code` with ``label`` (fit, symbol), the partition's own number, in place of ``region``. O(time log cell) with centres.

    >>> code = code_of_partition(np.array([[0.0], [1.0]]), np.array([[0.1], [0.9], [0.8], [0.2], [1.1]]))
    >>> code.symbol.values.tolist(), code.label.values.tolist()
    ([[[1, 0, 0, 1, 0]]], [[1, 0]])
    """
    states, observed, dt = as_states(orbit, variable)
    label = partition_labels(partition, states.shape[3])
    coded = []
    for k in range(states.shape[0]):
        others = None if observed is None else observed[k]
        number, keys, inside, outside = number_orbit(label, states[k], others, stop_at_first=False, width=1)
        labels = np.array(keys, np.int64).reshape(-1)
        coded.append(_Coded(number, ANALYSED if keys else DIVERGED, None, labels, inside, None if observed is None else outside))
    fits = states.fit.values if "fit" in states.coords else np.arange(states.shape[0])
    code = _dataset(coded, fits, states, observed, dt)
    if variable == "observed":
        code = code.rename({"centroid": "centroid_observed", "spread": "spread_observed"})
    return code


def code_of_symbols(symbols: Any, *, dt: float = 1.0) -> xr.Dataset:
    """A sequence of whole numbers as a code: (time,), (trial, time) or (fit, trial, time); negative numbers are breaks that nothing is counted across.

    The Dataset of :func:`symbolic_code` without regions and centroids; ``label`` (fit, symbol) is the number that was given.

    >>> code_of_symbols([7, 3, 7, 7, -1, 7]).symbol.values.tolist()
    [[[0, 1, 0, 0, -1, 0]]]
    """
    values = np.asarray(symbols)
    if values.dtype.kind not in "iub" or values.ndim not in (1, 2, 3) or values.size == 0:
        raise ArgumentError(f"symbols must be whole numbers of shape (time,), (trial, time) or (fit, trial, time), got {values.dtype} {values.shape}.")
    values = values.reshape((1,) * (3 - values.ndim) + values.shape)
    coded = []
    for fit in values:
        good = fit >= 0
        labels, first, local = np.unique(fit[good], return_index=True, return_inverse=True)
        number = np.full(fit.shape, BREAK, np.int32)
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        number[good] = place[local.ravel()]
        coded.append(_Coded(number, ANALYSED if good.any() else "no symbols", None, labels[order].astype(np.int64)))
    states = xr.DataArray(np.zeros((*values.shape, 0)), dims=("fit", "trial", "time", "latent"))
    return _dataset(coded, np.arange(len(values)), states, None, dt)


def _row(array: xr.DataArray, k: int) -> xr.DataArray:
    return array[k % array.shape[0]]                                                # one orbit may serve every fit


def _packer(map: PiecewiseLinearMap) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: pack(map.words(z))


def _dataset(coded: list[_Coded], fits: np.ndarray, states: xr.DataArray, observed: xr.DataArray | None, dt: float) -> xr.Dataset:
    counts = [np.bincount(c.number[c.number >= 0]) for c in coded]
    orders = [np.argsort(-count, kind="stable") for count in counts]               # numbers are by first visit, so ties are too
    S = max(map_len := [len(order) for order in orders]) if orders else 0
    symbol = np.stack([_renumbered(c.number, order) for c, order in zip(coded, orders)])
    n_coded = np.array([int(count.sum()) for count in counts])
    data: dict[str, Any] = {
        "symbol": (("fit", "trial", "time"), symbol, {"long_name": "symbols by occupancy, -1 where there is none", "units": "1"}),
        "valid": (("fit", "symbol"), np.arange(S) < np.array(map_len)[:, None], {"long_name": "whether the row is a symbol, not padding"}),
        "count": (("fit", "symbol"), _padded([n[order] for n, order in zip(counts, orders)], S, 0), {"long_name": "samples", "units": "1"}),
        "n_symbols": (("fit",), np.array(map_len), {"long_name": "symbols", "units": "1"}),
        "n_coded": (("fit",), n_coded, {"long_name": "samples with a symbol", "units": "1"}),
        "status": (("fit",), np.array([c.status for c in coded], dtype=str), {"long_name": "what could be done"}),
    }
    data["occupancy"] = (("fit", "symbol"), data["count"][1] / np.maximum(n_coded, 1)[:, None], {"long_name": "share of the samples", "units": "1"})
    if any(c.region is not None for c in coded):
        H = max(c.region.shape[1] for c in coded if c.region is not None)
        regions = [np.zeros((0, H), bool) if c.region is None else np.pad(c.region, ((0, 0), (0, H - c.region.shape[1])))[order] for c, order in zip(coded, orders)]
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
        if dim in array.coords:
            coords[dim] = array.coords[dim].values
    for name, (rows, attrs) in dwell_columns(list(symbol), map_len).items():
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
