"""What ``fit`` gives back."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError
from dynrnn.models.base import Model
from dynrnn.models.ensemble import concat_models, select_model
from dynrnn.models.unwrap import model_of
from dynrnn.results.run_folder import RunFolder
from dynrnn.results.schema import REPORTED
from dynrnn.results.store import write_group


@dataclass
class Run:
    """A finished fit.

    model : the trained model (of the last update, or the best on validation where ``keep="best"``, or the mean of the last ones where ``keep="mean"``).
    history : (fit, update): loss, alpha, learning_rate, gradient_norm, seconds, and validation where there was one.
    status, refused : (fit) how each fit ended; how many steps were refused.
    best : the model that was best on validation, None without validation. ``last`` : the model of the last update.
    mean : the model of mean parameters where ``keep="mean"``, else None.
    checkpoints : models on the way, by number of updates, where ``checkpoint_every`` asked for them.
    config : what was asked for, as JSON-able values. path : the run's folder, None where nothing is stored.
    """

    model: Model
    history: xr.Dataset
    status: xr.DataArray
    refused: xr.DataArray
    last: Model
    best: Model | None
    config: dict[str, Any]
    checkpoints: dict[int, Model] = field(default_factory=dict)
    mean: Model | None = None
    path: Path | None = None

    def store(self, **groups: xr.Dataset) -> None:
        """Add results to the run's folder under their group's name, e.g. ``run.store(generated=orbit, metrics=scores)``."""
        if self.path is None:
            raise ArgumentError("this run has no folder: give out= to fit.")
        for name, dataset in groups.items():
            if not isinstance(dataset, xr.Dataset):
                raise ArgumentError(f"store takes Datasets, such as those of generate and evaluate; {name} is a {type(dataset).__name__}.")
            if name not in REPORTED and (near := difflib.get_close_matches(name, REPORTED, n=1, cutoff=0.8)):
                raise ArgumentError(f"the group {name!r} would not be found again: the report looks for {near[0]!r}. Give it that name, or one less like it.")
            write_group(RunFolder(self.path).results, name, dataset)

    def __repr__(self) -> str:
        loss = self.history.loss.isel(update=-1).values
        told = f"{np.nanmedian(loss):.4g}" if np.isfinite(loss).any() else "none"
        ended = ", ".join(f"{np.sum(self.status.values == s)} {s}" for s in np.unique(self.status.values))
        return f"Run({self.model.family}, {self.model.n_fits} fits: {ended}; last loss {told}; {self.path or 'not stored'})"


def select_run(run: Run, fit: int | Sequence[int]) -> Run:
    """The run of one fit of an ensemble, or of several, by their places."""
    pick = {"fit": [fit] if isinstance(fit, int) else list(fit)}
    return Run(
        select_model(run.model, fit), run.history.isel(pick), run.status.isel(pick), run.refused.isel(pick), select_model(run.last, fit),
        None if run.best is None else select_model(run.best, fit), run.config, {n: select_model(model, fit) for n, model in run.checkpoints.items()},
        None if run.mean is None else select_model(run.mean, fit),
    )


def select(model_or_run: Any, fit: int) -> Any:
    """One fit out of an ensemble: a model of a model, a run of a run. It keeps its number, and trains as it would in the ensemble."""
    return select_run(model_or_run, fit) if isinstance(model_or_run, Run) else select_model(model_of(model_or_run), fit)


def concat(models: Any) -> Model:
    """One ensemble out of models (or runs) of one family and shape, in a list. ArgumentError for what is none or does not agree, with what differs."""
    if not isinstance(models, list | tuple):
        raise ArgumentError(f"concat takes a list of models or runs, got {type(models).__name__}.")
    return concat_models([model_of(m) for m in models])
