"""What may be coded: orbits of generate(), recordings, bare arrays; all as (fit, trial, time, dim)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError

LATENT = ("fit", "trial", "time", "latent")


def as_states(orbit: Any, variable: str = "latent") -> tuple[xr.DataArray, xr.DataArray | None, float]:
    """(states, observations or None, dt), dims fit, trial, time and the last one's own name; nothing is loaded.

    orbit : Dataset with ``variable``; a DataArray with named dims; or an array (time, dim), (trial, time, dim) or (fit, trial, time, dim).
    """
    if isinstance(orbit, xr.Dataset):
        if variable not in orbit:
            have = ", ".join(map(str, orbit.data_vars))
            raise ArgumentError(f"orbit has no variable {variable!r}, only {have}. Give the Dataset of generate(...), or an array.")
        others = orbit["observed"] if variable == "latent" and "observed" in orbit else None
        return _ordered(orbit[variable]), None if others is None else _ordered(others), float(orbit.attrs.get("dt", 1.0))
    if isinstance(orbit, xr.DataArray):
        return _ordered(orbit), None, float(orbit.attrs.get("dt", 1.0))
    try:
        values = np.asarray(orbit, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"orbit must be a Dataset of generate(...) or an array of numbers: {error}.") from None
    if values.ndim not in (2, 3, 4):
        raise ArgumentError(f"orbit must have shape (time, latent), (trial, time, latent) or (fit, trial, time, latent), got {values.shape}.")
    dims = (*LATENT[4 - values.ndim : 3], variable if variable == "latent" else "feature")
    return _ordered(xr.DataArray(values, dims=dims)), None, 1.0


def _ordered(array: xr.DataArray) -> xr.DataArray:
    own = [str(dim) for dim in array.dims if dim not in LATENT[:3]]
    if "time" not in array.dims or len(own) != 1:
        raise ArgumentError(f"orbit must have the dims time and one of its own, and fit and trial where there are several; got {tuple(array.dims)}.")
    for dim in ("trial", "fit"):
        if dim not in array.dims:
            array = array.expand_dims(dim)
    return array.transpose("fit", "trial", "time", own[0])


def match_fits(states: xr.DataArray, fits: np.ndarray, what: str) -> xr.DataArray:
    """``states``, checked to have one row a fit of the model, by label where it has labels; a single one without labels serves every fit."""
    if "fit" in states.coords:
        have = states.fit.values.tolist()
        if have == fits.tolist():
            return states
        raise ArgumentError(
            f"orbit holds the fits {have}, {what} the fits {fits.tolist()}. Give the orbit of this very {what}, or select(..., fit=...) of both."
        )
    if states.sizes["fit"] == len(fits):
        return states
    if states.sizes["fit"] == 1:
        return states
    raise ArgumentError(f"orbit holds {states.sizes['fit']} fits, {what} {len(fits)}. Give one orbit, or one a fit.")
