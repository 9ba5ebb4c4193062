"""Orbit diagrams: what a system does in the long run at every value of a parameter, with the largest exponent from the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynrnn.analysis.basins.orbits import stretch
from dynrnn.analysis.basins.starting import box_of
from dynrnn.analysis.branches.runs import runs_of
from dynrnn.analysis.lyapunov.estimate import mean_and_error
from dynrnn.analysis.lyapunov.segments import frames
from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE
from dynrnn.analysis.smooth.starts import given_starts
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import Model
from dynrnn.streams import check_random_state, stream

DIVERGED, SOME_DIVERGED = "every orbit diverges", "some orbits diverge"
ONE_LEFT = "all orbits but one diverge, so the exponent has no error"
LIMIT = 1e6                  # times the largest start: a state beyond has left


def orbit_diagram(
    make_system: Any, values: Any, *, n_starts: int = 8, n_steps: int = 1_000, n_samples: int = 64, transient: int = 1_000, warmup: int = 100,
    observable: int | Callable[[np.ndarray], np.ndarray] = 0, maxima: bool = False, box: Any = None, starts: Any = None, random_state: int | None = 0,
    dim: int | None = None, dt: float | None = None, input: int | None = None, inputs: Any = None,
) -> xr.Dataset:
    """Late samples of an observable and the largest Lyapunov exponent, at every value of a parameter.

    Parameters
    ----------
    make_system: a function of one value that gives a system as for :func:`lyapunov_spectrum`; or a model or run and the number of its ``input`` that the
        values are.
    values: of the parameter, increasing, (parameter,).
    n_starts: orbits a value, at least 2, from standard normal states or, if given, uniform in ``box`` = (low, high); the same at every value. starts: the
        states themselves, (start, dim), instead.
    transient: steps that are dropped; warmup: steps over which the tangent vector turns; n_steps: steps that the exponent is measured over; n_samples: states
        after these.
    observable: number of the variable, or a function of states (..., dim) -> (...) on numpy arrays. maxima: only the observable's local maxima among the
        samples, as for flows.
    dim, dt, inputs: of the systems. random_state: of starts and tangent vectors.

    Returns
    -------
    ``observable`` (fit, parameter, start, sample) with ``valid`` (False where an orbit has diverged, or there are fewer maxima); ``exponent`` (fit,
    parameter), largest Lyapunov exponent per time, the mean over starts, with ``exponent_standard_error``; ``start_exponent`` (fit, parameter, start);
    ``diverged`` (fit, parameter, start); ``status`` (fit, parameter). Coordinate ``parameter``.

    Method: every value's orbits start anew from the same states and warm up, so nothing is carried from one value to the next, as it is where curves of
    exponents come out ragged. One batched run over (parameter, start) where the systems are a model's inputs, piecewise-linear maps of equal shape, or
    functions that also take a tensor of parameters (then checked at every value), else a loop. Starts are independent, so their spread is the error; where
    attractors coexist, it includes their difference, which ``start_exponent`` shows. O(fit parameter n_starts (transient + n_steps) M H).

    Fails: at bifurcations, where transients last longest; a chaotic transient looks like chaos.

    >>> import numpy as np
    >>> found = orbit_diagram(lambda p: lambda z: p * z * (1 - z), np.array([2.5, 3.2]), box=(0.1, 0.9), dim=1, n_steps=100, n_samples=4)
    >>> np.unique(found.observable.isel(parameter=1).values.round(6)).tolist(), np.exp(found.exponent.values).round(6).tolist()      # 1 - 1.5 has modulus 1/2
    ([0.513045, 0.799455], [[0.5, 0.4]])
    """
    grid = _values(values)
    n_starts, n_steps, n_samples = check_int("n_starts", n_starts, low=2), check_int("n_steps", n_steps, low=10), check_int("n_samples", n_samples, low=1)
    transient, warmup, seed = check_int("transient", transient, low=1), check_int("warmup", warmup, low=1), check_random_state(random_state)
    if box is not None and starts is not None:
        raise ArgumentError("give starts or a box to draw them from, not both.")
    if starts is not None and (np.ndim(starts) != 2 or len(starts) < 2):
        raise ArgumentError(
            f"starts must have shape (start, dim) with at least 2 of them, since the exponent's error is their spread; got shape {np.shape(starts)}."
        )
    family = runs_of(make_system, grid, n_starts if starts is None else len(starts), dim, dt, input, inputs)
    M, fits, usable = family.dim, family.fit, family.usable
    if not callable(observable):
        check_int("observable", observable, low=0, high=M - 1)
    model = make_system if isinstance(make_system, Model) else getattr(make_system, "model", None)
    z = _starts(box, starts, n_starts, fits[usable], M, seed, model if isinstance(model, Model) else None, usable)     # [fit, start, M]
    family.check(z)
    F, P, S = len(fits), len(grid), z.shape[1]
    late, growth = np.full((F, P, S, n_samples, M), np.nan), np.full((F, P, S), np.nan)
    Q = frames(family.runs[0].carrier, fits[usable], S, 1, seed)                      # the same at every value
    for run in family.runs:
        every = torch.ones(run.carrier.n_fits, dtype=torch.int64)
        now = run.carrier.advance(run.spread(z), transient)
        turned = run.carrier.carry(now, run.spread(Q), warmup, every, None, None, every.double(), False)
        grown = run.carrier.carry(turned.z, turned.Q, n_steps, every, None, None, every.double(), False)
        late[usable, run.values] = run.gather(stretch(run.carrier, grown.z, n_samples), S).numpy()
        growth[usable, run.values] = run.gather(grown.log_r[..., 0], S).numpy()
    lost = ~(np.abs(late) <= LIMIT * max(1.0, float(z.abs().max()))).all((-2, -1)) | np.isnan(growth) | np.isposinf(growth)
    return _dataset(late, growth / (n_steps * family.dt), lost, fits, usable, grid, observable, maxima).assign_attrs(
        dt=family.dt, n_starts=S, n_steps=n_steps, n_samples=n_samples, transient=transient, warmup=warmup, random_state=seed, maxima=int(maxima)
    )


def _values(values: Any) -> np.ndarray:
    try:
        grid = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"values must be numbers: {error}.") from None
    if grid.ndim != 1 or not len(grid):
        raise ArgumentError(f"values must be a list of at least one number, got shape {grid.shape}.")
    if not np.isfinite(grid).all():
        raise ArgumentError(f"values[{int(np.argmin(np.isfinite(grid)))}] is not finite. Drop it.")
    if not (np.diff(grid) > 0).all():
        i = int(np.argmin(np.diff(grid) > 0))
        raise ArgumentError(f"values must increase, but values[{i}] = {grid[i]:g} is followed by {grid[i + 1]:g}. Sort them, and drop what comes twice.")
    return grid


def _starts(box: Any, starts: Any, n: int, fits: np.ndarray, M: int, seed: int, model: Model | None, usable: np.ndarray) -> Tensor:
    if starts is not None:
        return torch.tensor(np.array(given_starts(starts, len(fits), M)))
    if box is None and model is not None:
        return model.random_states(n, seed)[torch.as_tensor(usable)]
    if box is None:
        return torch.tensor(np.stack([stream(seed, "initial state", int(k)).standard_normal((n, M)) for k in fits]))
    low, high = box_of(box, M)
    return torch.tensor(np.stack([low + (high - low) * stream(seed, "initial state", int(k)).random((n, M)) for k in fits]))


def _observed(late: np.ndarray, observable: Any) -> np.ndarray:
    """(fit, parameter, start, sample)."""
    if not callable(observable):
        return late[..., observable]
    try:
        seen = np.asarray(observable(late), dtype=np.float64)
    except (TypeError, ValueError, IndexError) as error:
        raise ArgumentError(f"observable failed on states of shape {late.shape}: {error}.") from error
    if seen.shape != late.shape[:-1]:
        raise ArgumentError(f"observable must take states (..., {late.shape[-1]}) to one number each, {late.shape[:-1]}, got {seen.shape}.")
    return seen


def _dataset(
    late: np.ndarray, rate: np.ndarray, lost: np.ndarray, fits: np.ndarray, usable: np.ndarray, grid: np.ndarray, observable: Any, maxima: bool
) -> xr.Dataset:
    seen = _observed(late, observable)
    valid = np.broadcast_to(~lost[..., None], seen.shape).copy()
    if maxima:
        inner = (seen[..., 1:-1] > seen[..., :-2]) & (seen[..., 1:-1] >= seen[..., 2:])
        valid[..., 1:-1] &= inner
        valid[..., [0, -1]] = False
    seen = np.where(valid, seen, np.nan)
    rate = np.where(lost, np.nan, rate)
    mean, error = np.full(rate.shape[:2], np.nan), np.full(rate.shape[:2], np.nan)
    for f, p in np.argwhere((~lost).sum(-1) >= 2):
        value, spread = mean_and_error(rate[f, p][~lost[f, p]][:, None])
        mean[f, p], error[f, p] = value[0], spread[0]
    n_lost = lost.sum(-1)
    left = lost.shape[-1] - n_lost
    status = np.select([left == 0, n_lost == 0, left == 1], [DIVERGED, ANALYSED, ONE_LEFT], SOME_DIVERGED).astype(object)
    status[~usable] = NOT_FINITE
    at, per_time = ("fit", "parameter"), {"units": "nat / time of dt"}
    return xr.Dataset(
        {
            "observable": ((*at, "start", "sample"), seen, {"long_name": "observable, local maxima" if maxima else "observable", "units": "1"}),
            "valid": ((*at, "start", "sample"), valid, {"long_name": "a sample is there"}),
            "exponent": (at, mean, {"long_name": "largest Lyapunov exponent"} | per_time),
            "exponent_standard_error": (at, error, {"long_name": "its standard error over starts"} | per_time),
            "start_exponent": ((*at, "start"), rate, {"long_name": "exponent of one start's orbit"} | per_time),
            "diverged": ((*at, "start"), lost, {"long_name": "the orbit has left"}),
            "status": (at, status.astype(str), {"long_name": "what could be done"}),
        },
        coords={"fit": fits, "parameter": ("parameter", grid, {"long_name": "parameter", "units": "1"})},
    )
