"""Waves whose velocity is known are found, by an estimator that is the Fourier plane; what stands still or is noise is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import wave_velocity
from dynrnn.analysis.waves.onset import onset_order, scattered
from dynrnn.analysis.waves.power import line_power, plane_power, windows
from dynrnn.errors import ArgumentError, RecordingError, UnknownNameError

N = 50


def register(n_steps: int = 300, n: int = N, seed: int = 0) -> np.ndarray:
    """A shift register fed with noise at position 0 [time, position]."""
    fed = np.random.default_rng(seed).standard_normal(n_steps + n)
    return np.stack([fed[t + n - 1 : t - 1 if t else None : -1] for t in range(n_steps)])


def static(n_steps: int = 300, n: int = N, seed: int = 0) -> np.ndarray:
    pattern, noise = np.zeros(n), np.random.default_rng(seed).standard_normal(n)
    for p in range(n):
        pattern[p] = 0.9 * pattern[p - 1] + noise[p]
    return np.tile(pattern, (n_steps, 1))


@pytest.mark.parametrize("n", [12, 13])
@pytest.mark.parametrize("T", [16, 21])
def test_power_on_a_line_is_the_sum_over_the_fourier_plane(n, T):
    """For v = m n / T a line meets the grid of the two-dimensional transform at every k: an independent route to the same number, numpy.fft.fft2's."""
    x = np.random.default_rng(0).standard_normal((2, 3, T, 2, n))
    v = np.array([-n / T, 0.0, n / T, 2 * n / T])
    plane = np.abs(np.fft.fft2(x, axes=(2, 4))) ** 2
    k = np.arange(1, n)
    signed = np.where(2 * k > n, k - n, k)
    want = np.zeros((2, len(v)))
    for j, m in enumerate((-1, 0, 1, 2)):
        want[:, j] = sum(plane[:, :, (-m * s) % T, :, s % n].sum((1, 2)) for s in signed)
    got = line_power(x, v)
    np.testing.assert_allclose(got, want / (n**2 * T), rtol=1e-10)


def test_the_plane_holds_all_power():
    """Parseval: the mean over the plane is the mean square of the activity."""
    x = np.random.default_rng(0).standard_normal((4, 16, 2, 10))
    assert plane_power(x).mean() == pytest.approx((x**2).mean(), rel=1e-12)


@pytest.mark.parametrize("velocity", [0.25, 0.5, 1.0, -0.5, -1.0])
def test_velocity_of_kernels(velocity):
    """Waves of untrained networks, driven by noise at one position, with relu; those that are not whole spread, which blurs but does not move them."""
    model = dr.WaveRNN(1, 100, velocity=velocity, input_dim=1, random_state=0)
    u = np.random.default_rng(0).standard_normal((1, 400, 1))
    found = wave_velocity(dr.generate(model, 400, initial=torch.zeros(1, 1, 100), inputs=u))
    assert found.velocity.item() == pytest.approx(velocity, abs=0.1)
    assert found.direction.item() == ("higher" if velocity > 0 else "lower")
    assert found.excess > 3 * found.excess_null


def test_an_identity_rnn_does_not_move():
    model = dr.IdentityRNN(1, 100, input_dim=1, n_fits=3, random_state=0)
    u = np.random.default_rng(0).standard_normal((1, 300, 1))
    found = wave_velocity(dr.generate(model, 300, initial=torch.zeros(3, 1, 100), inputs=u))
    assert (np.abs(found.velocity) < 0.1).all()
    assert (found.direction == "standing").all()
    assert (found.excess < 3 * found.excess_null).all()


def test_contrast_of_a_register_and_what_stands_still_or_is_noise():
    moving, still = wave_velocity(register()), wave_velocity(static())
    assert moving.velocity.item() == pytest.approx(1.0, abs=0.02)           # a value lives for 50 steps: the line is 1/50 wide
    assert moving.contrast > 100
    assert moving.excess > 10 * moving.excess_null
    assert still.velocity.item() == 0
    assert still.excess.item() == pytest.approx(1, rel=1e-6)                # turning time around changes nothing
    noise = wave_velocity(np.random.default_rng(0).standard_normal((4, 300, N)))
    assert (noise.contrast < 2).all()
    assert (noise.excess < 2 * noise.excess_null).all()


def test_a_wave_over_a_standing_pattern():
    """The pattern has ten times the power and the velocity; the excess over surrogates is the wave's."""
    found = wave_velocity(static() * np.sqrt(10 / static().var()) + register())
    assert found.velocity.item() == 0
    assert found.excess_velocity.item() == pytest.approx(1.0, abs=0.02)
    assert found.excess > 3 * found.excess_null


def test_mirrored_and_reversed_waves():
    x = register()
    for turned in (x[:, ::-1], x[::-1]):
        found = wave_velocity(turned, n_surrogates=0)
        assert found.velocity.item() == pytest.approx(-1.0, abs=0.02)
        assert found.direction.item() == "lower"
    assert np.isnan(found.excess.item())                                    # not asked for


def test_channels_are_rings_of_their_own():
    """Two rings, one of which stands still: their powers add up. Read as one ring of twice the size, a register of the halves is broken."""
    x, y = register(), static()
    both = wave_velocity(np.concatenate([x, y], 1), n_channels=2, n_surrogates=0).power.values
    apart = [wave_velocity(part / np.abs(np.concatenate([x, y])).max() * np.abs(part).max(), n_surrogates=0).power.values for part in (x, y)]
    scale = [np.abs(part).max() / np.abs(np.concatenate([x, y])).max() for part in (x, y)]
    np.testing.assert_allclose(both, sum(p * s**2 for p, s in zip(apart, scale, strict=True)), rtol=1e-9)


def test_units_without_places_are_put_in_order_by_an_impulse():
    """A dense network whose units pass activity on in a hidden order: the order of onsets after an impulse shows the wave in another orbit."""
    rng = np.random.default_rng(0)
    hidden = rng.permutation(N)
    model = dr.IdentityRNN(1, N, input_dim=1, init="shift", activation="identity", random_state=0)
    with torch.no_grad():
        model.D.zero_()
        model.D[0, hidden[0]] = 1.0
        P = torch.eye(N)[torch.as_tensor(np.argsort(hidden))]
        model.W[0] = P @ model.W[0] @ P.T                                   # hidden[p] feeds hidden[p + 1]
    impulse = np.zeros((1, N, 1))
    impulse[0, 1] = 1.0
    zero = torch.zeros(1, 1, N)
    first = wave_velocity(dr.generate(model, N, initial=zero, inputs=impulse), order="onset")
    np.testing.assert_array_equal(first.order.values[0, 0][:-1], hidden[:-1])      # the impulse has reached all but the last
    noise = dr.generate(model, 300, initial=zero, inputs=rng.standard_normal((1, 300, 1)))
    blind, sorted_ = wave_velocity(noise), wave_velocity(noise, order=first.order.isel(trial=0).values)
    assert blind.excess < 3 * blind.excess_null
    assert sorted_.velocity.item() == pytest.approx(1.0, abs=0.02)
    assert sorted_.excess > 5 * sorted_.excess_null


def test_scattering_keeps_what_every_unit_does():
    x = np.random.default_rng(0).standard_normal((20, 2, 6))
    y = scattered(x, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(x, 0), np.sort(y, 0))
    for p in range(6):
        lag = next(s for s in range(20) if np.array_equal(np.roll(x[:, :, p], s, axis=0), y[:, :, p]))     # both channels by one lag
        assert 0 <= lag < 20
    assert not np.array_equal(x, y)


def test_units_that_never_change_come_last():
    x = np.array([[1.0, 0, 0, 3], [1, 2, 0, 3], [1, 2, 5, 3]])
    assert onset_order(x).tolist() == [1, 2, 0, 3]


def test_fits_that_cannot_be_looked_at_have_a_status_and_leave_the_others_as_they_are():
    x = np.tile(register(), (4, 1, 1, 1))
    x[1, 0, 200, 3] = np.inf
    x[2] = 4.0
    x[3, 0] = np.random.default_rng(0).standard_normal((300, 1))             # all positions alike
    found = wave_velocity(x)
    assert found.status.values[:, 0].tolist()[:3] == ["analysed", "orbit not finite", "constant activity: every sample is the same"]
    assert "alike" in found.status.values[3, 0]
    assert np.isfinite(found.velocity.values[0])
    assert np.isnan(found.velocity.values[1:]).all()
    assert found.isel(fit=[0]).power.equals(wave_velocity(x[:1]).power)


def test_a_fit_is_the_same_alone_and_in_an_ensemble():
    x = np.stack([register(seed=k) for k in range(3)])[:, None]
    whole = wave_velocity(xr.DataArray(x, dims=("fit", "trial", "time", "latent"), coords={"fit": [0, 1, 2]}))
    alone = wave_velocity(xr.DataArray(x[1:2], dims=("fit", "trial", "time", "latent"), coords={"fit": [1]}))
    xr.testing.assert_identical(whole.isel(fit=[1]), alone)


def test_a_wave_faster_than_the_candidates_is_told():
    assert "further" in wave_velocity(register(), velocities=np.linspace(-0.9, 0.9, 91)).status.item()


def test_values_of_any_size():
    small, large = wave_velocity(register()), wave_velocity(1e200 * register())
    np.testing.assert_allclose(large.power, small.power, rtol=1e-9)


@pytest.mark.parametrize(
    ("data", "options", "error", "word"),
    [
        (register(15), {}, ArgumentError, "15 steps, and at least 16"), (register(n=3), {}, ArgumentError, "at least 4 positions"),
        (register(), {"n_channels": 3}, ArgumentError, "n_channels = 3"), (register(), {"window": 301}, ArgumentError, "window"),
        (register(), {"window": 8}, ArgumentError, "window"), (register(), {"order": "onsets"}, UnknownNameError, "'onset'"),
        (register(), {"order": "onset", "n_channels": 2}, ArgumentError, "channels"), (register(), {"order": [0, 1]}, ArgumentError, "0 to 49"),
        (register(), {"order": np.zeros(N, int)}, ArgumentError, "each once"), (register(), {"velocities": [1.0, 0.0, 2.0]}, ArgumentError, "rising"),
        (register(), {"velocities": [0.0, np.nan, 2.0]}, ArgumentError, "rising"), (register(), {"n_surrogates": 2}, ArgumentError, "at least 3"),
        (np.ones((100, N)), {}, RecordingError, "constant activity"), (np.full((100, N), np.nan), {}, RecordingError, "not finite"),
        (np.random.default_rng(0).random((100, 1)) * np.ones(N), {}, RecordingError, "alike"), (np.ones(100), {}, ArgumentError, "shape"),
    ],
)
def test_what_cannot_be_looked_at_is_named(data, options, error, word):
    with pytest.raises(error, match=word):
        wave_velocity(data, **options)


def test_windows_follow_each_other():
    assert windows(np.arange(10.0)[:, None], 4)[:, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
