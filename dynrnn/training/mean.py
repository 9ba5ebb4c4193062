"""The mean of the parameters over the end of a training: one model more, at no cost.

A rate that stays high leaves the parameters scattering around a minimum, and their mean lies closer to it than any of them (Polyak & Juditsky 1992, SIAM J.
Control Optim. 30:838; Izmailov et al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

import numpy as np

MEAN_SETS = 200               # of parameters in a mean: more change it by less than its own error


class Mean:
    """The mean of the parameters over the last ``share`` of the updates, from about ``MEAN_SETS`` of them, in float64; each fit's by itself."""

    def __init__(self, share: float, n_updates: int, theta: np.ndarray):
        span = max(1, round(share * n_updates))
        self.every, self.first, self.end = max(1, span // MEAN_SETS), n_updates - span, n_updates
        self.total, self.count = np.zeros(theta.shape), np.zeros(len(theta), np.int64)       # a part of the state of a training: changed in place

    def ahead(self, done: int) -> int:
        """Updates from ``done`` to the next set that is taken."""
        return self.first - done if done < self.first else (self.end - done - 1) % self.every + 1

    def takes(self, done: int) -> bool:
        """Of the sets counted back from the last update, which is always one."""
        return done > self.first and (self.end - done) % self.every == 0

    def __call__(self, theta: np.ndarray) -> None:
        self.total += theta
        self.count += 1

    def parameters(self, theta: np.ndarray, active: np.ndarray) -> np.ndarray:
        """The mean [F, P]; of a fit that was stopped, its parameters ``theta``, which do not depend on when the others ended."""
        return np.where(active[:, None], self.total / np.maximum(self.count, 1)[:, None], theta)
