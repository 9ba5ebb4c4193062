"""What the penalties of a solved readout cost: errors of one step on the training data and of forecasts on validation, all fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import FileFormatError
from dynrnn.plot._orbits import GENERATED, OTHER, Tree, group, new_figure, tidy

_ERRORS = (("training_error", "one step,\ntraining"), ("validation_error", "forecasts,\nvalidation"))


def plot_penalties(tree: Tree | xr.Dataset, *, fit: Any = None) -> Any:
    """Mean squared errors (variances of the channel) against the ridge penalties that were tried, as a matplotlib ``Figure``; filled: what each fit took.

    Parameters
    ----------
    tree : results with the group ``training`` of a solved readout, or that dataset itself (``run.history``).
    fit : label of one fit to show alone.
    """
    data = group(tree, "training")
    if "ridge" not in data:
        raise FileFormatError("the group /training holds no penalties, so there is nothing to draw; plot_training draws what was trained by descent.")
    data = data if fit is None else data.sel(fit=[fit])
    panels = [(name, label) for name, label in _ERRORS if np.isfinite(data[name].values).any()]
    figure = new_figure(9.0, 1.7 * len(panels) + 0.8)
    grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    ridge, chosen = data["ridge"].values, data["chosen"].values
    # fits side by side at each penalty, a tenth of a decade or less apart
    beside = 10 ** np.linspace(-0.05, 0.05, len(ridge) + 2)[1:-1, None]
    at = np.where(ridge > 0, ridge, ridge[ridge > 0].min() / 10 if (ridge > 0).any() else 1.0) * beside
    take = np.arange(len(ridge)), chosen
    for axes, (name, label) in zip(grid, panels, strict=True):
        tidy(axes)
        y = data[name].values
        axes.plot(at.T, y.T, "o-", color=OTHER, ms=5, lw=0.7, mfc="none")
        axes.plot(at[take], y[take], "o", color=GENERATED, ms=5, label="taken")
        axes.set_xscale("log")
        axes.set_yscale("log")
        positive = y[y > 0]
        if positive.size:
            axes.set_ylim(0.5 * positive.min(), 2 * positive.max())
        axes.set_ylabel(label, fontsize=9)
    grid[0].set_xlim(at.min() / 3, at.max() * 3)
    grid[0].legend(fontsize=8, frameon=False, loc="upper right")
    grid[0].set_title(f"{len(ridge)} fit{'s' if len(ridge) > 1 else ''}, solved", fontsize=10)
    grid[-1].set_xlabel("ridge penalty" + (" (0 at the left)" if (ridge == 0).any() else ""), fontsize=9)
    return figure
