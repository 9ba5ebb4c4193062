"""``fit``: train a model, or an ensemble of them, on a recording."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from dynrnn.data import check_for_training, uneven_or_even
from dynrnn.errors import ArgumentError, check_bool, check_int, unknown_name
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.models.generation import check_fits, check_same_step
from dynrnn.models.reservoirs import Reservoir
from dynrnn.results._files import json_value
from dynrnn.results.schema import data_fingerprint
from dynrnn.streams import check_random_state
from dynrnn.training.checkpoints import Checkpoints
from dynrnn.training.common import adopt_units, plain, store
from dynrnn.training.forcing import AdaptiveTeacherForcing, Forcing, GeneralizedTeacherForcing, PerFit, per_fit, per_fit_ends
from dynrnn.training.gradients import BPTT, check_gradient
from dynrnn.training.loop import Hooks, Options, Progress, train
from dynrnn.training.regularisation import Regularisation
from dynrnn.training.reservoir import fit_reservoir
from dynrnn.training.resume import TRAINING, begun_with, open_folder
from dynrnn.training.run import Run
from dynrnn.training.state import TrainingState
from dynrnn.training.status import warn_of_stopped
from dynrnn.training.updates import check_device_influence, check_device_updates
from dynrnn.training.validation import VALIDATED_BY, check_validation
from dynrnn_kernels.additive.config import PRECISIONS

OF_SOLVING = ("model", "recording", "validation", "out", "progress", "standardise", "ridge", "washout", "solver", "forgetting",
              "random_state")                                                         # what a reservoir's fit takes
TRAINING_BACKENDS = ("cpu", "reference", "triton")
KEPT = ("last", "best", "mean")


def fit(
    model: Model,
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
    keep: Literal["last", "best", "mean"] = "last",
    mean_over: float = 0.1,
    validate_every: int | None = None,
    validate_by: str = "d_stsp",
    validate_mean: bool = False,
    checkpoint_every: int | None = None,
    save_every: int | None = None,
    resume: bool | TrainingState = False,
    callback: Callable[[Progress], bool | None] | None = None,
    max_refused: int = 20,
    backend: str | None = None,
    precision: str = "ieee",
    gradient: str = "bptt",
    n_threads: int | None = None,
    ridge: PerFit | tuple[float, ...] | None = None,
    washout: int | None = None,
    solver: str | None = None,
    forgetting: PerFit | None = None,
) -> Run:
    """Train all fits of ``model`` at once, in place, by backpropagation through forced windows of the recording; a reservoir's readout is solved.

    Parameters
    ----------
    model : a model of dynrnn; its parameters are changed in place.
    recording : what ``as_recording`` takes; NaN = missing: never forced on, never in the loss. Of one with ``elapsed`` times (``as_recording(x, elapsed=...)``)
        each step of a window takes its own, with ``dr.LTC``; other models take even steps and refuse it.
    forcing : default ``GeneralizedTeacherForcing(alpha=0.15)``.
    n_updates : optimiser steps. sequence_length : samples T of a window (each draws T + 1). batch_size : windows in an update.
    learning_rate : constant, or (start, end) decayed exponentially over the updates.
    validation : a recording that is held out, or ``recording`` itself; every ``validate_every`` updates (default a twentieth of all) each fit runs
        freely for its length, from eight of its samples, and the mean D_stsp against it goes into the history. Nothing is learned from it, so that the
        training recording, which is longer, tells as much: which checkpoint's attractor is the data's. What judges the model stays held out. At the end the
        best runs again from 64 samples, and if the second best is now better, that too, and so on (of five kept): an attractor that lets one orbit in
        thirty go looks whole from eight. ``history.best_update`` and ``best_validation`` say which was kept, and its score, in which a run to infinity
        counts as one that is never where the data are (``history.validation`` is inf there).
    validate_by : ``d_stsp``, or ``both``: D_stsp times D_H, for recordings with a rhythm, since an orbit of the right shape at the wrong pace has the right
        D_stsp. ``both`` wants a validation recording of many periods: D_H is smoothed over 20 frequency bins.
    validate_mean : what runs freely, and ``keep="best"`` chooses from, are not the parameters of those updates but their means since the validation before,
        from 20 sets or as many as there are. With a rate that ends high, and the training recording as ``validation``, every one of 20 shallow PLRNNs
        reconstructed Lorenz-63 (D_stsp .06 to .22), where two of 20 last updates were lost.
    keep : ``last`` leaves the model of the last update in ``run.model``, ``best`` the one best on validation, ``mean`` the mean of the parameters
        over the last updates (Polyak & Juditsky 1992; Izmailov et al. 2018, arXiv:1803.05407), at no cost. It wants a rate that ends high, such as
        ``(3e-3, 1e-3)``, and forcing at every step: it halved D_stsp of shallow PLRNNs on Lorenz-63; AL-RNNs under sparse forcing collapse at such rates.
    mean_over : share of the updates, in (0, 1], at whose end ``keep="mean"`` takes it, from 200 sets of parameters or as many as there are.
    checkpoint_every : keep the model of every so many updates, and of the first and the last, in ``run.checkpoints`` and, while training goes on,
        in the folder (``load_checkpoints``); they take O(n_updates / checkpoint_every) times the memory of the parameters. None by default.
    out : a new folder for config, checkpoints and results.
    save_every : with ``out``: keep all that the training needs to go on in the folder, anew every so many updates and after the last.
    resume : True goes on with the training that was broken off in ``out``, to the bit as if it had not been, or begins where there is none;
        everything else must be as it was, or it is an ArgumentError that names what differs. A ``TrainingState`` goes on from that.
    callback : called every ``validate_every`` updates and after the last with a ``Progress``; training ends where it returns True.
    noise : standard deviation of Gaussian noise on windows (inputs and targets alike), in standard deviations of the channel.
    regularisation : see ``Regularisation``; none by default.
    gradient_clip : largest norm of a fit's gradient; no clipping by default. RAdam's first five steps are plain gradient steps, from which models with huge
        first gradients (plain shallow PLRNNs of hundreds of hidden units) may not come back; 10 prevents it.
    standardise : train on channels scaled to mean 0 and sd 1 (constants from this recording, kept in the model); results stay in your units.
    max_refused : a step that is not finite is refused; so many in a row stop that fit, with a status and a warning, and the others go on.
    backend : ``cpu`` (compiled), ``reference`` (plain torch, slow) or ``triton`` (a CUDA device: all of an update there, in float32; not run on one
        yet); default the environment's DYNRNN_BACKEND, else ``cpu``. It is kept in the config and in ``history.attrs``. ``triton`` draws its own
        windows and noise, other ones than the CPU for the same random_state; adaptive forcing looks at windows drawn on the host. Validation
        runs on the CPU unless DYNRNN_BACKEND says otherwise.
    precision : of matrix products in ``triton``'s recurrence: ``ieee`` (float32), or on tensor cores ``tf32x3`` (close to it) or ``tf32`` (3 digits).
        It is kept like the backend; the others compute in full precision alone.
    gradient : ``bptt``, or accumulated forwards: ``rtrl``, the same to rounding, or an approximation of it: see ``dynrnn.training.gradients``.
        On ``triton`` windows are drawn on the host as for ``cpu``, and the device computes the sequences and their gradients.
    n_threads : threads, at least 1; default all cores that there is work for. Results do not depend on it.
    ridge : for reservoirs: the penalty beside the sum of squares over all samples, 1e-6 by default; one per fit as an array; or a tuple of several, of which
        each fit takes the one whose free forecasts of 50 steps are best on ``validation``. All of them cost one factorisation.
    washout : for reservoirs: samples of each trial that drive the reservoir before anything is learned, 100 by default.
    solver : for reservoirs: ``ridge`` (default), one factorisation of sums over all samples; or ``rls``, recursive least squares, sample by sample in their
        order, trial after trial, whose ``history.online_error`` is the mean squared error of each step just before it was learned. Without forgetting both
        give the same readout to rounding. Of rls the inverse of the sums is kept as a square root (Potter's), which stays positive whatever is rounded;
        O(n^2) a sample; ``ridge`` must be above 0, and one.
    forgetting : for solver="rls": a sample's weight falls by this factor with each further one, so that about the last 1 / (1 - forgetting) count, for data
        that change slowly; 1 by default, above 0, or one per fit. The penalty is renewed and not forgotten. ``loss`` is weighted the same.
        A reservoir takes no argument of descent: only validation, out, progress, standardise, ridge, washout, solver and forgetting.

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
    arguments = dict(locals())
    if not isinstance(model, Model):
        raise ArgumentError(f"model must be a model of dynrnn such as dr.ALRNN(...), got {type(model).__name__}.")
    if isinstance(model, Reservoir):
        if wrong := _given(arguments):
            raise ArgumentError(f"{', '.join(wrong)}: a reservoir is solved, not descended; it takes {', '.join(OF_SOLVING[2:])}. Leave the others out.")
        penalty = 1e-6 if ridge is None else ridge
        return fit_reservoir(model, recording, validation, out, progress, standardise, penalty, washout, "ridge" if solver is None else solver, forgetting)
    for name, value in (("ridge", ridge), ("washout", washout), ("solver", solver), ("forgetting", forgetting)):
        if value is not None:
            raise ArgumentError(f"{name} is for reservoirs, whose readouts are solved; {type(model).__name__} is trained by descent (see regularisation).")
    forcing = GeneralizedTeacherForcing() if forcing is None else forcing
    if not isinstance(forcing, Forcing):
        raise ArgumentError(f"forcing must be e.g. dr.GeneralizedTeacherForcing(alpha=0.15), got {forcing!r}.")
    regularisation = Regularisation() if regularisation is None else regularisation
    if not isinstance(regularisation, Regularisation):
        raise ArgumentError(f"regularisation must be e.g. dr.Regularisation(latent=1e-3), got {regularisation!r}.")
    if callback is not None and not callable(callback):
        raise ArgumentError(f"callback must be a function of a Progress, got {callback!r}.")
    check_bool("standardise", standardise)
    check_bool("validate_mean", validate_mean)
    check_int("n_updates", n_updates, low=1)
    if isinstance(mean_over, bool) or not isinstance(mean_over, (int, float)) or not 0.0 < mean_over <= 1.0:
        raise ArgumentError(f"mean_over must be a share of the updates within (0, 1], got {mean_over!r}.")
    check_int("sequence_length", sequence_length, low=1)
    check_int("batch_size", batch_size, low=1)
    check_int("max_refused", max_refused, low=1)
    if checkpoint_every is not None:
        check_int("checkpoint_every", checkpoint_every, low=1)
    if keep not in KEPT:
        raise ArgumentError(f"keep must be one of {KEPT}, got {keep!r}.")
    if keep == "best" and validation is None:
        raise ArgumentError("keep='best' needs a validation recording to choose by; split one off with dr.split(recording).")
    chosen = backend or os.environ.get("DYNRNN_BACKEND") or "cpu"
    if chosen not in TRAINING_BACKENDS:
        raise ArgumentError(f"backend must be one of {TRAINING_BACKENDS} for training, got {chosen!r}.")
    if precision not in PRECISIONS or (precision != "ieee" and chosen != "triton"):
        raise ArgumentError(f"precision must be 'ieee', or one of {PRECISIONS} with backend='triton', got {precision!r} with backend={chosen!r}.")
    check_gradient(gradient, model, chosen)
    if validate_every is not None:
        check_int("validate_every", validate_every, low=1)
    if validate_by not in tuple(VALIDATED_BY):
        raise unknown_name("validate_by", validate_by, tuple(VALIDATED_BY))
    if validate_mean and validation is None:
        raise ArgumentError("validate_mean=True needs a validation recording to run beside: a part split off with dr.split, or the training recording itself.")
    if save_every is not None:
        check_int("save_every", save_every, low=1)
    if out is None and (save_every is not None or resume is True):
        raise ArgumentError("save_every and resume=True need a folder to keep the training in: give out=.")
    if n_threads is not None:
        check_int("n_threads", n_threads, low=1)
    for name, tensor in model.state_dict().items():
        if tensor.device.type != "cpu":
            raise ArgumentError(
                f"the model's {name} is on {tensor.device}; fit wants models on the CPU and puts what it computes on a device itself: "
                "call model.cpu(), and give backend='triton' to train on CUDA."
            )
    if isinstance(forcing, AdaptiveTeacherForcing) and not isinstance(model, AdditiveModel):
        raise ArgumentError(f"adaptive forcing estimates norms of additive maps, and {model.family} has none: take dr.GeneralizedTeacherForcing(alpha=...).")
    if forcing.n_forced is not None:
        check_int("n_forced", forcing.n_forced, low=0, high=model.latent_dim)
    F = model.n_fits
    start, end = per_fit_ends("learning_rate", learning_rate, F, low=1e-30, high=1e3)
    if resume is True and random_state is None and out is not None:
        random_state = begun_with(out)
    random_state = check_random_state(random_state)
    recording = uneven_or_even(recording)
    check_fits(model, recording)
    if "elapsed" in recording and gradient != "bptt":
        raise ArgumentError(f"gradient={gradient!r} takes even steps, and the recording has elapsed times: use gradient='bptt', or resample the recording.")
    check_for_training(recording, sequence_length, standardise=standardise)
    if chosen == "triton" and gradient != BPTT:
        check_device_influence(model)
    elif chosen == "triton":
        check_device_updates(model, recording, sequence_length, batch_size)
    if validation is not None:
        validation = uneven_or_even(validation)
        check_fits(model, validation)
        if not model.takes_elapsed:
            check_same_step(recording.attrs, validation.attrs, "the training recording", "the validation recording")
        check_validation(validation, validate_by)
    options = Options(
        forcing=forcing, n_updates=n_updates, sequence_length=sequence_length, batch_size=batch_size, learning_rate=(start, end),
        noise=per_fit("noise", noise, F, low=0.0), regularisation=regularisation, gradient_clip=per_fit("gradient_clip", gradient_clip, F, low=1e-30),
        max_refused=max_refused, validate_every=max(1, n_updates // 20) if validate_every is None else validate_every, validate_by=validate_by,
        validate_mean=validate_mean, progress=progress, random_state=random_state, backend=chosen, precision=precision, gradient=gradient,
        n_threads=n_threads, mean_over=mean_over if keep == "mean" else 0.0,
    )
    config: dict[str, Any] = {
        "model": model.family, "model_config": model.config(), "forcing": {"scheme": type(forcing).__name__, **plain(asdict(forcing))},
        "n_updates": n_updates, "sequence_length": sequence_length, "batch_size": batch_size, "learning_rate": plain([start, end]),
        "noise": plain(options.noise), "regularisation": plain(asdict(regularisation)), "gradient_clip": plain(options.gradient_clip),
        "standardise": standardise, "keep": keep, "validate_by": validate_by, "validate_mean": validate_mean, "mean_over": mean_over,
        "checkpoint_every": checkpoint_every, "backend": chosen, "precision": precision, "gradient": gradient, "random_state": random_state,
        "recording": plain(dict(recording.attrs)),
    }
    about = {"config": config, "data": data_fingerprint(recording), "validation": None if validation is None else data_fingerprint(validation)}
    about = json_value(about, "config")
    folder, start = open_folder(out, config, about, resume)                         # an output folder in use is refused before any work

    adopt_units(model, recording, standardise)
    checkpoints = None if checkpoint_every is None else Checkpoints(checkpoint_every, folder, None if start is None else start.done)
    saver = None if folder is None or save_every is None else (folder.checkpoints / TRAINING, save_every)
    hooks = Hooks(checkpoints, callback, options.validate_every, saver, start, about)
    trained = train(model, recording, validation, options, hooks)
    run = Run(
        model={"last": trained.last, "best": trained.best, "mean": trained.mean}[keep] or trained.last,
        history=trained.history, status=trained.status, refused=trained.refused, last=trained.last, best=trained.best, mean=trained.mean, config=config,
        checkpoints={} if checkpoints is None else checkpoints.models,
    )
    if run.model is not model:
        model.load_state_dict(run.model.state_dict())                               # the user's own object is the trained model
        run.model = model
    if folder is not None:
        store(run, folder, recording, random_state)
    warn_of_stopped(run.status, run.history.loss)
    return run


def _given(arguments: dict[str, Any]) -> list[str]:
    """Names of the arguments of descent that are not what they are by default."""
    defaults = {name: p.default for name, p in inspect.signature(fit).parameters.items() if name not in OF_SOLVING}
    return [name for name, default in defaults.items() if not (type(arguments[name]) is type(default) and arguments[name] == default)]
