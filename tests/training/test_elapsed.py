"""Recordings whose samples are uneven in time: kept, trained on, generated and scored with each step's own elapsed time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.errors import ArgumentError, RecordingError
from dynrnn.models.generation import forecast

SETTINGS = dict(sequence_length=8, batch_size=4, progress=False, random_state=0)


def spiral(times):
    """A damped oscillator, x'' = -0.2 x' - 1.01 x, at any times."""
    return np.exp(-0.1 * times)[:, None] * np.stack([np.cos(times), np.sin(times)], -1)


def uneven(seed=0, n_trials=3, n=30, least=0.1, most=0.9):
    """Trials that begin at phases of their own: (values, elapsed), lists of [time, 2] and [time]."""
    rng = np.random.default_rng(seed)
    elapsed = [rng.uniform(least, most, n - k) for k in range(n_trials)]
    return [spiral(rng.uniform(0, 6) + np.cumsum(gaps)) for gaps in elapsed], elapsed


def recording(seed=0, **given):
    values, elapsed = uneven(seed, **given)
    return dr.as_recording(values, elapsed=elapsed)


def ltc(n=6, **given):
    return dr.LTC(2, n, unfolds=2, dt=0.5, random_state=0, **given)


def test_all_forms_of_uneven_times_are_one_recording():
    (x, *_), (gaps, *_) = uneven()
    times = np.cumsum(gaps)
    given = dr.as_recording(x, elapsed=gaps)
    array = xr.DataArray(x, dims=("time", "feature"), coords={"time": times})
    without = xr.Dataset({"observed": array.expand_dims("trial")})
    for rec in (
        dr.as_recording(pd.DataFrame(x, index=times), elapsed=True), dr.as_recording(array, elapsed=True), dr.as_recording([array], elapsed=True),
        dr.as_recording(without, elapsed=True), dr.as_recording(x[None], elapsed=gaps[None]), dr.as_recording(given, elapsed=True),
    ):
        assert rec["elapsed"].dims == ("trial", "time")
        np.testing.assert_allclose(rec["elapsed"].values[0, 1:], gaps[1:], rtol=1e-12)
        assert rec.attrs["dt"] == pytest.approx(gaps[1:].mean(), rel=1e-12)
        np.testing.assert_allclose(np.diff(rec["time"].values), gaps[1:], rtol=1e-9)
    first, second = dr.split(given, 0.5)
    np.testing.assert_array_equal(np.concatenate([first["elapsed"].values, second["elapsed"].values], 1), given["elapsed"].values)


def test_what_is_no_time_is_named_by_trial_and_time():
    """Also with as many samples as trials, where axes could be taken for each other."""
    x = np.random.default_rng(0).normal(size=(4, 4, 2))
    for bad in (0.0, -1.0, np.nan, np.inf):
        elapsed = np.ones((4, 4))
        elapsed[2, 1] = bad
        elapsed[:, 0] = bad                                                     # before the first sample: never read
        with pytest.raises(RecordingError, match="in trial 2 at time index 1: .* above 0 and finite") as told:
            dr.as_recording(x, elapsed=elapsed)
        assert "faults" not in str(told.value)
    for elapsed, error in ((np.ones(4), ArgumentError), (np.ones((4, 5)), RecordingError), (np.ones((3, 4)), ArgumentError), ("often", ArgumentError)):
        with pytest.raises(error, match="elapsed"):
            dr.as_recording(x, elapsed=elapsed)
    with pytest.raises(RecordingError, match="x has none"):
        dr.as_recording(x, elapsed=True)
    at = {"time": np.array([0.0, 1.0, 5.0, 6.0])}
    labelled = xr.DataArray(x[0], dims=("time", "feature"), coords=at)
    drive = xr.DataArray(x[1, :, :1], dims=("time", "input"), coords=at)
    assert dr.as_recording(labelled, inputs=drive, elapsed=True).elapsed.values[0, 1:].tolist() == [1.0, 4.0, 1.0]
    with pytest.raises(RecordingError, match="inputs of trial 0 are sampled at other times"):
        dr.as_recording(labelled, inputs=drive.assign_coords(time=[0.0, 1.0, 2.0, 6.0]), elapsed=True)
    with pytest.raises(RecordingError, match=r"unequal steps.*elapsed=True"):
        dr.as_recording(labelled)


def test_what_takes_even_steps_refuses():
    rec = recording()
    for model in (dr.ALRNN(2, 4, 1, random_state=0), dr.ESN(2, 50, random_state=0)):
        with pytest.raises(RecordingError, match=r"uneven in time.*dr\.LTC"):
            dr.fit(model, rec, progress=False)
    with pytest.raises(RecordingError, match=r"a alrnn model takes even steps"):
        dr.generate(dr.ALRNN(2, 4, 1, random_state=0), 5, initial=rec)
    with pytest.raises(ArgumentError, match="takes even steps"):
        dr.generate(dr.ALRNN(2, 4, 1, random_state=0), 5, elapsed=0.1)
    with pytest.raises(RecordingError, match="even steps are wanted here"):
        dr.analysis.correlation_dimension(rec)
    with pytest.raises(ArgumentError, match="'rtrl' takes even steps"):
        dr.fit(ltc(), rec, gradient="rtrl", **SETTINGS)


def test_even_times_give_the_bits_of_none():
    """Training, and a free run: elapsed times that are all dt are no other thing than dt."""
    x = uneven()[0][0]
    runs, plain = [], dr.as_recording(x, dt=0.3)
    for rec in (plain, dr.as_recording(x, dt=0.3, elapsed=np.full(len(x), 0.3))):
        run = dr.fit(ltc(n_fits=2), rec, n_updates=5, **SETTINGS)
        runs.append((run.model.state_dict(), dr.generate(run, 20, initial=rec)))
    for name, value in runs[0][0].items():
        assert torch.equal(value, runs[1][0][name]), name
    assert np.array_equal(runs[0][1].latent.values, runs[1][1].latent.values)
    np.testing.assert_allclose(runs[1][1].time.values, 0.3 * np.arange(20), rtol=1e-12)
    assert "elapsed" not in runs[0][1]


def test_gradients_of_windows_are_those_of_their_own_times():
    """One update of plain steps by autograd against the same by the compiled kernel, and a permutation of the times is another thing."""
    rec = recording()
    losses, turned = {}, np.nan_to_num(rec.elapsed.values[:, ::-1], nan=0.5)
    for name, given in (("cpu", rec), ("reference", rec), ("mixed", rec.assign(elapsed=(("trial", "time"), turned)))):
        run = dr.fit(ltc(), given, n_updates=3, backend="reference" if name == "reference" else "cpu", **SETTINGS)
        losses[name] = run.history.loss.values[0]
    np.testing.assert_allclose(losses["cpu"], losses["reference"], rtol=1e-4)           # float32
    assert np.abs(losses["mixed"] / losses["cpu"] - 1).max() > 1e-3


@pytest.mark.parametrize("n_trials", [3, 6])                                            # 6: as many as units
def test_a_batch_of_uneven_series_is_its_singles(n_trials):
    """Free runs and forecasts; and each step is the model's own step of that time."""
    rec, model = recording(n_trials=n_trials), ltc(n=6, n_fits=2)
    n = int(rec.n_time.min())
    together = dr.generate(model, n, initial=rec)
    z = together.latent.values[:, :, 0]
    for t in range(1, 4):
        with torch.no_grad():
            z = model.step(torch.tensor(z), None, torch.tensor(model.own_times(rec.elapsed.values[:, t]))[None]).numpy()
        np.testing.assert_allclose(together.latent.values[:, :, t], z, rtol=0, atol=1e-12)
    for k in range(n_trials):
        alone = dr.generate(model, n, initial=rec.isel(trial=[k]))
        np.testing.assert_allclose(together.latent.values[:, [k]], alone.latent.values, rtol=0, atol=1e-6)
        np.testing.assert_allclose(np.diff(alone.time.values), rec.elapsed.values[k, 1:n], rtol=1e-9)
    np.testing.assert_array_equal(together.elapsed.values[:, 1:], rec.elapsed.values[:, 1:n])
    starts = np.array([[k, 4 + k] for k in range(n_trials)])
    ahead = forecast(model, rec, starts, 6)
    for k, t in starts:
        alone = dr.generate(model, 7, initial=rec.isel(trial=[k], time=slice(t, t + 7)).assign(n_time=("trial", [7])))
        np.testing.assert_allclose(ahead.values[:, k], alone.observed.values[:, 0, 1:], rtol=0, atol=1e-6)
    with pytest.raises(ArgumentError, match="within 6 samples of the end"):
        forecast(model, rec, np.array([[n_trials - 1, int(rec.n_time[-1]) - 6]]), 6)


def test_times_of_a_free_run_are_a_number_an_array_or_the_recordings():
    model, rec = ltc(), recording(n_trials=1)
    same = [dr.generate(model, 5, initial=rec, elapsed=given, transient=2).latent.values for given in (0.25, np.full(7, 0.25), np.full((1, 7), 0.25))]
    assert np.array_equal(same[0], same[1])
    assert np.array_equal(same[0], same[2])
    for given, message in (
        (np.full(6, 0.25), "covers 6 samples, but transient"), (np.full((2, 7), 0.25), "must be a number, or have shape"), (-1.0, "in trial 0 at time index 1"),
        (np.where(np.arange(7) == 3, np.nan, 1.0), "nan in trial 0 at time index 3"),
    ):
        with pytest.raises(ArgumentError, match=message):
            dr.generate(model, 5, initial=rec, elapsed=given, transient=2)
    with pytest.raises(ArgumentError, match="covers 30 samples"):
        dr.generate(model, 31, initial=rec)
    with pytest.raises(ArgumentError, match=r"given as elapsed\[None\]"):
        dr.generate(model, 3, initial=recording(), elapsed=np.ones(3))


def test_a_run_on_uneven_times_is_validated_scored_and_stored(tmp_path):
    rec, test = recording(0, n=80), recording(1, n=80)
    run = dr.fit(ltc(), rec, validation=test, n_updates=4, out=tmp_path / "run", **SETTINGS)
    assert np.isfinite(run.history.validation.values).any()
    score = dr.evaluate(run, test, n_null=1)
    assert np.isfinite(score.prediction_error.values).all()
    assert score.attrs["transient"] == 0
    orbit = dr.generate(run, 60, initial=test.isel(trial=[0]), out=tmp_path / "orbit")
    np.testing.assert_allclose(np.diff(orbit.time.values), test.elapsed.values[0, 1:60], rtol=1e-9)
    stored = dr.read_results(tmp_path / "run" / "results.zarr")["observed_data"]
    np.testing.assert_array_equal(stored.elapsed.values, rec.elapsed.values)


@pytest.mark.slow
def test_uneven_samples_are_learned_better_with_their_times():
    """A damped oscillator at gaps of 0.05 to 1.2, against the same samples a mean gap apart: what the phase between samples hides from even steps is a tenth of
    the variance at one step. Four seeds, each its own witness."""
    (x, gaps), (new, new_gaps) = (uneven(seed, n_trials=20, n=50, least=0.05, most=1.2) for seed in (0, 1))
    dt = float(np.concatenate([one[1:] for one in gaps]).mean())
    starts = np.array([[k, t] for k in range(20) for t in (0, 5, 10, 15)])
    truth = np.stack([new[k][t + 1 : t + 6] for k, t in starts])
    errors, options = [], dict(n_updates=300, sequence_length=15, learning_rate=(0.1, 0.01), progress=False, random_state=0)
    for own in (True, False):
        rec, test = (dr.as_recording(values, dt=dt, elapsed=times if own else None) for values, times in ((x, gaps), (new, new_gaps)))
        model = dr.LTC(2, 10, unfolds=2, dt=0.5, n_fits=4, random_state=0)
        run = dr.fit(model, rec, forcing=dr.GeneralizedTeacherForcing(alpha=0.2), **options)
        errors.append(np.square(forecast(run, test, starts, 5).values - truth)[:, :, [0, 4]].mean((1, 3)))
    assert (errors[0] < 0.6 * errors[1]).all(), errors
