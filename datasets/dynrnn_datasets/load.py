"""``load``: any dataset by name; ``available``: which there are."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pandas as pd
import xarray as xr

from . import _dysts, _nitime
from ._recording import select
from .errors import DatasetError, UnknownDatasetError, nearest
from .flows import record
from .systems import SYSTEMS, System

RECORDINGS: dict[str, tuple[Callable[..., xr.Dataset], str, str]] = {
    "nitime-fmri": (_nitime.fmri, "region", "resting-state fMRI, 31 regions, 250 volumes at 1.89 s"),
    "nitime-grasshopper": (_nitime.grasshopper, "neuron", "grasshopper receptor, spike counts and stimulus, 2 trials of 10 s"),
}


def load(
    name: str,
    n_steps: int = 100_000,
    n_trials: int = 1,
    dt: float | int | None = None,
    noise: float | int = 0.0,
    standardise: bool = True,
    observed: Any = None,
    transient: float | int | None = None,
    random_state: int | None = 0,
    rtol: float = 1e-9,
    atol: float = 1e-9,
    **parameters: Any,
) -> xr.Dataset:
    """A recording of a known system, or a packaged one, as an xr.Dataset.

    Returns ``observed`` (trial, time, feature) float64, ``n_time`` (trial), for some ``inputs`` (trial, time, input); ``time`` starts at 0
    and is in the system's own time unit, or in seconds where measured. The attributes say how it came about: ``system``, ``parameters``
    (JSON), ``dt``, ``units``, ``noise``, ``random_state``, ``rtol``, ``atol``, ``standardised``, ``mean`` and ``scale`` (lists: observed =
    (raw - mean) / scale), ``lyapunov_max`` (per time unit, where known), ``source``.

    Parameters
    ----------
    name : ``"lorenz63"``, ``"lorenz96"``, ``"roessler"``; ``"dysts:<Flow>"``, e.g. ``"dysts:Thomas"``; ``"nitime-fmri"``,
        ``"nitime-grasshopper"``. The last three need the extra ``datasets``. ``available()`` lists them.
    n_steps, n_trials : samples per trial, and number of trials (each from its own initial state).
    dt : sampling interval; default the system's own (0.01, 0.05, 0.08; a hundredth of the period for dysts).
    noise : standard deviation of Gaussian observation noise, as a fraction of each channel's standard deviation.
    standardise : scale each channel by the mean and standard deviation *of the attractor*, constants that do not depend on the sample.
    observed : channels to keep, by name or position; default all.
    transient : time dropped before the first sample; one to two of it, at random, so that trials start at different phases.
    random_state : initial states and noise, from independent streams: one ``random_state`` with and without noise is one trajectory.
    rtol, atol : tolerances of scipy's ``solve_ivp`` (DOP853; LSODA for dysts).
    parameters : of the system (``sigma, rho, beta``; ``n_dims, forcing``; ``a, b, c``; dysts' own), or ``bin_size`` of the grasshopper's.

    Raises UnknownDatasetError for a name, DatasetError for anything else. Cost: about 60 microseconds a sample for Lorenz-63; standard
    deviations of parameters that are not tabulated take a long run of some seconds, once per process. Fails where parameters give an
    unbounded solution (stated), or, with ``standardise``, one at rest.

    >>> rec = load("lorenz63", n_steps=500, noise=0.05, random_state=1)
    >>> dict(rec.sizes), rec.attrs["dt"], rec.feature.values.tolist()
    ({'trial': 1, 'time': 500, 'feature': 3}, 0.01, ['x', 'y', 'z'])
    """
    if not isinstance(name, str):
        raise UnknownDatasetError(f"a dataset's name is a string, got {type(name).__name__}.")
    chosen = {
        "n_steps": n_steps, "n_trials": n_trials, "dt": dt, "noise": noise, "standardise": standardise,
        "transient": transient, "random_state": random_state, "rtol": rtol, "atol": atol,
    }
    if name in RECORDINGS:
        return _packaged(name, chosen, observed, parameters)
    if name.startswith(_dysts.PREFIX):
        flow: Any = _dysts.DystsFlow(name.removeprefix(_dysts.PREFIX), parameters)
    elif name in SYSTEMS:
        flow = _system(name, parameters)
    else:
        known = [*SYSTEMS, *RECORDINGS]
        raise UnknownDatasetError(f"unknown dataset {name!r}.{nearest(name, known)} Known: {', '.join(known)}, dysts:<Flow>.")
    return record(name, flow, observed=observed, **chosen)


def _system(name: str, parameters: dict[str, Any]) -> System:
    kind = SYSTEMS[name]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # each is a dataclass
    for key, value in parameters.items():
        if key not in known:
            raise DatasetError(f"{name} has no parameter {key!r}.{nearest(key, [*known, *inspect.signature(load).parameters])} Parameters: {', '.join(known)}.")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DatasetError(f"parameter {key!r} of {name} must be a finite number, got {value!r}.")
        if isinstance(getattr(kind, key), int) and value != int(value):  # a field's default is the class attribute of its name
            raise DatasetError(f"parameter {key!r} of {name} must be a whole number, got {value!r}.")
    return kind(**{key: type(getattr(kind, key))(value) for key, value in parameters.items()})


def _packaged(name: str, chosen: dict[str, Any], observed: Any, parameters: dict[str, Any]) -> xr.Dataset:
    """A measured recording: what makes a simulation does not apply to it, and saying nothing would hide that."""
    make, dim, _ = RECORDINGS[name]
    defaults = inspect.signature(load).parameters
    for key, value in chosen.items():
        if value is not defaults[key].default and value != defaults[key].default:
            raise DatasetError(f"{name} is a measured recording of fixed length and units: {key} does not apply to it. Leave it out.")
    known = list(inspect.signature(make).parameters)
    for key in parameters:
        if key not in known:
            raise DatasetError(f"{name} has no parameter {key!r}.{nearest(key, known)} Parameters: {', '.join(known) or 'none'}.")
    return select(make(**parameters), dim, observed)


def available() -> pd.DataFrame:
    """The datasets by name: ``description``, the ``extra`` that they need ("" for none), and whether it is ``installed``.

    >>> available().loc["lorenz63", "installed"].item()
    True
    """

    def installed(package: str) -> bool:
        return importlib.util.find_spec(package) is not None

    rows = [(key, kind.title, "", True) for key, kind in SYSTEMS.items()]
    rows += [(key, title, "datasets", installed("nitime")) for key, (_, _, title) in RECORDINGS.items()]
    rows.append(("dysts:<Flow>", "any of the 129 ordinary flows of dysts, e.g. dysts:Thomas", "datasets", installed("dysts")))
    return pd.DataFrame(rows, columns=pd.Index(["name", "description", "extra", "installed"])).set_index("name")
