"""A recording of a flow: initial states, integration, standardisation, observation noise."""

from __future__ import annotations

import json
import math
import operator
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from ._recording import build, select
from .errors import DatasetError
from .integrate import trajectory
from .longrun import long_run_moments
from .systems import Lorenz96, System

_INITIAL, _NOISE = 0, 1  # purposes of the independent random streams
_EVALUATIONS = 500  # of the field in one default dt, at most: ten times what any of the known systems takes at 1e-9


@runtime_checkable
class Flow(Protocol):
    """What a recording needs to know: a system of ``systems.py`` or a flow of dysts."""

    source: str
    method: str
    dt: float
    transient: float
    spread: float  # of initial states about ``initial``, relative to 1 + |initial|
    bound: float  # of a variable, in the same unit: beyond it a solution has run away

    @property
    def dim(self) -> int: ...
    @property
    def channels(self) -> tuple[str, ...]: ...
    @property
    def initial(self) -> tuple[float, ...]: ...
    @property
    def mean(self) -> tuple[float, ...] | None: ...
    @property
    def scale(self) -> tuple[float, ...] | None: ...
    @property
    def lyapunov_max(self) -> float | None: ...
    @property
    def parameters(self) -> dict[str, Any]: ...
    def rate(self, t: float, z: np.ndarray) -> np.ndarray: ...
    def observe(self, path: np.ndarray) -> np.ndarray: ...


def _number(name: str, value: Any, *, low: float = 0.0, strict: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number < low or (strict and number == low):
        raise DatasetError(f"{name} must be a number {'above' if strict else 'of at least'} {low:g}, got {value!r}.")
    return number


def _count(name: str, value: Any, low: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low:
        raise DatasetError(f"{name} must be a whole number of at least {low}, got {value!r}.")
    return number


def _stream(random_state: int, purpose: int, trial: int) -> np.random.Generator:
    """Trial k draws the same numbers however many trials there are, and noise never shifts the initial states."""
    return np.random.default_rng(np.random.SeedSequence(random_state, spawn_key=(purpose, trial)))


def _run(
    flow: Flow, n_steps: int, dt: float, transient: float, rng: np.random.Generator, rtol: float, atol: float, label: str
) -> np.ndarray:
    """One trial [time, channel]. The dropped stretch is one to two ``transient``, so that phase-coherent systems start at any phase."""
    initial = np.asarray(flow.initial, dtype=float)
    initial = initial + flow.spread * (1 + np.abs(initial)) * rng.standard_normal(flow.dim)
    times = transient * (1 + rng.random()) + dt * np.arange(n_steps)
    path = trajectory(
        flow.rate,
        initial,
        times,
        rtol=rtol,
        atol=atol,
        method=flow.method,
        label=label,
        bound=flow.bound * (1 + float(np.abs(initial).max())),
        max_evaluations=100_000 + _EVALUATIONS * float(times[-1]) / flow.dt,
    )
    return flow.observe(path)


@lru_cache(maxsize=32)
def moments(flow: Flow) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, standard deviation) of each channel on the attractor: tabulated, or else from a long run of its own."""
    if flow.mean is not None and flow.scale is not None:
        return flow.mean, flow.scale
    if isinstance(flow, System):
        found = long_run_moments(flow)
        mean, scale = found.mean, found.scale
        if isinstance(flow, Lorenz96):  # all sites alike, by symmetry
            mean, scale = np.full_like(mean, mean.mean()), np.full_like(scale, np.sqrt(np.mean(scale**2 + (mean - mean.mean()) ** 2)))
    else:
        path = _run(flow, 20_000, 2 * flow.dt, flow.transient, _stream(0, _INITIAL, 0), 1e-8, 1e-10, flow.source)
        mean, scale = path.mean(axis=0), path.std(axis=0)
    return tuple(mean.tolist()), tuple(scale.tolist())


def record(
    name: str,
    flow: Flow,
    *,
    n_steps: int,
    n_trials: int,
    dt: float | int | None,
    noise: float | int,
    standardise: bool,
    observed: Any,
    transient: float | int | None,
    random_state: int | None,
    rtol: float,
    atol: float,
) -> xr.Dataset:
    """The recording that ``load`` describes; cost O(n_trials (n_steps dt + transient)) steps of the solver."""
    n_steps, n_trials = _count("n_steps", n_steps, 2), _count("n_trials", n_trials)
    dt = flow.dt if dt is None else _number("dt", dt, strict=True)
    noise = _number("noise", noise)
    transient = flow.transient if transient is None else _number("transient", transient)
    rtol, atol = _number("rtol", rtol, strict=True), _number("atol", atol, strict=True)
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else _count("random_state", random_state, 0)

    channels = list(flow.channels)
    runs = [_run(flow, n_steps, dt, transient, _stream(seed, _INITIAL, k), rtol, atol, name) for k in range(n_trials)]
    values = np.stack(runs)
    mean, scale = moments(flow) if standardise or noise > 0 else ((0.0,) * len(channels), (1.0,) * len(channels))
    still = [channel for channel, sd in zip(channels, scale) if not sd > 1e-6 * (1 + np.abs(values).max())]
    if still and (standardise or noise > 0):
        raise DatasetError(
            f"channel {still[0]!r} of {name} comes to rest with these parameters ({len(still)} of {len(channels)} channels do), so it "
            "has no standard deviation to scale by. Use chaotic parameters, or pass standardise=False and noise=0."
        )
    if standardise:
        values = (values - mean) / scale
    if noise > 0:
        sd = noise * (np.ones(len(channels)) if standardise else np.asarray(scale))
        values = values + sd * np.stack([_stream(seed, _NOISE, k).standard_normal(values.shape[1:]) for k in range(n_trials)])

    attrs: dict[str, Any] = {
        "system": name,
        "parameters": json.dumps(flow.parameters, default=_plain),
        "noise": noise,
        "random_state": seed,
        "rtol": rtol,
        "atol": atol,
        "method": flow.method,
        "transient": transient,
        "standardised": bool(standardise),
        "mean": list(mean) if standardise else [0.0] * len(channels),
        "scale": list(scale) if standardise else [1.0] * len(channels),
        "source": flow.source,
    }
    if flow.lyapunov_max is not None:
        attrs["lyapunov_max"] = flow.lyapunov_max
    recording = build(values, dim="feature", channels=channels, dt=dt, units="time unit", attrs=attrs)
    return select(recording, "feature", observed)


def _plain(value: Any) -> Any:
    """numpy numbers and arrays as JSON knows them."""
    return np.asarray(value).tolist()
