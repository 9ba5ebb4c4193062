"""``fit``: train a model, or an ensemble of them, on a recording."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr

from dynrnn.data import as_recording, check_for_training, fit_scaling
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import AdditiveModel
from dynrnn.models.generation import check_fits
from dynrnn.models.storage import save
from dynrnn.results.run_folder import RunFolder
from dynrnn.results.schema import data_fingerprint, stamp
from dynrnn.results.store import write_results
from dynrnn.streams import check_random_state
from dynrnn.training.checkpoints import Checkpoints
from dynrnn.training.forcing import Forcing, GeneralizedTeacherForcing, PerFit, per_fit
from dynrnn.training.loop import Options, train
from dynrnn.training.regularisation import Regularisation
from dynrnn.training.run import Run
from dynrnn.training.updates import check_device_updates
from dynrnn_kernels.additive.config import PRECISIONS

TRAINING_BACKENDS = ("cpu", "reference", "triton")


def fit(
    model: AdditiveModel,
    recording: Any,
    forcing: Forcing | None = None,
    n_updates: int = 50_000,
    sequence_length: int = 200,
    batch_size: int = 16,
    learning_rate: PerFit | tuple[PerFit, PerFit] = (1e-3, 1e-5),
    validation: Any = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    random_state: int | None = None,
    *,
    noise: PerFit = 0.0,
    regularisation: Regularisation | None = None,
    gradient_clip: PerFit = np.inf,
    standardise: bool = True,
    keep: Literal["last", "best"] = "last",
    validate_every: int | None = None,
    checkpoint_every: int | None = None,
    max_refused: int = 20,
    backend: str | None = None,
    precision: str = "ieee",
    n_threads: int | None = None,
) -> Run:
    """Train all fits of ``model`` at once, in place, by backpropagation through forced windows of the recording.

    Parameters
    ----------
    model : a model of dynrnn; its parameters are changed in place.
    recording : what ``as_recording`` takes; NaN = missing: never forced on, never in the loss.
    forcing : default ``GeneralizedTeacherForcing(alpha=0.15)``.
    n_updates : optimiser steps. sequence_length : samples T of a window (each draws T + 1). batch_size : windows in an update.
    learning_rate : constant, or (start, end) decayed exponentially over the updates.
    validation : a recording that is held out; every ``validate_every`` updates (default a twentieth of all) each fit runs freely
        for its length, from eight of its samples, and the mean D_stsp against it goes into the history.
    keep : ``last`` leaves the model of the last update in ``run.model``, ``best`` the one best on validation.
    checkpoint_every : keep the model of every so many updates, and of the first and the last, in ``run.checkpoints`` and, while training goes on,
        in the folder (``load_checkpoints``); they take O(n_updates / checkpoint_every) times the memory of the parameters. None by default.
    out : a new folder for config, checkpoints and results.
    noise : standard deviation of Gaussian noise on windows (inputs and targets alike), in standard deviations of the channel.
    regularisation : see ``Regularisation``; none by default.
    gradient_clip : largest norm of a fit's gradient; no clipping by default.
    standardise : train on channels scaled to mean 0 and sd 1 (constants from this recording, kept in the model); results stay in your units.
    max_refused : a step that is not finite is refused; so many in a row stop that fit, with a status, and the others go on.
    backend : ``cpu`` (compiled), ``reference`` (plain torch, slow) or ``triton`` (a CUDA device: all of an update there, in float32; not run on one
        yet); default the environment's DYNRNN_BACKEND, else ``cpu``. It is kept in the config and in ``history.attrs``. ``triton`` draws its own
        windows and noise, other ones than the CPU for the same random_state; adaptive forcing looks at windows drawn on the host. Validation
        runs on the CPU unless DYNRNN_BACKEND says otherwise.
    precision : of matrix products in ``triton``'s recurrence: ``ieee`` (float32), or on tensor cores ``tf32x3`` (close to it) or ``tf32`` (3 digits).
        It is kept like the backend; the others compute in full precision alone.
    n_threads : threads, at least 1; default all cores that there is work for. Results do not depend on it.

    ``learning_rate``, ``alpha``, ``noise``, ``gradient_clip`` and the regularisers' weights may each be one value per fit (an array).

    Method: windows drawn uniformly; loss = mean squared error of the predictions before forcing, over what was seen; RAdam (Liu et
    al. 2020), one step count per fit. Random numbers depend on (random_state, fit, update) alone, so fit k trains to the same bits
    alone, in an ensemble, and on any number of threads (``triton``: on the same draws, to rounding). Cost O(fit n_updates batch_size
    T M H); memory O(threads T M batch_size), on a device O(fit T M batch_size), plus 16 bytes an update and fit for the history.

    When it fails: with too little forcing on chaotic data gradients explode (steps are refused); with too much the model predicts
    one step well and collapses to a point when it runs freely. Judge it with ``evaluate``, over several fits.

    >>> import numpy as np
    >>> from dynrnn.models import ShallowPLRNN
    >>> x = np.sin(0.1 * np.arange(500))[:, None] * [1.0, 2.0] + np.cos(0.05 * np.arange(500))[:, None]
    >>> run = fit(ShallowPLRNN(2, 2, 10, n_fits=2, random_state=0), x, n_updates=30, sequence_length=20, progress=False, random_state=0)
    >>> run.status.values.tolist()
    ['finished', 'finished']
    """
    if not isinstance(model, AdditiveModel):
        raise ArgumentError(f"model must be a model of dynrnn such as dr.ALRNN(...), got {type(model).__name__}.")
    forcing = GeneralizedTeacherForcing() if forcing is None else forcing
    if not isinstance(forcing, Forcing):
        raise ArgumentError(f"forcing must be e.g. dr.GeneralizedTeacherForcing(alpha=0.15), got {forcing!r}.")
    regularisation = Regularisation() if regularisation is None else regularisation
    check_int("n_updates", n_updates, low=1)
    check_int("sequence_length", sequence_length, low=1)
    check_int("batch_size", batch_size, low=1)
    check_int("max_refused", max_refused, low=1)
    if checkpoint_every is not None:
        check_int("checkpoint_every", checkpoint_every, low=1)
    if keep not in ("last", "best"):
        raise ArgumentError(f"keep must be 'last' or 'best', got {keep!r}.")
    if keep == "best" and validation is None:
        raise ArgumentError("keep='best' needs a validation recording to choose by; split one off with dr.split(recording).")
    chosen = backend or os.environ.get("DYNRNN_BACKEND") or "cpu"
    if chosen not in TRAINING_BACKENDS:
        raise ArgumentError(f"backend must be one of {TRAINING_BACKENDS} for training, got {chosen!r}.")
    if precision not in PRECISIONS or (precision != "ieee" and chosen != "triton"):
        raise ArgumentError(f"precision must be 'ieee', or one of {PRECISIONS} with backend='triton', got {precision!r} with backend={chosen!r}.")
    if validate_every is not None:
        check_int("validate_every", validate_every, low=1)
    if n_threads is not None:
        check_int("n_threads", n_threads, low=1)
    for name, tensor in model.state_dict().items():
        if tensor.device.type != "cpu":
            raise ArgumentError(
                f"the model's {name} is on {tensor.device}; fit wants models on the CPU and puts what it computes on a device itself: "
                "call model.cpu(), and give backend='triton' to train on CUDA."
            )
    if forcing.n_forced is not None:
        check_int("n_forced", forcing.n_forced, low=0, high=model.latent_dim)
    F = model.n_fits
    rates = learning_rate if isinstance(learning_rate, tuple) else (learning_rate, learning_rate)
    if len(rates) != 2:
        raise ArgumentError(f"learning_rate as a tuple is (start, end), got {learning_rate!r}.")
    start, end = (per_fit("learning_rate", rate, F, low=1e-30, high=1e3) for rate in rates)
    random_state = check_random_state(random_state)
    recording = as_recording(recording)
    check_fits(model, recording)
    check_for_training(recording, sequence_length, standardise=standardise)
    if chosen == "triton":
        check_device_updates(model, recording, sequence_length, batch_size)
    if validation is not None:
        validation = as_recording(validation)
        check_fits(model, validation)
    options = Options(
        forcing=forcing, n_updates=n_updates, sequence_length=sequence_length, batch_size=batch_size, learning_rate=(start, end),
        noise=per_fit("noise", noise, F, low=0.0), regularisation=regularisation, gradient_clip=per_fit("gradient_clip", gradient_clip, F, low=0.0),
        max_refused=max_refused, validate_every=max(1, n_updates // 20) if validate_every is None else validate_every, progress=progress,
        random_state=random_state, backend=chosen, precision=precision, n_threads=n_threads,
    )
    config: dict[str, Any] = {
        "model": model.family, "model_config": model.config(), "forcing": {"scheme": type(forcing).__name__, **_plain(asdict(forcing))},
        "n_updates": n_updates, "sequence_length": sequence_length, "batch_size": batch_size, "learning_rate": _plain([start, end]),
        "noise": _plain(options.noise), "regularisation": _plain(asdict(regularisation)), "gradient_clip": _plain(options.gradient_clip),
        "standardise": standardise, "keep": keep, "checkpoint_every": checkpoint_every, "backend": chosen, "precision": precision,
        "random_state": random_state, "recording": _plain(dict(recording.attrs)),
    }
    folder = None if out is None else RunFolder.create(out, config)                 # an output folder in use is refused before any work

    if standardise:
        scaling = fit_scaling(recording)
        model.data_mean.copy_(torch.as_tensor(np.asarray(scaling.mean, dtype=np.float64)).expand_as(model.data_mean))
        model.data_scale.copy_(torch.as_tensor(np.asarray(scaling.scale, dtype=np.float64)).expand_as(model.data_scale))
    else:
        model.data_mean.zero_()
        model.data_scale.fill_(1.0)
    dim = str(recording.observed.dims[-1])
    names = recording[dim].values.tolist() if dim in recording.coords else list(range(model.observed_dim))
    model.recording_info = {"dim": dim, "names": names, "dt": float(recording.attrs.get("dt", 1.0)), "units": str(recording.attrs.get("units", ""))}

    checkpoints = None if checkpoint_every is None else Checkpoints(checkpoint_every, folder)
    trained = train(model, recording, validation, options, checkpoints)
    run = Run(
        model=trained.best if keep == "best" and trained.best is not None else trained.last,
        history=trained.history, status=trained.status, refused=trained.refused, last=trained.last, best=trained.best, config=config,
        checkpoints={} if checkpoints is None else checkpoints.models,
    )
    if run.model is not model:
        model.load_state_dict(run.model.state_dict())                               # the user's own object is the trained model
        run.model = model
    if folder is not None:
        save(trained.last, folder.checkpoints / "last")
        if trained.best is not None:
            save(trained.best, folder.checkpoints / "best")
        training = run.history.assign(status=run.status, refused=run.refused)
        tree = xr.DataTree.from_dict({"/observed_data": recording, "/training": training})
        tree.attrs = stamp(config, random_state=random_state, data_fingerprint=data_fingerprint(recording))
        write_results(folder.results, tree)
        run.path = folder.path
    return run


def _plain(value: Any) -> Any:
    """JSON-able: arrays to lists, inf to text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
