"""Loss, strength, rate, gradient norm and time along a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

HISTORY_POINTS = 1000        # rows of the history at most; loss and gradient norm are means over the updates of a row


class History:
    """Sums over the updates of a row, so that memory does not grow with n_updates."""

    def __init__(self, n_updates: int, n_fits: int):
        self.every = -(-n_updates // HISTORY_POINTS)
        self.rows = -(-n_updates // self.every)
        self.loss, self.norm = np.zeros((n_fits, self.rows)), np.zeros((n_fits, self.rows))
        self.alpha, self.rate = np.full((n_fits, self.rows), np.nan), np.full((n_fits, self.rows), np.nan)
        self.seconds = np.zeros((n_fits, self.rows))
        self.last_update = np.minimum(np.arange(1, self.rows + 1) * self.every, n_updates)

    def add(self, first: int, loss: np.ndarray, norm: np.ndarray, alpha: np.ndarray, rate: np.ndarray, seconds: float) -> None:
        row = (first + np.arange(len(loss))) // self.every
        for k in range(loss.shape[1]):
            np.add.at(self.loss[k], row, loss[:, k])
            np.add.at(self.norm[k], row, norm[:, k])
        self.alpha[:, row], self.rate[:, row] = alpha.T, rate.T
        self.seconds[:, row] = seconds

    ARRAYS = ("loss", "norm", "alpha", "rate", "seconds")

    def dataset(
        self, fits: np.ndarray, validation: dict[int, np.ndarray], done: int, meaning: tuple[str, str], best: Sequence[np.ndarray] | None = None
    ) -> xr.Dataset:
        """Rows up to update ``done``, where the training ended; ``meaning`` and unit of what validation gave; ``best``: score and update of the best."""
        rows = max(1, -(-done // self.every))
        update = np.minimum(self.last_update[:rows], max(done, 1))
        size = np.diff(update, prepend=0)
        dims = ("fit", "update")
        loss, norm, alpha, rate, seconds = (getattr(self, name)[:, :rows] for name in self.ARRAYS)
        data = {
            "loss": (dims, loss / size, {"long_name": "loss with regularisers, mean over the updates of a row", "units": "variances"}),
            "alpha": (dims, alpha, {"long_name": "forcing strength", "units": "1"}),
            "learning_rate": (dims, rate, {"long_name": "learning rate", "units": "1"}),
            "gradient_norm": (dims, norm / size, {"long_name": "gradient norm before clipping, mean over the updates of a row", "units": "1"}),
            "seconds": (dims, seconds, {"long_name": "time since the start", "units": "s"}),
        }
        out = xr.Dataset(data, coords={"fit": fits, "update": update})
        if validation:
            values = np.full((len(fits), rows), np.nan)
            for update, score in validation.items():
                values[:, (update - 1) // self.every] = score
            out["validation"] = dims, values, {"long_name": meaning[0], "units": meaning[1]}
        if best is not None:
            out["best_validation"] = "fit", best[0], {"long_name": f"{meaning[0].split(',')[0]}, of the best model", "units": meaning[1]}
            out["best_update"] = "fit", best[1], {"long_name": "update at which the best model was validated", "units": "1"}
        return out
