"""Drift: does the error of the last window stand out of those before it?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, tensor

LOOK_BACK = 20              # windows that are compared with
FEWEST = 8                  # and at least so many, before anything is called drift
IN_A_ROW = 3                # windows that stand out one after the other: a chaotic stream has single ones that do
MAD = 1.4826                # a normal distribution's standard deviation, in median absolute deviations


class DriftMonitor:
    """The median over fits of the mean logarithm of the loss, window by window of ``window`` samples.

    Three windows in a row that lie more than ``threshold`` robust standard deviations above the median of up to 20 before them are drift, found at the end of
    the third; comparing starts anew then. Logarithms, since losses of a chaotic stream have long tails. While a model still learns its error falls, and
    nothing is found.
    """

    def __init__(self, window: int, threshold: float):
        self.window, self.threshold = window, threshold
        self.sum, self.n, self.samples, self.high = 0.0, 0, 0, 0
        self.before: list[float] = []
        self.found: list[int] = []

    def __call__(self, loss: np.ndarray) -> None:
        """Losses [F, T] of the next samples; NaN where there was none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            typical = np.log((loss[0] if len(loss) == 1 else np.median(loss, axis=0)) + 1e-300)
        done = 0
        while done < len(typical):
            here = typical[done : done + self.window - self.samples % self.window]
            there = here[np.isfinite(here)]
            self.sum = float(np.cumsum(np.concatenate([[self.sum], there]))[-1])                 # one by one, so that blocks of any size give the same
            self.n, self.samples, done = self.n + len(there), self.samples + len(here), done + len(here)
            if self.samples % self.window == 0:
                self._close()

    def _close(self) -> None:
        if self.n >= self.window // 2:
            self._compare(self.sum / self.n)
        self.sum, self.n = 0.0, 0

    def _compare(self, now: float) -> None:
        if len(self.before) >= FEWEST:
            middle = float(np.median(self.before))
            spread = MAD * float(np.median(np.abs(np.array(self.before) - middle)))
            if now > middle + self.threshold * max(spread, 1e-3):
                self.high += 1
                if self.high == IN_A_ROW:
                    self.found.append(self.samples)
                    self.before, self.high = [], 0
                return
        self.before, self.high = [*self.before, now][-LOOK_BACK:], 0

    def tensors(self) -> dict[str, Tensor]:
        return {
            "sum": tensor(self.sum, dtype=torch.float64), "n": tensor(self.n), "samples": tensor(self.samples), "high": tensor(self.high),
            "before": tensor(self.before, dtype=torch.float64), "found": tensor(self.found, dtype=torch.int64),
        }

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        self.sum, self.n, self.samples, self.high = float(tensors["sum"]), *(int(tensors[name]) for name in ("n", "samples", "high"))
        self.before, self.found = tensors["before"].tolist(), tensors["found"].tolist()
