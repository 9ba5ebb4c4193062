"""A slice through basins of attraction, coloured by where orbits end."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import FileFormatError, unknown_name
from dynrnn.plot._orbits import Tree, group, new_figure, tidy

_COLOURS = ("#9ecae1", "#fdbe85", "#a1d99b", "#dadaeb", "#fde0a9", "#f4b6c2", "#b8e0d8", "#d9c7a8", "#c7d4a8", "#c2c2c2")
_DIVERGED, _UNRESOLVED = "#555555", "#ffffff"
_MARKS = "os^Dv<>Pp*"
NAMED = 9                    # attractors with a line of their own in the legend


def plot_basins(tree: Tree | xr.Dataset, *, fit: Any = None) -> Any:
    """The basins in a plane, one colour an attractor, with the attractors' points; a matplotlib ``Figure``.

    Points are filled where the attractor lies in the plane (within a hundredth of the picture's size) and hollow where they are its projection. The legend
    names kind, period and share of the slice.

    Parameters
    ----------
    tree : results with the group ``basins``, or the dataset of ``basin_slice`` itself. fit : label of the fit; the first by default.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    data = group(tree, "basins")
    if "label" not in data or set(data["label"].dims) != {"fit", "y", "x"}:
        raise FileFormatError("the group /basins holds no slice: store what basin_slice gives, a label for every (fit, y, x).")
    labels = data["fit"].values.tolist()
    label = labels[0] if fit is None else fit
    if label not in labels:
        raise unknown_name("fit", label, [str(one) for one in labels])
    row = data.isel(fit=labels.index(label))
    x, y, where = row["x"].values, row["y"].values, row["label"].transpose("y", "x").values
    picture = np.empty((*where.shape, 3))
    picture[where == -1], picture[where == -2] = to_rgb(_DIVERGED), to_rgb(_UNRESOLVED)
    numbers = [int(a) for a in np.flatnonzero(row["valid"].values)]
    for a in numbers:
        picture[where == a] = to_rgb(_COLOURS[a % len(_COLOURS)])
    dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    width, height = x[-1] - x[0] + 2 * dx, y[-1] - y[0] + 2 * dy
    tall = float(np.clip(5.0 * height / width, 2.5, 7.0))
    figure = new_figure(8.6, tall + 0.8)
    axes = figure.subplots()
    axes.imshow(picture, origin="lower", extent=(x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy), aspect="auto", interpolation="nearest")
    handles: list[Any] = []
    for a in numbers:
        n, colour, mark = int(row["n_points"].values[a]), _COLOURS[a % len(_COLOURS)], _MARKS[a % len(_MARKS)]
        px, py, away = (row[name].values[a, :n] for name in ("location_x", "location_y", "off_plane"))
        cycle = int(row["period"].values[a]) > 0
        inside = away <= 0.01 * max(width, height)
        style = {"ls": "", "marker": mark if cycle else ".", "ms": 6 if cycle else 2.5, "mec": "#222222" if cycle else "#444444", "mew": 0.8, "clip_on": True}
        axes.plot(px[inside], py[inside], mfc="#222222", **style)
        axes.plot(px[~inside], py[~inside], mfc="none", **style)
        if len(handles) < NAMED:
            period = f", period {int(row['period'].values[a])}" if int(row["period"].values[a]) > 1 else ""
            handles.append(Patch(fc=colour, ec="#222222", lw=0.5, label=f"{a}: {row['kind'].values[a]}{period}, {_percent(float(row['share'].values[a]))}"))
    if len(numbers) > NAMED:
        handles.append(Line2D([], [], ls="", label=f"and {len(numbers) - NAMED} more"))
    for code, name, colour in ((-1, "diverges", _DIVERGED), (-2, "unresolved or other", _UNRESOLVED)):
        if (where == code).any():
            handles.append(Patch(fc=colour, ec="#222222", lw=0.5, label=f"{name}, {_percent(float((where == code).mean()))}"))
    axes.set_xlim(x[0] - dx, x[-1] + dx)
    axes.set_ylim(y[0] - dy, y[-1] + dy)
    axes.set_xlabel("first coordinate in the plane", fontsize=9)
    axes.set_ylabel("second coordinate in the plane", fontsize=9)
    tidy(axes)
    figure.legend(handles=handles, fontsize=8, frameon=False, loc="outside right upper", title=f"fit {label}, share of slice", title_fontsize=9)
    return figure


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
