"""Exponents of a driven model along its input: whether its state forgets where it started, trial by trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from dynrnn.analysis.lyapunov.carrier import Mapped, subject_of
from dynrnn.analysis.lyapunov.estimate import half_width, mean_and_error
from dynrnn.analysis.lyapunov.segments import choose_interval
from dynrnn.analysis.lyapunov.spectrum import DIVERGED
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state
from dynrnn_kernels.additive.tangent import random_frames

N_STARTS = 2


def conditional_exponents(
    model: Any, inputs: Any, n_exponents: int | None = None, *, warmup: int | None = None, random_state: int | None = 0, confidence: float = 0.95,
    spread: float = 1.0, dt: float | None = None,
) -> xr.Dataset:
    """Lyapunov exponents of a model along a given input, natural logarithm per unit of time, for each trial.

    Parameters
    ----------
    model: a model or run with inputs. inputs: a recording with ``inputs``, or an array (trial, time, input) or (time, input); the input at index t + 1 acts in
        the step from t to t + 1. Trials may differ in length (``n_time`` of a recording).
    n_exponents: the largest so many; all M by default. warmup: steps of each trial that turn state and frame and do not count (a tenth of the shortest, at
        least 20).
    random_state: of initial states and frames, two of each a trial. confidence: of the interval over trials. spread: standard deviation of the initial
        latent states. dt: time of a step, by default that of the recording that the model was trained on.

    Returns
    -------
    (fit, trial, exponent): ``value``, the mean of both starts, and ``start_difference``, by how much they differ: an input that has made the state forget its
    start leaves next to nothing (largest exponent below 0), and what is left says how far the frame has turned. (fit, exponent): ``mean`` over trials,
    ``standard_error``, ``lower``, ``upper`` over independent trials: infinite with a single one. ``n_steps`` (trial): steps that counted. ``status`` (fit).

    A largest exponent below zero in all trials says that these inputs entrain the state (echo-state property along them, Jaeger 2001, GMD Report 148);
    it proves nothing about other inputs. Cost O(fit trial time k M H).

    Raises ArgumentError: a model without inputs; inputs of another width, not finite, or shorter than the warm-up and ten steps more.
    """
    subject = subject_of(model, dt=dt)
    carrier = subject.carrier
    K, M = carrier.input_dim, carrier.dim
    if not isinstance(carrier, Mapped) or subject.model is None or K == 0:
        raise ArgumentError("conditional exponents are those of a model along its inputs, and this one takes none: see lyapunov_spectrum.")
    k = M if n_exponents is None else check_int("n_exponents", n_exponents, low=1, high=M)
    seed = check_random_state(random_state)
    trials = trials_of(inputs, K)
    lengths = np.array([len(u) - 1 for u in trials])
    warm = max(20, int(lengths.min()) // 10) if warmup is None else check_int("warmup", warmup, low=0)
    if lengths.min() < warm + 10:
        at = int(lengths.argmin())
        raise ArgumentError(f"trial {at} has {lengths[at]} steps, too few for a warm-up of {warm} and ten more. Pass a shorter warmup=, or longer trials.")
    fits = subject.fit[subject.usable]
    F, B = len(fits), len(trials)
    values = np.empty((F, B, N_STARTS, k))
    failed = np.zeros(F, bool)
    for length in np.unique(lengths):                                           # trials of one length side by side
        rows = np.flatnonzero(lengths == length)
        u = torch.tensor(np.repeat(np.stack([trials[b][1:] for b in rows]), N_STARTS, 0))[None]
        z, Q = _starts(fits, rows, k, M, seed)
        z = spread * z
        every = choose_interval(carrier, z, Q, u[:, :, : min(128, int(length))])
        one = torch.ones(F, dtype=torch.float64)
        if warm:
            part = carrier.carry(z, Q, warm, every, u[:, :, :warm].contiguous(), None, one, False)
            z, Q = part.z, part.Q
        part = carrier.carry(z, Q, int(length) - warm, every, u[:, :, warm:].contiguous(), None, one, False)
        failed |= (part.failed >= 0).any(1).numpy() | ~torch.isfinite(part.z).all(-1).all(-1).numpy()
        values[:, rows] = (part.log_r / ((int(length) - warm) * subject.dt)).reshape(F, len(rows), N_STARTS, k).numpy()
    values[failed] = np.nan
    return _dataset(subject, values, failed, lengths - warm, confidence, {"warmup": warm, "random_state": seed, "confidence": confidence, "dt": subject.dt})


def trials_of(inputs: Any, K: int) -> list[np.ndarray]:
    """Inputs [time, K] of each trial, its own length."""
    if isinstance(inputs, xr.Dataset):
        if "inputs" not in inputs:
            raise ArgumentError("the recording has no inputs: make it with as_recording(x, inputs=u), or pass them as an array (trial, time, input).")
        values = inputs.inputs.transpose("trial", "time", "input").values
        ends = inputs.n_time.values if "n_time" in inputs else np.full(len(values), values.shape[1])
        trials = [np.asarray(u[:n], dtype=np.float64) for u, n in zip(values, ends, strict=True)]
    else:
        values = np.asarray(inputs, dtype=np.float64)
        trials = list(values[None] if values.ndim == 2 else values)
    for b, u in enumerate(trials):
        if u.ndim != 2 or u.shape[1] != K:
            raise ArgumentError(f"inputs must have shape (trial, time, input) with {K} inputs, as the model; trial {b} has shape {u.shape}.")
        if not np.isfinite(u).all():
            t, i = np.argwhere(~np.isfinite(u))[0]
            raise ArgumentError(f"input {i} of trial {b} is {u[t, i]} at sample {t}: inputs must be finite. Fill the gap, or cut the trial.")
    return trials


def _starts(fits: np.ndarray, trials: np.ndarray, k: int, M: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States [F, trial * N_STARTS, M] and frames, of each fit and trial their own."""
    z, Q = [], []
    for f in fits:
        for b in trials:
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4, int(f), int(b))))
            z.append(rng.standard_normal((N_STARTS, M)))
            Q.append(random_frames((1, N_STARTS, k, M), rng)[0])
    shape = len(fits), len(trials) * N_STARTS
    return torch.tensor(np.concatenate(z)).reshape(*shape, M), torch.cat(Q).reshape(*shape, k, M)


def _dataset(subject: Any, values: np.ndarray, failed: np.ndarray, n_steps: np.ndarray, confidence: float, attrs: dict[str, Any]) -> xr.Dataset:
    F, usable, k, B = len(subject.usable), subject.usable, values.shape[-1], values.shape[1]
    with np.errstate(invalid="ignore"):
        value, gap = values.mean(2), np.nan_to_num(np.abs(values[:, :, 0] - values[:, :, 1]), nan=0.0)
    order = np.argsort(-np.where(np.isnan(value), 0.0, value).mean(1), axis=-1, kind="stable")
    value, gap = (np.take_along_axis(x, order[:, None, :], -1) for x in (value, gap))
    if B > 1:
        mean, error = mean_and_error(value)
        half = half_width(error, B, confidence)
    else:
        mean, error = value[:, 0], np.full(value[:, 0].shape, np.inf)
        half = error
    error[failed], half[failed] = np.nan, np.nan

    def whole(x: np.ndarray) -> np.ndarray:
        out = np.full((F, *x.shape[1:]), np.nan)
        out[usable] = x
        return out

    status = subject.status
    status[np.flatnonzero(usable)[failed]] = DIVERGED
    per_time = {"units": "nat / time of dt"}
    finite = np.isfinite(mean)
    with np.errstate(invalid="ignore"):
        lower, upper = np.where(finite, mean - half, mean), np.where(finite, mean + half, mean)
    variables = {
        "value": (("fit", "trial", "exponent"), whole(value), {"long_name": "Lyapunov exponent along the input"} | per_time),
        "start_difference": (("fit", "trial", "exponent"), whole(gap), {"long_name": "difference between two starts"} | per_time),
        "mean": (("fit", "exponent"), whole(mean), {"long_name": "mean over trials"} | per_time),
        "standard_error": (("fit", "exponent"), whole(error), {"long_name": "standard error over trials"} | per_time),
        "lower": (("fit", "exponent"), whole(lower), {"long_name": "lower end of the confidence interval"} | per_time),
        "upper": (("fit", "exponent"), whole(upper), {"long_name": "upper end of the confidence interval"} | per_time),
        "n_steps": ("trial", n_steps, {"long_name": "steps that counted", "units": "step"}),
        "status": ("fit", status.astype(str), {"long_name": "what was done"}),
    }
    return xr.Dataset(variables, coords={"fit": subject.fit, "exponent": np.arange(1, k + 1)}, attrs=attrs)
