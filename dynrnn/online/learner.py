"""Learning from a stream, sample by sample, by gradients that are accumulated forwards."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from dynrnn.data import as_recording
from dynrnn.errors import ArgumentError, FileFormatError, RecordingError, check_int, unknown_name
from dynrnn.models.base import Model
from dynrnn.models.generation import check_fits, observed_axis
from dynrnn.models.registry import MODELS
from dynrnn.models.reservoirs import Reservoir
from dynrnn.online.by_torch import TorchStream
from dynrnn.online.compiled import CompiledStream, layout_for
from dynrnn.online.drift import DriftMonitor
from dynrnn.online.engine import Engine, Settings
from dynrnn.online.samples import Clock, Observations, checked
from dynrnn.online.scaling import Warmup
from dynrnn.online.step import ON_BAD, Step
from dynrnn.online.strength import Strength, forcing_config, forcing_from
from dynrnn.results.bundle import read_bundle, write_bundle
from dynrnn.streams import check_random_state
from dynrnn.training.common import adopt_names, plain
from dynrnn.training.forcing import Forcing, GeneralizedTeacherForcing, PerFit, per_fit, per_fit_ends
from dynrnn.training.gradients import check_gradient
from dynrnn.training.parameters import write
from dynrnn_kernels.influence.cpu_stream import LOST, REFUSED, TAKEN

KIND = "dynrnn-learner"
OPTIMISERS = ("radam", "sgd")
AT_ONCE = 65_536            # samples of one call of the engine


class OnlineLearner:
    """Learn a model from a stream that nobody stores: exact real-time recurrent learning, or an approximation of it, with an update at any sample.

    Every sample is predicted from the state, compared, and pulls the state as teacher forcing does; the parameters follow at once. All fits of the model
    learn side by side. Nothing grows with the stream.

    Parameters
    ----------
    model : changed in place; ``learner.model`` is it with the parameters of this moment. Reservoirs are solved, see ``RecursiveLeastSquares``.
    gradient : ``rtrl`` (default), or another of ``dynrnn.training.gradients`` but ``bptt``. Compiled where that says so and the model's parameters fill
        its map by index (the PLRNN family): some microseconds a sample. All else takes milliseconds.
    forcing : default ``GeneralizedTeacherForcing(alpha=0.15)``; ``SparseTeacherForcing`` with its interval; ``AdaptiveTeacherForcing``, of additive models,
        estimates alpha from the last 64 samples, every ``every`` samples.
    learning_rate : default 1e-3; a pair moves exponentially from start to end over the first ``horizon`` samples, as alpha does where it is a pair,
        and stays there.
    update_every : samples between two steps of the optimiser, on the mean gradient over them. The influence of old samples was accumulated under parameters
        of then: its staleness is of the order of learning_rate times how long forcing lets it last.
    optimiser : ``radam`` as in ``fit``, or ``sgd``.
    gradient_clip : largest norm of a fit's gradient, default 1.
    forgetting : what a step leaves of the influence, 1 by default; less bounds how far back a gradient looks, beside what forcing does.
    warmup : samples that only give each channel's mean and standard deviation, in whose units the model works afterwards. 0 keeps the model's own.
    dt : usual distance of two samples, for streams with times; a distance of 1.5 times it is a gap, after which the state starts anew.
    on_bad : ``raise`` an error, with nothing learned from the block, where a sample is infinite, late, or of another width, or ``skip`` and count it.
        NaN is a missing value as everywhere: predicted through, counted, never learned from.
    drift_window, drift_threshold : see ``DriftMonitor``; samples at which drift was found are in ``learner.drift``.

    ``counts`` (fit, what) says how many steps were taken, how many refused as not finite, and how often a state had to start anew because it or its influence
    left all bounds; ``skipped`` what was wrong with samples.

    Time O(M^2 Q) a sample and fit for Q numbers of the map, memory O(M Q) a fit. Errors: ArgumentError, UnknownNameError, RecordingError.
    Fails where the learning rate lets parameters move faster than influence fades (watch ``counts``), and learns one regime at a time: without
    forgetting nothing is kept of an old one but what the new one does not overwrite.

    >>> import numpy as np
    >>> from dynrnn.models import ShallowPLRNN
    >>> x = np.sin(0.1 * np.arange(3_000))[:, None] * [1.0, 2.0] + np.cos(0.1 * np.arange(3_000))[:, None]
    >>> learner = OnlineLearner(ShallowPLRNN(2, 2, 10, random_state=0), warmup=500, random_state=0)
    >>> found = learner.learn(x[:2_000])
    >>> last = learner.step(x[2_000])                                   # one by one, in a plain loop
    >>> last.prediction.shape, bool(found.loss.values[0, -100:].mean() < found.loss.values[0, 501:600].mean())
    ((1, 2), True)
    """

    def __init__(
        self, model: Model, gradient: str = "rtrl", forcing: Forcing | None = None, learning_rate: PerFit | tuple[PerFit, PerFit] = 1e-3, *,
        update_every: int = 1, optimiser: str = "radam", gradient_clip: PerFit = 1.0, forgetting: PerFit = 1.0, horizon: int = 1_000_000, warmup: int = 1_000,
        dt: float | None = None, on_bad: str = "raise", drift_window: int = 1_000, drift_threshold: float = 6.0, random_state: int | None = None,
    ):
        if not isinstance(model, Model) or isinstance(model, Reservoir):
            raise ArgumentError(f"model must be one that is trained by descent, such as dr.ALRNN(...), got {type(model).__name__}.")
        algorithm = check_gradient(gradient, model)
        if algorithm is None:
            raise ArgumentError("gradient='bptt' looks back over a window, and a stream has none: take 'rtrl', which is equal, or dr.fit on stored data.")
        if optimiser not in OPTIMISERS:
            raise unknown_name("optimiser", optimiser, OPTIMISERS)
        if on_bad not in ON_BAD:
            raise unknown_name("on_bad", on_bad, ON_BAD)
        if dt is not None and not (np.isfinite(dt) and dt > 0):
            raise ArgumentError(f"dt must be a time above 0, the usual distance of two samples, got {dt!r}.")
        check_int("update_every", update_every, low=1)
        check_int("horizon", horizon, low=1)
        check_int("warmup", warmup, low=0)
        check_int("drift_window", drift_window, low=2)
        if warmup == 1:
            raise ArgumentError("one sample has no standard deviation: take warmup of at least 2, better some hundred, or 0 to keep the model's own units.")
        forcing = GeneralizedTeacherForcing() if forcing is None else forcing
        F, M, N = model.n_fits, model.latent_dim, model.observed_dim
        self._rates = per_fit_ends("learning_rate", learning_rate, F, low=1e-30, high=1e3)
        settings = Settings(
            algorithm=algorithm, unit=forcing.units(M, N, model.observation),
            clip=per_fit("gradient_clip", gradient_clip, F, low=0.0), forgetting=per_fit("forgetting", forgetting, F, low=0.0, high=1.0), every=update_every,
            plain=optimiser == "sgd", random_state=check_random_state(random_state),
        )
        self._config: dict[str, Any] = dict(
            gradient=gradient, forcing=forcing_config(forcing), learning_rate=plain(list(self._rates)), optimiser=optimiser,
            update_every=update_every, gradient_clip=plain(gradient_clip), forgetting=plain(forgetting), horizon=horizon, warmup=warmup, dt=dt, on_bad=on_bad,
            drift_window=drift_window, drift_threshold=float(drift_threshold), random_state=settings.random_state,
        )
        flat = layout_for(model, settings)
        self._engine: Engine = TorchStream(model, settings) if flat is None else CompiledStream(model, flat, settings)
        self._model, self._strength = model, Strength(model, forcing, horizon)
        self._warmup, self._monitor = Warmup(warmup, N), DriftMonitor(drift_window, float(drift_threshold))
        self._clock = Clock(dt)
        self.n_samples = 0
        self.skipped: dict[str, int] = {}

    @property
    def model(self) -> Model:
        """The model with the parameters of this moment."""
        write(self._model, self._engine.theta)
        return self._model

    @property
    def state(self) -> xr.DataArray:
        """The latent state after the last sample (fit, trial, latent), from which ``generate(learner.model, n_steps, initial=learner.state)`` goes on."""
        now = self._engine.tensors()["now"].numpy()[:, None]
        return xr.DataArray(now, dims=("fit", "trial", "latent"), coords={"fit": self._model.fit_number.numpy().copy()}, name="state")

    @property
    def drift(self) -> list[int]:
        """Numbers of samples at which drift was found."""
        return list(self._monitor.found)

    @property
    def alpha(self) -> np.ndarray:
        """Forcing strength of each fit at this moment."""
        return self._strength.at(np.array([self._learned]))[:, 0]

    @property
    def counts(self) -> xr.DataArray:
        """Steps taken, steps refused, and states that started anew (fit, what)."""
        coords = {"fit": self._model.fit_number.numpy().copy(), "what": ["taken", "refused", "restarted"]}
        return xr.DataArray(self._engine.counts[:, [TAKEN, REFUSED, LOST]].copy(), dims=("fit", "what"), coords=coords)

    @property
    def _learned(self) -> int:
        """Samples that came after the warm-up."""
        return max(0, self.n_samples - self._warmup.seen)

    def step(self, x: Any, u: Any = None, time: float | None = None) -> Step:
        """Learn from one sample: x (N,), NaN where a channel is missing; u (K,), the input that acts in the step to it; its time, for streams with gaps."""
        prediction, loss = self._take(self._checked(x, u, time))
        return Step(prediction[:, 0], loss[:, 0]) if prediction.shape[1] else Step(np.full(prediction.shape[::2], np.nan), np.full(len(prediction), np.nan))

    def learn(self, x: Any, u: Any = None, time: Any = None, progress: bool = False) -> xr.Dataset:
        """Learn from a block x (time, N) in order, u (time, K), time (time,): what ``step`` does one by one, to the bit.

        x may also be a recording, with the inputs that it has: each of its trials then begins a series of its own, and its names and units become the model's.
        Returns ``prediction`` (fit, time, <name>) of each sample before it was seen and ``loss`` (fit, time). Memory O(fit time N).
        """
        block = self._recording(x) if isinstance(x, xr.Dataset) else self._checked(x, u, time)
        first = self.n_samples
        prediction, loss = self._take(block, progress)
        name, labels = observed_axis(self._model)
        coords = {"fit": self._model.fit_number.numpy().copy(), "sample": first + np.arange(loss.shape[1]), name: labels}
        data = {
            "prediction": (("fit", "sample", name), prediction, {"long_name": "prediction before the sample was seen"}),
            "loss": (("fit", "sample"), loss, {"long_name": "its mean squared error", "units": "variances"}),
        }
        return xr.Dataset(data, coords=coords)

    def follow(
        self, source: Any, n_samples: int | None = None, *, block: int = 1, checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 100_000, progress: bool = True,
    ) -> int:
        """Learn from an iterator of samples, or of pairs (sample, input), until it ends or ``n_samples`` came; returns how many.

        block : samples that are gathered before they are learned; more than 1 is faster (Python takes some hundred microseconds a call), and late by as many.
        checkpoint : where to save the learner every ``checkpoint_every`` samples and at the end, also when it is interrupted.
        """
        check_int("block", block, low=1)
        check_int("checkpoint_every", checkpoint_every, low=1)
        if not isinstance(source, Iterable):
            raise ArgumentError(f"source must be an iterator of samples, such as dynrnn.online.rows_of_file(path), got {type(source).__name__}.")
        samples, taken, saved = iter(source), 0, self.n_samples
        try:
            with tqdm(total=n_samples, unit="sample", disable=not progress) as bar:
                while n_samples is None or taken < n_samples:
                    got = list(islice(samples, block if n_samples is None else min(block, n_samples - taken)))
                    if not got:
                        break
                    loss = self._gathered([one if isinstance(one, tuple) else (one, None) for one in got])
                    taken += len(got)
                    bar.update(len(got))
                    if np.isfinite(loss).any():
                        bar.set_postfix(loss=f"{np.nanmedian(loss):.3g}", drift=len(self.drift))
                    if checkpoint is not None and self.n_samples - saved >= checkpoint_every:
                        self.save(checkpoint)
                        saved = self.n_samples
        finally:
            if checkpoint is not None:
                self.save(checkpoint)
        return taken

    def _gathered(self, pairs: list[tuple[Any, Any]]) -> np.ndarray:
        """Losses [F, T] of samples with their inputs: all at once, or one by one where they are not alike, so that the check can say of which one."""
        alike = {(np.shape(x), None if u is None else np.shape(u)) for x, u in pairs}
        if len(alike) > 1:
            return np.stack([self.step(x, u).loss for x, u in pairs], 1)
        return self.learn([x for x, _ in pairs], None if pairs[0][1] is None else [u for _, u in pairs]).loss.values

    def _checked(self, x: Any, u: Any, time: Any) -> Observations:
        model = self._model
        return checked(x, u, time, model.observed_dim, model.input_dim, self._clock, self._config["on_bad"], self.n_samples)

    def _recording(self, given: xr.Dataset) -> Observations:
        recording = as_recording(given)
        check_fits(self._model, recording)
        lengths = recording.n_time.values.astype(int)
        whole = lambda values: np.concatenate([values[k, :n] for k, n in enumerate(lengths)])  # noqa: E731
        block = self._checked(whole(recording.observed.values), whole(recording.inputs.values) if "inputs" in recording else None, None)
        block.restart[np.concatenate([[0], np.cumsum(lengths)[:-1]])] = True
        adopt_names(self._model, recording)
        return block

    def _take(self, block: Observations, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
        model, T = self._model, len(block.x)
        used = 0 if self._warmup.over else self._warm(block.x)
        self._clock.last = block.last
        for what, n in block.found.items():
            if n:
                self.skipped[what] = self.skipped.get(what, 0) + n
        learned = self._learned
        self.n_samples += T
        prediction, loss = np.full((model.n_fits, T, model.observed_dim), np.nan), np.full((model.n_fits, T), np.nan)
        mean, scale = model.data_mean.numpy(), model.data_scale.numpy()
        x = (block.x[used:] - mean[0]) / scale[0]
        with tqdm(total=len(x), unit="sample") if progress else nullcontext() as bar:
            done = 0
            while done < len(x):
                n = min(AT_ONCE, len(x) - done, self._strength.until(learned + done))
                here, number = slice(done, done + n), learned + done + np.arange(n)
                self._strength.adapt(self._engine.theta, learned + done)
                there = slice(used + done, used + done + n)
                rate = self._rate(number)
                prediction[:, there], loss[:, there] = self._engine.run(
                    np.ascontiguousarray(x[here]), np.ascontiguousarray(block.u[there]), self._strength.at(number), rate, block.restart[there]
                )
                self._strength.saw(x[here])
                done += n
                if bar is not None:
                    bar.update(n)
        self._monitor(loss[:, used:])
        return prediction * scale[:, None] + mean[:, None], loss

    def _warm(self, x: np.ndarray) -> int:
        """How many samples of x the warm-up takes; with its last the model gets its units. Nothing has changed if they cannot be had."""
        before, model = copy.deepcopy(self._warmup), self._model
        used = self._warmup.take(x)
        if self._warmup.over:
            try:
                scale = self._warmup.scale()
            except RecordingError:
                self._warmup = before
                raise
            model.data_mean.copy_(torch.as_tensor(self._warmup.mean).expand_as(model.data_mean))
            model.data_scale.copy_(torch.as_tensor(scale).expand_as(model.data_scale))
        return used

    def _rate(self, number: np.ndarray) -> np.ndarray:
        start, end = self._rates
        part = np.minimum(number / self._config["horizon"], 1.0)
        return np.ascontiguousarray(start[:, None] * (end / start)[:, None] ** part)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all that the learner needs to go on as the folder ``path``, in place of an older one there in one step; returns the path."""
        parts = {"engine": self._engine.tensors(), "warmup": self._warmup.tensors(), "drift": self._monitor.tensors(), "strength": self._strength.tensors()}
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"{part}.{name}": value.contiguous() for part, values in parts.items() for name, value in values.items()}
        config = {
            "kind": KIND, "family": self._model.family, "model": self._model.config(), "recording": self._model.recording_info, "learner": self._config,
            "n_samples": self.n_samples, "skipped": self.skipped, "last": self._clock.last,
        }
        return write_bundle(path, tensors, config)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OnlineLearner:
        """The learner that ``save`` wrote: it goes on to the bit as if it had never stopped. FileFormatError for anything else."""
        tensors, config = read_bundle(path)
        if config.get("kind") != KIND or config.get("family") not in MODELS:
            raise FileFormatError(f"{path} holds no learner of this version of dynrnn (kind {config.get('kind')!r}, family {config.get('family')!r}).")

        def part(name: str) -> dict[str, Tensor]:
            own = f"{name}."
            return {key.removeprefix(own): value for key, value in tensors.items() if key.startswith(own)}

        try:
            model = MODELS[config["family"]](**config["model"])
            model.load_state_dict(part("model"))
            model.recording_info = config["recording"]
            given = dict(config["learner"])
            array = lambda value: np.asarray(value, dtype=np.float64) if isinstance(value, list) else float(value)  # noqa: E731
            given |= {name: array(given[name]) for name in ("gradient_clip", "forgetting")}
            given |= {"forcing": forcing_from(given["forcing"]), "learning_rate": tuple(array(rate) for rate in given["learning_rate"])}
            learner = cls(model, **given)
            learner.n_samples, learner.skipped, learner._clock.last = int(config["n_samples"]), dict(config["skipped"]), config["last"]
            for name, own in (("engine", learner._engine), ("warmup", learner._warmup), ("drift", learner._monitor), ("strength", learner._strength)):
                own.adopt(part(name))
        except (ArgumentError, TypeError, KeyError, ValueError, RuntimeError) as error:
            raise FileFormatError(f"{path}: what it holds does not make a learner: {error}") from error
        return learner
