"""What ``cycles`` accepts, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import Maps
from dynrnn.analysis.piecewise.cycle_finder import ROUTES
from dynrnn.errors import ArgumentError, check_int, unknown_name


def check_periods(max_period: object, periods: Any) -> tuple[int, ...]:
    """Sorted, without repetition."""
    if periods is None:
        return tuple(range(1, check_int("max_period", max_period, low=1) + 1))
    try:
        asked = sorted({check_int("every one of periods", period, low=1) for period in periods})
    except TypeError:
        raise ArgumentError(f"periods must be a list of whole numbers, such as [10], got {periods!r}.") from None
    if not asked:
        raise ArgumentError("periods is empty. Name the periods to look for, such as [10], or leave it out for 1 to max_period.")
    return tuple(asked)


def check_route(route: object) -> str | None:
    if route is None or route in ROUTES:
        return route  # type: ignore[return-value]  # one of ROUTES
    raise unknown_name("route", route, ROUTES)


def check_words(words: Any, maps: Maps) -> list[np.ndarray]:
    """Each (k, H), bool."""
    if words is None:
        return []
    parts: Sequence[Any] = list(words) if isinstance(words, (list, tuple)) else [words]
    if parts and np.ndim(parts[0]) == 1:                                            # one word, as nested lists
        parts = [words]
    units = {map.n_units for map in maps.maps if map is not None}
    out = []
    for part in parts:
        word = np.asarray(part)
        if word.dtype != bool and not (word.dtype.kind in "iu" and np.isin(word, [0, 1]).all()):
            raise ArgumentError(f"words must hold bits (bool, or whole numbers 0 and 1), one a unit, got {word.dtype} values. map.words(states) gives them.")
        if word.ndim not in (2, 3) or 0 in word.shape[:-1] or units - {word.shape[-1]}:
            raise ArgumentError(f"words must have shape (k, {max(units, default=0)}) or (n, k, {max(units, default=0)}): k phases of units; got {word.shape}.")
        out += list(word.astype(bool).reshape(-1, *word.shape[-2:]))
    return out


def check_orbits(orbits: Any, maps: Maps) -> list[list[np.ndarray]]:
    """Per fit, stretches (time, M) without missing samples."""
    if orbits is None:
        return [[] for _ in maps.maps]
    by_fit = False
    if isinstance(orbits, xr.Dataset):
        if "latent" not in orbits.data_vars:
            raise ArgumentError("orbits is a dataset without the variable 'latent'. Give the result of dynrnn.generate, or an array (..., time, latent).")
        orbits = orbits["latent"]
    if isinstance(orbits, xr.DataArray):
        by_fit = "fit" in orbits.dims
        if by_fit:
            orbits = orbits.transpose("fit", ...)
    try:
        values = np.asarray(orbits, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"orbits must be an array of numbers (..., time, latent): {error}.") from None
    dims = {map.latent_dim for map in maps.maps if map is not None}
    if values.ndim < 2 + by_fit or dims - {values.shape[-1]}:
        raise ArgumentError(f"orbits must have shape (..., time, {max(dims, default=0)}), latent units last, got {values.shape}.")
    if by_fit and len(values) != len(maps.maps):
        raise ArgumentError(f"orbits has {len(values)} fits and the model {len(maps.maps)}. Take the same fits of both.")
    return [_stretches(values[k] if by_fit else values) for k in range(len(maps.maps))]


def _stretches(values: np.ndarray) -> list[np.ndarray]:
    out = []
    for orbit in values.reshape(-1, *values.shape[-2:]):
        bad = np.flatnonzero(~np.isfinite(orbit).all(1))
        out += [part for part in np.split(orbit, np.sort(np.concatenate([bad, bad + 1]))) if len(part) and np.isfinite(part).all()]
    return out
