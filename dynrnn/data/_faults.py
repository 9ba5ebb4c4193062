"""Faults are collected, so that one error lists all that is wrong; the list is capped and the count is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import RecordingError

SHOWN = 10


class Faults:
    """What is wrong with a recording; ``raise_if_any`` raises one RecordingError with all of it."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, message: str) -> None:
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(message)

    def add_entries(self, bad: np.ndarray, values: np.ndarray, names: Any, kind: str, what: str, times: np.ndarray) -> None:
        """One fault for each True of ``bad`` [trial, time, channel]."""
        where = np.argwhere(bad)
        for trial, step, channel in where[: max(0, SHOWN - len(self.shown))]:
            value = values[trial, step, channel]
            self.shown.append(
                f"{kind} {plain(names[channel])!r} {what} ({value}) in trial {trial} at time index {step} (time {times[step]:g})."
            )
        self.count += len(where)

    def raise_if_any(self, advice: str = "") -> None:
        if not self.count:
            return
        if self.count == 1:
            raise RecordingError(self.shown[0] + (f" {advice}" if advice else ""))
        lines = [f"{self.count:,} faults in this recording:", *(f"  {message}" for message in self.shown)]
        if self.count > len(self.shown):
            lines.append(f"  ... and {self.count - len(self.shown):,} more.")
        raise RecordingError("\n".join([*lines, *([advice] if advice else [])]))


def plain(name: object) -> object:
    """A channel's name as the user wrote it: numpy's scalars print their type."""
    return name.item() if isinstance(name, np.generic) else name


def observed_dim(recording: xr.Dataset) -> str:
    """The name of the observed dim: the user's own, last of (trial, time, <name>)."""
    return str(recording["observed"].dims[-1])
