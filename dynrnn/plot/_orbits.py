"""What the plots of orbits share: groups of a tree, the fit to show, its channels, and common limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynrnn.errors import ArgumentError, FileFormatError, unknown_name

TRUTH, GENERATED, OTHER = "#222222", "#0072b2", "#74add1"
MAX_CHANNELS = 6
MAX_POINTS = 20_000

Tree = xr.DataTree | Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Orbits:
    """One true trial and the free runs of every fit beside it."""

    truth: Float[np.ndarray, "time channel"]
    generated: Float[np.ndarray, "fit time_generated channel"]
    fits: list[Any]
    shown: int
    why: str
    names: list[str]
    time: Float[np.ndarray, " time"]
    time_generated: Float[np.ndarray, " time_generated"]
    """In units where the recording has any, else in samples; of uneven samples the sums of their elapsed times."""
    dt: float | None
    """None where samples are uneven."""
    units: str

    @property
    def run(self) -> Float[np.ndarray, "time_generated channel"]:
        """The run of the fit shown, up to where it is no longer finite."""
        return finite_part(self.generated[self.shown])

    @property
    def label(self) -> str:
        return f"fit {self.fits[self.shown]}{self.why}"

    @property
    def time_label(self) -> str:
        return f"time ({self.units})" if self.units else "step" if self.dt is not None else "time"


def group(tree: Tree | xr.Dataset, name: str) -> xr.Dataset:
    """A group of results; FileFormatError if there is none. A dataset that is no tree stands for the group itself. ArgumentError for what is neither."""
    if isinstance(tree, xr.Dataset):
        return tree
    if not isinstance(tree, xr.DataTree | Mapping):
        raise ArgumentError(f"a plot takes results, {{{name!r}: dataset, ...}} or what dr.read_results(folder) gives, got {type(tree).__name__}.")
    groups = tree.children if isinstance(tree, xr.DataTree) else tree
    if name not in groups:
        raise FileFormatError(f"the results hold no group /{name}. Compute it and store it with run.store({name}=...).")
    found = groups[name]
    return found.to_dataset() if isinstance(found, xr.DataTree) else found


def truth_group(tree: Tree | xr.Dataset) -> str:
    """Where the truth is: the test recording if it was stored, since what was trained on may carry noise, else the training data."""
    groups = () if isinstance(tree, xr.Dataset) else tree.children if isinstance(tree, xr.DataTree) else tree
    return "test_data" if "test_data" in groups else "observed_data"


def take_orbits(tree: Tree, fit: Any = None, trial: int = 0, max_points: int | None = None) -> Orbits:
    """The orbits that a plot shows: of the fit asked for, or of the fit with the median ``d_stsp``; ``trial`` counts from 0.

    At most ``max_points`` samples of each are taken, from the beginning.
    """
    if isinstance(tree, xr.Dataset):
        raise ArgumentError("orbits are drawn beside their data: give {'observed_data': recording, 'generated': orbit}, or what dr.read_results reads.")
    free = group(tree, "generated")
    recording = group(tree, truth_group(tree))
    truth = recording["observed"]
    (dim,) = set(truth.dims) - {"trial", "time"}
    if set(free["observed"].dims) != {"fit", "trial", "time", dim}:
        raise ArgumentError(f"generated 'observed' has dims {free['observed'].dims}, expected fit, trial, time, {dim!r} like the data.")
    if not 0 <= trial < truth.sizes["trial"]:
        raise ArgumentError(f"trial {trial} does not exist: the recording has {truth.sizes['trial']}, counted from 0.")
    length = int(recording["n_time"][trial]) if "n_time" in recording else truth.sizes["time"]
    stop = length if max_points is None else min(length, max_points)
    values = truth.isel(trial=trial, time=slice(0, stop)).transpose("time", dim).values.astype(float)
    # trials that were not generated are compared with the first one that was
    at = trial if trial < free.sizes["trial"] else 0
    runs = free["observed"].isel(trial=at, time=slice(0, max_points)).transpose("fit", "time", dim).values.astype(float)
    names = [str(name) for name in recording[dim].values] if dim in recording.coords else [f"{dim} {i}" for i in range(truth.sizes[dim])]
    if dim in recording.coords and recording[dim].dtype.kind in "iu":
        names = [f"{dim} {name}" for name in names]
    fits = free["fit"].values.tolist() if "fit" in free.coords else list(range(free.sizes["fit"]))
    shown, why = _choose(tree, fits, fit)
    uneven = "elapsed" in recording
    dt, units = None if uneven else float(recording.attrs.get("dt", 1.0)), str(recording.attrs.get("units", "") or "")
    step = dt if dt is not None and units else 1.0
    times, times_run = _times(recording, trial, len(values), step), _times(free, at, runs.shape[1], step)
    return Orbits(values, runs, fits, shown, why, names, times, times_run, dt, units)


def _times(data: xr.Dataset, trial: int, n: int, step: float) -> np.ndarray:
    """The time of each of ``n`` samples since the first."""
    if "elapsed" not in data:
        return step * np.arange(n)
    gaps = data["elapsed"].values[trial, :n].astype(float)
    return np.cumsum(np.where(np.arange(n) > 0, gaps, 0.0))


def _choose(tree: Tree, fits: Sequence[Any], fit: Any) -> tuple[int, str]:
    if fit is not None:
        if fit not in fits:
            raise unknown_name("fit", fit, [str(item) for item in fits])
        return fits.index(fit), ""
    if len(fits) == 1:
        return 0, ""
    try:
        scores = group(tree, "metrics")["d_stsp"]
    except (FileFormatError, KeyError):
        return 0, f", the first of {len(fits)}"
    labels = scores["fit"].values.tolist() if "fit" in scores.coords else list(range(scores.sizes["fit"]))
    ranked = [labels[i] for i in np.argsort(np.nan_to_num(scores.values, nan=np.inf), kind="stable") if labels[i] in fits]
    if not ranked:
        return 0, f", the first of {len(fits)}"
    return fits.index(ranked[(len(ranked) - 1) // 2]), f", median D_stsp of {len(fits)} fits"


def finite_part(values: Float[np.ndarray, "time_run channel_run"]) -> Float[np.ndarray, "time_kept channel_run"]:
    """The samples before the first one that is not finite."""
    bad = ~np.isfinite(values).all(axis=1)
    return values[: int(bad.argmax())] if bad.any() else values


def common_limits(truth: np.ndarray, run: np.ndarray) -> tuple[float, float]:
    """Limits for truth and run alike: all of the truth, and of the run what lies within half the truth's range around it.

    >>> common_limits(np.array([0.0, 10.0]), np.array([1e9]))
    (-0.75, 15.75)
    """
    seen = truth[np.isfinite(truth)]
    if not seen.size:
        return -1.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    reach = (high - low) or max(abs(high), 1.0)
    kept = run[np.isfinite(run)]
    if kept.size:
        low = min(low, max(float(kept.min()), low - 0.5 * reach))
        high = max(high, min(float(kept.max()), high + 0.5 * reach))
    pad = 0.05 * ((high - low) or reach)
    return low - pad, high + pad


def new_figure(width: float, height: float) -> Any:
    """A figure of its own: no pyplot, no window, nothing to close."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def channels_note(n_channels: int) -> str:
    return f"first {MAX_CHANNELS} of {n_channels} channels" if n_channels > MAX_CHANNELS else ""
