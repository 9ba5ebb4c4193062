"""A search's trials: their history, what each parameter did, the front between objectives, and which parameters mattered.

Trials come as data frames, one row a trial in order of number: a column ``state`` (complete, pruned, fail, running, waiting) and one for each objective.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dynrnn.errors import ArgumentError
from dynrnn.plot._orbits import GENERATED, OTHER, new_figure, plain, tidy

BEST, BAD = "#d55e00", "#b3261e"
_COLUMNS = 3
_MANY_DECADES = 20.0            # a positive objective that spans more than this factor is drawn on a logarithmic axis


def plot_study_history(trials: pd.DataFrame, directions: Mapping[str, str]) -> Any:
    """Every trial's objectives in order of number and the best so far, as a matplotlib ``Figure``; failed trials are crosses at the foot.

    Parameters
    ----------
    trials : a column ``state`` and one for each objective; NaN where a trial has no value.
    directions : ``minimize`` or ``maximize`` for each objective, which gets a panel.

    ArgumentError where there is no trial. O(trials).
    """
    _some(trials)
    figure = new_figure(9.0, 2.2 * len(directions) + 0.7)
    grid = figure.subplots(len(directions), 1, squeeze=False, sharex=True)[:, 0]
    state = trials["state"].to_numpy()
    at = trials.index.to_numpy()
    for axes, (name, way) in zip(grid, directions.items(), strict=True):
        tidy(axes)
        y = trials[name].to_numpy(dtype=float)
        seen = np.isfinite(y)
        complete, pruned, failed = (state == "complete") & seen, (state == "pruned") & seen, state == "fail"
        axes.plot(at[complete], y[complete], "o", color=OTHER, ms=4, label="trials")
        if pruned.any():
            axes.plot(at[pruned], y[pruned], "v", color="#999999", ms=4, label="pruned")
        if complete.any():
            best = np.minimum.accumulate(y[complete]) if way == "minimize" else np.maximum.accumulate(y[complete])
            axes.step(at[complete], best, where="post", color=GENERATED, lw=1.4, label="best so far")
        if failed.any():
            foot = axes.get_xaxis_transform()
            axes.plot(at[failed], np.full(failed.sum(), 0.03), "x", color=BAD, ms=5, transform=foot, label="failed", clip_on=False)
        _scale(axes, y[complete | pruned])
        if not (complete | pruned).any():
            axes.set_yticks([])
        axes.set_ylabel(_short(name), fontsize=9)
        axes.set_xlim(at.min() - 0.6, at.max() + 0.6)
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, grid[0])
    grid[-1].set_xlabel("trial", fontsize=9)
    return figure


def plot_study_slices(trials: pd.DataFrame, parameters: pd.DataFrame, objective: str, *, logarithmic: Collection[str] = (), best: int | None = None) -> Any:
    """An objective against each parameter, over complete and pruned trials, as a matplotlib ``Figure``.

    Parameters
    ----------
    trials : as for ``plot_study_history``. parameters : a column for each parameter, NaN or None where a trial does not have it; what is not a number
        is drawn at evenly spaced places.
    objective : the column of trials on the vertical axis. logarithmic : parameters whose axis is logarithmic. best : number of a trial to mark.

    A slice shows one parameter with all others varying: a flat cloud need not mean that the parameter does nothing. ArgumentError where there is nothing to
    draw. O(trials parameters).
    """
    _some(trials)
    y = trials[objective].to_numpy(dtype=float)
    state = trials["state"].to_numpy()
    if not np.isfinite(y).any() or not len(parameters.columns):
        raise ArgumentError("no trial has a value of this objective yet, or nothing is varied, so there is nothing to draw.")
    rows = -(-len(parameters.columns) // _COLUMNS)
    columns = min(_COLUMNS, len(parameters.columns))
    figure = new_figure(3.0 * columns + 0.6, 2.5 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.ravel()[len(parameters.columns):]:
        axes.set_axis_off()
    for axes, name in zip(grid.ravel(), parameters.columns):
        tidy(axes)
        x, ticks = _places(parameters[name].tolist())
        for kind, style in (("complete", {"marker": "o", "color": GENERATED}), ("pruned", {"marker": "v", "color": "#999999"})):
            shown = (state == kind) & np.isfinite(y) & np.isfinite(x)
            if shown.any():
                axes.plot(x[shown], y[shown], ls="", ms=4, alpha=0.7, label="trials" if kind == "complete" else kind, **style)
        if best is not None and best in trials.index:
            i = list(trials.index).index(best)
            axes.plot(x[i], y[i], "o", color=BEST, ms=8, mfc="none", mew=1.6, label="best")
        if ticks is not None:
            axes.set_xticks(range(len(ticks)), ticks, rotation=30 if max(map(len, ticks)) * len(ticks) > 24 else 0)
            axes.set_xlim(-0.5, len(ticks) - 0.5)
        elif name in logarithmic and (x[np.isfinite(x)] > 0).all():
            _scale(axes, x, always=True, way="x")
        _scale(axes, y)
        axes.set_xlabel(_short(name), fontsize=9)
    for axes in grid[:, 0]:
        axes.set_ylabel(_short(objective), fontsize=9)
    if best is not None or (state == "pruned").any():
        _legend(figure, grid[0, 0])
    return figure


def plot_study_front(trials: pd.DataFrame, objectives: Collection[str], front: Collection[int]) -> Any:
    """Complete trials by two objectives, or by every pair of several, with the front that no trial beats in all, as a matplotlib ``Figure``.

    trials : as for ``plot_study_history``. front : numbers of the trials on the front. ArgumentError for fewer than two objectives or no complete trial.
    """
    _some(trials)
    pairs = list(itertools.combinations(objectives, 2))
    complete = pd.DataFrame(trials.loc[(trials["state"] == "complete").to_numpy()])
    if not pairs or not len(complete):
        raise ArgumentError("a front is of two objectives or more and at least one complete trial.")
    rows = -(-len(pairs) // _COLUMNS)
    columns = min(_COLUMNS, len(pairs))
    size = 5.5 if columns == 1 else 3.2
    figure = new_figure(size * columns + 0.4, (4.0 if columns == 1 else 3.0) * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel()[len(pairs):]:
        axes.set_axis_off()
    chosen = pd.DataFrame(complete.loc[complete.index.isin(list(front))])
    for axes, (first, second) in zip(grid.ravel(), pairs):
        tidy(axes)
        axes.plot(complete[first], complete[second], "o", color=OTHER, ms=4, label="complete")
        ordered = chosen.sort_values(first)
        axes.plot(ordered[first], ordered[second], "o-" if len(pairs) == 1 else "o", color=GENERATED, ms=6, lw=0.9, drawstyle="steps-post", label="front")
        if len(chosen) <= 12:
            for number, row in ordered.iterrows():
                axes.annotate(str(number), (row[first], row[second]), xytext=(4, 4), textcoords="offset points", fontsize=7)
        axes.margins(0.1)
        _scale(axes, complete[first].to_numpy(dtype=float), way="x")
        _scale(axes, complete[second].to_numpy(dtype=float))
        axes.set_xlabel(_short(first), fontsize=9)
        axes.set_ylabel(_short(second), fontsize=9)
    _legend(figure, grid[0, 0])
    return figure


def plot_study_importances(importances: Mapping[str, Mapping[str, float]]) -> Any:
    """Shares in which parameters mattered for each objective, as bars: ``{objective: {parameter: share}}``; a matplotlib ``Figure``."""
    names = list(next(iter(importances.values()), {}))
    if not names:
        raise ArgumentError("there are no importances to draw: name at least one objective with one parameter.")
    figure = new_figure(9.0, 0.32 * len(names) * len(importances) + 0.6 * len(importances) + 0.5)
    grid = figure.subplots(len(importances), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (objective, shares) in zip(grid, importances.items(), strict=True):
        tidy(axes)
        ordered = sorted(shares.items(), key=lambda pair: pair[1])
        axes.barh([_short(name) for name, _ in ordered], [value for _, value in ordered], color=GENERATED, height=0.6)
        for at, (_, value) in enumerate(ordered):
            axes.annotate(f"{value:.2f}", (value, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_title(_short(objective), fontsize=9, loc="left")
    grid[-1].set_xlim(0, 1.08 * max(max(shares.values()) for shares in importances.values()) or 1.0)
    grid[-1].set_xlabel("importance (share)", fontsize=9)
    return figure


def _some(trials: pd.DataFrame) -> None:
    if not len(trials):
        raise ArgumentError("the study has no trial yet, so there is nothing to draw.")


def _places(given: list[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Numbers as they are; anything else by place among its values, with their names."""
    if all(value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool)) for value in given):
        return np.array([np.nan if value is None else float(value) for value in given]), None
    names = sorted({str(value) for value in given if not (isinstance(value, float) and np.isnan(value))})
    place = {name: i for i, name in enumerate(names)}
    return np.array([place.get(str(value), np.nan) for value in given], dtype=float), [_short(name, 14) for name in names]


def _scale(axes: Any, values: np.ndarray, always: bool = False, way: str = "y") -> None:
    """A logarithmic axis where values are positive and spread over decades; a few plain labels where they stay within one."""
    seen = values[np.isfinite(values)]
    if not seen.size or seen.min() <= 0 or not (always or seen.max() > _MANY_DECADES * seen.min()):
        return
    getattr(axes, f"set_{way}scale")("log")
    axis = getattr(axes, f"{way}axis")
    axis.set_minor_formatter("")
    if seen.max() <= 10 * seen.min():
        low, high = int(np.floor(np.log10(seen.min()))), int(np.ceil(np.log10(seen.max())))
        few, many = ([m * 10.0**k for k in range(low, high + 1) for m in digits] for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)))
        within = [[step for step in steps if seen.min() <= step <= seen.max()] for steps in (few, many)]
        inside = next((steps for steps in within if len(steps) > 1), within[1]) or [float(f"{np.median(seen):.2g}")]
        axis.set_ticks(inside, [f"{step:g}" for step in inside])


def _legend(figure: Any, axes: Any) -> None:
    """Above the panels, where it hides no point."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper right", ncols=len(handles), fontsize=8, frameon=False)


def _short(name: object, most: int = 32) -> str:
    text = str(name)
    return plain(text if len(text) <= most else text[: most - 1] + "…")
