"""Free running: long orbits, in memory or straight to disk, and forecasts from many starts. In float64, whatever the model was trained in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from dynrnn.data import as_recording, uneven_or_even
from dynrnn.errors import ArgumentError, RecordingError, check_int
from dynrnn.models.base import Model
from dynrnn.models.elapsed import elapsed_steps
from dynrnn.models.reservoirs import Reservoir
from dynrnn.models.unwrap import model_of
from dynrnn.results.blocks import BlockWriter, open_blocks
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.recurrences import recurrence_of

BLOCK_NUMBERS = 2**20        # latent numbers of one block of steps held in memory at once
START_BLOCK = 2**21          # numbers of one block of forecasts


def observed_axis(model: Model) -> tuple[str, list]:
    """The observed dim's name and labels, as in the recording that the model was trained on."""
    info = model.recording_info
    return info.get("dim", "feature"), list(info.get("names", range(model.observed_dim)))


def check_fits(model: Model, recording: xr.Dataset) -> None:
    """RecordingError if the recording's channels or inputs are not as many as the model's, its steps are not those that the model was trained on, or take
    times that the model cannot use."""
    dim = recording.observed.dims[-1]
    n = recording.sizes[dim]
    if n != model.observed_dim:
        raise RecordingError(
            f"the recording has {n} channels (dim {dim!r}), the model observes {model.observed_dim}. "
            "Build the model with observed_dim equal to the number of channels."
        )
    k = recording.sizes["input"] if "inputs" in recording else 0
    if k != model.input_dim:
        raise RecordingError(
            f"the recording has {k} inputs, the model takes {model.input_dim}. "
            + ("Build the model with input_dim equal to the number of inputs." if k else "Give the inputs with as_recording(x, inputs=u).")
        )
    if not model.takes_elapsed:
        check_same_step(model.recording_info, recording.attrs, "what the model was trained on")
    if "elapsed" in recording and not model.takes_elapsed:
        raise RecordingError(
            f"the recording's samples are uneven in time (it has the variable 'elapsed'), and a {model.family} model takes even steps: resample the recording "
            "to an even time axis, or take dr.LTC, which gives each step its own time."
        )


def check_same_step(known: Mapping[str, Any], other: Mapping[str, Any], whose: str, name: str = "the recording") -> None:
    """RecordingError where both say how long a step takes, in one unit of time, and differ: a map steps as its data did."""
    a, b = float(known.get("dt", 1.0)), float(other.get("dt", 1.0))
    if known.get("units") and known.get("units") == other.get("units") and abs(a - b) > 1e-3 * min(a, b):
        raise RecordingError(f"{name} has steps of {b:g} {known['units']}, {whose} of {a:g}. Resample it to those, or correct its dt if that is wrong.")


FreeRun = Callable[..., Tensor]


def free_runner(model: Model) -> FreeRun:
    """A function (z [F, B, M], n, u [F, B, n, K]) -> states z[1..n] [F, B, n, M] of a free run, on the map that the parameters fill now. Of models that take
    elapsed times it has a fourth argument: those of each step, as the model counts them, [1, B, n]."""
    if isinstance(model, Reservoir):
        return model.free_runner()
    device = _device()
    with torch.no_grad():
        map = model.map().to(torch.float64)
        if device.type == "cuda":
            map = map.written_out() if isinstance(map, AdditiveMap) else map
            map = map.with_tensors({name: value.to(device) for name, value in map.tensors().items()})

    def run(z: Tensor, n_steps: int, u: Tensor | None, times: Tensor | None = None) -> Tensor:
        F, B, M = z.shape
        nothing = torch.zeros(1, dtype=z.dtype, device=device).expand(F, B, n_steps, M)                  # forcing of weight zero is no forcing
        own = {} if times is None else {"dt": times.to(device)}
        with torch.no_grad():
            return recurrence_of(map).forced_sequence(map, z.to(device), nothing, nothing.new_zeros(()), None if u is None else u.to(device), **own).cpu()

    return run


def _device() -> torch.device:
    """Where free runs are computed: on CUDA if DYNRNN_BACKEND=triton asks for it and there is one, else on the CPU."""
    wanted = os.environ.get("DYNRNN_BACKEND") == "triton" and os.environ.get("TRITON_INTERPRET") != "1"
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")


def start_states(model: Model, initial: Any) -> Tensor:
    """Latent start [F, B, M] out of what the user gave."""
    F, M, N = model.n_fits, model.latent_dim, model.observed_dim
    if initial is None:
        return model.random_start()
    if isinstance(initial, xr.DataArray) and "latent" in initial.dims:
        wanted = ("fit", "trial", "latent")
        if set(initial.dims) != set(wanted):
            raise ArgumentError(f"initial as latent states has the dims {wanted}, got {initial.dims}. Of an orbit take one time: orbit.latent.isel(time=-1).")
        initial = torch.tensor(initial.transpose(*wanted).values)
    if isinstance(initial, Tensor):
        if initial.ndim != 3 or initial.shape[0] != F or initial.shape[2] != M:
            raise ArgumentError(f"initial as a tensor is a latent state of shape (fit, trial, latent) = ({F}, any, {M}), got {tuple(initial.shape)}.")
        z = initial.detach().double()
    else:
        if isinstance(initial, np.ndarray) and initial.shape == (N,):
            x = torch.tensor(initial[None].astype(np.float64))
        else:
            recording = uneven_or_even(initial)
            if recording.sizes[recording.observed.dims[-1]] != N or ("elapsed" in recording and not model.takes_elapsed):
                check_fits(model, recording)
            x = torch.tensor(np.asarray(recording.observed.isel(time=0).values, dtype=np.float64))
        with torch.no_grad():
            z = model.initial_state(x.expand(F, *x.shape))
    if not bool(torch.isfinite(z).all()):
        raise ArgumentError("initial holds NaN or inf in its latent state.")
    return z


def _drive(model: Model, inputs: Any, initial: Any, needed: int, n_trials: int) -> Tensor | None:
    """Inputs [1, B, steps, K], in which index t acts in the step to t."""
    if inputs is None and isinstance(initial, xr.Dataset) and "inputs" in initial:
        inputs = initial.inputs
    if model.input_dim == 0:
        if inputs is not None:
            raise ArgumentError("inputs were given, but the model takes none (input_dim=0).")
        return None
    if inputs is None:
        raise ArgumentError(f"the model takes {model.input_dim} inputs: give inputs= of shape (trial, time, input), or a recording with inputs as initial=.")
    if isinstance(inputs, xr.DataArray):
        inputs = inputs.transpose("trial", "time", "input").values if "trial" in inputs.dims else inputs.transpose("time", "input").values
    u = torch.as_tensor(np.asarray(inputs, dtype=np.float64))
    u = u[None] if u.ndim == 2 else u
    if u.ndim != 3 or u.shape[2] != model.input_dim or u.shape[0] not in (1, n_trials):
        raise ArgumentError(f"inputs must have shape (trial, time, input) = ({n_trials}, {needed} or more, {model.input_dim}), got {tuple(u.shape)}.")
    if u.shape[1] < needed:
        raise ArgumentError(f"inputs cover {u.shape[1]:,} samples, but transient + n_steps = {needed:,} are wanted. Give longer inputs or fewer steps.")
    if not bool(torch.isfinite(u[:, :needed]).all()):
        raise ArgumentError("inputs hold NaN or inf.")
    return u.expand(n_trials, *u.shape[1:])[None]


def generate(
    model: Any, n_steps: int, initial: Any = None, transient: int = 0, inputs: Any = None, out: str | os.PathLike | None = None, *, elapsed: Any = None
) -> xr.Dataset:
    """Run a model freely: no data enter after the first sample.

    Parameters
    ----------
    model : a model, or the run of a fit.
    n_steps : samples to return. With ``transient=0`` the first is the initial state itself.
    initial : where to start: a recording or array of observations (the first sample of each trial), one observation (<name>,), latent states
        (fit, trial, latent) as a tensor or DataArray, such as ``warmup`` returns or ``orbit.latent.isel(time=-1)``, or None for a random
        state a fit (of a reservoir: that of an observation near the mean). Missing channels (NaN) start from their mean. A run that goes on from another's
        last state is the same to the bit. A reservoir's state at a single sample is a regression: after noisy data one in six led a run elsewhere, where
        of those that ``warmup`` gave one in 24 did.
    transient : samples to drop before the first that is returned.
    inputs : (trial, time, input) from the initial sample on, for models with inputs; by default those of ``initial``.
        The input at index t acts in the step to t.
    out : a folder to write to in blocks, at bounded memory; it must not exist. The result is then read lazily from there.
    elapsed : the time of each step, for ``dr.LTC``: a number, (trial, time) or, for one trial, (time,) from the initial sample on, in the unit of the
        recording that the model was trained on; the one at index t is that of the step to t, as in ``as_recording``. By default that of ``initial``, where
        it has ``elapsed``, else the training recording's ``dt`` throughout.

    Returns
    -------
    Dataset: ``latent`` (fit, trial, time, latent), ``observed`` (fit, trial, time, <name>) in the recording's units, and
    ``diverged`` (fit, trial): the first sample that is not finite, -1 where all are. float64. With elapsed times also ``elapsed`` (trial, time); the
    coordinate ``time`` is then their sum, where it is the same for all trials, else so many ``dt``.

    Cost O(fit trial n_steps M H); memory O(fit trial n_steps (M + N)), or about 2**20 latent numbers at once with ``out``. The steps are taken on
    the CPU, or with DYNRNN_BACKEND=triton on a CUDA device, which is made for many starts or fits at once.

    >>> from dynrnn.models import ALRNN
    >>> generate(ALRNN(3, 5, 1, n_fits=2, random_state=0), n_steps=100).observed.sizes
    Frozen({'fit': 2, 'trial': 1, 'time': 100, 'feature': 3})
    """
    model = model_of(model)
    check_int("n_steps", n_steps, low=1)
    check_int("transient", transient, low=0)
    z, u, gaps, times = _prepared(model, initial, inputs, elapsed, transient + n_steps)
    F, B, M = z.shape
    name, labels = observed_axis(model)
    dt = float(model.recording_info.get("dt", 1.0))
    attrs = {"dt": dt, "units": model.recording_info.get("units", ""), "transient": transient}
    coords = {"fit": model.fit_number.numpy().copy(), "trial": np.arange(B), name: labels}
    dims = {"latent": ("fit", "trial", "time", "latent"), "observed": ("fit", "trial", "time", name)}
    diverged = np.full((F, B), -1)
    at = None
    if gaps is not None and (gaps == gaps[:1])[:, transient + 1 :].all():
        at = np.concatenate([[0.0], np.cumsum(gaps[0, transient + 1 :])])

    def sampled(start: int, stop: int) -> np.ndarray:
        """Times of kept samples."""
        return dt * np.arange(start, stop) if at is None else at[start:stop]

    def kept():
        for start, states, observed in _kept_blocks(model, n_steps, transient, z, u, times):
            bad: np.ndarray = np.any(~np.isfinite(observed), axis=-1)
            for f, b in zip(*np.nonzero(bad.any(-1) & (diverged < 0))):
                diverged[f, b] = start + int(bad[f, b].argmax())
            yield start, states, observed

    if out is None:
        latent = np.empty((F, B, n_steps, M))
        observed = np.empty((F, B, n_steps, model.observed_dim))
        for start, states, values in kept():
            latent[:, :, start : start + states.shape[2]] = states
            observed[:, :, start : start + states.shape[2]] = values
        data = {"latent": (dims["latent"], latent), "observed": (dims["observed"], observed)}
        result = xr.Dataset(data, coords=coords | {"time": ("time", sampled(0, n_steps))}, attrs=attrs)
    else:
        template: dict[str, Any] = {k: (d, "float64") for k, d in dims.items()} | {"time": (("time",), "float64")}
        with BlockWriter(out, template, sizes={"latent": M}, coords=coords, attrs=attrs, n_steps=n_steps) as writer:
            for start, states, values in kept():
                writer.append({"latent": states, "observed": values, "time": sampled(start, start + states.shape[2])})
        result = open_blocks(out)
    result = result.assign(diverged=(("fit", "trial"), diverged))
    result.diverged.attrs["long_name"] = "first sample that is not finite, -1 where all are"
    if gaps is not None:
        result = result.assign(elapsed=(("trial", "time"), gaps[:, transient:], {"long_name": "time since the sample before", "units": attrs["units"]}))
    return result


def observed_orbits(model: Any, n_steps: int, initial: Any = None, transient: int = 0) -> Float[np.ndarray, "fit trial time channel"]:
    """``generate(...).observed`` alone, for many orbits: of a model with many latent units most of the memory, and half of the time, would be its states."""
    model = model_of(model)
    z, u, _, times = _prepared(model, initial, None, None, transient + n_steps)
    out = np.empty((*z.shape[:2], n_steps, model.observed_dim))
    for start, _, observed in _kept_blocks(model, n_steps, transient, z, u, times):
        out[:, :, start : start + observed.shape[2]] = observed
    return out


def _prepared(model: Any, initial: Any, inputs: Any, elapsed: Any, n_samples: int) -> tuple[Tensor, Tensor | None, np.ndarray | None, Tensor | None]:
    """First states (fit, trial, latent), inputs, and elapsed times in the recording's unit and as the model counts them."""
    z = start_states(model, initial)
    u = _drive(model, inputs, initial, n_samples, z.shape[1])
    gaps = elapsed_steps(model, elapsed, initial, n_samples, z.shape[1])
    return z, u, gaps, None if gaps is None else torch.tensor(model.own_times(gaps))[None]


def _kept_blocks(
    model: Any, n_steps: int, transient: int, z: Tensor, u: Tensor | None, times: Tensor | None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(number of its first sample after the transient, states, what is observed), block by block."""
    F, B, M = z.shape
    free_run = free_runner(model)
    block = max(1, BLOCK_NUMBERS // (F * B * max(M, model.observed_dim)))

    def blocks() -> Iterator[tuple[int, Tensor]]:
        """(first sample, states) from the initial sample on."""
        now, done = z, 0
        yield 0, z[:, :, None]
        while done + 1 < transient + n_steps:
            n = min(block, transient + n_steps - 1 - done)
            drive = None if u is None else u[:, :, done + 1 : done + 1 + n].expand(F, B, n, model.input_dim)
            own = () if times is None else (times[:, :, done + 1 : done + 1 + n],)
            states = free_run(now, n, drive, *own)
            yield done + 1, states
            now, done = states[:, :, -1], done + n

    for first, states in blocks():
        states = states[:, :, max(0, transient - first) :]
        if states.shape[2] == 0:
            continue
        with torch.no_grad():
            observed = model.readout(states)
        yield max(first, transient) - transient, states.numpy(), observed.numpy()


def states_along(model: Reservoir, recording: xr.Dataset, places: Int[np.ndarray, "place 2"]) -> np.ndarray:
    """Latent states (fit, place, latent) at samples (trial, time) of a recording that drives the model from each trial's first sample on: before each step
    its prediction is replaced by what was observed. O(fit samples M H); a state depends on the samples before it alone."""
    mean, scale = model.data_mean.numpy(), model.data_scale.numpy()
    if len(places) and int(places[:, 1].min()) < model.least_past:
        raise ArgumentError(
            f"sample {int(places[:, 1].min())} of a series has no state yet: a {model.family} model is driven by the {model.least_past} samples before it. "
            f"Start from sample {model.least_past} or later, of a series of at least {model.least_past + 1} samples."
        )
    out = np.empty((model.n_fits, len(places), model.latent_dim))
    for trial in np.unique(places[:, 0]).tolist():
        here = np.flatnonzero(places[:, 0] == trial)
        last = int(places[here, 1].max())
        x = np.asarray(recording.observed.values[trial, : last + 1], dtype=np.float64)
        u = torch.tensor(np.asarray(recording.inputs.values[trial, 1 : last + 1], dtype=np.float64)) if model.input_dim else None
        for f in range(model.n_fits):
            states = model.driven((x - mean[f]) / scale[f], u, f)
            out[f, here] = states[places[here, 1]]
    return out


def warmup(model: Any, recording: Any) -> xr.DataArray:
    """Drive a reservoir along a recording and return its state at the last sample of each trial, from where ``generate`` goes on without a seam.

    Returns (fit, trial, latent), float64: the last sample itself, standardised, and the reservoir's units. Trials may have unequal lengths; where a sample
    is missing (NaN) the prediction takes its place. A batch of trials gives what each gives alone, and ``recording[:T]`` the state on the way at T - 1, to the
    bit; saved to zarr and read again it is the same. O(fit samples (values of W + n N)).

    ArgumentError for a model that is no reservoir: its state at a sample is ``model.initial_state(x)``, without a past.

    >>> import dynrnn as dr
    >>> rec = dr.load_dataset("lorenz63", n_steps=2_000, random_state=0)
    >>> run = dr.fit(dr.ESN(3, 100, bias_scaling=0.5, random_state=0), rec, progress=False)
    >>> state = dr.warmup(run, rec)
    >>> dr.generate(run, 500, initial=state).observed.sizes["time"]
    500
    """
    model = model_of(model)
    if not isinstance(model, Reservoir):
        raise ArgumentError(
            f"a {model.family} model has no past to be warmed up with; generate(model, n_steps, initial=recording) starts from the first samples."
        )
    recording = as_recording(recording)
    check_fits(model, recording)
    ends = np.stack([np.arange(recording.sizes["trial"]), recording.n_time.values - 1], 1)
    coords = {"fit": model.fit_number.numpy().copy(), "trial": recording.trial.values if "trial" in recording.coords else np.arange(len(ends))}
    return xr.DataArray(states_along(model, recording, ends), dims=("fit", "trial", "latent"), coords=coords, name="state")


def forecast(model: Any, recording: Any, starts: Any, n_steps: int) -> xr.DataArray:
    """Free runs of ``n_steps`` from many samples of a recording.

    starts : (trial, time) indices [start, 2] of samples to start from; those with inputs or elapsed times need n_steps samples after them. A reservoir is
        driven by the trial up to each of them; other models start from the sample alone. ArgumentError for one that is not in its trial.
    Returns (fit, start, lead, <name>) in the recording's units, lead = 1..n_steps. Cost O(fit start n_steps M H), memory O(fit start n_steps N).
    """
    model = model_of(model)
    recording = uneven_or_even(recording)
    check_fits(model, recording)
    check_int("n_steps", n_steps, low=1)
    starts = _checked_starts(starts, recording.n_time.values)
    name, labels = observed_axis(model)
    values = recording.observed.values
    F = model.n_fits
    out = np.empty((F, len(starts), n_steps, model.observed_dim))
    block = max(1, START_BLOCK // (F * n_steps * model.latent_dim))
    free_run = free_runner(model)
    gaps = model.own_times(recording.elapsed.values) if "elapsed" in recording else None
    if gaps is not None and (starts[:, 1] + n_steps >= recording.n_time.values[starts[:, 0]]).any():
        raise ArgumentError(f"a start lies within {n_steps} samples of the end of its trial's elapsed times; choose earlier starts.")
    driven = states_along(model, recording, starts) if isinstance(model, Reservoir) else None
    for first in range(0, len(starts), block):
        part = starts[first : first + block]
        x = torch.tensor(np.asarray(values[part[:, 0], part[:, 1]], dtype=np.float64))
        u = None
        if model.input_dim:
            drive = recording.inputs.values
            if int(part[:, 1].max()) + n_steps >= drive.shape[1]:
                raise ArgumentError(f"a start lies within {n_steps} samples of the end of the inputs; choose earlier starts.")
            u = torch.tensor(np.stack([drive[k, t + 1 : t + 1 + n_steps] for k, t in part]), dtype=torch.float64)
            u = u.expand(F, *u.shape)
        own = () if gaps is None else (torch.tensor(np.stack([gaps[k, t + 1 : t + 1 + n_steps] for k, t in part]))[None],)
        with torch.no_grad():
            z = model.initial_state(x.expand(F, *x.shape)) if driven is None else torch.tensor(driven[:, first : first + block])
            out[:, first : first + block] = model.readout(free_run(z, n_steps, u, *own)).numpy()
    coords = {"fit": model.fit_number.numpy().copy(), "lead": np.arange(1, n_steps + 1), name: labels}
    return xr.DataArray(out, dims=("fit", "start", "lead", name), coords=coords)


def _checked_starts(starts: Any, lengths: np.ndarray) -> Int[np.ndarray, "start 2"]:
    starts = np.asarray(starts)
    if starts.ndim != 2 or starts.shape[1] != 2 or not np.issubdtype(starts.dtype, np.integer):
        raise ArgumentError(f"starts must be whole numbers, a pair (trial, time) in each row, got an array {starts.shape} of {starts.dtype}.")
    trial, time = starts.T
    there = (trial >= 0) & (trial < len(lengths))
    there[there] &= (time[there] >= 0) & (time[there] < lengths[trial[there]])
    if not there.all():
        row = int(np.argmin(there))
        known = 0 <= trial[row] < len(lengths)
        held = f"which has the samples 0 to {lengths[trial[row]] - 1}" if known else f"and there are the trials 0 to {len(lengths) - 1}"
        raise ArgumentError(f"starts[{row}] is sample {time[row]} of trial {trial[row]}, {held}.")
    return starts
