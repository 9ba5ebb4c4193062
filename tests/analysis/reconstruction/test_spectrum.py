"""D_H: sines at known places, an independent smoothing, equality, degenerate channels and missing samples."""

import math

import numpy as np
import pytest

from dynrnn.analysis.reconstruction import PRESETS, d_hellinger
from dynrnn.analysis.reconstruction.spectrum import hellinger_by_channel, power_spectrum
from dynrnn.errors import ArgumentError, RecordingError

T = 2000
TIME = np.arange(T)[:, None]


def sine(frequency_bin):
    return np.sin(2 * np.pi * frequency_bin * TIME / T + 0.3)


VARIANTS = {name: {"boundary": p.smoothing_boundary, "form": p.hellinger_form} for name, p in PRESETS.items()}


@pytest.mark.parametrize("preset", VARIANTS)
def test_unsmoothed_sines_by_hand(preset):
    # p = (1, 0) and q = (1/2, 1/2): sum sqrt(p q) = 1 / sqrt 2. Leakage of exact bins is rounding, 1e-16 in sqrt(p q)
    value = d_hellinger(sine(100), sine(100) + sine(300), smoothing_sigma=0.0, **VARIANTS[preset])
    assert value == pytest.approx(math.sqrt(1 - math.sqrt(0.5)), abs=1e-9)
    assert d_hellinger(sine(100), sine(300), smoothing_sigma=0.0, **VARIANTS[preset]) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("preset", VARIANTS)
def test_smoothed_sines_are_two_gaussians(preset):
    # two Gaussians of sd 20 bins at distance 40 overlap by exp(-40^2 / (8 20^2)); cut at 80 bins each they overlap within 3 sd of
    # their product only, which loses 0.27 % of the overlap: 0.0013 in H
    value = d_hellinger(sine(400), sine(440), smoothing_sigma=20.0, **VARIANTS[preset])
    assert value == pytest.approx(math.sqrt(1 - math.exp(-0.5)), abs=2e-3)


@pytest.mark.parametrize(("boundary", "padding"), [("mirror", "reflect"), ("reflect", "symmetric")])
def test_smoothing_at_the_ends_by_direct_convolution(boundary, padding):
    # near bin 0 the two published boundary rules differ; numpy names them the other way round
    generator = np.random.default_rng(0)
    x, y = np.cumsum(generator.normal(size=(T, 1)), axis=0), np.cumsum(generator.normal(size=(T, 1)), axis=0)
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 5.0) ** 2)
    kernel /= kernel.sum()

    def spectrum(series):
        power = np.abs(np.fft.rfft(series[:, 0] - series.mean())) ** 2
        smooth = np.convolve(np.pad(power, 20, mode=padding), kernel, mode="valid")
        return smooth / smooth.sum()

    expected = math.sqrt(0.5 * np.sum((np.sqrt(spectrum(x)) - np.sqrt(spectrum(y))) ** 2))
    assert d_hellinger(x, y, smoothing_sigma=5.0, boundary=boundary) == pytest.approx(expected, rel=1e-9)


def test_equality_scale_offset_and_order_of_channels():
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(T, 3)), np.cumsum(generator.normal(size=(T, 3)), axis=0)
    assert d_hellinger(x, x) == 0.0
    assert d_hellinger(x, x, form="overlap") < 1e-7  # the square root of a rounding error, and never NaN
    assert d_hellinger(x, 5.0 * y - 3.0) == pytest.approx(d_hellinger(x, y), rel=1e-9)
    assert d_hellinger(x[:, [2, 0, 1]], y[:, [2, 0, 1]]) == pytest.approx(d_hellinger(x, y), rel=1e-12)
    assert d_hellinger(x, y, form="overlap") == pytest.approx(d_hellinger(x, y), rel=1e-6)  # the same distance


def test_a_constant_channel_has_the_largest_distance():
    x = np.random.default_rng(2).normal(size=(T, 2))
    half = x.copy()
    half[:, 1] = 4.0
    assert d_hellinger(x, half) == 0.5  # 0 and 1
    flicker = np.float32(0.7) + np.spacing(np.float32(0.7)) * np.random.default_rng(3).integers(0, 2, size=(T, 2))
    assert d_hellinger(x, flicker) == 1.0  # a float32 fixed point, not white noise
    assert d_hellinger(x, x * 1e200) == pytest.approx(0.0, abs=1e-7)
    with pytest.raises(RecordingError, match="channel 1 of the true recording is constant"):
        d_hellinger(half, x)


def test_not_finite_and_unequal_lengths():
    x = np.random.default_rng(4).normal(size=(100, 2))
    assert d_hellinger(x, np.where(np.arange(100)[:, None] == 3, np.nan, x)) == math.inf
    unchecked = getattr(hellinger_by_channel, "__wrapped__", hellinger_by_channel)  # below the shape check of the test run
    with pytest.raises(ArgumentError, match="100 samples and generated has 80"):
        unchecked(x, x[:80])


def test_spectrum_of_observed_pairs_by_direct_sums():
    generator = np.random.default_rng(5)
    n = 60
    observed = generator.random(n) > 0.3
    x = np.where(observed, generator.normal(size=n), 0.0)
    covariance = np.zeros(n)
    for lag in range(n):
        both = [(t, (t + lag) % n) for t in range(n) if observed[t] and observed[(t + lag) % n]]
        covariance[lag] = n * np.mean([x[a] * x[b] for a, b in both]) if both else 0.0
    direct = [sum(covariance[lag] * math.cos(2 * math.pi * k * lag / n) for lag in range(n)) for k in range(n // 2 + 1)]
    np.testing.assert_allclose(power_spectrum(x, observed), direct, atol=1e-10)
    # and with nothing missing it is the periodogram (Wiener-Khinchin)
    y = generator.normal(size=n)
    circular = [np.dot(y, np.roll(y, -lag)) for lag in range(n)]
    np.testing.assert_allclose(power_spectrum(y, np.ones(n, dtype=bool)), np.fft.rfft(circular).real, atol=1e-10)


def test_missing_samples_hardly_move_the_distance_and_equality_stays_exact():
    generator = np.random.default_rng(6)
    noise = generator.normal(size=(2, 4000, 1))
    x, y = noise[0] + np.roll(noise[0], 1, axis=0), noise[1]  # a low-pass and a flat spectrum
    holed = x.copy()
    holed[generator.random(4000) < 0.2] = np.nan
    assert d_hellinger(holed, np.nan_to_num(x)) == 0.0
    # (1 + cos w) / pi against 1 / pi on [0, pi]: sum sqrt(p q) = (1/pi) integral of sqrt(1 + cos w) = 2 sqrt 2 / pi.
    # A smoothed ordinate averages 2 sqrt(pi) 20 = 71 periodogram values: sd 0.12, adding 0.12^2 / 4 = 0.0035 to H^2 = 0.0997; a fifth
    # missing raises that by (1 / 0.8)^2 and fills the spectral zero at w = pi
    exact = math.sqrt(1 - 2 * math.sqrt(2) / math.pi)
    assert d_hellinger(x, y) == pytest.approx(exact, abs=0.02)
    assert d_hellinger(holed, y) == pytest.approx(exact, abs=0.04)


def test_too_many_missing_is_refused():
    x = np.random.default_rng(7).normal(size=(400, 1))
    holed = x.copy()
    holed[1::2] = np.nan  # no two observed samples are one step apart
    with pytest.raises(RecordingError, match="200 of 400 samples missing, and no two observed samples are 1 steps apart"):
        d_hellinger(holed, x)
