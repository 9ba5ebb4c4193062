"""A short stretch of every channel, data on the left and the model's free run on the right."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynrnn.errors import check_int
from dynrnn.plot._orbits import GENERATED, MAX_CHANNELS, TRUTH, Tree, channels_note, common_limits, new_figure, plain, take_orbits, tidy


def plot_timeseries(tree: Tree, *, fit: Any = None, trial: int = 0, n_steps: int | None = None) -> Any:
    """The first ``n_steps`` of truth and free run with common limits, as a matplotlib ``Figure``; the first 6 channels.

    The free run is not a forecast: it need not follow the data in time, only look alike.

    Parameters
    ----------
    tree : results with ``observed_data`` and ``generated``; ``metrics`` chooses the fit, as in ``plot_attractor``.
    fit, trial : label of the fit; trial counted from 0.
    n_steps : by default about 20 of the data's mean periods, 100 to 3,000 steps.
    """
    orbits = take_orbits(tree, fit, trial)
    n = _stretch(orbits.truth) if n_steps is None else check_int("n_steps", n_steps, low=2)
    truth, run = orbits.truth[:n], orbits.run[:n]
    rows = min(orbits.truth.shape[1], MAX_CHANNELS)
    figure = new_figure(9.0, 1.15 * rows + 1.1)
    grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey="row")
    end = max(times[:n].max(initial=0.0) for times in (orbits.time, orbits.time_generated))
    for row, axes in enumerate(grid):
        low, high = common_limits(truth[:, row], run[:, row])
        for panel, values, times, colour in ((axes[0], truth, orbits.time, TRUTH), (axes[1], run, orbits.time_generated, GENERATED)):
            tidy(panel)
            panel.plot(times[: len(values)], values[:, row], color=colour, lw=0.9)
            panel.set_xlim(0, end)
            panel.set_ylim(low, high)
        if len(run) < min(n, orbits.generated.shape[1]):
            axes[1].text(0.5, 0.5, "diverged: not finite any more", ha="center", color="#a00", transform=axes[1].transAxes)
        axes[0].set_ylabel(plain(_shortened(orbits.names[row])), fontsize=8)
    grid[0, 0].set_title("data", fontsize=10)
    grid[0, 1].set_title(plain(f"model: {orbits.label}"), fontsize=10)
    for panel in grid[-1]:
        panel.set_xlabel(plain(orbits.time_label), fontsize=8)
    note = channels_note(orbits.truth.shape[1])
    if note:
        figure.supxlabel(note, fontsize=8, color="#555")
    return figure


def _stretch(truth: np.ndarray) -> int:
    """About 20 mean periods, by how often the first channel crosses its mean upwards."""
    above = truth[:, 0] > np.nanmean(truth[:, 0])
    crossings = int((above[1:] & ~above[:-1]).sum())
    return int(np.clip(20 * len(truth) / max(crossings, 1), min(100, len(truth)), min(3000, len(truth))))


def _shortened(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
