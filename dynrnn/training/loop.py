"""The training loop: hands blocks of updates to the kernel, adapts the forcing, keeps the history, validates."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass
from functools import partial
from typing import cast

import numba
import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from dynrnn.analysis.reconstruction import d_stsp
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.models.generation import generate
from dynrnn.training.adaptive import AdaptiveAlpha
from dynrnn.training.checkpoints import Checkpoints
from dynrnn.training.draws import Sampler
from dynrnn.training.forcing import AdaptiveTeacherForcing, Forcing
from dynrnn.training.mean import Mean
from dynrnn.training.parameters import FlatParameters, flat_parameters, read, trainable, write
from dynrnn.training.pullback import map_of_flat
from dynrnn.training.regularisation import Regularisation
from dynrnn.training.status import Status
from dynrnn.training.updates import DeviceUpdates, HostUpdates, Updates
from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.update import AFFINE, IDENTITY, Problem, State, by_backpropagation, by_influence, run_updates, run_updates_reference
from dynrnn_kernels.update.problem import BAD_STEP
from dynrnn_kernels.update.reference import filled

HISTORY_POINTS = 1000        # rows of the history at most; loss and gradient norm are means over the updates of a row
BLOCK_SECONDS = 0.2          # the kernel is called for about so long at a time, so that the bar moves and Ctrl-C works
VALIDATION_STARTS = 8


@dataclass
class Options:
    """What ``fit`` has checked."""

    forcing: Forcing
    n_updates: int
    sequence_length: int
    batch_size: int
    learning_rate: tuple[np.ndarray, np.ndarray]
    noise: np.ndarray
    regularisation: Regularisation
    gradient_clip: np.ndarray
    max_refused: int
    validate_every: int
    progress: bool
    random_state: int
    backend: str
    precision: str
    n_threads: int | None
    gradient: str = "bptt"
    mean_over: float = 0.0
    """Share of the updates at whose end the mean of the parameters is taken; 0 for none."""


@dataclass
class Trained:
    last: Model
    best: Model | None
    mean: Model | None
    history: xr.Dataset
    status: xr.DataArray
    refused: xr.DataArray


class History:
    """Sums over the updates of a row, so that memory does not grow with n_updates."""

    def __init__(self, n_updates: int, n_fits: int):
        self.every = -(-n_updates // HISTORY_POINTS)
        self.rows = -(-n_updates // self.every)
        self.loss, self.norm = np.zeros((n_fits, self.rows)), np.zeros((n_fits, self.rows))
        self.alpha, self.rate = np.full((n_fits, self.rows), np.nan), np.full((n_fits, self.rows), np.nan)
        self.seconds = np.zeros((n_fits, self.rows))
        self.last_update = np.minimum(np.arange(1, self.rows + 1) * self.every, n_updates)

    def add(self, first: int, loss: np.ndarray, norm: np.ndarray, alpha: np.ndarray, rate: np.ndarray, seconds: float) -> None:
        row = (first + np.arange(len(loss))) // self.every
        for k in range(loss.shape[1]):
            np.add.at(self.loss[k], row, loss[:, k])
            np.add.at(self.norm[k], row, norm[:, k])
        self.alpha[:, row], self.rate[:, row] = alpha.T, rate.T
        self.seconds[:, row] = seconds

    def dataset(self, fits: np.ndarray, validation: dict[int, np.ndarray]) -> xr.Dataset:
        size = np.diff(self.last_update, prepend=0)
        dims = ("fit", "update")
        data = {
            "loss": (dims, self.loss / size, {"long_name": "loss with regularisers, mean over the updates of a row", "units": "variances"}),
            "alpha": (dims, self.alpha, {"long_name": "forcing strength", "units": "1"}),
            "learning_rate": (dims, self.rate, {"long_name": "learning rate", "units": "1"}),
            "gradient_norm": (dims, self.norm / size, {"long_name": "gradient norm before clipping, mean over the updates of a row", "units": "1"}),
            "seconds": (dims, self.seconds, {"long_name": "time since the start", "units": "s"}),
        }
        out = xr.Dataset(data, coords={"fit": fits, "update": self.last_update})
        if validation:
            values = np.full((len(fits), self.rows), np.nan)
            for update, score in validation.items():
                values[:, (update - 1) // self.every] = score
            meaning = "D_stsp on the validation recording, mean over free runs from several starts, NaN where it was not computed"
            out["validation"] = dims, values, {"long_name": meaning, "units": "nat"}
        return out


def standardised(model: Model, recording: xr.Dataset) -> np.ndarray:
    """The recording in the units of training, [trial, time, N] float32, NaN = missing or past the end of a trial."""
    mean, scale = model.data_mean[0].numpy(), model.data_scale[0].numpy()
    return ((recording.observed.values - mean) / scale).astype(np.float32)


def build_problem(model: Model, recording: xr.Dataset, options: Options) -> tuple[FlatParameters, Problem]:
    F, M, N, T = model.n_fits, model.latent_dim, model.observed_dim, options.sequence_length
    flat = flat_parameters(model, written_out=options.backend == "triton")
    data = np.ascontiguousarray(standardised(model, recording))                     # other layouts would be compiled for anew, which takes a minute
    inputs = np.ascontiguousarray(recording.inputs.values) if "inputs" in recording else np.zeros((*data.shape[:2], 0))
    beyond = np.arange(data.shape[1])[None] >= recording.n_time.values[:, None]
    weight, goal, condition = options.regularisation.pulls(model, flat)
    unit = options.forcing.units(M, N, model.observation)
    affine = model.observation == "affine"
    f4 = np.float32
    return flat, Problem(
        fill=flat.fill, constant=flat.constant.astype(f4), observation=AFFINE if affine else IDENTITY,
        obs_weight=flat.offset("B") if affine else max(flat.offset("L"), 0), obs_bias=flat.offset("b"),
        data=data, inputs=np.nan_to_num(inputs).astype(f4), has_missing=bool(np.isnan(data[~beyond]).any()),
        channel_mean=np.broadcast_to(np.nanmean(data, axis=(0, 1), dtype=np.float64), (F, N)).astype(f4, order="C"), noise_level=options.noise.astype(f4),
        gate=options.forcing.gate(T, F, recording).astype(f4), unit=unit.astype(f4), trainable=trainable(model, flat).astype(f4),
        decay=weight.astype(f4), decay_to=goal.astype(f4), condition=condition.astype(f4), clip=options.gradient_clip.astype(f4),
        max_refused=options.max_refused,
    )


def build_state(model: Model) -> State:
    theta, F = read(model), model.n_fits
    counts = [np.zeros(F, dtype=np.int64) for _ in range(4)]
    return State(theta, np.zeros_like(theta), np.zeros_like(theta), counts[0], np.ones(F, dtype=np.bool_), *counts[1:])


class Validator:
    """D_stsp of free runs against the validation recording, per fit, and the parameters that were best.

    The mean over runs from ``VALIDATION_STARTS`` samples spread over the recording, each as long as it: a model that loses its attractor
    does so sooner from one start than from another, and one run misses it. Models with inputs run once, along the recording's own.
    """

    def __init__(self, model: Model, recording: xr.Dataset):
        self.model = model
        n_time = recording.n_time.values
        self.true = [recording.observed.values[k, : int(n)] for k, n in enumerate(n_time)]
        self.n_steps = int(n_time.max())
        self.initial: xr.Dataset | np.ndarray = recording
        self.transient = 0
        if "inputs" not in recording:
            longest = self.true[int(np.argmax(n_time))]
            seen = longest[~np.isnan(longest).all(1)]
            self.initial = seen[np.linspace(0, len(seen) - 1, VALIDATION_STARTS + 1).astype(int)[:-1], None]
            self.transient = self.n_steps // 4
        self.scores: dict[int, np.ndarray] = {}
        self.best = np.full(model.n_fits, np.inf)
        self.theta = read(model)

    def __call__(self, update: int, theta: np.ndarray) -> None:
        write(self.model, theta)
        orbits = generate(self.model, self.n_steps, initial=self.initial, transient=self.transient).observed.values
        score = d_stsp(self.true, orbits, "dynrnn-1").mean(1)
        better = score < self.best
        self.best[better], self.theta[better] = score[better], theta[better]
        self.scores[update] = score


def updates_by(options: Options, model: Model, flat: FlatParameters, problem: Problem, state: State, sampler: Sampler) -> Updates:
    """Whole updates in compiled code where the map is filled by index, else, and for gradients accumulated forwards, through torch's autograd."""
    T = options.sequence_length
    sequence = partial(by_backpropagation, backend=options.backend)
    if options.gradient != "bptt":
        sequence = partial(by_influence, algorithm=options.gradient, backend=options.backend)
    by_torch = partial(run_updates_reference, sequence=sequence)
    if flat.layout is None:
        return HostUpdates(by_torch, map_of_flat(model), problem, state, sampler, T)
    if options.backend == "reference" or options.gradient != "bptt":
        template = cast(AdditiveModel, model).additive_map()                        # what has a layout is one
        return HostUpdates(by_torch, filled(template, problem), problem, state, sampler, T)
    if options.backend == "triton":
        return DeviceUpdates(flat.layout, problem, state, sampler, T, options.precision)
    return HostUpdates(run_updates, flat.layout, problem, state, sampler, T)


def train(model: Model, recording: xr.Dataset, validation: xr.Dataset | None, options: Options, checkpoints: Checkpoints | None = None) -> Trained:
    """Run all updates; ``model`` ends with the parameters of the last."""
    F, T = model.n_fits, options.sequence_length
    fits = model.fit_number.numpy().copy()
    x = standardised(model, recording)
    model.adapt_to_data(np.nanmin(x, axis=(0, 1)), np.nanmax(x, axis=(0, 1)))
    flat, problem = build_problem(model, recording, options)
    state = build_state(model)
    sampler = Sampler(recording, fits, options.batch_size, T, bool((options.noise > 0).any()), options.random_state)
    adaptive = None
    if isinstance(options.forcing, AdaptiveTeacherForcing):
        adaptive = AdaptiveAlpha(flat, cast(AdditiveModel, model), options.forcing, problem, sampler, T, options.backend)
    validator = None if validation is None else Validator(model, validation)
    mean = Mean(options.mean_over, options.n_updates) if options.mean_over > 0 else None
    history = History(options.n_updates, F)
    updates = updates_by(options, model, flat, problem, state, sampler)
    start, end = options.learning_rate
    ratio = end / start

    if checkpoints is not None:
        checkpoints(0, model, state.theta)
    began, done, block = time.perf_counter(), 0, 1
    with threads(options.n_threads, F * -(-options.batch_size // ROWS)), one_blas_thread(), tqdm(
        total=options.n_updates, unit="update", disable=not options.progress, desc=f"{model.family} x {F}", smoothing=0.1
    ) as bar:
        while done < options.n_updates and state.active.any():
            n = min(block, options.n_updates - done)
            if adaptive is not None:
                n = min(n, adaptive.forcing.every - done % adaptive.forcing.every)
            if validator is not None:
                n = min(n, options.validate_every - done % options.validate_every)
            if checkpoints is not None:
                n = min(n, checkpoints.every - done % checkpoints.every)
            if mean is not None:
                n = min(n, mean.ahead(done))
            numbers = np.arange(done, done + n)
            if adaptive is None:
                alpha = options.forcing.strength(numbers, options.n_updates, F)
            else:
                if done % adaptive.forcing.every == 0:
                    updates.fetch()
                    adaptive.update(done, state.theta, state.active)            # on windows that the host draws, whoever computes the updates
                alpha = np.tile(adaptive.alpha, (n, 1))
            rate = start * ratio ** (numbers / options.n_updates)[:, None]
            tick = time.perf_counter()
            loss, norm = updates(done, alpha, rate)
            took = time.perf_counter() - tick
            block = int(np.clip(BLOCK_SECONDS / max(took / n, 1e-9), 1, min(updates.largest, 2 * block + 1)))
            done += n
            history.add(done - n, loss, norm, alpha, rate, time.perf_counter() - began)
            if validator is not None and (done % options.validate_every == 0 or done == options.n_updates):
                updates.fetch()
                validator(done, state.theta)
            if checkpoints is not None and (done % checkpoints.every == 0 or done == options.n_updates):
                updates.fetch()
                checkpoints(done, model, state.theta)
            if mean is not None and mean.takes(done):
                updates.fetch()
                mean(state.theta)
            bar.update(n)
            bar.set_postfix(loss=f"{np.median(loss[-1]):.3g}", alpha=f"{np.median(alpha[-1]):.3g}", refused=int(state.refused.sum()))
    updates.fetch()
    write(model, state.theta)
    best = None
    if validator is not None:
        best = copy.deepcopy(model)
        write(best, validator.theta)
    averaged = None
    if mean is not None:
        averaged = copy.deepcopy(model)
        write(averaged, mean.parameters(state.theta, state.active))
    stopped = np.where(state.reason == BAD_STEP, Status.STOPPED_STEP.value, Status.STOPPED_GRADIENT.value)
    status = np.where(state.active, Status.FINISHED.value, stopped).astype(object)
    coords = {"fit": fits}
    return Trained(
        last=copy.deepcopy(model), best=best, mean=averaged,
        history=history.dataset(fits, {} if validator is None else validator.scores).assign_attrs(backend=options.backend, precision=options.precision),
        status=xr.DataArray(status, dims="fit", coords=coords, attrs={"long_name": "how the fit ended"}),
        refused=xr.DataArray(state.refused.copy(), dims="fit", coords=coords, attrs={"long_name": "steps refused as not finite"}),
    )


@contextlib.contextmanager
def threads(wanted: int | None, work_items: int):
    """Numba's threads for the time of a fit: as many as there is work for. torch's is one, or Numba's would become torch's, which small matrices pay dearly."""
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    of_torch = torch.get_num_threads()
    numba.set_num_threads(max(1, min(wanted or before, most, work_items)))
    torch.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
        torch.set_num_threads(of_torch)
