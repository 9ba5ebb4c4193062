"""The attractor of the data and of the model, side by side within the same limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynrnn.plot._orbits import GENERATED, MAX_POINTS, TRUTH, Tree, common_limits, finite_part, group, new_figure, plain, take_orbits, tidy


def plot_attractor(tree: Tree, *, fit: Any = None, trial: int = 0, max_points: int = MAX_POINTS) -> Any:
    """Truth and free run in state space, as a matplotlib ``Figure``.

    One channel is drawn against its own past (the delay where the autocorrelation falls below 1/e), two and three as they are, more on the
    first three principal components *of the truth*, channels standardised by the truth. Both panels share their limits; a run that
    leaves them is cut, one that is no longer finite ends there.

    Parameters
    ----------
    tree : results with the groups ``observed_data`` and ``generated``; with ``metrics`` the fit with the median D_stsp is chosen; with
        ``fixed_points``, those of that fit which lie within the limits are marked in the model's panel (two or three channels).
    fit : label of the fit to show instead.
    trial : which trial, counted from 0.
    max_points : samples drawn of each, from the beginning.
    """
    orbits = take_orbits(tree, fit, trial, max_points)
    truth, run, labels = coordinates(orbits.truth, orbits.run, orbits.names, orbits.dt, orbits.units)
    n = truth.shape[1]
    figure = new_figure(9.0, 4.6 if n == 3 else 4.4)
    limits = [common_limits(truth[:, i], run[:, i]) for i in range(n)]
    for i, (values, colour, title) in enumerate([(truth, TRUTH, "data"), (run, GENERATED, f"model: {orbits.label}")]):
        axes = figure.add_subplot(1, 2, i + 1, projection="3d" if n == 3 else None)
        axes.set_title(plain(title), fontsize=10)
        # outside the common limits nothing is drawn, since 3-D axes do not clip
        inside = np.all([(values[:, k] >= low) & (values[:, k] <= high) for k, (low, high) in enumerate(limits)], axis=0)
        drawn = np.where(inside[:, None], values, np.nan)
        axes.plot(*drawn.T, color=colour, lw=0.4, alpha=0.85)
        # what has collapsed to a point would be an empty panel
        if len(values) and np.all(np.ptp(values[len(values) // 2 :], axis=0) < [1e-2 * (high - low) for low, high in limits]):
            axes.plot(*drawn[-1:].T, "o", color=colour, ms=5)
        if not np.isfinite(drawn).any():
            note = "left the data's range at once" if len(values) else "not finite"
            (axes.text2D if n == 3 else axes.text)(0.5, 0.5, note, ha="center", color="#a00", transform=axes.transAxes)
        for name, label, (low, high) in zip("xyz", labels, limits, strict=False):
            getattr(axes, f"set_{name}label")(plain(label), fontsize=9)
            getattr(axes, f"set_{name}lim")(low, high)
        if i == 1 and orbits.truth.shape[1] == n:
            _mark_fixed_points(axes, tree, orbits.fits[orbits.shown], limits)
        if n == 3:
            axes.tick_params(labelsize=7, pad=0)
            axes.set_box_aspect(None, zoom=0.84)
        else:
            tidy(axes)
    return figure


def _mark_fixed_points(axes: Any, tree: Tree, fit: Any, limits: list[tuple[float, float]]) -> None:
    """Stable ones full, others open."""
    if "fixed_points" not in (tree.children if isinstance(tree, xr.DataTree) else tree):
        return
    found = group(tree, "fixed_points")
    if fit not in found["fit"].values.tolist():
        return
    row = found.isel(fit=found["fit"].values.tolist().index(fit))
    x = row["observed"].values[(row.valid & ~row.virtual).values]
    stable = row.stability.values[(row.valid & ~row.virtual).values] == "sink"
    inside = np.all([(x[:, k] >= low) & (x[:, k] <= high) for k, (low, high) in enumerate(limits)], axis=0)
    for kind, fill, name in ((stable, "#a00", "attracting fixed point"), (~stable, "none", "unstable fixed point")):
        if (kind & inside).any():
            axes.plot(*x[kind & inside].T, "o", ms=6, mec="#a00", mfc=fill, mew=1.4, label=name)
    if inside.any():
        axes.legend(fontsize=8, frameon=False, loc="upper left")


def coordinates(
    truth: Float[np.ndarray, "time channel"], run: Float[np.ndarray, "time_run channel"], names: list[str], dt: float | None = 1.0, units: str = ""
) -> tuple[Float[np.ndarray, "time_a axis"], Float[np.ndarray, "time_b axis"], list[str]]:
    """Truth and run in the two or three coordinates to draw, chosen by the truth alone, and the axes' labels."""
    if truth.shape[1] == 1:
        lag = _delay(truth[:, 0])
        stated = f"{lag * dt:.3g} {units}" if units and dt is not None else f"{lag} steps"
        return _delayed(truth, lag), _delayed(run, lag), [f"{names[0]}(t)", f"{names[0]}(t - {stated})"]
    if truth.shape[1] <= 3:
        return truth, run, names
    mean, scale = np.nanmean(truth, axis=0), np.nanstd(truth, axis=0)
    scale[~(scale > 0)] = 1.0
    basis, shares = principal_basis((truth - mean) / scale)
    labels = [f"PC {i + 1} of the data ({100 * share:.0f} %)" for i, share in enumerate(shares)]
    return (truth - mean) / scale @ basis, (run - mean) / scale @ basis, labels


def principal_basis(values: Float[np.ndarray, "time channel"]) -> tuple[Float[np.ndarray, "channel 3"], Float[np.ndarray, " 3"]]:
    """The three leading principal directions, the largest loading of each positive, and their shares of the variance.

    Samples with a missing channel do not enter.
    """
    whole = values[np.isfinite(values).all(axis=1)]
    variances, directions = np.linalg.eigh(np.cov(whole, rowvar=False) if len(whole) > 1 else np.eye(values.shape[1]))
    basis = directions[:, ::-1][:, :3]
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(3)])
    return basis, variances[::-1][:3] / max(variances.sum(), np.finfo(float).tiny)


def _delayed(values: np.ndarray, lag: int) -> np.ndarray:
    return np.stack([values[lag:, 0], values[: len(values) - lag, 0]], axis=1)


def _delay(x: np.ndarray) -> int:
    """The first lag with an autocorrelation below 1/e, at most a tenth of the record."""
    x = finite_part(np.nan_to_num(x - np.nanmean(x))[:, None])[:, 0]
    spectrum = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    correlation = np.fft.irfft(spectrum)[: max(2, len(x) // 10)]
    below = np.flatnonzero(correlation < correlation[0] / np.e)
    return int(below[0]) if below.size else max(1, len(x) // 10)
