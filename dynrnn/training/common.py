"""What every way of fitting does: the model takes on the recording's units, and the run is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from dynrnn.data import fit_scaling
from dynrnn.models.base import Model
from dynrnn.models.storage import save
from dynrnn.results.run_folder import RunFolder
from dynrnn.results.schema import data_fingerprint, stamp
from dynrnn.results.store import write_results
from dynrnn.training.run import Run


def adopt_units(model: Model, recording: xr.Dataset, standardise: bool) -> None:
    """The recording's mean, scale, names and sampling step go into the model."""
    if standardise:
        scaling = fit_scaling(recording)
        model.data_mean.copy_(torch.as_tensor(np.asarray(scaling.mean, dtype=np.float64)).expand_as(model.data_mean))
        model.data_scale.copy_(torch.as_tensor(np.asarray(scaling.scale, dtype=np.float64)).expand_as(model.data_scale))
    else:
        model.data_mean.zero_()
        model.data_scale.fill_(1.0)
    adopt_names(model, recording)


def adopt_names(model: Model, recording: xr.Dataset) -> None:
    """The recording's names of channels, sampling step and unit of time go into the model."""
    dim = str(recording.observed.dims[-1])
    names = recording[dim].values.tolist() if dim in recording.coords else list(range(model.observed_dim))
    model.recording_info = {"dim": dim, "names": names, "dt": float(recording.attrs.get("dt", 1.0)), "units": str(recording.attrs.get("units", ""))}


def store(run: Run, folder: RunFolder, recording: xr.Dataset, random_state: int) -> None:
    """Checkpoints and results of a finished run; it knows its folder afterwards."""
    save(run.last, folder.checkpoints / "last")
    for name, model in (("best", run.best), ("mean", run.mean)):
        if model is not None:
            save(model, folder.checkpoints / name)
    training = run.history.assign(status=run.status, refused=run.refused)
    tree = xr.DataTree.from_dict({"/observed_data": recording, "/training": training})
    dtype = str(next(run.last.parameters()).dtype).removeprefix("torch.")
    tree.attrs = stamp(run.config, random_state=random_state, dtype=dtype, data_fingerprint=data_fingerprint(recording))
    write_results(folder.results, tree)
    run.path = folder.path


def plain(value: Any) -> Any:
    """JSON-able: arrays to lists, inf to text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
