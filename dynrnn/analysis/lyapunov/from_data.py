"""The largest Lyapunov exponent of a recording, without a model, and whether its divergence is more than that of a linear process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.dimension.correlation import check_tolerance
from dynrnn.analysis.dimension.points import FEWEST, MEMORY, as_orbits, decay_time, embedded, unfit
from dynrnn.analysis.dimension.scaling import Region, slope_of, straight_region
from dynrnn.analysis.lyapunov.divergence import block_means, divergence, false_neighbours, neighbours_of
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.analysis.reconstruction.surrogates import phase_surrogate
from dynrnn.errors import ArgumentError, RecordingError, check_int
from dynrnn.streams import check_random_state

N_BLOCKS = 16            # stretches of reference points that errors are from
N_RECORDS = 60           # times at which the divergence is looked at, at most
HORIZON = 20             # of it, in decay times of the autocorrelation
MOST_DELAYS = 10         # that are chosen without being asked for
GROWTH = 1.0             # ln by which distances must grow over a region: an e-folding


NUMBERS = {
    "exponent": "largest Lyapunov exponent",
    "standard_error": "its standard error, of blocks and of the region's ends",
    "region_start": "time at which the linear region starts",
    "region_end": "time at which it ends",
    "surrogate_exponent": "median slope of the surrogates over the same times", "p_slope": "rank of the slope from above",
    "p_level": "rank of the mean ln distance from below",
}
COUNTS = {
    "embedding_dim": "samples of a delay vector", "delay": "samples between them", "theiler": "neighbours are so many samples apart",
    "n_reference": "points followed",
}
CURVES = {
    "record_time": "time since they were neighbours", "divergence": "mean ln distance", "local_slope": "its slope",
    "local_slope_error": "standard error of the slope",
}


@dataclass(frozen=True)
class Followed:
    """Of one orbit: time steps, curve, its region and what it was measured with."""

    steps: np.ndarray
    curve: np.ndarray
    region: Region
    theiler: int
    embedding_dim: int
    delay: int
    n_reference: int


def largest_exponent_from_data(
    recording: Any, *, variable: str = "observed", dt: float | None = None, embedding_dim: int | None = None, delay: int | None = None,
    theiler: int | None = None, horizon: int | None = None, n_reference: int = 2_000, n_neighbours: int = 4, n_surrogates: int = 19, tolerance: float = 0.15,
    standardise: bool = True, random_state: int | None = 0,
) -> xr.Dataset:
    """Largest Lyapunov exponent of every fit and trial from the divergence of neighbours, beside that of surrogates without dynamics of their own.

    Assumes that the data are a stationary, deterministic orbit, nearly free of noise, that channels (or delay vectors) tell its states apart, and that
    it comes back to near where it was many times. Noise hides distances below its size; with a few per cent of it there is often no region left.

    Parameters
    ----------
    recording: a recording, an orbit of ``generate`` or an array (time, feature), (trial, time, feature), (fit, trial, time, feature); no missing samples.
    variable: ``observed`` or ``latent``, of an orbit. dt: time between samples; the recording's own by default.
    embedding_dim, delay: delay vectors of so many samples, ``delay`` apart. By default several channels are taken as they are, a single one in as many delays
        as leave at most 1 % false neighbours (10 at most), ``delay`` the time in which its autocorrelation falls to 1 / e.
    theiler: neighbours are at least so many samples apart; 3 of those times by default. horizon: samples that neighbours are followed; 20 of them.
    n_reference: points whose ``n_neighbours`` nearest are followed, evenly spaced in time.
    n_surrogates: phase-randomised surrogates; 19 make the smallest possible p 0.05. 0 for none, and no verdict.
    tolerance: of the linear region, as in :func:`correlation_dimension`. standardise: every channel by its standard deviation first.

    Returns
    -------
    Per (fit, trial): ``exponent`` (nat per unit of time), ``standard_error`` (blocks of the orbit and ends of the region combined), ``region_start`` and
    ``region_end`` (time), ``surrogate_exponent`` (median slope over the same times); ``p_slope``: rank of the slope among those of the surrogates, from above;
    ``p_level``: rank of the mean ln distance over the region, from below, which tests predictability; ``verdict`` and its ``evidence``; ``embedding_dim``,
    ``delay``, ``theiler``, ``n_reference``, ``status``.
    Curves (fit, trial, record): ``record_time``, ``divergence`` (mean ln distance), ``local_slope``, ``local_slope_error``, padded with NaN; (fit, trial,
    surrogate, record): ``surrogate_divergence``.
    The verdict is ``chaotic`` only if there is a linear region over which distances grow e-fold at least, its slope is above zero by two standard errors, and
    neither rank is above 0.05; else ``not shown``, with the reason as evidence.

    Method
    ------
    Rosenstein, Collins and De Luca 1993 (Physica D 65, 117) and Kantz 1994 (Phys. Lett. A 185, 77): the mean of ln |x_{i+k} - x_{j+k}| over neighbours (i, j)
    grows as lambda k dt between the time in which differences turn to the first direction and that at which they reach the attractor's size. The region is
    found by the rule of :func:`correlation_dimension`; surrogates as in Theiler et al. 1992 (Physica D 58, 77). By k-d trees, O(n_surrogates n_reference
    (theiler log T + n_neighbours records)), memory O(T + n_reference theiler).

    Fails: noise, drifts, few returns, intermittent growth. Distances are finite and some reach the attractor's size early, so the slope is some per cent
    too small (5 to 10 for Lorenz-63 of 10,000 to 30,000 samples), which the standard error does not hold. Other exponents need a model's spectrum.

    Raises
    ------
    ArgumentError : fewer than 500 samples, options out of range. RecordingError : missing samples; the only orbit is constant, a short cycle or too short.

    >>> x = np.empty(3_000); x[0] = 0.3
    >>> for t in range(2_999):
    ...     x[t + 1] = 4 * x[t] * (1 - x[t])
    >>> found = largest_exponent_from_data(x[:, None], embedding_dim=1)
    >>> bool(abs(found.exponent.item() - np.log(2)) < 0.07), found.verdict.item()
    (True, 'chaotic')
    """
    given = {"embedding_dim": embedding_dim, "delay": delay, "theiler": theiler}
    given = {name: None if value is None else check_int(name, value, low=1) for name, value in given.items()}
    horizon = None if horizon is None else check_int("horizon", horizon, low=8)
    n_reference, n_neighbours = check_int("n_reference", n_reference, low=100), check_int("n_neighbours", n_neighbours, low=1)
    n_surrogates = check_int("n_surrogates", n_surrogates, low=0)
    if 0 < n_surrogates < 19:
        raise ArgumentError(f"n_surrogates = {n_surrogates}: a rank among fewer than 19 cannot reach p = 0.05. Take 19 or more, or 0 for no verdict.")
    check_tolerance(tolerance)
    seed = check_random_state(random_state)
    values, states, own = as_orbits(recording, variable)
    if dt is not None and not (isinstance(dt, (int, float)) and not isinstance(dt, bool) and np.isfinite(dt) and dt > 0):
        raise ArgumentError(f"dt must be a positive number, the time between samples, got {dt!r}.")
    step = own if dt is None else float(dt)
    F, B = values.shape[:2]
    fits = states["fit"].values if "fit" in states.coords else np.arange(F)
    out = _empty(F, B, n_surrogates)
    for f, b in np.ndindex(F, B):
        x = _unpadded(values[f, b], f, b)
        if isinstance(x, str):
            out["status"][f, b] = x
            continue
        x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0) if standardise else x
        found = _measured(x, given["embedding_dim"], given["delay"], given["theiler"], horizon, n_reference, n_neighbours, step, tolerance)
        if isinstance(found, str):
            out["status"][f, b] = found
            continue
        key = int(fits[f]) if np.issubdtype(np.asarray(fits).dtype, np.integer) else f
        rngs = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(5, key, b, s))) for s in range(n_surrogates)]
        nulls = [curve_of(phase_surrogate(x, rng), found, n_neighbours)[0] for rng in rngs]
        _fill(out, f, b, found, np.array(nulls).reshape(n_surrogates, len(found.steps)), step)
    if not (out["n_reference"] > 0).any():
        raise RecordingError(f"no orbit has neighbours to follow; trial 0: {out['status'][0, 0]}. Give a longer stretch, or one that moves.")
    return _dataset(out, states, {
        "dt": step, "n_neighbours": n_neighbours, "n_surrogates": n_surrogates, "tolerance": float(tolerance), "standardise": int(standardise),
        "random_state": seed, "n_blocks": N_BLOCKS, "logarithm": "natural",
    })


def _unpadded(x: np.ndarray, fit: int, trial: int) -> np.ndarray | str:
    """Without what pads a shorter trial; RecordingError where samples within are missing, since time must not jump."""
    known = np.asarray(np.isfinite(x).all(1))
    if np.isinf(x).any() or not known.any():
        return "orbit not finite"
    last = int(np.flatnonzero(~np.isnan(x).all(1))[-1]) + 1
    if not known[:last].all():
        at = int(np.flatnonzero(~known[:last])[0])
        raise RecordingError(
            f"sample {at} of trial {trial} (fit {fit}) is missing, and neighbours are followed in time. Give a stretch without gaps, as with "
            "rec.isel(time=slice(a, b))."
        )
    return unfit(x[:last]) or x[:last]


def _measured(
    x: np.ndarray, embedding_dim: int | None, delay: int | None, theiler: int | None, horizon: int | None, n_reference: int, n_neighbours: int, dt: float,
    tolerance: float,
) -> Followed | str:
    memory = decay_time(x)
    lag = (memory if x.shape[1] == 1 else 1) if delay is None else delay
    window, ahead = MEMORY * memory if theiler is None else theiler, HORIZON * memory if horizon is None else horizon
    m = (false_neighbours(x, lag, window, MOST_DELAYS) if x.shape[1] == 1 and len(x) > 20 * window else 1) if embedding_dim is None else embedding_dim
    left = len(x) - (m - 1) * lag - ahead
    if left < max(FEWEST, 10 * window):
        return (
            f"too short: of {len(x)} samples {max(0, left)} are left to start from, with neighbours {window} apart in time and followed over {ahead}; "
            f"{max(FEWEST, 10 * window)} are needed"
        )
    reference = len(np.unique(np.linspace(0, left - 1, min(n_reference, left)).round()))
    steps = np.unique(np.linspace(0, ahead, min(N_RECORDS, ahead + 1)).round().astype(int))
    plan = Followed(steps, np.empty(0), Region(-1, -1, np.nan, np.nan, np.nan, np.empty(0), np.empty(0)), window, m, lag, reference)
    curve, without = curve_of(x, plan, n_neighbours)
    region = _growing(steps * dt, curve, without, tolerance)
    return Followed(steps, curve, region, window, m, lag, reference)


def curve_of(x: np.ndarray, plan: Followed, n_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """The divergence curve [n] and those without one block of reference points each [B, n]."""
    points, ahead = embedded(x, plan.embedding_dim, plan.delay), int(plan.steps[-1])
    reference = np.unique(np.linspace(0, len(points) - ahead - 1, plan.n_reference).round().astype(int))
    near = neighbours_of(points, reference, plan.theiler, n_neighbours, ahead)
    return block_means(divergence(points, reference, near, plan.steps), N_BLOCKS)


def _growing(time: np.ndarray, curve: np.ndarray, without: np.ndarray, tolerance: float) -> Region:
    """The straight region over which distances grow by GROWTH at least; the shortest that is looked for is a tenth of the horizon."""
    region = straight_region(time, curve, without, 0.1 * (time[-1] - time[0]), tolerance)
    if region.found and region.slope * (time[region.last] - time[region.first]) < GROWTH:
        return Region(-1, -1, np.nan, np.nan, np.nan, region.local, region.local_error)
    return region


def _empty(F: int, B: int, n_surrogates: int) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {name: np.full((F, B), np.nan) for name in NUMBERS} | {name: np.zeros((F, B), np.int64) for name in COUNTS}
    out |= {name: np.full((F, B, N_RECORDS), np.nan) for name in CURVES} | {"surrogate_divergence": np.full((F, B, n_surrogates, N_RECORDS), np.nan)}
    return out | {name: np.full((F, B), "", dtype=object) for name in ("verdict", "evidence", "status")}


def _fill(out: dict[str, np.ndarray], f: int, b: int, found: Followed, nulls: np.ndarray, dt: float) -> None:
    at, n, region = (f, b), len(found.steps), found.region
    for name in COUNTS:
        out[name][at] = getattr(found, name)
    time = found.steps * dt
    for name, values in (("record_time", time), ("divergence", found.curve), ("local_slope", region.local), ("local_slope_error", region.local_error)):
        out[name][f, b, :n] = values
    out["surrogate_divergence"][f, b, :, :n] = nulls
    out["status"][at] = ANALYSED if region.found else "no linear region over which distances grow e-fold"
    if region.found:
        part = slice(region.first, region.last + 1)
        out["exponent"][at], out["standard_error"][at] = region.slope, region.standard_error
        out["region_start"][at], out["region_end"][at] = time[region.first], time[region.last]
        if len(nulls):
            slopes, levels = slope_of(time[part], nulls[:, part]), nulls[:, part].mean(1)
            out["surrogate_exponent"][at] = np.median(slopes)
            out["p_slope"][at] = (1 + (slopes >= region.slope).sum()) / (1 + len(nulls))
            out["p_level"][at] = (1 + (levels <= found.curve[part].mean()).sum()) / (1 + len(nulls))
    out["verdict"][at], out["evidence"][at] = _judged(region, out["p_slope"][at], out["p_level"][at], len(nulls))


def _judged(region: Region, p_slope: float, p_level: float, n_surrogates: int) -> tuple[str, str]:
    if not n_surrogates:
        return "", "no surrogates were asked for"
    if not region.found:
        return "not shown", "no linear region over which distances grow e-fold"
    said = f"slope {region.slope:.4g} +- {region.standard_error:.2g}"
    if region.slope <= 2 * region.standard_error:
        return "not shown", f"{said}, not above zero by two standard errors"
    ranks = f"p = {p_slope:.3g} for the slope and {p_level:.3g} for the distance among {n_surrogates} surrogates"
    if max(p_slope, p_level) > 0.05:
        return "not shown", f"{said}, but as a linear process might: {ranks}"
    return "chaotic", f"{said}, with {ranks}"


def _dataset(out: dict[str, np.ndarray], states: xr.DataArray, attrs: dict[str, Any]) -> xr.Dataset:
    at, rate = ("fit", "trial"), "nat / time of dt"
    units = {"p_slope": "1", "p_level": "1", "region_start": "time of dt", "region_end": "time of dt", "record_time": "time of dt", "divergence": "nat"}
    counts = {"embedding_dim": "1", "n_reference": "1"}
    variables: dict[str, Any] = {name: (at, out[name], {"long_name": said, "units": units.get(name, rate)}) for name, said in NUMBERS.items()}
    variables |= {name: (at, out[name], {"long_name": said, "units": counts.get(name, "sample")}) for name, said in COUNTS.items()}
    variables |= {name: ((*at, "record"), out[name], {"long_name": said, "units": units.get(name, rate)}) for name, said in CURVES.items()}
    said = {"long_name": "mean ln distance of the surrogates", "units": "nat"}
    variables["surrogate_divergence"] = ((*at, "surrogate", "record"), out["surrogate_divergence"], said)
    for name, said in (("verdict", "whether the data speak for chaos"), ("evidence", "what the verdict rests on"), ("status", "what was done")):
        variables[name] = (at, out[name].astype(str), {"long_name": said})
    coords = {dim: states[dim].values if dim in states.coords else np.arange(states.sizes[dim]) for dim in at}
    return xr.Dataset(variables, coords=coords, attrs=attrs)
