"""``evaluate``: a model, a test recording, and every score between its floor and its nulls."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.reconstruction._checks import Trials, refuse_infinite, require_variation
from dynrnn.analysis.reconstruction.forecasts import N_STARTS_ERROR, N_STARTS_VALID, choose_starts, horizon, score_forecasts
from dynrnn.analysis.reconstruction.presets import Preset, get_preset
from dynrnn.analysis.reconstruction.published import headline
from dynrnn.analysis.reconstruction.statistics import score_orbits
from dynrnn.errors import ArgumentError, RecordingError
from dynrnn.streams import check_random_state

WARMED = 1_000      # samples of each trial that drive a reservoir before its free run
_FIRST_START = 100  # models that warm up on the samples before a start get some


def evaluate(
    model: Any,
    test_recording: Any,
    reference: Any = None,
    preset: str | Preset = "dynrnn-1",
    *,
    training: Any = None,
    generated: xr.Dataset | None = None,
    max_lyapunov: float | None = None,
    random_state: int | None = 0,
    n_null: int = 5,
    progress: bool = False,
) -> xr.Dataset:
    """Quality of a reconstruction: long-term and short-term scores of every fit, with floors, nulls and published figures.

    Parameters
    ----------
    model: one that :func:`dynrnn.generate` takes, with any number of fits.
    test_recording: the recording to score against, unseen in training; what ``as_recording`` takes, missing = NaN.
    reference: a second true recording (or a list) of the same system, for the floor; best as long as the test recording or a multiple of
        it. Without it the floor comes from shorter stretches of the test recording, and is too high for D_stsp.
    preset: ``"dynrnn-1"``, ``"gtf-2023"``, ``"alrnn-2024"``, ``"cns-2023"``, or a :class:`Preset`.
    training: the recording that the model saw; the linear nulls are then fitted to it, as the model was. Without it they are
        fitted to the test recording, which flatters them.
    generated: a result of :func:`dynrnn.generate` to score instead of a new free run, one trial for each test trial. It is cut to the
        lengths of the test trials.
    max_lyapunov: largest exponent per unit of time, which makes Lyapunov times the unit of ``valid_prediction_time``; default
        ``test_recording.attrs["lyapunov_max"]`` if that is there, otherwise the recording's own unit of time.

    Returns
    -------
    Variables over ``fit``: ``d_stsp`` (nat), ``d_hellinger`` (0..1), ``prediction_error`` (variances), ``valid_prediction_time``,
    ``diverged``, ``outside``, ``valid_prediction_time_censored``. Beside a score ``_floor`` (pair; not for forecasts), ``_surrogate``
    (draw; not for forecasts), ``_linear`` (draw; a scalar for forecasts), ``_persistence`` () and, where the recording's attrs
    ``dataset`` or ``system`` name a published benchmark, ``_published`` (). Attrs hold the preset's definition, lengths and sources.
    :func:`score_table` prints it.

    A free run that is not finite scores inf and is marked in ``diverged``; no score is ever NaN. Missing entries of the test recording
    enter no score. Trials are pooled for D_stsp and averaged for D_H. Channels are standardised by the test recording's moments.
    The free run starts from each trial's first sample; a reservoir's from its 1,000th, driven by those before, since it has no state at a single sample.
    Forecasts start from at most 1,000 samples spread evenly (100 for the valid prediction time). With ``inputs`` in the test recording
    the model is driven by them: the run has no transient then, and forecasts see the inputs to come. So it is with ``elapsed`` times (``dr.LTC``): each step
    takes the test recording's, scores are over samples, and valid times so many of its ``dt``.

    Cost: one free run of ``(1 + transient_fraction)`` test lengths, then O(time log time) for binned and O(10**7 * channel) for mixture
    scores for each fit, floor pair and null draw. Errors: UnknownNameError (preset), RecordingError (constant or empty channel, trials
    shorter than the horizon), ArgumentError (channels that differ).
    """
    from dynrnn.data import uneven_or_even

    rule, random_state = get_preset(preset), check_random_state(random_state)
    test = uneven_or_even(test_recording)
    trials, channels = _trials(test), _channel_names(test)
    require_variation(np.concatenate(trials), channels)
    others = [_all_trials(source, name, channels) for source, name in ((reference, "reference"), (training, "training"))]
    longest = max(len(x) for x in trials)
    driven = "inputs" in test
    transient = 0 if driven or "elapsed" in test else round(rule.transient_fraction * longest)
    if generated is None:
        generated = _free_run(model, test, longest, transient)
        stated = {"transient": transient}
    else:
        stated = {"transient": generated.attrs.get("transient", "unknown: the run was given")}
    orbits = _orbits(generated, len(trials), channels)
    scores = score_orbits(
        trials, orbits, rule, reference=others[0], training=others[1], n_null=n_null, random_state=random_state, progress=progress
    )
    scores.attrs |= {"n_steps": orbits.shape[2], **stated, "driven": int(driven)}

    dt = float(test.attrs.get("dt", 1.0))
    if max_lyapunov is None and isinstance(known := test.attrs.get("lyapunov_max"), int | float) and known > 0:
        max_lyapunov = float(known)
    if max_lyapunov is not None and not (math.isfinite(max_lyapunov) and max_lyapunov > 0):
        raise ArgumentError(f"max_lyapunov must be positive and finite, got {max_lyapunov!r}; leave it out without chaos.")
    error_starts = choose_starts(trials, rule.prediction_steps, N_STARTS_ERROR, _first(longest))
    n_leads = horizon(trials, dt, max_lyapunov, rule.prediction_steps, numbers=orbits.shape[0] * orbits.shape[3])
    valid_starts = choose_starts(trials, n_leads, N_STARTS_VALID, _first(longest))
    short_term = score_forecasts(
        trials,
        (error_starts, _forecast(model, test, error_starts.where, error_starts.n_leads)),
        (valid_starts, _forecast(model, test, valid_starts.where, valid_starts.n_leads)),
        rule,
        dt=dt,
        units=str(test.attrs.get("units", "") or "step"),
        max_lyapunov=max_lyapunov,
        training=others[1],
    )
    result = xr.merge([scores, short_term], combine_attrs="no_conflicts", join="exact", compat="equals")
    if "fit" in generated.coords:
        result = result.assign_coords(fit=generated.fit)
    _add_published(result, test.attrs, rule, len(channels))
    result.attrs["preset_definition"] = json.dumps(dataclasses.asdict(rule))
    result.attrs["dt"] = dt
    for key in ("units", "dataset", "system"):
        if isinstance(value := test.attrs.get(key), str):
            result.attrs[key] = value
    if max_lyapunov is not None:
        result.attrs["max_lyapunov"] = max_lyapunov
    return result


def check_test(test_recording: Any, preset: str | Preset = "dynrnn-1") -> None:
    """What ``evaluate`` refuses of a test recording whatever the model, before there is one: RecordingError for a channel that is constant or hardly
    observed, and for trials shorter than the horizon.

    >>> check_test(np.zeros((100, 2)))
    Traceback (most recent call last):
    dynrnn.errors.RecordingError: channel 0 of the true recording is constant (all 100 observed samples equal 0), so it has neither a range nor ...
    """
    from dynrnn.data import uneven_or_even

    test = uneven_or_even(test_recording)
    trials = _trials(test)
    require_variation(np.concatenate(trials), _channel_names(test))
    choose_starts(trials, get_preset(preset).prediction_steps, 1)


def _free_run(model: Any, test: xr.Dataset, n_steps: int, transient: int) -> xr.Dataset:
    from dynrnn.models.generation import generate
    from dynrnn.models.reservoirs import Reservoir

    if "inputs" in test:
        within = xr.DataArray(np.arange(test.sizes["time"]), dims="time") < test["n_time"]
        padded = test["inputs"].where(within, 0.0)  # the run goes on to the longest trial's end, and is cut to each trial's own
        return generate(model, n_steps, initial=test, transient=transient, inputs=padded)
    initial: Any = test
    if isinstance(bare := getattr(model, "model", model), Reservoir):
        from dynrnn.models.generation import states_along

        ends = np.minimum(test["n_time"].values - 1, WARMED)
        initial = xr.DataArray(states_along(bare, test, np.stack([np.arange(len(ends)), ends], 1)), dims=("fit", "trial", "latent"))
    return generate(model, n_steps, initial=initial, transient=transient)


def _forecast(model: Any, test: xr.Dataset, starts: np.ndarray, n_steps: int) -> np.ndarray:
    from dynrnn.models.generation import forecast

    return np.asarray(forecast(model, test, starts, n_steps).transpose("fit", "start", "lead", ...).values, dtype=np.float64)


def _trials(recording: xr.Dataset) -> Trials:
    values = np.asarray(recording["observed"].transpose("trial", "time", ...).values, dtype=np.float64)
    trials = [values[i, : int(n)] for i, n in enumerate(recording["n_time"].values)]
    if not trials or not min(len(x) for x in trials):
        raise RecordingError("a recording to score against needs at least one trial, and no trial of length 0.")
    refuse_infinite(trials)
    return trials


def _channel_names(recording: xr.Dataset) -> list[Any]:
    observed = recording["observed"]
    (dim,) = set(observed.dims) - {"trial", "time"}
    return observed[dim].values.tolist() if dim in observed.coords else list(range(observed.sizes[dim]))


def _differ(found: list[Any], wanted: list[Any]) -> bool:
    """Whether these are other channels: as many names of which one side has none (an array's are 0, 1, ...) are taken to be in the same order."""
    unnamed = list(range(len(wanted)))
    return len(found) != len(wanted) or (found != wanted and unnamed not in (found, wanted))


def _all_trials(source: Any, argument: str, channels: list[Any]) -> Trials | None:
    from dynrnn.data import uneven_or_even

    if source is None:
        return None
    several = source if isinstance(source, Sequence) and len(source) and all(isinstance(one, xr.Dataset) for one in source) else [source]
    trials: Trials = []
    for one in several:
        recording = uneven_or_even(one)
        if _differ(found := _channel_names(recording), channels):
            raise ArgumentError(
                f"{argument} has the channels {_short(found)}, the test recording {_short(channels)}; select and order them alike."
            )
        trials += _trials(recording)
    return trials


def _orbits(generated: xr.Dataset, n_trials: int, channels: list[Any]) -> np.ndarray:
    observed = generated["observed"].transpose("fit", "trial", "time", ...)
    (dim,) = set(observed.dims) - {"fit", "trial", "time"}
    if dim in observed.coords and _differ(observed[dim].values.tolist(), channels):
        raise ArgumentError(
            f"the free run has the channels {_short(observed[dim].values.tolist())}, the test recording {_short(channels)}; "
            "score a model on the channels that it was trained on."
        )
    if observed.sizes["trial"] != n_trials:
        raise ArgumentError(
            f"the free run has {observed.sizes['trial']} trials and the test recording {n_trials}; "
            "generate with initial=<the test recording>."
        )
    return np.asarray(observed.values)


def _add_published(result: xr.Dataset, attrs: dict[str, Any], rule: Preset, n_channels: int) -> None:
    for score, row in headline(attrs, (rule.name, *rule.comparable_to), n_channels).items():
        stated = {key: getattr(row, key) for key in ("method", "where", "note", "spread", "n_steps")} | {"measured_by": row.preset}
        stated = {key: value for key, value in stated.items() if value not in (None, "")}
        result[f"{score}_published"] = (), row.value
        result[f"{score}_published"].attrs = {
            "long_name": f"published {score}",
            "units": result[score].attrs["units"],
            "preset": row.preset,
            "second_hand": int(row.second_hand),
            **stated,
        }


def _first(longest: int) -> int:
    return min(_FIRST_START, longest // 5)


def _short(names: list[Any]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"[{shown}{', ...' if len(names) > 5 else ''}] ({len(names)})"
