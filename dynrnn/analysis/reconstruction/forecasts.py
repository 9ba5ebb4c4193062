"""Short-term scores of forecasts, beside their nulls: prediction error and valid prediction time by one preset."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from dynrnn.analysis.reconstruction._checks import Trials
from dynrnn.analysis.reconstruction.linear import VectorAutoregression, fit_vector_autoregression
from dynrnn.analysis.reconstruction.prediction import prediction_error, valid_times
from dynrnn.analysis.reconstruction.presets import Preset
from dynrnn.analysis.reconstruction.statistics import Standardiser
from dynrnn.analysis.reconstruction.surrogates import fill_forward
from dynrnn.errors import RecordingError

N_STARTS_ERROR = 1_000
N_STARTS_VALID = 100
_LYAPUNOV_TIMES = 12  # longest validity looked for: reports of the field end at about ten
_MAX_LEADS = 2_000
_PAST = 4  # samples before a start, of which the linear null uses as many at most
_MAX_NUMBERS = 1 << 26  # forecasts held at once: 0.5 GB


class Starts(NamedTuple):
    """Where forecasts begin: ``where`` (start, 2) of (trial, time), and how many leads each has."""

    where: np.ndarray
    n_leads: int


def choose_starts(trials: Trials, n_leads: int, n_starts: int, first: int = 0) -> Starts:
    """At most ``n_starts`` starts spread evenly over all trials, each followed by ``n_leads`` samples.

    Only samples observed in every channel start a forecast, unless there are none; then those with most channels observed. Of these, in each
    trial those before which a few samples are complete too, if it has such: the linear null looks at them.
    """
    candidates, observed, after_gap = [], [], []
    for trial, x in enumerate(trials):
        times = np.arange(min(first, max(len(x) - n_leads - 1, 0)), len(x) - n_leads)
        candidates.append(np.stack([np.full(len(times), trial), times], axis=1))
        observed.append((~np.isnan(x)).sum(axis=1)[times])
        holes = np.concatenate([[0], np.cumsum(np.isnan(x).any(axis=1))])
        after_gap.append(holes[times] > holes[np.maximum(times - _PAST, 0)])
    index, count, broken = np.concatenate(candidates), np.concatenate(observed), np.concatenate(after_gap)
    if not len(index):
        raise RecordingError(
            f"no trial of the test recording is longer than {n_leads} samples (longest: {max(len(x) for x in trials)}), so a forecast of "
            f"{n_leads} steps cannot be scored. Pass longer trials, or a preset with a shorter horizon: "
            "PRESETS[...].derive(prediction_steps=...)."
        )
    index, broken = index[count == count.max()], broken[count == count.max()]
    unbroken = np.bincount(index[:, 0], ~broken, minlength=len(trials)) > 0
    index = index[~(broken & unbroken[index[:, 0]])]
    keep = np.unique(np.linspace(0, len(index) - 1, min(n_starts, len(index))).round().astype(np.int64))
    return Starts(index[keep], n_leads)


def horizon(trials: Trials, dt: float, max_lyapunov: float | None, at_least: int, numbers: int = 1) -> int:
    """Leads over which validity is looked for: 12 Lyapunov times if the exponent is known, at most half of the longest trial and 2,000.

    ``numbers`` is fits times channels: fewer leads where the forecasts would not fit in memory.
    """
    limit = min(_MAX_LEADS, _MAX_NUMBERS // (N_STARTS_VALID * numbers), max(len(x) for x in trials) // 2)
    if max_lyapunov is not None and max_lyapunov > 0:
        limit = min(limit, math.ceil(_LYAPUNOV_TIMES / (max_lyapunov * dt)))
    return max(limit, min(at_least, max(len(x) for x in trials) - 1))


def truth_after(trials: Trials, starts: Starts) -> Float[np.ndarray, "start lead channel"]:
    """The samples 1 .. n_leads steps after each start."""
    return np.stack([trials[trial][time + 1 : time + 1 + starts.n_leads] for trial, time in starts.where.tolist()])


def past_before(filled: Trials, index: Int[np.ndarray, "start 2"], order: int) -> Float[np.ndarray, "start order channel"]:
    """The ``order`` samples up to and with each start (latest last); before a trial's beginning its first sample."""
    padded = [np.concatenate([np.repeat(x[:1], order - 1, axis=0), x]) for x in filled]
    return np.stack([padded[trial][time : time + order] for trial, time in index.tolist()])


def score_forecasts(
    true: Trials,
    error: tuple[Starts, Float[np.ndarray, "fit start lead channel"]],
    valid: tuple[Starts, Float[np.ndarray, "fit start_valid lead_valid channel"]],
    preset: Preset,
    *,
    dt: float,
    units: str,
    max_lyapunov: float | None,
    training: Trials | None = None,
) -> xr.Dataset:
    """Prediction error and valid prediction time of every fit, and of persistence and of the vector autoregression.

    ``error`` and ``valid`` are starts and forecasts from them, in the units of ``true``. Errors are in units of the test recording's
    variance. The linear null predicts its conditional mean from the samples up to the start; it is fitted to ``training`` if given.
    """
    unit = Standardiser.of(true)
    test = unit(true)
    linear = fit_vector_autoregression(test if training is None else unit(training))
    fitted_to = "the test recording itself (in-sample)" if training is None else "the training recording"
    data = xr.Dataset(coords={"fit": np.arange(len(error[1]))})

    n = preset.prediction_steps
    truth = truth_after(test, error[0])
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = [(run.astype(np.float64) - unit.mean) / unit.sd for run in error[1]]
    data["prediction_error"] = "fit", np.array([prediction_error(truth, run, n=n) for run in scaled])
    nulls = _null_forecasts(test, error[0], linear)
    for name, run in nulls.items():
        data[f"prediction_error_{name}"] = (), prediction_error(truth, run, n=n)
    for name in data.data_vars:
        data[name].attrs = {"long_name": f"mean squared error {n} steps ahead", "units": "variance of the test recording"}

    truth = truth_after(test, valid[0])
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = [(run.astype(np.float64) - unit.mean) / unit.sd for run in valid[1]]
    options = {"dt": dt, "max_lyapunov": max_lyapunov, "threshold": preset.validity_threshold}
    times = [valid_times(truth, run, **options) for run in scaled]
    data["valid_prediction_time"] = "fit", np.array([time.value for time in times])
    data["valid_prediction_time_censored"] = "fit", np.array([time.censored for time in times])
    for name, run in _null_forecasts(test, valid[0], linear).items():
        data[f"valid_prediction_time_{name}"] = (), valid_times(truth, run, **options).value
    time_unit = "Lyapunov time" if max_lyapunov is not None else units
    for name in ("valid_prediction_time", "valid_prediction_time_persistence", "valid_prediction_time_linear"):
        data[name].attrs = {"long_name": f"median time until the error exceeds {preset.validity_threshold} sd", "units": time_unit}
    data.valid_prediction_time_censored.attrs = {"long_name": "share of forecasts valid over the whole horizon", "units": "1"}
    for name in data.data_vars:
        data[name].attrs["preset"] = preset.name
        if str(name).endswith("_linear"):
            data[name].attrs["source"] = f"vector autoregression of order {linear.order}, fitted to {fitted_to}"
        if str(name).endswith("_persistence"):
            data[name].attrs["source"] = "the sample at the start, for ever"
    data.attrs = {
        "prediction_steps": n,
        "prediction_starts": len(error[0].where),
        "valid_horizon_steps": valid[0].n_leads,
        "valid_starts": len(valid[0].where),
        "validity_threshold": preset.validity_threshold,
    }
    return data


def _null_forecasts(test: Trials, starts: Starts, linear: VectorAutoregression) -> dict[str, np.ndarray]:
    """Missing entries of the past are the last observed for persistence, and the model's own prediction for the linear null: never a later sample."""
    last = past_before([fill_forward(x) for x in test], starts.where, 1)
    past = past_before([linear.filled(x) for x in test], starts.where, linear.order)
    return {"persistence": np.repeat(last, starts.n_leads, axis=1), "linear": linear.forecast(past, starts.n_leads)}
