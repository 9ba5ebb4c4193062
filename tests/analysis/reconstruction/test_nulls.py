"""What the nulls keep and what they destroy."""

import numpy as np
import pytest

from dynrnn.analysis.reconstruction import VectorAutoregression, fit_vector_autoregression, phase_surrogate
from dynrnn.analysis.reconstruction.surrogates import fill_forward, fill_linear
from dynrnn.errors import RecordingError

FIRST = np.array([[0.5, 0.3], [-0.4, 0.6]])
SECOND = np.array([[0.2, 0.0], [0.1, -0.3]])


def autoregression(n, seed, coefficients=(FIRST,), intercept=(0.0, 0.0)):
    generator = np.random.default_rng(seed)
    x = np.zeros((n + 200, 2))
    for t in range(len(coefficients), n + 200):
        past = sum(c @ x[t - k] for k, c in enumerate(coefficients, start=1))
        x[t] = intercept + past + generator.normal(size=2) * [1.0, 0.5]
    return x[200:]


@pytest.mark.parametrize("n", [256, 257])
def test_surrogates_keep_every_spectrum_and_cross_spectrum(n):
    x = autoregression(n, 0) + 3.0
    y = phase_surrogate(x, np.random.default_rng(1))
    a, b = np.fft.rfft(x, axis=0), np.fft.rfft(y, axis=0)
    scale = np.abs(a).max() ** 2  # rounding of an FFT: a few eps relative to its largest value
    np.testing.assert_allclose(np.abs(b) ** 2, np.abs(a) ** 2, atol=1e-12 * scale)
    np.testing.assert_allclose(b[:, 0] * b[:, 1].conj(), a[:, 0] * a[:, 1].conj(), atol=1e-12 * scale)
    np.testing.assert_allclose(y.mean(axis=0), x.mean(axis=0), rtol=1e-12)
    assert abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]) < 0.5  # yet another series: |r| is O(1 / sqrt(independent samples))


def test_surrogates_destroy_what_is_not_linear():
    # the asymmetry of time, mean((x[t+1] - x[t])^3), of a sawtooth is large; of any linear Gaussian process it is 0
    x = (np.arange(4000.0) % 50)[:, None] + np.random.default_rng(2).normal(size=(4000, 1))

    def skewness(series):
        step = np.diff(series[:, 0])
        return float(np.mean(step**3) / np.mean(step**2) ** 1.5)

    drawn = [skewness(phase_surrogate(x, np.random.default_rng(seed))) for seed in range(10)]
    assert abs(skewness(x)) > 5
    assert max(map(abs, drawn)) < 1


def test_least_squares_recovers_a_known_process():
    x = autoregression(20_000, 3, (FIRST, SECOND), intercept=(1.0, -2.0))
    model = fit_vector_autoregression([x])
    assert model.order == 2  # a spurious order 3 gains about chi2(4) < ln(20000) * 4 = 40
    # standard errors about 1 / sqrt(20000) = 0.007, times the ratio of the noises 2
    np.testing.assert_allclose(model.coefficients, [FIRST, SECOND], atol=0.06)
    np.testing.assert_allclose(model.intercept, [1.0, -2.0], atol=0.15)
    np.testing.assert_allclose(model.covariance, np.diag([1.0, 0.25]), atol=0.05)
    companion = np.block([[FIRST, SECOND], [np.eye(2), np.zeros((2, 2))]])
    assert model.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(companion)).max(), abs=0.03)


def test_trials_and_missing_samples_only_remove_rows():
    # noiseless: any wrong pair of rows, across a gap or from one trial to the next, would spoil an exact fit
    rotation = 0.97 * np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    y = np.zeros((60, 2))
    y[0] = [1.0, -2.0]
    for t in range(1, 60):
        y[t] = rotation @ y[t - 1]
    holed = y.copy()
    holed[20, 0] = np.nan
    holed[21] = np.nan, 1e6  # a row with a missing channel does not enter, whatever its others say
    model = fit_vector_autoregression([holed, 5.0 * y[:30]], max_order=1)
    np.testing.assert_allclose(model.coefficients[0], rotation, atol=1e-10)


def test_free_run_has_the_covariance_of_the_process():
    model = VectorAutoregression(np.zeros(2), np.array([FIRST]), np.diag([1.0, 0.25]), 0.65)
    run = model.simulate(40_000, np.random.default_rng(4), np.zeros((1, 2)))
    # the stationary covariance solves S = F S F' + Q
    stationary = np.linalg.solve(np.eye(4) - np.kron(FIRST, FIRST), np.diag([1.0, 0.25]).ravel()).reshape(2, 2)
    np.testing.assert_allclose(np.cov(run.T), stationary, atol=0.06)  # about 4 sqrt(2 * 5 / 40000), 5 a correlation time


def test_forecast_is_the_power_of_the_map():
    model = VectorAutoregression(np.array([1.0, 2.0]), np.array([FIRST]), np.eye(2), 0.65)
    past = np.random.default_rng(5).normal(size=(4, 1, 2))
    forecast = model.forecast(past, 6)
    mean = np.linalg.solve(np.eye(2) - FIRST, [1.0, 2.0])
    expected = mean + (past[:, 0] - mean) @ np.linalg.matrix_power(FIRST, 6).T
    np.testing.assert_allclose(forecast[:, 5], expected, rtol=1e-12)


def test_an_unstable_fit_is_scaled_to_the_edge_about_its_mean():
    coefficients = np.array([[[1.2]], [[0.1]]])
    radius = float(np.abs(np.roots([1, -1.2, -0.1])).max())
    model = VectorAutoregression(np.array([0.6]), coefficients, np.eye(1), radius)
    assert not model.stable
    stable = model.stabilised()
    assert np.abs(np.roots([1, *(-stable.coefficients.ravel())])).max() == pytest.approx(0.9999, rel=1e-12)
    assert stable.intercept[0] / (1 - stable.coefficients.sum()) == pytest.approx(0.6 / (1 - 1.3), rel=1e-9)
    assert np.isfinite(stable.simulate(5000, np.random.default_rng(6), np.zeros((2, 1)))).all()


def test_filling():
    x = np.array([[np.nan], [1.0], [np.nan], [3.0], [np.nan]])
    np.testing.assert_array_equal(fill_linear(x)[:, 0], [1, 1, 2, 3, 3])
    np.testing.assert_array_equal(fill_forward(x)[:, 0], [0, 1, 1, 3, 3])


def test_too_few_rows_are_named():
    x = np.full((50, 2), np.nan)
    x[::2] = 1.0
    with pytest.raises(RecordingError, match="only 0 pairs of successive samples"):
        fit_vector_autoregression([x])
