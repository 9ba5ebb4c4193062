"""Symbolic codes: an orbit as the sequence of the regions that it visits, or of the cells of a partition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE, canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.symbols.assemble import Coded, code_dataset
from dynrnn.analysis.symbols.orbits import as_states, match_fits
from dynrnn.analysis.symbols.partition import partition_labels
from dynrnn.analysis.symbols.regions import number_orbit, pack, unpack
from dynrnn.analysis.symbols.sequence import BREAK
from dynrnn.errors import ArgumentError

DIVERGED, DIVERGES = "orbit not finite", "analysed until the orbit diverged"


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
    ``valid``; ``spread`` and ``spread_observed`` (sd of the orbit); ``n_symbols``, ``n_coded``, ``status`` (fit). Dwell times are in steps, of complete
    runs; attrs: dt. xarray holds ``symbol`` as a coordinate, since a dim has the same name.

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
            coded.append(Coded(np.full(states.shape[1:3], BREAK, np.int32), NOT_FINITE))
            continue
        number, keys, inside, outside = number_orbit(
            _packer(map), _row(states, k), None if observed is None else _row(observed, k), stop_at_first=True, width=map.n_units
        )
        region = unpack(np.array(keys).reshape(len(keys), -1), map.n_units) if keys else np.zeros((0, map.n_units), bool)
        status = ANALYSED if (number >= 0).all() else DIVERGES if keys else DIVERGED
        coded.append(Coded(number, status, region, None, inside, None if observed is None else outside))
    return code_dataset(coded, maps.fit, states, observed, dt)


def code_of_partition(partition: Any, orbit: Any, *, variable: str = "latent") -> xr.Dataset:
    """The code of an orbit or recording by a partition that is given: the common ground on which recordings are compared.

    partition : callable, states (n, dim) -> whole numbers (n,), or centres (cell, dim), of which the nearest counts (Voronoi cells).
    orbit : as in :func:`symbolic_code`, or a recording with ``variable="observed"``. A sample that is not finite is a break (-1).

    Returns the Dataset of :func:`symbolic_code` with ``label`` (fit, symbol), the partition's own number, in place of ``region``. O(time log cell).

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
        coded.append(Coded(number, ANALYSED if keys else DIVERGED, None, labels, inside, None if observed is None else outside))
    fits = states.fit.values if "fit" in states.coords else np.arange(states.shape[0])
    code = code_dataset(coded, fits, states, observed, dt)
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
        coded.append(Coded(number, ANALYSED if good.any() else "no symbols", None, labels[order].astype(np.int64)))
    states = xr.DataArray(np.zeros((*values.shape, 0)), dims=("fit", "trial", "time", "latent"))
    return code_dataset(coded, np.arange(len(values)), states, None, dt)


def _row(array: xr.DataArray, k: int) -> xr.DataArray:
    return array[k % array.shape[0]]                                                # one orbit may serve every fit


def _packer(map: PiecewiseLinearMap) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: pack(map.words(z))
