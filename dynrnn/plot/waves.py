"""Travelling waves: activity over time and position, its Fourier plane with the line of the velocity found, and the power of all velocities."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.errors import ArgumentError, FileFormatError, check_int, unknown_name
from dynrnn.plot._orbits import GENERATED, TRUTH, Tree, group, new_figure, tidy

_DECADES = 5                 # of power that the plane shows


def plot_waves(tree: Tree | xr.Dataset, *, fit: Any = None, trial: int = 0) -> Any:
    """Activity, its Fourier plane and the power by velocity of one fit, as a matplotlib ``Figure``.

    Left, activity over step and position, over its largest modulus; a wave is a slanted stripe. Middle, power over wavenumber and frequency, on a logarithmic
    scale of five decades; the dashed line, omega = -v k, has the velocity found. Right, the power on the lines of all candidates over their median.

    Parameters
    ----------
    tree : results with the group ``waves``, or the dataset of ``wave_velocity`` itself. fit : label of the fit; the first by default. trial : counted from 0.
    """
    data = group(tree, "waves")
    if not {"activity", "spectrum", "power", "velocity"} <= set(data.variables):
        raise FileFormatError("the group /waves holds no waves: store what wave_velocity gives.")
    labels = data["fit"].values.tolist()
    label = labels[0] if fit is None else fit
    if label not in labels:
        raise unknown_name("fit", label, [str(one) for one in labels])
    check_int("trial", trial, low=0, high=data.sizes["trial"] - 1)
    row = data.isel(fit=labels.index(label), trial=trial)
    velocity, power, plane = float(row["velocity"]), row["power"].values, row["spectrum"].values
    if not np.isfinite(velocity):
        raise ArgumentError(f"fit {label}, trial {trial} has no waves to show: {row['status'].item()}. Choose another one.")
    figure = new_figure(11.0, 3.6)
    left, middle, right = figure.subplots(1, 3)
    activity = row["activity"].values.T                                                 # position upwards, time to the right
    signed = activity.min() < 0
    limit = float(np.abs(activity).max())
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": "Greys", "vmin": 0.0, "vmax": limit}
    image = left.imshow(activity, origin="lower", aspect="auto", interpolation="nearest", **colours)
    figure.colorbar(image, ax=left, fraction=0.05, pad=0.02, label="activity").ax.tick_params(labelsize=7)
    left.set_xlabel("step", fontsize=9)
    left.set_ylabel("position" if data.attrs.get("ordered_by") == "position" else "unit, in the order given", fontsize=9)
    left.set_title("activity", fontsize=10)

    k, w = row["wavenumber"].values, row["frequency"].values
    shown = np.log10(np.maximum(plane, plane.max() * 10.0**-_DECADES))
    dk, dw = (k[1] - k[0]) / 2, (w[1] - w[0]) / 2
    edges = (k[0] - dk, k[-1] + dk, w[0] - dw, w[-1] + dw)
    image = middle.imshow(shown, origin="lower", aspect="auto", interpolation="nearest", cmap="magma", extent=edges)
    figure.colorbar(image, ax=middle, fraction=0.05, pad=0.02, label="log10 power").ax.tick_params(labelsize=7)
    for turn in range(-int(abs(velocity)) - 1, int(abs(velocity)) + 2):                 # frequencies beyond 1/2 come in at the other side
        middle.plot(k, turn - velocity * k, color="#5ec8ff", lw=1.2, ls=(0, (4, 3)))
    middle.set_xlim(edges[:2])
    middle.set_ylim(edges[2:])
    middle.set_xlabel("wavenumber k (cycles/position)", fontsize=9)
    middle.set_ylabel("frequency (cycles/step)", fontsize=9)
    middle.set_title(f"Fourier power; line of v = {velocity:.3g}", fontsize=10)

    candidates, median = row["candidate"].values, float(np.median(power))
    relative = power / max(median, 1e-12 * float(power.max()))
    right.plot(candidates, relative, color=GENERATED, lw=0.9)
    right.axvline(velocity, color=TRUTH, lw=0.8, ls=":")
    right.set_yscale("log")
    right.set_xlim(candidates[0], candidates[-1])
    right.set_xlabel("velocity (positions/step)", fontsize=9)
    right.set_ylabel("power over its median", fontsize=9)
    where = row["direction"].item()
    right.set_title(f"{where if where == 'standing' else f'towards {where} positions'}, contrast {float(row['contrast']):.3g}", fontsize=10)
    for axes in (left, middle, right):
        tidy(axes)
    note = f"fit {label}, trial {trial}"
    if "excess" in row and np.isfinite(float(row["excess"])):
        note += f"; excess over surrogates {float(row['excess']):.3g}, by chance up to {float(row['excess_null']):.3g}"
    figure.supxlabel(note, fontsize=8, color="#555")
    return figure
