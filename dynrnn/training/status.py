"""How each fit ended, and what to do about it."""

from __future__ import annotations

import warnings
from enum import StrEnum

import numpy as np
import xarray as xr

NAMED = 5      # fits that a warning names


class Status(StrEnum):
    """Outcome of one fit; ``advice`` says what to do."""

    FINISHED = "finished"
    STOPPED_GRADIENT = "stopped: loss or gradient not finite"
    STOPPED_STEP = "stopped: step not finite"
    STOPPED_CALLBACK = "stopped: by the callback"

    @property
    def advice(self) -> str:
        if self in (Status.FINISHED, Status.STOPPED_CALLBACK):
            return ""
        return (
            "Updates were refused many times in a row; the parameters are those of the last good update. Raise alpha or force more often, "
            "lower the learning rate, shorten sequence_length, set gradient_clip=10, or take a clipped model where the family has one."
        )


def warn_of_stopped(status: xr.DataArray, loss: xr.DataArray) -> None:
    """A UserWarning that names the fits (status, dim fit) that were stopped for updates that are not finite, and the last update of each with a loss."""
    lost = [k for k, value in enumerate(status.values) if Status(value).advice]
    if not lost:
        return
    seen = np.isfinite(loss.transpose("update", "fit").values)
    said = []
    for k in lost[:NAMED]:
        good = np.flatnonzero(seen[:, k])
        after = f"after about update {int(loss['update'].values[good[-1]])}" if len(good) else "before its first update"
        said.append(f"fit {status['fit'].values[k]} {after} ({status.values[k].removeprefix('stopped: ')})")
    more = f", and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    text = f"{len(lost)} of {len(status)} fits stopped early: {', '.join(said)}{more}. {Status(status.values[lost[0]]).advice}"
    warnings.warn(text, UserWarning, stacklevel=3)
