"""Correlation dimension of orbits and recordings, with the range of radii that it is read from and its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.dimension.pairs import correlation_sums, pair_counts
from dynrnn.analysis.dimension.points import FEWEST, MEMORY, as_orbits, decay_time, embedded, resolution, unfit
from dynrnn.analysis.dimension.scaling import Region, straight_region
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.errors import ArgumentError, RecordingError, check_int

N_BLOCKS = 16            # stretches of the orbit that errors are from
SHORTEST = float(np.log(4.0))    # ratio of the largest to the smallest radius of a scaling region, at least, as a logarithm
FEWEST_PAIRS = 200       # pairs that the smallest radius must hold
LARGEST_SUM = 0.1        # correlation sum at the largest radius
ROUNDED = 5              # steps of rounding that a radius must hold
TOO_COARSE = "values are rounded too coarsely: no radius of five steps holds less than 0.1 of all pairs"


@dataclass(frozen=True)
class Sums:
    """Of one orbit: radii [n] in units of its channels' standard deviations, correlation sums [n], without one block each [B, n], and what they are from."""

    radii: np.ndarray
    sums: np.ndarray
    without: np.ndarray
    theiler: int
    n_points: int
    n_reference: int
    region: Region


def correlation_dimension(
    data: Any, *, variable: str = "observed", theiler: int | None = None, n_reference: int = 2_000, n_radii: int = 40, embedding_dim: int = 1, delay: int = 1,
    standardise: bool = True, tolerance: float = 0.1,
) -> xr.Dataset:
    """Correlation dimension D2 of every fit and trial, with a standard error and the scaling region that it is read from.

    Parameters
    ----------
    data: an orbit of ``generate``, a recording, or an array (time, feature), (trial, time, feature) or (fit, trial, time, feature). Samples with a missing
        entry are left out.
    variable: ``observed`` or ``latent``, of an orbit.
    theiler: pairs of points closer in time than so many samples do not count; by default 3 times the longest time in which a channel's autocorrelation
        falls to 1 / e.
    n_reference: points, evenly spaced in time, whose neighbours are counted among all points; all of them where there are fewer.
    n_radii: radii, evenly spaced in the logarithm.
    embedding_dim, delay: delay vectors of so many samples, ``delay`` apart, for data of few channels.
    standardise: every channel by its standard deviation first; the dimension is the same in the limit, the range of radii is not.
    tolerance: by how much, relative, local slopes may differ from the region's and still count as constant, where their errors are smaller.

    Returns
    -------
    Per (fit, trial): ``dimension``, ``standard_error`` (from blocks, and from where the region ends, combined), ``block_error`` and ``region_spread`` (the
    two alone),
    ``region_low`` and ``region_high`` (radii), ``theiler`` (samples), ``n_points``, ``n_reference``, ``status``. Per (fit, trial, radius): ``radius`` (standard
    deviations, or the data's unit), ``correlation_sum``, ``local_slope`` and ``local_slope_error``. No region: NaN, and the status says so.

    Method
    ------
    Grassberger and Procaccia 1983 (Physica D 9, 189): C(r), the share of pairs within r, grows as r^D2. Maximum norm, pairs close in time left out
    (Theiler 1986). Radii
    go from where 200 pairs are counted, or 5 steps of rounding where values repeat, to C = 0.1. The scaling region is the longest range, a factor of 4 at
    least, in
    which every local slope (of five radii) is known to ``tolerance``, stays within it or two standard errors of the range's slope, and the lower half's
    slope does
    so of the upper's. Errors: jackknife over 16 stretches of the orbit, of which all pairs go together; and the spread of slopes over ranges within the
    region of
    at least half its length. Neighbours by k-d trees: about O(n_reference sqrt(n_points) n_radii), memory O(n_points).

    Fails: noise fills all dimensions below its own size, and the region may be there; few data in many dimensions give too little (D2 above 2 log10
    n_points can not be
    seen, Eckmann and Ruelle 1992, Physica D 56, 185; the status says so); a stretch shorter than the slowest motion gives that of the stretch.

    Raises
    ------
    ArgumentError : fewer than 500 samples, options out of range. RecordingError : the only orbit is constant, a short cycle, not finite, or mostly missing.

    >>> rng = np.random.default_rng(0)
    >>> angle, height = rng.uniform(0, 2 * np.pi, 5_000), rng.uniform(-1, 1, 5_000)                  # points on a cylinder in three dimensions
    >>> found = correlation_dimension(np.stack([np.cos(angle), np.sin(angle), height], 1))
    >>> bool(abs(found.dimension.item() - 2) < 0.1)
    True
    """
    n_reference, n_radii = check_int("n_reference", n_reference, low=FEWEST), check_int("n_radii", n_radii, low=10)
    embedding_dim, delay = check_int("embedding_dim", embedding_dim, low=1), check_int("delay", delay, low=1)
    theiler = None if theiler is None else check_int("theiler", theiler, low=1)
    check_tolerance(tolerance)
    values, states, dt = as_orbits(data, variable)
    F, B = values.shape[:2]
    variables = {name: np.full((F, B), np.nan) for name in ("dimension", "standard_error", "block_error", "region_spread", "region_low", "region_high")}
    counted = {name: np.zeros((F, B), np.int64) for name in ("theiler", "n_points", "n_reference")}
    curves = {name: np.full((F, B, n_radii), np.nan) for name in ("radius", "correlation_sum", "local_slope", "local_slope_error")}
    status = np.full((F, B), "", dtype=object)
    for f, b in np.ndindex(F, B):
        found = sums_of(values[f, b], theiler, n_reference, n_radii, embedding_dim, delay, standardise, tolerance)
        if isinstance(found, str):
            status[f, b] = found
            continue
        region = found.region
        variables["dimension"][f, b], variables["standard_error"][f, b] = region.slope, region.standard_error
        variables["block_error"][f, b], variables["region_spread"][f, b] = region.error, region.spread
        counted["theiler"][f, b], counted["n_points"][f, b], counted["n_reference"][f, b] = found.theiler, found.n_points, found.n_reference
        curves["radius"][f, b], curves["correlation_sum"][f, b] = found.radii, found.sums
        curves["local_slope"][f, b], curves["local_slope_error"][f, b] = region.local, region.local_error
        if region.found:
            variables["region_low"][f, b], variables["region_high"][f, b] = found.radii[[region.first, region.last]]
        status[f, b] = _said(region, found.n_points)
    if not np.isfinite(curves["radius"]).any():
        f, b = 0, 0
        raise RecordingError(f"no orbit has distances that scale; fit {f}, trial {b}: {status[f, b]}. Give another stretch, or more samples.")
    return _dataset(variables, counted, curves, status, states, {
        "dt": dt, "embedding_dim": embedding_dim, "delay": delay, "standardise": int(standardise), "tolerance": float(tolerance),
        "norm": "maximum", "n_blocks": N_BLOCKS,
    })


def check_tolerance(tolerance: object) -> None:
    if not (isinstance(tolerance, float) and 0 < tolerance < 1):
        raise ArgumentError(f"tolerance must lie between 0 and 1, for example 0.1, got {tolerance!r}.")


@dataclass(frozen=True)
class Cloud:
    """Delay vectors [n, feature * embedding_dim] of one orbit, their times [n], which of them are reference points, the window, and the step of rounding."""

    points: np.ndarray
    time: np.ndarray
    reference: np.ndarray
    theiler: int
    step: float


def cloud_of(x: np.ndarray, theiler: int | None, n_reference: int, embedding_dim: int, delay: int, standardise: bool) -> Cloud | str:
    """Of one orbit [time, feature], or why it has no distances to count."""
    if np.isinf(x).any():
        return "orbit not finite"
    window = min(MEMORY * decay_time(x), len(x)) if theiler is None and np.isfinite(x).any() else theiler or 1
    if len(x) <= (embedding_dim - 1) * delay + FEWEST:
        return f"only {max(0, len(x) - (embedding_dim - 1) * delay)} delay vectors, fewer than {FEWEST}"
    x = embedded(x, embedding_dim, delay)
    time = np.flatnonzero(np.isfinite(x).all(1))
    x = x[time]
    bad = unfit(x)
    if bad:
        return bad
    if 10 * window > len(x):
        return f"too short for its memory: pairs closer in time than {window} samples do not count, and there are {len(x)}"
    scale = x.std(0)
    x = x[:, scale > 0]
    step = resolution(x / scale[scale > 0] if standardise else x)
    x = x / scale[scale > 0] if standardise else x
    # spread evenly, and no two with the same phase of a sampled cycle
    reference = np.unique(np.linspace(0, len(x) - 1, min(n_reference, len(x))).round().astype(int))
    return Cloud(x, time, reference, window, step)


def sums_of(
    x: np.ndarray, theiler: int | None, n_reference: int, n_radii: int, embedding_dim: int, delay: int, standardise: bool, tolerance: float
) -> Sums | str:
    """Of one orbit [time, feature], or why there is nothing to count."""
    cloud = cloud_of(x, theiler, n_reference, embedding_dim, delay, standardise)
    if isinstance(cloud, str):
        return cloud
    radii = radii_of(cloud, n_radii)
    if radii is None:
        return TOO_COARSE
    counts, total = pair_counts(cloud.points, cloud.time, cloud.reference, radii, cloud.theiler, N_BLOCKS)
    sums, without = correlation_sums(counts, total)
    with np.errstate(divide="ignore"):
        region = straight_region(np.log(radii), np.log(sums), np.log(without), SHORTEST, tolerance)
    return Sums(radii, sums, without, cloud.theiler, len(cloud.points), len(cloud.reference), region)


def radii_of(cloud: Cloud, n_radii: int) -> np.ndarray | None:
    """From where FEWEST_PAIRS are counted (or ROUNDED steps of rounding) to a correlation sum of LARGEST_SUM, from a coarse count."""
    coarse = float(np.ptp(cloud.points, axis=0).max()) * np.geomspace(1e-6, 1, 49)
    counts, total = pair_counts(cloud.points, cloud.time, cloud.reference, coarse, cloud.theiler, 1)
    pairs = counts[0, 0]
    log_low = np.interp(np.log(FEWEST_PAIRS), np.log(np.maximum(pairs, 1e-9)), np.log(coarse))
    log_high = np.interp(np.log(LARGEST_SUM * total[0, 0]), np.log(np.maximum(pairs, 1e-9)), np.log(coarse))
    low, high = max(float(np.exp(log_low)), ROUNDED * cloud.step), float(np.exp(log_high))
    return np.geomspace(low, high, n_radii) if high > 1.5 * low else None


def _said(region: Region, n_points: int) -> str:
    if not region.found:
        return "no scaling region: the local slope is nowhere constant over a factor of 4 in the radius"
    if region.slope > 2 * np.log10(n_points):
        return f"more dimensions than {n_points} points can show (2 log10 n): a lower bound at best"
    return ANALYSED


def _dataset(variables: dict, counted: dict, curves: dict, status: np.ndarray, states: xr.DataArray, attrs: dict) -> xr.Dataset:
    unit = {"units": "standard deviation" if attrs["standardise"] else "unit of the data"}
    names = {
        "dimension": ("correlation dimension", {"units": "1"}), "standard_error": ("its standard error, of blocks and of the region's ends", {"units": "1"}),
        "block_error": ("standard error over blocks", {"units": "1"}), "region_spread": ("standard deviation over shorter regions", {"units": "1"}),
        "region_low": ("smallest radius of the scaling region", unit), "region_high": ("largest radius of the scaling region", unit),
        "theiler": ("pairs closer in time do not count", {"units": "sample"}), "n_points": ("points", {"units": "1"}),
        "n_reference": ("reference points", {"units": "1"}),
        "radius": ("radius", unit), "correlation_sum": ("share of pairs within the radius", {"units": "1"}),
        "local_slope": ("slope at a radius", {"units": "1"}),
        "local_slope_error": ("its standard error", {"units": "1"}),
    }
    out = {name: (("fit", "trial"), value, {"long_name": names[name][0]} | names[name][1]) for name, value in (variables | counted).items()}
    out |= {name: (("fit", "trial", "radius_index"), value, {"long_name": names[name][0]} | names[name][1]) for name, value in curves.items()}
    out["status"] = (("fit", "trial"), status.astype(str), {"long_name": "what was done"})
    coords = {dim: states[dim].values if dim in states.coords else np.arange(states.sizes[dim]) for dim in ("fit", "trial")}
    return xr.Dataset(out, coords=coords, attrs=attrs)
