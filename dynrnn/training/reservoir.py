"""``fit`` of a reservoir."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.data import as_recording, check_for_training
from dynrnn.errors import ArgumentError, RecordingError, check_int, unknown_name
from dynrnn.models.generation import check_fits
from dynrnn.models.reservoirs import Reservoir
from dynrnn.results.run_folder import RunFolder
from dynrnn.training.common import adopt_units, plain, store
from dynrnn.training.forcing import PerFit, per_fit
from dynrnn.training.run import Run
from dynrnn.training.solve import Solved, solve
from dynrnn.training.status import Status

SOLVERS = ("ridge", "rls")


def fit_reservoir(
    model: Reservoir, recording: Any, validation: Any, out: str | os.PathLike[str] | None, progress: bool, standardise: bool,
    ridge: PerFit | tuple[float, ...], washout: int | None, solver: str = "ridge", forgetting: PerFit | None = None,
) -> Run:
    """Solve the readouts of all fits; ``fit`` says what the arguments are. No random number is drawn."""
    F = model.n_fits
    several = isinstance(ridge, tuple)
    recursion = _recursion(solver, forgetting, several, F)
    if several and validation is None:
        raise ArgumentError("ridge as a tuple is a choice, which needs a validation recording; split one off with dr.split(recording).")
    values = [per_fit("ridge", one, F, low=0.0) for one in (ridge if several else (ridge,))]
    if not values:
        raise ArgumentError("ridge is an empty tuple; give at least one penalty.")
    ridges = np.stack([np.broadcast_to(np.asarray(one, dtype=np.float64), (F,)) for one in values], 1)
    if recursion is not None and not (ridges > 0).all():
        raise ArgumentError(f"ridge must be above 0 with solver='rls', whose P starts as I / ridge, got {ridge!r}. Take 1e-6, or solver='ridge'.")
    recording = as_recording(recording)
    check_fits(model, recording)
    longest = int(recording.n_time.max())
    washout = check_int("washout", (model.least_past or 100) if washout is None else washout, low=model.least_past)
    if washout >= longest - 1:
        raise RecordingError(f"washout = {washout} leaves nothing to learn from: the longest trial has {longest} samples. Shorten washout.")
    check_for_training(recording, 1, standardise=standardise)
    if validation is not None:
        validation = as_recording(validation)
        check_fits(model, validation)
    config: dict[str, Any] = {
        "model": model.family, "model_config": model.config(), "sizes": {name: plain(getattr(model, name).numpy()) for name in model.sizes},
        "ridge": plain(ridges), "washout": washout, "solver": solver, "forgetting": plain(recursion), "standardise": standardise,
        "random_state": model.random_state, "recording": plain(dict(recording.attrs)),
    }
    folder = None if out is None else RunFolder.create(out, config)                 # an output folder in use is refused before any work
    adopt_units(model, recording, standardise)
    solved = solve(model, recording, validation, ridges, washout, progress, recursion)
    fits = model.fit_number.numpy().copy()
    status = xr.DataArray(np.full(F, str(Status.FINISHED)), dims="fit", coords={"fit": fits})
    run = Run(
        model=model, history=_history(solved, fits), status=status, refused=xr.zeros_like(status, dtype=np.int64), last=model, best=None, config=config,
    )
    if folder is not None:
        store(run, folder, recording, model.random_state)
    return run


def _recursion(solver: str, forgetting: PerFit | None, several: bool, n_fits: int) -> np.ndarray | None:
    """What is left of a sample's weight after each further one, [F]; None where the solution is not by recursion."""
    if solver not in SOLVERS:
        raise unknown_name("solver", solver, SOLVERS)
    if solver == "ridge":
        if forgetting is not None:
            raise ArgumentError("forgetting is for solver='rls', which learns sample by sample; ridge regression weighs all samples alike. Add solver='rls'.")
        return None
    if several:
        raise ArgumentError("ridge as a tuple is a choice for solver='ridge', which has one factorisation for all; recursion learns with one penalty.")
    found = per_fit("forgetting", 1.0 if forgetting is None else forgetting, n_fits, low=0.0, high=1.0)
    if (found == 0).any():
        raise ArgumentError(f"forgetting must lie within (0, 1], got {forgetting!r}: with 0 nothing but the last sample would count.")
    return found


def _history(solved: Solved, fits: np.ndarray) -> xr.Dataset:
    """As of a training of one update: ``loss`` is the mean squared error of one step, in squared standard deviations."""
    take, of_ridge = np.arange(len(fits)), ("fit", "penalty")
    return xr.Dataset(
        {
            "loss": (("fit", "update"), solved.training_error[take, solved.chosen][:, None], {"long_name": "mean squared error of one step"}),
            "online_error": ("fit", solved.online_error, {"long_name": "mean squared error of one step, just before each was learned"}),
            "seconds": (("fit", "update"), np.full((len(fits), 1), solved.seconds), {"long_name": "time since the start", "units": "s"}),
            "ridge": (of_ridge, solved.ridge), "training_error": (of_ridge, solved.training_error),
            "validation_error": (of_ridge, solved.validation_error, {"long_name": "mean squared error of free forecasts of up to 50 steps"}),
            "chosen": ("fit", solved.chosen, {"long_name": "penalty that was taken"}),
        },
        coords={"fit": fits, "update": [1]},
    )
