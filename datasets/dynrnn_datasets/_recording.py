"""The form in which every dataset comes: an xr.Dataset, ``observed`` (trial, time, <name>), with coordinates and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .errors import DatasetError, nearest


def labels(names: Sequence[Any]) -> np.ndarray:
    """Coordinate values of variable length (fixed-width strings have no place in Zarr's format 3)."""
    out = np.empty(len(names), dtype=object)
    out[:] = list(names)
    return out


def build(
    observed: np.ndarray,
    *,
    dim: str,
    channels: Sequence[str],
    dt: float,
    units: str,
    attrs: Mapping[str, Any],
    inputs: np.ndarray | None = None,
    input_names: Sequence[str] = (),
) -> xr.Dataset:
    """The recording of ``observed`` [trial, time, channel] (all trials of full length) and ``inputs`` [trial, time, input]."""
    n_trials, n_steps, _ = observed.shape
    variables: dict[str, Any] = {
        "observed": (("trial", "time", dim), observed),
        "n_time": (("trial",), np.full(n_trials, n_steps, dtype=np.int64)),
    }
    coords: dict[str, Any] = {
        "trial": np.arange(n_trials),
        "time": ("time", dt * np.arange(n_steps), {"units": units}),
        dim: labels(channels),
    }
    if inputs is not None:
        variables["inputs"] = (("trial", "time", "input"), inputs)
        coords["input"] = labels(input_names)
    return xr.Dataset(variables, coords=coords, attrs={"dt": float(dt), "units": units, **attrs})


def select(recording: xr.Dataset, dim: str, observed: Any) -> xr.Dataset:
    """The recording with the channels ``observed`` only (names or positions), in the order given."""
    if observed is None:
        return recording
    names = [str(name) for name in recording[dim].values]
    wanted = [observed] if isinstance(observed, (str, int, np.integer)) else list(observed)
    picks: list[int] = []
    for item in wanted:
        if isinstance(item, str) and item in names:
            picks.append(names.index(item))
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool) and 0 <= item < len(names):
            picks.append(int(item))
        else:
            raise DatasetError(f"observed names {item!r}, which is no channel.{nearest(item, names)} Channels: {', '.join(names)}.")
    if not picks or len(set(picks)) < len(picks):
        raise DatasetError(f"observed must name at least one channel and each once, got {observed!r}.")
    chosen = recording.isel({dim: picks})
    for key in ("mean", "scale"):
        if key in recording.attrs:
            chosen.attrs[key] = [recording.attrs[key][k] for k in picks]
    return chosen
