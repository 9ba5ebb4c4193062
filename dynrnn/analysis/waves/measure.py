"""Velocity, direction and contrast of travelling waves in orbits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.analysis.symbols.orbits import as_states
from dynrnn.analysis.waves.onset import given_order, onset_order, scattered
from dynrnn.analysis.waves.power import line_power, plane_power, windows
from dynrnn.data import as_recording, refuse_uneven
from dynrnn.errors import ArgumentError, RecordingError, check_int
from dynrnn.streams import check_random_state, stream

FEWEST_STEPS, FEWEST_POSITIONS = 16, 4
LONGEST_WINDOW = 128         # steps, by default
UNIFORM = "all positions alike at all times: nothing that could move"
AT_THE_END = "the most power is at the end of the candidates: the wave may be faster; give velocities that reach further"
NUMBERS = {
    "velocity": ("velocity of the most power", "position/step"), "contrast": ("largest over median power of all candidates", "1"),
    "excess": ("largest power over that of surrogates at the same velocity", "1"),
    "excess_velocity": ("velocity of the largest difference from surrogates", "position/step"),
    "excess_null": ("largest excess of a surrogate over the others", "1"),
}


def wave_velocity(
    data: Any, *, variable: str = "latent", n_channels: int = 1, order: Any = "position", velocities: Any = None, window: int | None = None,
    n_surrogates: int = 19, random_state: int | None = 0,
) -> xr.Dataset:
    """Velocity, direction and contrast of the waves that travel along the units of every fit and trial.

    Parameters
    ----------
    data : an orbit of ``generate``, a recording (``variable="observed"``), or an array (time, position), (trial, time, position) or
        (fit, trial, time, position); at least 16 steps and 4 positions.
    n_channels : units are so many rings one after the other, as in ``WaveRNN``, whose waves are looked at together.
    order : ``position``, units as they are numbered; ``onset``, sorted by the time of their first largest value, for dense networks, whose units have no
        places; or the units' numbers in an order of your own, (position) or (fit, position). Sorting alone makes a wave of any units that are active one at a
        time: take the order from one orbit, such as the response to an impulse, and look at another one in it.
    velocities : candidates, in positions a step; by default from -2 to 2 by 1 / window. window : steps of a stretch, whose powers are added up; by default 128,
        or all there are.
    n_surrogates : for ``excess``, 3 or more; each costs as much as the analysis. 0 for none, and then NaN there.

    Returns
    -------
    Per (fit, trial): ``velocity`` of the most power, in positions a step, above 0 towards higher positions; ``direction``, ``higher``, ``lower``, or
    ``standing``, within the resolution 1 / window of 0; ``contrast``, that power over the median of all candidates, 1 where nothing stands out; ``status``.
    A pattern that stands still has a contrast as large as a wave's, with velocity 0. Whether anything moves tells ``excess``, the largest ratio of power to
    that of surrogates at the same velocity, in which every unit does what it does at a time of its own, and ``excess_null``, the largest excess of a
    surrogate over the others (a test at the level 1 / (n_surrogates + 1)). ``excess_velocity`` is where the difference from the surrogates is largest, which
    finds a wave over a standing pattern, and means nothing without an excess.

    Then ``power`` (fit, trial, candidate); ``spectrum`` (fit, trial, frequency, wavenumber) of the Fourier plane; ``activity`` (fit, trial, step, position),
    the first stretch of the channel of the largest variance; ``order`` (fit, trial, position). Orbits that are not finite, constant or alike at all positions
    have an empty row, and the status says so.

    Method
    ------
    The two-dimensional Fourier transform of a wave f(x - v t) lies on the line omega = -v k; the power on that line, wavenumber 0 left out, is compared among
    velocities (Keller et al. 2024, arXiv:2309.08045, look at the same plane by eye). Positions are a ring. No window function: side lobes are part of
    the median. O(fit trial n_surrogates channel time position velocity).

    Fails: a wave of changing velocity gives its most frequent one or none; beyond 1 position a step short wavelengths look slower (they alias), and the long
    ones decide; where waves are spaced regularly, several velocities fit alike.

    Raises
    ------
    ArgumentError : too few steps or positions, or options out of range. RecordingError : the only orbit has nothing that could move.

    >>> rng = np.random.default_rng(0)
    >>> ring, x = rng.random(40), []
    >>> for _ in range(200):                                                    # a shift register that is fed at position 0
    ...     ring = np.roll(ring, 1); ring[0] = rng.random(); x.append(ring)
    >>> found = wave_velocity(np.array(x))
    >>> found.velocity.item(), found.direction.item(), bool(found.excess > 5 * found.excess_null)
    (1.0, 'higher', True)
    """
    n_channels, n_surrogates = check_int("n_channels", n_channels, low=1), check_int("n_surrogates", n_surrogates, low=0)
    if n_surrogates in (1, 2):
        raise ArgumentError(f"n_surrogates must be 0 or at least 3, or none can be compared with the mean of others; got {n_surrogates}.")
    random_state = check_random_state(random_state)
    refuse_uneven(data)
    if not isinstance(data, (xr.Dataset, xr.DataArray, np.ndarray)):
        data = as_recording(data)
    states, _, dt = as_states(data, variable)
    values = np.asarray(states.values, dtype=np.float64)
    F, B, T, M = values.shape
    n = M // n_channels
    if M % n_channels or n < FEWEST_POSITIONS:
        raise ArgumentError(f"{M} units in n_channels = {n_channels} rings: rings must be equal, and have at least {FEWEST_POSITIONS} positions each.")
    if T < FEWEST_STEPS:
        raise ArgumentError(f"the orbit has {T} steps, and at least {FEWEST_STEPS} are needed to see anything move. Give a longer one.")
    length = min(T, LONGEST_WINDOW) if window is None else check_int("window", window, low=FEWEST_STEPS, high=T)
    grid, given = _candidates(velocities, length), given_order(order, F, n, n_channels)
    numbers = {name: np.full((F, B), np.nan) for name in NUMBERS}
    power, spectrum, activity = np.full((F, B, len(grid)), np.nan), np.full((F, B, length, n), np.nan), np.full((F, B, length, n), np.nan)
    places, status, direction = np.tile(np.arange(n), (F, B, 1)), np.full((F, B), ANALYSED, dtype=object), np.full((F, B), "", dtype=object)
    fits = states.fit.values if "fit" in states.coords else np.arange(F)
    for f, b in np.ndindex(F, B):
        rng = stream(random_state, "noise", int(fits[f]), b)
        found = _of_orbit(values[f, b].reshape(T, n_channels, n), grid, length, None if given is None else given[f], n_surrogates, rng)
        if isinstance(found, str):
            status[f, b] = found
            continue
        for name, value in found.numbers.items():
            numbers[name][f, b] = value
        power[f, b], spectrum[f, b], activity[f, b], places[f, b] = found.power, found.spectrum, found.activity, found.order
        v = found.numbers["velocity"]
        direction[f, b] = "standing" if abs(v) <= 1 / length else "higher" if v > 0 else "lower"
        if v in (grid[0], grid[-1]):
            status[f, b] = AT_THE_END
    if F * B == 1 and not np.isfinite(numbers["velocity"]).any():
        raise RecordingError(f"nothing could move in the only orbit: {status[0, 0]}. Give another stretch.")
    coords = {dim: states[dim].values if dim in states.coords else np.arange(states.sizes[dim]) for dim in ("fit", "trial")}
    coords |= {"candidate": grid, "frequency": np.fft.fftshift(np.fft.fftfreq(length)), "wavenumber": np.fft.fftshift(np.fft.fftfreq(n))}
    out: dict[str, Any] = {name: (("fit", "trial"), numbers[name], {"long_name": meaning, "units": unit}) for name, (meaning, unit) in NUMBERS.items()}
    out |= {
        "direction": (("fit", "trial"), direction.astype(str), {"long_name": "where waves travel to"}),
        "power": (("fit", "trial", "candidate"), power, {"long_name": "power along omega = -v k", "units": "1"}),
        "spectrum": (("fit", "trial", "frequency", "wavenumber"), spectrum, {"long_name": "Fourier power", "units": "1"}),
        "activity": (("fit", "trial", "step", "position"), activity, {"long_name": "first stretch, over its largest modulus", "units": "1"}),
        "order": (("fit", "trial", "position"), places, {"long_name": "unit at this position"}),
        "status": (("fit", "trial"), status.astype(str), {"long_name": "what was done"}),
    }
    ordered_by = "onset" if given is None else order if isinstance(order, str) else "given"
    return xr.Dataset(out, coords=coords, attrs={"dt": dt, "window": length, "n_channels": n_channels, "ordered_by": ordered_by, "n_surrogates": n_surrogates})


@dataclass(frozen=True)
class Found:
    """Of one orbit: values of NUMBERS by name, power of every candidate, Fourier plane, first stretch, order."""

    numbers: dict[str, float]
    power: np.ndarray
    spectrum: np.ndarray
    activity: np.ndarray
    order: np.ndarray


def _of_orbit(x: np.ndarray, grid: np.ndarray, window: int, order: np.ndarray | None, n_surrogates: int, rng: np.random.Generator) -> Found | str:
    """What x [time, channel, position] shows in this order (None: by onsets), or why nothing."""
    if not np.isfinite(x).all():
        return "orbit not finite"
    if (x == x[:1, :, :1]).all():
        return "constant activity: every sample is the same"
    x = x / np.abs(x).max()                                                     # squares of any size are finite
    runs = [x, *(scattered(x, rng) for _ in range(n_surrogates))]
    orders = [onset_order(run[:, 0]) if order is None else order for run in runs]
    cut = [windows(run[:, :, own], window) for run, own in zip(runs, orders, strict=True)]
    lines = line_power(np.stack(cut), grid)
    power, others = lines[0], lines[1:]
    if not power.max() > 1e-20 * np.square(cut[0]).sum():                       # rounding errors alone
        return UNIFORM
    best, least = int(power.argmax()), 1e-12 * lines.max()
    numbers = {"velocity": float(grid[best]), "contrast": float(power[best]) / max(float(np.median(power)), least)}
    if n_surrogates:
        expected = others.mean(0)
        without = (others.sum(0) - others) / (n_surrogates - 1)                 # what the others are on average
        numbers["excess"] = float((power / np.maximum(expected, least)).max())
        numbers["excess_velocity"] = float(grid[(power - expected).argmax()])
        numbers["excess_null"] = float((others / np.maximum(without, least)).max())
    return Found(numbers, power, plane_power(cut[0]), cut[0][0][:, x.var(axis=(0, 2)).argmax()], orders[0])


def _candidates(velocities: Any, window: int) -> np.ndarray:
    if velocities is None:
        return np.arange(-2 * window, 2 * window + 1) / window
    try:
        grid = np.asarray(velocities, dtype=np.float64)
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) < 3 or not np.isfinite(grid).all() or not (np.diff(grid) > 0).all():
        raise ArgumentError("velocities must be three or more rising numbers, the candidates in positions a step, such as numpy.linspace(-2, 2, 401).")
    return grid
