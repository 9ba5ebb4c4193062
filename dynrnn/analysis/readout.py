"""Latent states of a result beside what the model reads out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from dynrnn.models.base import Model
from dynrnn.models.generation import observed_axis


def with_observed(out: xr.Dataset, system: Any) -> xr.Dataset:
    """``out``, with its ``location`` (fit, ..., latent) as the ``observed`` variable in the recording's units; as it is if ``system`` is no model or run."""
    model = getattr(system, "model", system)
    if not isinstance(model, Model):
        return out
    dim, names = observed_axis(model)
    with torch.no_grad():
        x = model.readout(torch.as_tensor(np.nan_to_num(out.location.values))).numpy()
    x[~out.valid.values] = np.nan
    out["observed"] = (*out.location.dims[:-1], dim), x, {"long_name": "as the model reads it out", "units": "units of the recording"}
    return out.assign_coords({dim: names})
