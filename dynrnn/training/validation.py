"""How well the models of a training run freely, beside a recording that was held out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.analysis.reconstruction import d_stsp
from dynrnn.analysis.reconstruction.statistics import spectral_distances
from dynrnn.models.base import Model
from dynrnn.models.generation import generate
from dynrnn.training.parameters import read, write

VALIDATION_STARTS = 8
VALIDATED_BY = {
    "d_stsp": ("D_stsp on the validation recording, mean over free runs from several starts, NaN where it was not computed", "nat"),
    "both": ("D_stsp times D_H on the validation recording, means over free runs from several starts, NaN where it was not computed", "nat"),
}


def check_validation(recording: xr.Dataset, by: str) -> None:
    """The error that a spectrum of this recording would be, if one is wanted: too short, or too much is missing."""
    if by == "both":
        for x in followed(recording):
            spectral_distances([x], np.nan_to_num(x)[None, None])


def followed(recording: xr.Dataset) -> list[np.ndarray]:
    """Trials (time, channel) that are run beside: all where inputs or elapsed times lead along each, else the longest."""
    trials = [x[: int(n)] for x, n in zip(recording.observed.values, recording.n_time.values)]
    return trials if led(recording) else [max(trials, key=len)]


def led(recording: xr.Dataset) -> bool:
    """Inputs or elapsed times lead a run along the recording's own trials."""
    return "inputs" in recording or "elapsed" in recording


class Validator:
    """D_stsp (or D_stsp times D_H) of free runs against the validation recording, per fit, and the parameters that were best.

    Means over runs from ``VALIDATION_STARTS`` samples spread over the recording, each as long as it: a model that loses its attractor
    does so sooner from one start than from another, and one run misses it. With inputs or elapsed times a model runs once, along the recording's own.
    """

    def __init__(self, model: Model, recording: xr.Dataset, by: str = "d_stsp"):
        self.model, self.by = model, by
        n_time = recording.n_time.values
        self.true = [recording.observed.values[k, : int(n)] for k, n in enumerate(n_time)]
        self.beside = followed(recording)
        self.n_steps = int(n_time.max())
        self.initial: xr.Dataset | np.ndarray = recording
        self.transient = 0
        if not led(recording):
            (longest,) = self.beside
            seen = longest[~np.isnan(longest).all(1)]
            self.initial = seen[np.linspace(0, len(seen) - 1, VALIDATION_STARTS + 1).astype(int)[:-1], None]
            self.transient = self.n_steps // 4
            self.beside = VALIDATION_STARTS * [longest]
        self.scores: dict[int, np.ndarray] = {}
        self.best = np.full(model.n_fits, np.inf)
        self.theta = read(model)

    def __call__(self, update: int, theta: np.ndarray) -> np.ndarray:
        write(self.model, theta)
        score = self.measure()
        better = score < self.best
        self.best[better], self.theta[better] = score[better], theta[better]
        self.scores[update] = score
        return score

    def measure(self) -> np.ndarray:
        """The score [F] of the model as it is."""
        orbits = generate(self.model, self.n_steps, initial=self.initial, transient=self.transient).observed.values
        score = d_stsp(self.true, orbits, "dynrnn-1").mean(1)
        return score * spectral_distances(self.beside, orbits, "dynrnn-1").mean(1) if self.by == "both" else score
