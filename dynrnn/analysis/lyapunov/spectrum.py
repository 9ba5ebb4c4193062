"""Lyapunov spectra of all fits at once, with standard errors, checks and a verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.lyapunov.carrier import Subject, subject_of
from dynrnn.analysis.lyapunov.estimate import half_width, kaplan_yorke, mean_and_error, neighbour_correlation, resampled
from dynrnn.analysis.lyapunov.measure import Measured, measure
from dynrnn.analysis.lyapunov.verdict import judge
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state

DIVERGED = "an orbit diverges"


def lyapunov_spectrum(
    system: Any, n_exponents: int | None = None, n_steps: int = 10_000, n_segments: int = 32, random_state: int | None = 0, *, dim: int | None = None,
    dt: float | None = None, inputs: Any = None, initial: Any = None, transient: int | None = None, warmup: int | None = None,
    interval: int | None = None, confidence: float = 0.95,
) -> xr.Dataset:
    """Lyapunov exponents of every fit, natural logarithm per unit of time, with errors that come from independent stretches of orbit.

    Parameters
    ----------
    system: a model or run, a ``PiecewiseLinearMap``, its arrays ``(A, W1, W2, h1, h2)`` or a list of maps; a known flow (``dim``, ``field(z)``, ``dt``), which
        becomes a map by Runge-Kutta steps, with its derivative by ``tangent(z, q)`` = Df(z) q where it has one; or a callable on tensors
        (..., dim) with its ``dim``, differentiable in torch.
    n_exponents: the largest so many; all M by default.
    n_steps: steps of *each* segment, so that n_segments * n_steps are measured. n_segments: at least 2; multiples of 8 use the processor best.
    random_state: of random starts, frames and resamples.
    dt: time of a step; by default that of the recording that a model was trained on, or the flow's own, and 1 for bare maps and callables.
    inputs: the constant input (K,) of a model, 0 by default; along inputs that change see :func:`conditional_exponents`.
    initial: where orbits start: for models what ``generate`` takes, else states (start, dim). By default a model's or callable's orbit starts from a random
        state and is cut into segments; a known flow's segments start from states of their own.
    transient: steps that an orbit is run before anything counts (1,000 or a tenth of n_steps, whichever is more; a known flow has its own). warmup: steps over
        which a segment's frame turns to its directions, not counted (100 or a third of n_steps, and for a known flow at least its transient). Two
        exponents that differ by g want some 5 / g units of time, and more where their difference fluctuates: over a time T by s / sqrt(T), some
        9 s^2 / g^2. With a third of that they are biased by several standard errors.
    interval: steps between orthonormalisations; chosen for each fit by default, and checked.
    confidence: of the intervals.

    Returns
    -------
    Per exponent (fit, exponent), largest first: ``value``, ``standard_error``, ``lower`` and ``upper`` (confidence interval), ``correlation`` (of
    neighbouring segments: clearly above 0, the errors are too small; take longer segments), ``drift`` (the second half of all segments less the
    first, in standard errors: beyond 4, the frame had not turned or the orbit not settled; take a longer ``warmup`` or ``transient``). A direction
    that dies (singular Jacobian: units that are off) is -inf with error 0.
    ``finite_time`` (fit, segment, exponent): each segment's own; ``trace`` (fit, record, exponent): the estimate after ``record_time``.
    Per fit: ``kaplan_yorke`` with ``_lower``, ``_upper`` (resampled segments) and ``_reached`` (False: the spectrum was cut short, so it is a lower bound);
    ``entropy`` (sum of positive exponents, an upper bound of the metric entropy) with ``entropy_standard_error``; ``verdict`` (chaotic, quasi-periodic,
    periodic, fixed, diverging, undecided) and its ``evidence``; ``period`` (steps, 0 if none was found); ``status``.
    Checks per fit: ``pair_exponent`` with ``pair_standard_error``: the largest exponent again, from the distance of two trajectories, without derivatives;
    ``pair_difference`` with ``pair_difference_standard_error``, over the same segments; ``determinant_residual``: difference per step between the
    spectrum's sum and ln |det J| over one stretch (NaN where n_exponents < M or a direction died); ``zero_exponent`` with ``zero_standard_error``: the one
    nearest to zero, which a flow that does not rest must have; ``interval`` taken and ``spread``, ln of the longest over the shortest vector between
    orthonormalisations, at most.

    Method
    ------
    Benettin et al. 1980 (Meccanica 15, 9) in segments: one orbit a fit is cut into n_segments stretches with a warm-up between, and all carry their
    frames side by side. The growth over time T is lambda T plus a bounded term plus a random one, so increments within a segment are correlated, and errors by
    increments are wrong by factors; here they are those of the mean of independent segments (Student's t). That asks for segments longer than the
    attractor's memory. Derivatives of models go through A + W1 diag(phi') W2 without forming it. O(fit n_segments n_steps k M H); memory O(fit n_segments k M).

    Fails: an orbit that switches between basins by rounding, or a transient longer than ``transient``; segments shorter than the memory (see
    ``correlation``). A map that is a model of noisy data can have the right largest exponent and any strongly negative one: data near the attractor do
    not fix the contraction.

    Raises
    ------
    ArgumentError : n_exponents > M; fewer than 10 steps or 2 segments; a callable without derivative; an interval that lets the frame collapse; no
        dt for a flow.

    >>> import torch
    >>> from dynrnn.analysis import lyapunov_spectrum
    >>> def henon(z):
    ...     return torch.stack([1 - 1.4 * z[..., 0] ** 2 + z[..., 1], 0.3 * z[..., 0]], -1)
    >>> found = lyapunov_spectrum(henon, dim=2, n_steps=500, n_segments=16)
    >>> found.value.values.sum().round(9).item(), str(found.verdict.values[0])                   # ln 0.3
    (-1.203972804, 'chaotic')
    """
    return spectrum_of(
        subject_of(system, dim, inputs, dt), n_exponents, n_steps, n_segments, random_state, initial=initial, transient=transient, warmup=warmup,
        interval=interval, confidence=confidence,
    )


def spectrum_of(
    subject: Subject, n_exponents: int | None, n_steps: int, n_segments: int, random_state: int | None, *, initial: Any = None,
    transient: int | None = None, warmup: int | None = None, interval: int | None = None, confidence: float = 0.95,
) -> xr.Dataset:
    """``lyapunov_spectrum`` of anything that carries vectors."""
    M = subject.carrier.dim
    k = M if n_exponents is None else check_int("n_exponents", n_exponents, low=1)
    if k > M:
        raise ArgumentError(f"n_exponents = {k}, but the system has {M} dimensions and as many exponents.")
    n_steps, n_segments = check_int("n_steps", n_steps, low=10), check_int("n_segments", n_segments, low=2)
    own = max(1_000, n_steps // 10) if subject.transient is None else subject.transient
    transient = own if transient is None else check_int("transient", transient, low=0)
    turning = max(100, n_steps // 3, subject.transient or 0)
    warmup = turning if warmup is None else check_int("warmup", warmup, low=1)
    interval = None if interval is None else check_int("interval", interval, low=1)
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        raise ArgumentError(f"confidence must lie between 0 and 1, for example 0.95, got {confidence!r}.")
    seed = check_random_state(random_state)
    found = measure(subject, k, n_steps, n_segments, transient, warmup, interval, initial, seed)
    out = _dataset(subject, found, k, confidence, seed)
    out.attrs |= {
        "dt": subject.dt, "n_steps": n_steps, "n_segments": n_segments, "transient": transient, "warmup": warmup, "confidence": confidence,
        "random_state": seed, "step_error": subject.step_error, "logarithm": "natural",
    }
    return out


def _dataset(subject: Subject, found: Measured, k: int, confidence: float, seed: int) -> xr.Dataset:
    usable, dt = subject.usable, subject.dt
    F, S = len(usable), found.log_r.shape[2]
    total = found.steps.sum() * dt
    sums = found.log_r.sum(0)
    order = np.argsort(-np.where(np.isnan(sums), -np.inf, sums).mean(1), axis=-1, kind="stable")
    logs = np.take_along_axis(found.log_r, order[None, :, None, :], -1)
    segments = logs.sum(0) / total
    diverged = found.diverged >= 0
    segments[diverged] = np.nan
    value, error = mean_and_error(segments)
    half = half_width(error, S, confidence)
    with np.errstate(invalid="ignore"):
        trace = np.cumsum(logs, 0).mean(2) / (np.cumsum(found.steps)[:, None, None] * dt)
    trace[:, diverged] = np.nan
    drift = _drift(logs, found.steps * dt)
    drift[diverged] = np.nan
    pair_segments = found.log_pair.sum(0) / total
    pair_segments[diverged] = np.nan
    pair, pair_error = mean_and_error(pair_segments[..., None])
    with np.errstate(invalid="ignore"):
        gap, gap_error = mean_and_error(segments[..., :1] - pair_segments[..., None])
    with np.errstate(invalid="ignore"):
        nearest = np.where(np.isfinite(value), np.abs(value), np.inf).argmin(-1)
    dimension, reached = kaplan_yorke(value)
    reached = reached | (k == subject.carrier.dim)
    bounds, entropy_error = np.full((2, len(value)), np.nan), np.full(len(value), np.nan)
    verdicts, evidence = [], []
    for f in range(len(value)):
        verdict, said = judge(value[f], half[f], int(found.period[f]), total, subject.flow, bool(diverged[f]))
        verdicts.append(str(verdict))
        evidence.append(said)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    for at, means in resampled(segments, rng):
        bounds[:, at] = np.quantile(kaplan_yorke(means)[0], [(1 - confidence) / 2, (1 + confidence) / 2], axis=-1)
        entropy_error[at] = np.clip(means, 0, None).sum(-1).std(-1)

    def whole(values: np.ndarray, fill: Any = np.nan) -> np.ndarray:
        """With empty rows for fits whose parameters are not finite."""
        out = np.full((F, *values.shape[1:]), fill, dtype=values.dtype)
        out[usable] = values
        return out

    status = subject.status
    status[np.flatnonzero(usable)[diverged]] = DIVERGED
    take = np.arange(len(value)), nearest
    per_time = {"units": "nat / time of dt"}
    of_exponents = ("fit", "exponent")
    variables = {
        "value": (of_exponents, whole(value), {"long_name": "Lyapunov exponent"} | per_time),
        "standard_error": (of_exponents, whole(error), {"long_name": "standard error over segments"} | per_time),
        "lower": (of_exponents, whole(value - np.where(np.isinf(value), 0, half)), {"long_name": "lower end of the confidence interval"} | per_time),
        "upper": (of_exponents, whole(value + np.where(np.isinf(value), 0, half)), {"long_name": "upper end of the confidence interval"} | per_time),
        "correlation": (of_exponents, whole(neighbour_correlation(segments)), {"long_name": "correlation of neighbouring segments", "units": "1"}),
        "finite_time": (("fit", "segment", "exponent"), whole(segments), {"long_name": "exponent of one segment"} | per_time),
        "drift": (of_exponents, whole(drift), {"long_name": "second half of the segments less the first, in its standard errors", "units": "1"}),
        "trace": (("fit", "record", "exponent"), whole(np.moveaxis(trace, 0, 1)), {"long_name": "estimate so far"} | per_time),
        "kaplan_yorke": ("fit", whole(dimension), {"long_name": "Kaplan-Yorke dimension", "units": "1"}),
        "kaplan_yorke_lower": ("fit", whole(bounds[0]), {"long_name": "lower end of its interval", "units": "1"}),
        "kaplan_yorke_upper": ("fit", whole(bounds[1]), {"long_name": "upper end of its interval", "units": "1"}),
        "kaplan_yorke_reached": ("fit", whole(reached, False), {"long_name": "the spectrum was long enough for it"}),
        "entropy": ("fit", whole(np.where(diverged, np.nan, np.clip(value, 0, None).sum(-1))), {"long_name": "sum of positive exponents"} | per_time),
        "entropy_standard_error": ("fit", whole(entropy_error), {"long_name": "its standard error"} | per_time),
        "pair_exponent": ("fit", whole(pair[:, 0]), {"long_name": "largest exponent from two trajectories"} | per_time),
        "pair_standard_error": ("fit", whole(pair_error[:, 0]), {"long_name": "its standard error"} | per_time),
        "pair_difference": ("fit", whole(gap[:, 0]), {"long_name": "largest exponent less that of two trajectories"} | per_time),
        "pair_difference_standard_error": ("fit", whole(gap_error[:, 0]), {"long_name": "its standard error"} | per_time),
        "determinant_residual": (
            "fit", whole(np.where(diverged, np.nan, found.determinant)), {"long_name": "sum of exponents less ln |det J|", "units": "nat / step"}
        ),
        "zero_exponent": ("fit", whole(value[take]), {"long_name": "exponent nearest to zero"} | per_time),
        "zero_standard_error": ("fit", whole(error[take]), {"long_name": "its standard error"} | per_time),
        "interval": ("fit", whole(found.interval, 0), {"long_name": "steps between orthonormalisations", "units": "step"}),
        "spread": ("fit", whole(found.widest), {"long_name": "ln of the longest over the shortest vector, at most", "units": "nat"}),
        "period": ("fit", whole(found.period, 0), {"long_name": "steps after which the orbit closes, 0 if it does not", "units": "step"}),
        "verdict": ("fit", _words(usable, verdicts), {"long_name": "kind of attractor"}),
        "evidence": ("fit", _words(usable, evidence), {"long_name": "what the verdict rests on"}),
        "status": ("fit", status.astype(str), {"long_name": "what was done"}),
    }
    coords = {"fit": subject.fit, "exponent": np.arange(1, k + 1), "record_time": ("record", np.cumsum(found.steps) * dt, {"units": "time of dt"})}
    return xr.Dataset(variables, coords=coords)


def _drift(logs: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """Second half of all segments less the first [F, k], in standard errors of that difference; 0 where a direction died. logs [record, F, S, k]."""
    half = len(logs) // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        gap, error = mean_and_error(logs[half:].sum(0) / duration[half:].sum() - logs[:half].sum(0) / duration[:half].sum())
        return np.nan_to_num(np.where(error > 0, gap / error, 0.0))


def _words(usable: np.ndarray, words: list[str]) -> np.ndarray:
    out = np.full(len(usable), "", dtype=object)
    out[usable] = words
    return out.astype(str)
