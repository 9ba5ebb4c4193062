"""Means of the parameters on the way through a training: models that a rate which stays high never reaches itself, at no cost.

Such a rate leaves the parameters scattering around a minimum, and their mean lies closer to it than any of them (Polyak & Juditsky 1992, SIAM J. Control
Optim. 30:838; Izmailov et al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

import numpy as np

MEAN_SETS = 200               # of parameters in a mean: more change it by less than its own error
WINDOW_SETS = 20              # in each of many means, between which the updates must not stop too often


class Mean:
    """The mean of the parameters over windows of updates that begin anew every ``span`` updates, of which the first begins at ``first``; from about
    ``sets`` sets of them, counted back from a window's last, in float64; each fit's by itself."""

    def __init__(self, theta: np.ndarray, first: int, span: int, sets: int):
        self.first, self.span, self.every = first, span, max(1, span // sets)
        self.total, self.count = np.zeros(theta.shape), np.zeros(len(theta), np.int64)       # a part of the state of a training: changed in place

    @classmethod
    def of_end(cls, theta: np.ndarray, share: float, n_updates: int) -> Mean:
        """Over the last ``share`` of the updates."""
        span = max(1, round(share * n_updates))
        return cls(theta, n_updates - span, span, MEAN_SETS)

    def ahead(self, done: int) -> int:
        """Updates from ``done`` to the next set that is taken."""
        return self.first - done if done < self.first else ((self.first - done - 1) % self.span) % self.every + 1

    def takes(self, done: int) -> bool:
        return done > self.first and (self.first - done) % self.span % self.every == 0

    def __call__(self, theta: np.ndarray) -> None:
        self.total += theta
        self.count += 1

    def parameters(self, theta: np.ndarray, active: np.ndarray) -> np.ndarray:
        """The mean [F, P]; its parameters ``theta`` of a fit that was stopped, which do not depend on when the others ended, or of which no set was taken."""
        return np.where((active & (self.count > 0))[:, None], self.total / np.maximum(self.count, 1)[:, None], theta)

    def begin_anew(self) -> None:
        self.total[:], self.count[:] = 0.0, 0
