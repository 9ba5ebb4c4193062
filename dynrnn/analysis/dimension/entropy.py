"""Correlation entropy K2 of orbits and recordings: a lower bound of the metric entropy that needs no model, beside the upper one by exponents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.dimension.correlation import N_BLOCKS, TOO_COARSE, check_tolerance, cloud_of, radii_of
from dynrnn.analysis.dimension.pairs import correlation_sums, pair_counts
from dynrnn.analysis.dimension.points import FEWEST, as_orbits, decay_time
from dynrnn.analysis.dimension.scaling import jackknife, slope_of, straight_region
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.errors import RecordingError, check_int

SHORTEST = 4.0                   # delays over which the sums must fall evenly
LONG_ENOUGH = float(np.log(1.5))  # ratio of the largest to the smallest radius at which the entropy is the same, as a logarithm


@dataclass(frozen=True)
class Entropy:
    """Of one orbit, a step: sums [m, n], entropy and error [n] at each radius, the range of radii (-1: none), and the estimate with its errors."""

    radii: np.ndarray
    sums: np.ndarray
    at: np.ndarray
    at_error: np.ndarray
    first: int
    last: int
    value: float
    error: float
    spread: float
    theiler: int
    delay: int


def correlation_entropy(
    data: Any, *, variable: str = "observed", max_dim: int = 12, delay: int | None = None, theiler: int | None = None, n_reference: int = 2_000,
    n_radii: int = 24, standardise: bool = True, tolerance: float = 0.1,
) -> xr.Dataset:
    """Correlation entropy K2 of every fit and trial, per unit of time, with a standard error.

    K2 is at most the metric entropy, which is at most the sum of the positive exponents (``entropy`` of :func:`lyapunov_spectrum`): with both, it lies
    between. Above zero it speaks for chaos (or noise, which has no K2: it grows without end as radii shrink, and is told so).

    Parameters
    ----------
    data, variable, theiler, n_reference, n_radii, standardise: as in :func:`correlation_dimension`.
    max_dim: the longest delay vectors, in samples of all channels. delay: samples between their entries; by default 1 where neighbouring samples are
        unlike (maps), else a third of the time in which the autocorrelation falls to 1 / e.
    tolerance: by how much, relative, the entropy may differ over the range of lengths and of radii that it is read from.

    Returns
    -------
    Per (fit, trial): ``entropy`` (nat per unit of dt), ``standard_error`` (``block_error`` from blocks of the orbit and ``region_spread`` over radii,
    combined), ``region_low`` and ``region_high`` (radii), ``theiler``, ``delay`` (samples), ``status``. Per (fit, trial, radius_index): ``radius``,
    ``entropy_at`` and ``entropy_at_error``; and ``correlation_sum`` (fit, trial, embedding, radius_index). Without a range: NaN, and the status says so.

    Method
    ------
    Grassberger and Procaccia 1983 (Phys. Rev. A 28, 2591): C_m(r) of vectors of m entries falls as exp(-m delay dt K2). Maximum norm, pairs close in
    time left out. At each radius the slope over the longest range of m between max_dim / 2 and max_dim, four steps at least, in which it is constant by
    the rule of :func:`correlation_dimension`; over the longest range of radii, a factor of 1.5 at least, in which these agree, the mean. Jackknife over 16
    stretches. About O(max_dim n_reference sqrt(n_points) n_radii), memory O(n_points max_dim).

    Fails: vectors too short to separate futures give too much (compare another max_dim), and longer ones need exp(K2 delay dt) times as many points for every
    entry more; too few leave no range.

    Raises
    ------
    ArgumentError : fewer than 500 samples, options out of range. RecordingError : no orbit has distances that scale.

    >>> x = np.empty(4_000); x[0] = 0.3123
    >>> for i in range(3_999): x[i + 1] = x[i] / 0.3 if x[i] < 0.3 else (1 - x[i]) / 0.7                # a skew tent: K2 = -ln(.3^2 + .7^2) = .545
    >>> found = correlation_entropy(x[:, None], max_dim=8)
    >>> bool(abs(found.entropy.item() - 0.545) < 0.05)
    True
    """
    n_reference, n_radii = check_int("n_reference", n_reference, low=FEWEST), check_int("n_radii", n_radii, low=10)
    max_dim = check_int("max_dim", max_dim, low=2 * int(SHORTEST))
    delay = None if delay is None else check_int("delay", delay, low=1)
    theiler = None if theiler is None else check_int("theiler", theiler, low=1)
    check_tolerance(tolerance)
    values, states, dt = as_orbits(data, variable)
    F, B = values.shape[:2]
    variables = {name: np.full((F, B), np.nan) for name in ("entropy", "standard_error", "block_error", "region_spread", "region_low", "region_high")}
    counted = {name: np.zeros((F, B), np.int64) for name in ("theiler", "delay")}
    curves = {name: np.full((F, B, n_radii), np.nan) for name in ("radius", "entropy_at", "entropy_at_error")}
    sums = np.full((F, B, max_dim, n_radii), np.nan)
    status = np.full((F, B), "", dtype=object)
    for f, b in np.ndindex(F, B):
        found = entropy_of(values[f, b], max_dim, delay, theiler, n_reference, n_radii, standardise, tolerance)
        if isinstance(found, str):
            status[f, b] = found
            continue
        time = found.delay * dt
        curves["radius"][f, b], curves["entropy_at"][f, b], curves["entropy_at_error"][f, b] = found.radii, found.at / time, found.at_error / time
        counted["theiler"][f, b], counted["delay"][f, b], sums[f, b] = found.theiler, found.delay, found.sums
        status[f, b] = ANALYSED
        if found.first < 0:
            status[f, b] = "no range: the entropy is nowhere the same over a factor of 1.5 in the radius: noise, no chaos, or too few samples"
            continue
        variables["entropy"][f, b], variables["block_error"][f, b], variables["region_spread"][f, b] = np.array([found.value, found.error, found.spread]) / time
        variables["standard_error"][f, b] = np.hypot(found.error, found.spread) / time
        variables["region_low"][f, b], variables["region_high"][f, b] = found.radii[[found.first, found.last]]
    if not np.isfinite(curves["radius"]).any():
        raise RecordingError(f"no orbit has distances that scale; fit 0, trial 0: {status[0, 0]}. Give another stretch, or more samples.")
    return _dataset(variables, counted, curves, sums, status, states, {
        "dt": dt, "max_dim": max_dim, "standardise": int(standardise), "tolerance": float(tolerance), "norm": "maximum", "n_blocks": N_BLOCKS,
    })


def entropy_of(
    x: np.ndarray, max_dim: int, delay: int | None, theiler: int | None, n_reference: int, n_radii: int, standardise: bool, tolerance: float
) -> Entropy | str:
    """Of one orbit [time, feature], or why there is none."""
    if delay is None:
        delay = max(1, decay_time(x) // 3) if np.isfinite(x).any() else 1
    cloud = cloud_of(x, theiler, n_reference, max_dim, delay, standardise)
    if isinstance(cloud, str):
        return cloud
    radii = radii_of(cloud, n_radii)                                            # at which the longest vectors still have neighbours
    if radii is None:
        return f"{TOO_COARSE}, or max_dim is too large"
    D = cloud.points.shape[1] // max_dim
    sums, without = np.empty((max_dim, n_radii)), np.empty((max_dim, N_BLOCKS, n_radii))
    for m in range(1, max_dim + 1):
        part = np.ascontiguousarray(cloud.points[:, : m * D])
        sums[m - 1], without[m - 1] = correlation_sums(*pair_counts(part, cloud.time, cloud.reference, radii, cloud.theiler, N_BLOCKS))
    at, error, blocks = np.full(n_radii, np.nan), np.full(n_radii, np.nan), np.full((n_radii, N_BLOCKS), np.nan)
    # short vectors do not tell futures apart yet, and their sums fall faster
    lengths, longer = np.arange(max_dim // 2, max_dim + 1.0), slice(max_dim // 2 - 1, None)
    with np.errstate(divide="ignore"):
        for i in range(n_radii):
            region = straight_region(lengths, -np.log(sums[longer, i]), -np.log(without[longer, :, i].T), SHORTEST, tolerance)
            if region.found:
                even = slice(region.first, region.last + 1)
                at[i], error[i] = region.slope, region.error
                blocks[i] = slope_of(lengths[even], -np.log(without[longer][even, :, i].T))
    first, last = _constant(np.log(radii), at, error, tolerance)
    if first < 0:
        return Entropy(radii, sums, at, error, -1, -1, np.nan, np.nan, np.nan, cloud.theiler, delay)
    same = slice(first, last + 1)
    value, spread = float(at[same].mean()), float(at[same].std())
    return Entropy(radii, sums, at, error, first, last, value, float(jackknife(blocks[same].mean(0))), spread, cloud.theiler, delay)


def _constant(x: np.ndarray, y: np.ndarray, error: np.ndarray, tolerance: float) -> tuple[int, int]:
    """First and last place of the longest range of x, LONG_ENOUGH at least, in which y is its mean within the tolerance or two errors; -1 if none."""
    best, chosen = LONG_ENOUGH - 1e-9, (-1, -1)
    for a in range(len(x)):
        for b in range(a + 2, len(x)):
            part = slice(a, b + 1)
            if x[b] - x[a] <= best or not np.isfinite(y[part]).all():
                continue
            mean = float(y[part].mean())
            drift = abs(float(y[a : (a + b) // 2 + 1].mean() - y[(a + b) // 2 : b + 1].mean()))
            if (np.abs(y[part] - mean) <= np.maximum(tolerance * mean, 2 * error[part])).all() and drift <= tolerance * mean:
                best, chosen = float(x[b] - x[a]), (a, b)
    return chosen


def _dataset(
    variables: dict, counted: dict, curves: dict, sums: np.ndarray, status: np.ndarray, states: xr.DataArray, attrs: dict
) -> xr.Dataset:
    unit = {"units": "standard deviation" if attrs["standardise"] else "unit of the data"}
    per_time = {"units": "nat / time of dt"}
    names = {
        "entropy": ("correlation entropy K2", per_time), "standard_error": ("its standard error, of blocks and over radii", per_time),
        "block_error": ("standard error over blocks", per_time), "region_spread": ("standard deviation over radii", per_time),
        "region_low": ("smallest radius of the range", unit), "region_high": ("largest radius of the range", unit),
        "theiler": ("pairs closer in time do not count", {"units": "sample"}), "delay": ("between entries of a vector", {"units": "sample"}),
        "radius": ("radius", unit), "entropy_at": ("entropy at a radius", per_time), "entropy_at_error": ("its standard error", per_time),
    }
    out: dict[str, Any] = {name: (("fit", "trial"), value, {"long_name": names[name][0]} | names[name][1]) for name, value in (variables | counted).items()}
    out |= {name: (("fit", "trial", "radius_index"), value, {"long_name": names[name][0]} | names[name][1]) for name, value in curves.items()}
    out["correlation_sum"] = (("fit", "trial", "embedding", "radius_index"), sums, {"long_name": "share of pairs within the radius", "units": "1"})
    out["status"] = (("fit", "trial"), status.astype(str), {"long_name": "what was done"})
    coords = {dim: states[dim].values if dim in states.coords else np.arange(states.sizes[dim]) for dim in ("fit", "trial")}
    return xr.Dataset(out, coords=coords | {"embedding": np.arange(1, attrs["max_dim"] + 1)}, attrs=attrs)
