"""Mean and standard deviation of a stream's first samples, one by one, so that blocks of any size give the same to the bit."""

from __future__ import annotations

import numpy as np
from torch import Tensor, tensor

from dynrnn.errors import RecordingError


class Warmup:
    """Until ``n`` samples were seen, nothing is learned and each goes into the moments (Welford 1962); afterwards they stay."""

    def __init__(self, n: int, n_channels: int):
        self.n, self.seen = n, 0
        self.count, self.mean, self.squares = np.zeros(n_channels), np.zeros(n_channels), np.zeros(n_channels)

    @property
    def over(self) -> bool:
        return self.seen >= self.n

    def take(self, x: np.ndarray) -> int:
        """How many samples of x [T, N] it takes."""
        n = min(len(x), self.n - self.seen)
        for row in x[:n]:
            there = ~np.isnan(row)
            self.count[there] += 1
            step = row[there] - self.mean[there]
            self.mean[there] += step / self.count[there]
            self.squares[there] += step * (row[there] - self.mean[there])
        self.seen += n
        return n

    def scale(self) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(self.squares / self.count)
        bad = np.flatnonzero(~((self.count > 1) & (sd > 0)))
        if bad.size:
            raise RecordingError(
                f"channel {bad[0]} was constant or missing in the first {self.n} samples, so it cannot be standardised: take a longer warmup=, leave the "
                "channel out, or give a model that was fitted, with its own units, and warmup=0."
            )
        return sd

    def tensors(self) -> dict[str, Tensor]:
        return {"seen": tensor(self.seen), "count": tensor(self.count), "mean": tensor(self.mean), "squares": tensor(self.squares)}

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        self.seen = int(tensors["seen"])
        self.count, self.mean, self.squares = (tensors[name].numpy().copy() for name in ("count", "mean", "squares"))
