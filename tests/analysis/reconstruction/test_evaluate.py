"""``evaluate`` with stand-ins for a model: the true map itself, and wrong ones."""

import numpy as np
import pytest
import xarray as xr

from dynrnn.analysis.reconstruction import check_test, evaluate, score_table
from dynrnn.data import as_recording
from dynrnn.errors import ArgumentError, RecordingError, UnknownNameError
from dynrnn.models import generation


def step(x):
    return np.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], axis=-1)


def orbit(n, start=(0.1, 0.1)):
    x = np.empty((n, 2))
    x[0] = start
    for _ in range(100):
        x[0] = step(x[0])
    for t in range(1, n):
        x[t] = step(x[t - 1])
    return x


@pytest.fixture
def calls(monkeypatch):
    """A model is a function here; ``generate`` and ``forecast`` iterate it, and write down what they were asked for."""
    asked = {}

    def generate(model, n_steps, initial, transient=0):
        asked["generate"] = n_steps, transient
        x = initial["observed"].values[None, :, 0]
        rows = []
        for _ in range(transient + n_steps):
            rows.append(x)
            x = model(x)
        values = np.stack(rows[transient:], axis=2)
        return xr.Dataset({"observed": (("fit", "trial", "time", "feature"), values)}, coords={"fit": [7]}, attrs={"transient": transient})

    def forecast(model, recording, starts, n_steps):
        x = recording["observed"].values[starts[:, 0], starts[:, 1]][None]
        rows = []
        for _ in range(n_steps):
            x = model(x)
            rows.append(x)
        return xr.DataArray(np.stack(rows, axis=2), dims=("fit", "start", "lead", "feature"))

    monkeypatch.setattr(generation, "generate", generate)
    monkeypatch.setattr(generation, "forecast", forecast)
    return asked


def recording(x, **attrs):
    made = as_recording(x, dt=1.0)
    made.attrs.update(attrs)
    return made


def test_the_true_map_is_perfect_in_the_short_run_and_at_its_floor_in_the_long_run(calls):
    test = recording(orbit(2000), lyapunov_max=0.42)
    score = evaluate(step, test, reference=recording(orbit(8000, (0.2, -0.1))), n_null=2)
    assert calls["generate"] == (2000, 500)  # a quarter of the length is dropped
    # the forecast repeats the arithmetic of the recording: no error at all, however chaotic
    assert float(score.prediction_error[0]) == 0.0
    assert float(score.valid_prediction_time_censored[0]) == 1.0
    assert score.valid_prediction_time.attrs["units"] == "Lyapunov time"
    # 12 Lyapunov times are ceil(12 / 0.42) = 29 steps
    assert float(score.valid_prediction_time[0]) == pytest.approx(29 * 0.42)
    assert float(score.d_stsp[0]) < 2 * float(score.d_stsp_floor.max())
    assert float(score.d_stsp[0]) < float(score.d_stsp_linear.min())
    # persistence of a chaotic map 20 steps ahead: two independent draws, variance 2; a linear forecast: the mean, variance 1
    assert float(score.prediction_error_persistence) == pytest.approx(2.0, abs=0.3)
    assert float(score.prediction_error_linear) == pytest.approx(1.0, abs=0.15)
    assert score.fit.values.tolist() == [7]


def test_preset_decides_the_transient(calls):
    evaluate(step, recording(orbit(400)), preset="cns-2023", n_null=0)
    assert calls["generate"] == (400, 0)
    with pytest.raises(UnknownNameError, match="dynrnn-1"):
        evaluate(step, recording(orbit(400)), preset="dynrnn1")


def test_a_model_that_diverges(calls):
    def explode(x):
        with np.errstate(over="ignore"):
            return x * 1e30

    score = evaluate(explode, recording(orbit(400)), n_null=1)
    assert bool(score.diverged[0])
    for name in ("d_stsp", "d_hellinger", "prediction_error"):
        assert float(score[name][0]) == np.inf
    assert float(score.valid_prediction_time[0]) == 0.0
    assert "1 of 1 fits diverged (fit 7)" in score_table(score)


def test_an_orbit_beyond_its_trials_end_changes_nothing(calls):
    test = recording([orbit(500), orbit(300, (0.2, -0.1))])
    values = np.stack([orbit(500, (0.3, 0.1)), orbit(500, (0.0, 0.1))])[None]
    other = values.copy()
    other[0, 1, 300:] = np.nan  # the run is as long as the longest trial; here it diverges after its own trial is over
    dims = ("fit", "trial", "time", "feature")
    a, b = (evaluate(step, test, generated=xr.Dataset({"observed": (dims, x)}), n_null=2) for x in (values, other))
    assert a.identical(b)
    assert not bool(a.diverged[0])
    assert "generate" not in calls


def test_missing_samples_enter_no_score(calls):
    x = orbit(1500)
    x[np.random.default_rng(0).random(x.shape) < 0.05] = np.nan
    score = evaluate(step, recording(x), n_null=1)
    assert not any(np.isnan(score[name]).any() for name in score.data_vars if name != "diverged")
    assert float(score.prediction_error[0]) == 0.0  # starts are complete samples, and only observed targets count
    assert score.attrs["n_true_missing"] == int(np.isnan(x).any(axis=1).sum())
    assert np.isfinite(score.d_stsp_floor).all()  # a true stretch with holes has not diverged
    assert np.isfinite(score.d_hellinger_floor).all()


def test_one_missing_sample_changes_little(calls):
    x = orbit(1500)
    holed = x.copy()
    holed[700, 0] = np.nan
    whole, other = (evaluate(step, recording(v), n_null=1) for v in (x, holed))
    for name in ("prediction_error_linear", "d_stsp_floor", "d_hellinger_floor"):
        # of 600 samples a stretch has one less: a change of their order, 1/600, in each; ten times that is far below what a run to infinity would be
        np.testing.assert_allclose(other[name], whole[name], rtol=10 / 600, atol=10 / 600)


def test_a_true_stretch_without_a_whole_sample_is_skipped_and_counted(calls):
    x = orbit(1500)
    x[750::2, 0] = x[751::2, 1] = np.nan  # every sample of the second half lacks a channel
    score = evaluate(step, recording(x), n_null=1)
    assert score.attrs["floor_pairs_skipped"] > 0
    assert np.isfinite(score.d_stsp_floor).all()


def test_a_channel_that_cannot_be_judged_is_named():
    x = xr.DataArray(orbit(500), dims=("time", "feature"), coords={"feature": ["left", "right"]})
    x[:, 1] = 2.0
    with pytest.raises(RecordingError, match="channel 'right' of the true recording is constant"):
        check_test(x)
    with pytest.raises(RecordingError, match="no trial of the test recording is longer"):
        check_test(orbit(10))


def test_published_figures_are_shown_only_for_their_dataset(calls):
    x = np.concatenate([orbit(600), orbit(600)[:, :1] + orbit(600, (0.2, -0.1))[:, :1]], axis=1)
    data = recording(x, dataset="lorenz63")
    generated = xr.Dataset({"observed": (("fit", "trial", "time", "feature"), x[None, None])})
    score = evaluate(lambda z: z, data, preset="cns-2023", generated=generated, n_null=1)
    assert float(score.d_stsp_published) == 0.233
    table = score_table(score)
    assert "0.233*" in table
    assert "CNS-2023" in table
    assert "0.26" not in table  # another preset's
    second = evaluate(lambda z: z, data, preset="gtf-2023", generated=generated, n_null=1)
    assert second.d_stsp_published.attrs["second_hand"] == 1
    assert "(0.26)*" in score_table(second)
    assert "second-hand" in score_table(second)
    assert "at 100,000 samples" in score_table(second)
    unknown = evaluate(lambda z: z, recording(x), preset="cns-2023", generated=generated, n_null=1)
    assert "d_stsp_published" not in unknown


def test_what_does_not_fit_is_named(calls):
    test = recording(orbit(400))
    with pytest.raises(ArgumentError, match="reference has the channels"):
        evaluate(step, test, reference=as_recording(np.zeros((400, 3)), dt=1.0))
    two = xr.Dataset({"observed": (("fit", "trial", "time", "feature"), np.zeros((1, 2, 400, 2)))})
    with pytest.raises(ArgumentError, match="2 trials and the test recording 1"):
        evaluate(step, test, generated=two)
    with pytest.raises(RecordingError, match="longer than 20 samples"):
        evaluate(step, recording(orbit(20)), n_null=0)


def test_an_array_is_scored_with_a_model_of_named_channels(calls):
    x = orbit(600)
    named = xr.DataArray(x, dims=("time", "feature"), coords={"feature": ["left", "right"]})
    assert evaluate(step, named, n_null=1, training=x).d_stsp.values == evaluate(step, x, n_null=1, training=named).d_stsp.values
    with pytest.raises(ArgumentError, match="select and order them alike"):
        evaluate(step, named, n_null=1, training=named[:, ::-1])
