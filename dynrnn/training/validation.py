"""How well the models of a training run freely, beside a recording that was held out."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.analysis.reconstruction import d_stsp
from dynrnn.models.base import Model
from dynrnn.models.generation import generate
from dynrnn.training.parameters import read, write

VALIDATION_STARTS = 8


class Validator:
    """D_stsp of free runs against the validation recording, per fit, and the parameters that were best.

    The mean over runs from ``VALIDATION_STARTS`` samples spread over the recording, each as long as it: a model that loses its attractor
    does so sooner from one start than from another, and one run misses it. With inputs or elapsed times a model runs once, along the recording's own.
    """

    def __init__(self, model: Model, recording: xr.Dataset):
        self.model = model
        n_time = recording.n_time.values
        self.true = [recording.observed.values[k, : int(n)] for k, n in enumerate(n_time)]
        self.n_steps = int(n_time.max())
        self.initial: xr.Dataset | np.ndarray = recording
        self.transient = 0
        if "inputs" not in recording and "elapsed" not in recording:
            longest = self.true[int(np.argmax(n_time))]
            seen = longest[~np.isnan(longest).all(1)]
            self.initial = seen[np.linspace(0, len(seen) - 1, VALIDATION_STARTS + 1).astype(int)[:-1], None]
            self.transient = self.n_steps // 4
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
        return d_stsp(self.true, orbits, "dynrnn-1").mean(1)
