"""The training loop: hands blocks of updates to the kernel, adapts the forcing, keeps the history, validates."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.training.adaptive import AdaptiveAlpha
from dynrnn.training.book import Book
from dynrnn.training.checkpoints import Checkpoints
from dynrnn.training.draws import Sampler
from dynrnn.training.forcing import AdaptiveTeacherForcing, Forcing
from dynrnn.training.history import History
from dynrnn.training.mean import WINDOW_SETS, Mean
from dynrnn.training.parameters import FlatParameters, flat_parameters, read, trainable, write
from dynrnn.training.pullback import map_of_flat
from dynrnn.training.regularisation import Regularisation
from dynrnn.training.state import TrainingState
from dynrnn.training.status import Status
from dynrnn.training.updates import DeviceUpdates, HostUpdates, Updates, training_device
from dynrnn.training.validation import VALIDATED_BY, Validator
from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.update import AFFINE, IDENTITY, Problem, State, by_backpropagation, by_influence, run_updates, run_updates_reference
from dynrnn_kernels.update.problem import BAD_STEP
from dynrnn_kernels.update.reference import filled

BLOCK_SECONDS = 0.2          # the kernel is called for about so long at a time, so that the bar moves and Ctrl-C works


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
    validate_by: str = "d_stsp"
    validate_mean: bool = False
    mean_over: float = 0.0
    """Share of the updates at whose end the mean of the parameters is taken; 0 for none."""


@dataclass(frozen=True)
class Progress:
    """What a callback is told: ``update`` of ``n_updates`` are done; ``validation`` [F], the score by ``validate_by`` where it was just computed, else
    None; ``state()`` gives all that the training needs to go on from here."""

    update: int
    n_updates: int
    validation: np.ndarray | None
    state: Callable[[], TrainingState]


@dataclass
class Hooks:
    """What happens beside the updates: models kept on the way, a callback every so many updates (True stops the training), where and how often
    the state is saved, a state to go on from, and what states say they are of."""

    checkpoints: Checkpoints | None = None
    callback: Callable[[Progress], bool | None] | None = None
    every: int = 1
    save: tuple[Path, int] | None = None
    start: TrainingState | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Trained:
    last: Model
    best: Model | None
    mean: Model | None
    history: xr.Dataset
    status: xr.DataArray
    refused: xr.DataArray


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


def updates_by(
    options: Options, model: Model, flat: FlatParameters, problem: Problem, state: State, sampler: Sampler, done: int, elapsed: np.ndarray | None = None
) -> Updates:
    """Whole updates in compiled code where the map is filled by index, else, and for gradients accumulated forwards, through torch's autograd.

    done : updates that were made before. elapsed : of each step, as the model counts time, (trial, time); of models that are trained through torch alone.
    """
    T = options.sequence_length
    sequence = partial(by_backpropagation, backend=options.backend, elapsed=elapsed)
    if options.gradient != "bptt":
        device = training_device() if options.backend == "triton" else None
        sequence = partial(by_influence, algorithm=options.gradient, backend=options.backend, device=device)
    by_torch = partial(run_updates_reference, sequence=sequence)
    if flat.layout is None:
        return HostUpdates(by_torch, map_of_flat(model), problem, state, sampler, T)
    if options.backend == "reference" or options.gradient != "bptt":
        template = cast(AdditiveModel, model).additive_map()                        # what has a layout is one
        template = template.written_out() if options.backend == "triton" else template
        return HostUpdates(by_torch, filled(template, problem), problem, state, sampler, T)
    if options.backend == "triton":
        return DeviceUpdates(flat.layout, problem, state, sampler, T, options.precision, done)
    return HostUpdates(run_updates, flat.layout, problem, state, sampler, T)


def train(model: Model, recording: xr.Dataset, validation: xr.Dataset | None, options: Options, hooks: Hooks) -> Trained:
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
    validator = None if validation is None else Validator(model, validation, options.validate_by)
    mean = Mean.of_end(state.theta, options.mean_over, options.n_updates) if options.mean_over > 0 else None
    window = Mean(state.theta, 0, options.validate_every, WINDOW_SETS) if validator and options.validate_mean else None
    means = {name: of for name, of in (("mean", mean), ("window", window)) if of is not None}
    history = History(options.n_updates, F)
    book = Book(state, history, validator, adaptive, means, hooks.about)
    done = 0 if hooks.start is None else book.adopt(hooks.start)
    elapsed = model.own_times(recording.elapsed.values) if "elapsed" in recording else None
    updates = updates_by(options, model, flat, problem, state, sampler, done, elapsed)
    start, end = options.learning_rate
    ratio = end / start
    stops = [hooks.every] if hooks.callback else []
    stops += [adaptive.forcing.every] if adaptive else []
    stops += [options.validate_every] if validator else []
    stops += [hooks.checkpoints.every] if hooks.checkpoints else []
    stops += [hooks.save[1]] if hooks.save else []

    def due(every: int) -> bool:
        return done % every == 0 or done == options.n_updates

    if hooks.checkpoints is not None and done == 0:
        hooks.checkpoints(0, model, state.theta)
    began, block, stopped = time.perf_counter() - float(history.seconds.max()), 1, False
    with threads(options.n_threads, F * -(-options.batch_size // ROWS)), one_blas_thread(), tqdm(
        total=options.n_updates, unit="update", disable=not options.progress, desc=f"{model.family} x {F}", smoothing=0.1, initial=done
    ) as bar:
        while done < options.n_updates and state.active.any() and not stopped:
            n = min(block, options.n_updates - done, *(every - done % every for every in stops), *(of.ahead(done) for of in means.values()))
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
            for of in means.values():
                if of.takes(done):
                    updates.fetch()
                    of(state.theta)
            scores = None
            if validator is not None and due(options.validate_every):
                updates.fetch()
                scores = validator(done, state.theta if window is None else window.parameters(state.theta, state.active))
                if window is not None:
                    window.begin_anew()
            if hooks.checkpoints is not None and due(hooks.checkpoints.every):
                updates.fetch()
                hooks.checkpoints(done, model, state.theta)
            if hooks.callback is not None and due(hooks.every):
                updates.fetch()
                stopped = bool(hooks.callback(Progress(done, options.n_updates, scores, partial(book.state, done))))
            if hooks.save is not None and due(hooks.save[1]):
                updates.fetch()
                book.state(done).save(hooks.save[0])
            bar.update(n)
            bar.set_postfix(loss=f"{np.median(loss[-1]):.3g}", alpha=f"{np.median(alpha[-1]):.3g}", refused=int(state.refused.sum()))
    updates.fetch()
    write(model, state.theta)
    best, found = None, None
    if validator is not None:
        best, (theta, *found) = copy.deepcopy(model), validator.confirmed()
        write(best, theta)
    averaged = None
    if mean is not None:
        averaged = copy.deepcopy(model)
        write(averaged, mean.parameters(state.theta, state.active))
    lost = np.where(state.reason == BAD_STEP, Status.STOPPED_STEP.value, Status.STOPPED_GRADIENT.value)
    ended = Status.STOPPED_CALLBACK.value if stopped and done < options.n_updates else Status.FINISHED.value
    status = np.where(state.active, ended, lost).astype(object)
    coords = {"fit": fits}
    return Trained(
        last=copy.deepcopy(model), best=best, mean=averaged,
        history=history.dataset(fits, {} if validator is None else validator.scores, done, VALIDATED_BY[options.validate_by], found).assign_attrs(
            backend=options.backend, precision=options.precision
        ),
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
