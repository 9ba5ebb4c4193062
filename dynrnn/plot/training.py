"""How training went: loss, validation, forcing and gradient norm over the updates, all fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import FileFormatError
from dynrnn.plot._orbits import GENERATED, OTHER, Tree, group, new_figure, plain, tidy

# variable, label, whether the axis is logarithmic
_PANELS = (
    ("loss", "loss", True),
    ("validation", "validation", True),
    ("alpha", "forcing alpha", False),
    ("gradient_norm", "gradient norm", True),
)
_POINTS = 400


def plot_training(tree: Tree | xr.Dataset, *, fit: Any = None) -> Any:
    """Loss, validation (where there was one), alpha and gradient norm against the update, as a matplotlib ``Figure``.

    Every fit is a thin line, their median a strong one; long histories are drawn as means over equal numbers of updates, which the axis
    names. A cross marks where a fit that was stopped has its last value.

    Parameters
    ----------
    tree : results with the group ``training``, or that dataset itself (``run.history``).
    fit : label of one fit to show alone.
    """
    data = group(tree, "training")
    if fit is not None:
        data = data.sel(fit=[fit])
    panels = [(name, label, log) for name, label, log in _PANELS if name in data and np.isfinite(data[name].values.astype(float)).any()]
    if not panels:
        raise FileFormatError("the group /training holds no history (loss, alpha, gradient_norm), so there is nothing to draw.")
    figure = new_figure(9.0, 1.7 * len(panels) + 0.8)
    grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    width = max(1, -(-data.sizes["update"] // _POINTS))
    n_fits = data.sizes["fit"]
    stopped = [str(s).startswith(("stopped", "diverged")) for s in data["status"].values] if "status" in data else [False] * n_fits
    update = data["update"].values if "update" in data.coords else np.arange(data.sizes["update"])
    for axes, (name, label, log) in zip(grid, panels, strict=True):
        tidy(axes)
        values = data[name].transpose("fit", "update").values.astype(float)
        # validation is scored now and then: its points are drawn as they are
        x, y = (update, values) if name == "validation" else (_means(update[None].astype(float), width)[0], _means(values, width))
        for k in range(n_fits):
            seen = np.isfinite(y[k])
            style: dict[str, Any] = {"color": OTHER, "lw": 0.7} if n_fits > 1 else {"color": GENERATED, "lw": 1.2}
            axes.plot(x[seen], y[k][seen], label="fits" if k == 0 else None, **style)
            if stopped[k] and seen.any() and not seen[-1]:
                axes.plot(x[seen][-1], y[k][seen][-1], "x", color="#a00", ms=7, label="stopped" if k == stopped.index(True) else None)
        if n_fits > 1:
            filled = np.isfinite(y).any(axis=0)
            axes.plot(x[filled], np.nanmedian(y[:, filled], axis=0), color=GENERATED, lw=1.6, label="median")
        positive = y[np.isfinite(y) & (y > 0)]
        if log and positive.size:
            axes.set_yscale("log")
            if positive.max() > 10 * positive.min():
                axes.yaxis.set_minor_formatter("")
        elif np.nanmax(y) == np.nanmin(y):
            axes.set_ylim(0, 1.2 * np.nanmax(y) or 1.0)
        axes.set_ylabel(label, fontsize=9)
        axes.margins(x=0.01)
    if n_fits > 1 or any(stopped):
        grid[0].legend(fontsize=8, frameon=False, ncols=3, loc="upper right")
    refused = int(data["refused"].sum()) if "refused" in data else 0
    grid[0].set_title(plain(f"{n_fits} fit{'s' if n_fits > 1 else ''}, {refused} refused steps, {sum(stopped)} stopped"), fontsize=10)
    grid[-1].set_xlabel("update" + (f" (means over {width})" if width > 1 else ""), fontsize=9)
    return figure


def _means(values: np.ndarray, width: int) -> np.ndarray:
    """Means over blocks of ``width`` along the last axis, without what is not finite; a block with nothing stays NaN."""
    padded = np.full((len(values), -(-values.shape[1] // width) * width), np.nan)
    padded[:, : values.shape[1]] = np.where(np.isfinite(values), values, np.nan)
    blocks = padded.reshape(len(values), -1, width)
    counts = np.isfinite(blocks).sum(axis=2)
    return np.where(counts > 0, np.nansum(blocks, axis=2) / np.maximum(counts, 1), np.nan)
