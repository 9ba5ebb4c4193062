"""The echo-state test along given inputs: an indicator, never a certificate."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from dynrnn.analysis.contraction.sector import sectors_of
from dynrnn.analysis.lyapunov.carrier import Mapped, free_run, subject_of
from dynrnn.analysis.lyapunov.conditional import conditional_exponents, trials_of
from dynrnn.analysis.lyapunov.estimate import half_width, mean_and_error
from dynrnn.analysis.piecewise.canonical import NOT_FINITE
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.models.unwrap import model_of
from dynrnn.streams import check_random_state

LEAST = 21                   # samples of a trial
BLOCK_NUMBERS = 2**21        # latent numbers of one block of steps held in memory at once
NOTE = "indicator along these inputs and initial states, never a certificate; see contraction_certificate"


class Indication(enum.StrEnum):
    """What the test speaks for."""

    FOR = "echo state"
    AGAINST = "no echo state"
    UNDECIDED = "undecided"


def echo_state_test(
    model: Any, inputs: Any, n_pairs: int = 32, random_state: int | None = 0, *, spread: float = 1.0, transient: int | None = None, tolerance: float = 1e-6,
    confidence: float = 0.95, dt: float | None = None,
) -> xr.Dataset:
    """Whether states under the same input forget where they started, per fit and trial: an indicator, since other inputs and states may differ.

    Parameters
    ----------
    model: a model that takes inputs, or its run.
    inputs: (trial, time, input) or (time, input), an array or DataArray, or a recording that holds them. The input at index t acts in the step to t.
    n_pairs: of initial states, in each trial the same; each latent unit is normal with the standard deviation ``spread`` (latent units).
    random_state: of initial states and of tangent vectors.
    transient: steps before the exponent counts; a tenth of the input by default. tolerance: a pair has converged where its distance has shrunk by this factor.
    confidence: of the interval over trials. dt: time of a step, by default that of the recording that the model was trained on.

    Returns
    -------
    ``distance_median`` and ``distance_max`` (fit, trial, time): over pairs, Euclidean, in latent units; ``converged`` (fit, trial): fraction of pairs;
    ``trial_exponent`` (fit, trial): the largest exponent of :func:`conditional_exponents` along the input, natural logarithm per unit of time;
    ``exponent`` (fit) with ``standard_error``, ``lower``, ``upper``: over trials (Student's t; with one trial infinite). -inf: a direction that dies.
    ``indication`` (fit): 'echo state' if all pairs of all trials have converged and ``upper`` < 0 (with one trial, its exponent); 'no echo state' if
    ``lower`` > 0, or pairs stay apart: over the last half of the input their distance is not halved though at ``upper`` it would shrink tenfold;
    else 'undecided': longer inputs would tell.
    ``spectral_radius`` (fit): of the Jacobian with all units at the end of their slopes' range: neither necessary nor sufficient with inputs.
    ``status``: where a state diverged, the row is empty.

    Method: Jaeger 2001 (GMD report 148) for the property; conditional exponents after Pecora and Carroll 1990 (Phys. Rev. Lett. 64, 821).
    Cost O(fit trial time n_pairs M H).
    Fails: contraction slower than the input is long looks undecided; a second response whose basin no pair hits is not seen.

    Raises
    ------
    ArgumentError : a model without inputs, a callable or bare map, inputs that are not finite, too short or of other width, ragged trials.

    >>> import numpy as np
    >>> from dynrnn.models import ALRNN
    >>> u = np.random.default_rng(0).standard_normal((3, 200, 2))
    >>> echo_state_test(ALRNN(2, 4, 2, input_dim=2, random_state=0), u).trial_exponent.sizes
    Frozen({'fit': 1, 'trial': 3})
    """
    model = model_of(model)
    n_pairs = check_int("n_pairs", n_pairs, low=1)
    for name, value in {"spread": spread, "tolerance": tolerance}.items():
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value) and value > 0):
            raise ArgumentError(f"{name} must be a positive number, got {value!r}.")
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        raise ArgumentError(f"confidence must lie between 0 and 1, for example 0.95, got {confidence!r}.")
    u = _inputs(model, inputs)
    n_steps = u.shape[1] - 1
    transient = n_steps // 10 if transient is None else check_int("transient", transient, low=0, high=n_steps - 10)
    seed = check_random_state(random_state)
    subject = subject_of(model, dt=dt)
    carrier, fits = subject.carrier, subject.fit[subject.usable]
    assert isinstance(carrier, Mapped)
    drawn = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4, int(k)))).standard_normal((2 * n_pairs, carrier.dim)) for k in fits]
    starts = torch.tensor(np.stack(drawn))
    apart = _distances(carrier, spread * starts, u)                             # [F, B, pair, T]
    exponents = conditional_exponents(model, u.numpy(), 1, warmup=transient, random_state=seed, spread=spread, dt=dt).value.values[subject.usable, :, 0]
    out = _dataset(apart, exponents, confidence, tolerance, subject.dt)
    radius = np.full(len(fits), np.nan)                                           # of models that have such an end: additive ones
    if isinstance(model, AdditiveModel):
        radius[:] = [np.abs(np.linalg.eigvals(one.A + one.W1 @ one.W2)).max() for one in sectors_of(model).fits if one is not None]
    out["spectral_radius"] = ("fit", radius, {"long_name": "spectral radius with all units at the end of their range", "units": "1", "note": "indicator"})
    whole = out.assign_coords(fit=fits).astype(object, keep_attrs=True).reindex(fit=subject.fit, fill_value=np.nan)  # strings and numbers alike
    for name in whole.data_vars:
        text = name in ("indication", "status")
        empty = NOT_FINITE if name == "status" else "" if text else np.nan
        values = whole[name].values
        values[~subject.usable] = empty
        whole[name] = (whole[name].dims, values.astype(str if text else np.float64), whole[name].attrs)
    whole = whole.assign_coords(trial=np.arange(len(u)), time=("time", subject.dt * np.arange(u.shape[1]), {"units": "time of dt"}))
    whole.attrs = {
        "dt": subject.dt, "n_pairs": n_pairs, "spread": float(spread), "transient": transient, "tolerance": float(tolerance), "confidence": confidence,
        "random_state": seed, "logarithm": "natural", "note": NOTE,
    }
    return whole


def _inputs(model: Model, inputs: Any) -> Tensor:
    """[B, T, K] in float64, trials of one length."""
    if model.input_dim == 0:
        raise ArgumentError("the model takes no inputs (input_dim=0), so there is no input to forget under. Use contraction_certificate or lyapunov_spectrum.")
    trials = trials_of(inputs, model.input_dim)
    lengths = {len(u) for u in trials}
    if len(lengths) > 1:
        raise ArgumentError(f"trials have unequal lengths, {min(lengths)} to {max(lengths)} samples. Cut them to one length, or test them one by one.")
    if min(lengths) < LEAST:
        raise ArgumentError(f"inputs cover {min(lengths)} samples; the test needs at least {LEAST}, and long enough for states to come together.")
    return torch.tensor(np.stack(trials))


def _distances(carrier: Mapped, z: Tensor, u: Tensor) -> np.ndarray:
    """|z - y| of all pairs [F, B, n, T] from z [F, 2 n, M], the first n against the others."""
    F, N, M = z.shape
    B, T, _ = u.shape
    now = z.repeat(1, B, 1)                                                            # trial by trial
    out = np.empty((F, B, N // 2, T))
    out[..., 0] = _apart(now[:, :, None], B)[..., 0]
    block = max(1, BLOCK_NUMBERS // (F * B * N * M))
    for first in range(1, T, block):
        drive = u[:, first : first + block].repeat_interleave(N, 0)[None]
        states = free_run(carrier.map, now, drive.shape[2], drive)
        out[..., first : first + drive.shape[2]] = _apart(states, B)
        now = states[:, :, -1].contiguous()
    return out


def _apart(states: Tensor, B: int) -> np.ndarray:
    F, S, n, M = states.shape
    one, other = states.reshape(F, B, 2, S // B // 2, n, M).unbind(2)
    return torch.linalg.vector_norm(one - other, dim=-1).numpy()


def _dataset(apart: np.ndarray, exponents: np.ndarray, confidence: float, tolerance: float, dt: float) -> xr.Dataset:
    F, B, _, T = apart.shape
    finite: np.ndarray = np.asarray(np.isfinite(apart).all((1, 2, 3)))
    status = np.full(F, "tested", dtype=object)
    for k in np.flatnonzero(~finite):
        bad = ~np.isfinite(apart[k]).all(1)                                            # [B, T]
        trial = int(bad.any(1).argmax())
        status[k] = f"states diverge, first in trial {trial} at step {int(bad[trial].argmax())}"
    if B == 1:
        status[finite] = "tested; one trial, so the exponent has no error"
    apart, exponents = np.where(finite[:, None, None, None], apart, np.nan), np.where(finite[:, None], exponents, np.nan)
    widest = apart.max(2)
    with np.errstate(invalid="ignore"):
        fraction = np.where(finite[:, None], (apart[..., -1] <= tolerance * apart[..., 0]).mean(2), np.nan)
        value, error = (exponents[:, 0], np.full(F, np.inf)) if B == 1 else (x[:, 0] for x in mean_and_error(exponents[..., None]))
    half = np.where(np.isneginf(value), 0.0, np.inf if B == 1 else half_width(error, max(B, 2), confidence))
    half, error = (np.where(finite, x, np.nan) for x in (half, error))
    upper, lower = (value, value) if B == 1 else (value + half, value - half)
    together = (fraction == 1).all(1) & (upper < 0)
    # over the last half of the input the tangent shrinks tenfold, and a pair is not even halved: the two are near different responses
    near = np.exp(np.minimum(np.where(finite, upper, 0.0) * dt * (T - T // 2), 0.0)) < 0.1
    stay = near & ((widest[..., -1] > 0.5 * widest[..., T // 2]) & (fraction < 1)).any(1)
    indication = np.where(together, Indication.FOR, np.where((lower > 0) | stay, Indication.AGAINST, Indication.UNDECIDED))
    indication = np.where(finite, indication, "")
    per_time, long = {"units": "nat / time of dt"}, ("fit", "trial", "time")
    return xr.Dataset(
        {
            "distance_median": (long, np.median(apart, 2), {"long_name": "median distance of pairs", "units": "latent"}),
            "distance_max": (long, widest, {"long_name": "largest distance of pairs", "units": "latent"}),
            "converged": (long[:2], fraction, {"long_name": "fraction of pairs that came together", "units": "1"}),
            "trial_exponent": (long[:2], exponents, {"long_name": "largest conditional exponent along the input"} | per_time),
            "exponent": ("fit", value, {"long_name": "its mean over trials"} | per_time),
            "standard_error": ("fit", error, {"long_name": "its standard error over trials"} | per_time),
            "lower": ("fit", value - half, {"long_name": "lower end of the confidence interval"} | per_time),
            "upper": ("fit", value + half, {"long_name": "upper end of the confidence interval"} | per_time),
            "indication": ("fit", indication.astype(str), {"long_name": "what the test speaks for", "note": NOTE}),
            "status": ("fit", status.astype(str), {"long_name": "what was done"}),
        }
    )
