"""Short-term scores on hand-made forecasts."""

import math

import numpy as np
import pytest

from dynrnn.analysis.reconstruction import prediction_error, valid_prediction_time, valid_times
from dynrnn.analysis.reconstruction.forecasts import choose_starts, past_before, truth_after
from dynrnn.analysis.reconstruction.linear import fit_vector_autoregression
from dynrnn.analysis.reconstruction.surrogates import fill_forward
from dynrnn.errors import ArgumentError, RecordingError

TRUTH = np.zeros((3, 6, 2))
GROWING = TRUTH + 0.1 * np.arange(1, 7)[:, None]  # errors 0.1, 0.2, ... at leads 1, 2, ...


def test_error_at_one_lead_only():
    forecast = GROWING.copy()
    forecast[:, :3] = 100.0  # leads 1-3 do not matter at lead 4
    assert prediction_error(TRUTH, forecast, n=4) == pytest.approx(0.4**2, rel=1e-12)
    # channels of sd 1 and 2: the mean of 0.16 and 0.04
    assert prediction_error(TRUTH, forecast, n=4, sd=np.array([1.0, 2.0])) == pytest.approx(0.1, rel=1e-12)


def test_missing_truth_does_not_enter_whatever_is_forecast_there():
    truth, forecast = TRUTH.copy(), GROWING.copy()
    truth[0, 3, 1] = np.nan
    forecast[0, 3, 1] = 1e9
    assert prediction_error(truth, forecast, n=4) == pytest.approx(0.16, rel=1e-12)
    assert valid_prediction_time(truth, forecast) == valid_prediction_time(TRUTH, GROWING)
    truth[:, 3] = np.nan
    with pytest.raises(RecordingError, match="observed 4 steps after any start"):
        prediction_error(truth, forecast, n=4)


def test_valid_time_ends_before_the_first_lead_that_exceeds():
    # one channel is off by 0.1 k, the other exact: rms over channels 0.1 k / sqrt 2, above 0.4 from k = 6 on
    forecast = GROWING.copy()
    forecast[..., 1] = 0.0
    assert valid_prediction_time(TRUTH, forecast, dt=0.5) == 2.5
    assert valid_prediction_time(TRUTH, forecast, dt=0.5, max_lyapunov=2.0) == 5.0
    assert valid_prediction_time(TRUTH, forecast, threshold=0.05) == 0.0
    # coming back below the threshold does not make it valid again
    forecast[:, 1] = 9.0
    assert valid_prediction_time(TRUTH, forecast) == 1.0


def test_valid_time_is_the_median_over_starts_and_counts_those_that_outlast_the_horizon():
    forecast = TRUTH.copy()
    forecast[0, 0:] = 1.0
    forecast[1, 2:] = 1.0
    result = valid_times(TRUTH, forecast)  # valid for 0, 2 and all 6 leads
    assert result == (2.0, pytest.approx(1 / 3))


def test_not_finite_forecasts():
    forecast = TRUTH.copy()
    forecast[0, 2] = np.nan
    forecast[1, 4] = np.inf
    assert prediction_error(TRUTH, forecast, n=3) == math.inf
    assert prediction_error(TRUTH, forecast, n=2) == 0.0
    assert valid_prediction_time(TRUTH, forecast) == 4.0  # 2, 4, 6
    with pytest.raises(ArgumentError, match="n must be from 1 to 6"):
        prediction_error(TRUTH, forecast, n=7)


def test_starts_are_spread_over_trials_have_all_their_leads_and_are_observed():
    trials = [np.arange(60.0).reshape(30, 2), np.arange(40.0).reshape(20, 2)]
    trials[0][::2, 0] = np.nan
    starts = choose_starts(trials, 5, 1000)
    assert {tuple(s) for s in starts.where.tolist()} == {(0, t) for t in range(1, 25, 2)} | {(1, t) for t in range(15)}
    truth = truth_after(trials, starts)
    assert truth.shape == (27, 5, 2)
    np.testing.assert_array_equal(truth[-1], trials[1][15:20])
    few = choose_starts(trials, 5, 4).where
    assert len(few) == 4
    assert few[0].tolist() == [0, 1]
    assert few[-1].tolist() == [1, 14]
    with pytest.raises(RecordingError, match="longest: 30"):
        choose_starts(trials, 30, 10)


def test_the_past_of_a_start_never_looks_ahead():
    x = np.arange(10.0)[:, None]
    x[4:6] = np.nan
    past = past_before([fill_forward(x)], np.array([[0, 5], [0, 1]]), 3)
    np.testing.assert_array_equal(past[0, :, 0], [3, 3, 3])  # 4 and 5 are missing: the last seen is 3, not 6
    np.testing.assert_array_equal(past[1, :, 0], [0, 0, 1])


def test_missing_samples_of_the_linear_nulls_past_are_its_own_predictions():
    t = np.arange(400.0)
    x = np.stack([np.sin(0.1 * t), np.cos(0.1 * t)], 1)
    linear = fit_vector_autoregression([x])
    holes = x.copy()
    holes[50:60, 0] = np.nan
    holes[200] = np.nan
    np.testing.assert_allclose(linear.filled(holes), x, atol=1e-3)  # an undamped root is made .9999: 1e-4 of the amplitude a step, over ten
    changed = holes.copy()
    changed[60:] += 1.0
    np.testing.assert_array_equal(linear.filled(changed)[:60], linear.filled(holes)[:60])


def test_forecasts_start_behind_whole_stretches_where_there_are_any():
    x = np.zeros((70, 1))
    x[::7] = np.nan
    assert set((choose_starts([x], 5, 100).where[:, 1] % 7).tolist()) == {5, 6}
    x[::3] = np.nan
    assert len(choose_starts([x], 5, 100).where) > 0
