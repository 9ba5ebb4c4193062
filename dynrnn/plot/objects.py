"""Fixed points and cycles over a training: when each is born and dies, and what it is meanwhile, below the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import FileFormatError, unknown_name
from dynrnn.plot._orbits import Tree, group, new_figure, tidy

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#222222")
_NAMES = ("attracting", "1 unstable direction", "2 unstable directions", "3 unstable directions", "4 or more")


def plot_bifurcations(tree: Tree | xr.Dataset, *, fit: Any = None, history: xr.Dataset | None = None) -> Any:
    """A line for every object, from its birth to its death, coloured by its unstable directions, with the loss above; a matplotlib ``Figure``.

    Dots are births and deaths, strokes changes of stability; border crossings that change nothing are not drawn. A cycle's line is dashed.

    Parameters
    ----------
    tree : results with the group ``bifurcations`` (and ``training``, whose loss is drawn), or the dataset of ``bifurcations`` itself.
    fit : label of the fit; the first by default. history : ``run.history``, where ``tree`` is a dataset.
    """
    data = group(tree, "bifurcations")
    if missing := {"fit", "n_objects", "n_events"} - set(data.variables):
        raise FileFormatError(f"the group /bifurcations has no {', '.join(sorted(missing))}: store what dr.analysis.bifurcations gives.")
    labels = data["fit"].values.tolist()
    label = labels[0] if fit is None else fit
    if label not in labels:
        raise unknown_name("fit", label, [str(one) for one in labels])
    row = data.isel(fit=labels.index(label))
    if history is None and not isinstance(tree, xr.Dataset):
        history = group(tree, "training")
    n, n_events = int(row.n_objects), int(row.n_events)
    if not n:
        raise FileFormatError(f"the group /bifurcations holds no object of fit {label}, so there is nothing to draw.")
    kind, at, number, after = (row[name].values[:n_events] for name in ("kind", "update", "number", "unstable_after"))
    last = float(history["update"].values[-1]) if history is not None else float(np.nanmax(at, initial=1.0))
    figure = new_figure(9.0, min(10.0, (1.6 if history is not None else 0.0) + 1.6 + 0.16 * n))
    if history is None:
        axes = figure.subplots()
    else:
        above, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1.2 + 0.16 * n])
        above.plot(history["update"].values, history["loss"].sel(fit=label).values, color=_COLOURS[-1], lw=0.9)
        above.set_yscale("log")
        above.set_ylabel("loss", fontsize=9)
        tidy(above)
    born = row.born.values[:n]
    for y, k in enumerate(np.argsort(np.nan_to_num(born, nan=-1.0), kind="stable")):
        mine = (number == k) & (kind != "birth") & (kind != "death")
        ends = [0.0 if np.isnan(born[k]) else born[k], *at[mine], last if np.isnan(row.died.values[k]) else row.died.values[k]]
        counts = [int(row.unstable.values[k]), *after[mine]]
        style = "-" if row.period.values[k] == 1 else "--"
        for begin, end, count in zip(ends[:-1], ends[1:], counts, strict=True):
            axes.plot([begin, end], [y, y], style, color=_COLOURS[min(count, 4)], lw=1.6, solid_capstyle="butt")
        changed = [x for x, a, b in zip(ends[1:-1], counts[:-1], counts[1:], strict=True) if a != b]
        axes.plot(changed, [y] * len(changed), "|", color="#222222", ms=6)
        dots = [x for x in (born[k], row.died.values[k]) if np.isfinite(x)]
        axes.plot(dots, [y] * len(dots), "o", color="#222222", ms=2.5)
    for count in sorted({min(int(c), 4) for c in [*row.unstable.values[:n], *after] if c >= 0}):
        axes.plot([], [], color=_COLOURS[count], lw=1.6, label=_NAMES[count])
    axes.set_xscale("symlog", linthresh=max(1.0, last / 100))
    axes.set_xlim(0, last)
    axes.set_ylim(-1, n)
    axes.set_yticks([])
    axes.set_ylabel("fixed points" + (" and cycles" if (row.period.values[:n] > 1).any() else ""), fontsize=9)
    axes.set_xlabel("update", fontsize=9)
    figure.legend(fontsize=8, frameon=False, ncols=5, loc="outside upper right", title=f"fit {label}", title_fontsize=9)
    tidy(axes)
    return figure
