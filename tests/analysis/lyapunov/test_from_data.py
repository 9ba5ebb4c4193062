"""The largest exponent from data alone: known ones within the stated error, and none where there is no chaos."""

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.analysis import largest_exponent_from_data
from dynrnn.analysis.lyapunov.divergence import false_neighbours, neighbours_of
from dynrnn.analysis.reconstruction.surrogates import phase_surrogate
from tests.analysis.lyapunov.systems import orbit_of_lorenz


@pytest.fixture(scope="module")
def lorenz():
    return dr.as_recording(orbit_of_lorenz(8_000), dt=0.01)


def test_neighbours_are_the_nearest_that_are_far_in_time():
    rng = np.random.default_rng(0)
    x, reference = np.cumsum(rng.standard_normal((400, 2)), 0), np.arange(0, 380, 7)
    near = neighbours_of(x, reference, 10, 3, 20)
    for i, found in zip(reference, near, strict=True):
        distance = np.linalg.norm(x[:380] - x[i], axis=1)
        distance[np.abs(np.arange(380) - i) < 10] = np.inf
        assert found.tolist() == np.argsort(distance)[:3].tolist()


def test_lorenz_is_chaotic_with_its_exponent(lorenz):
    """0.9056 (Sprott; Viswanath) within 15 %."""
    found = largest_exponent_from_data(lorenz, n_reference=1_000)
    assert abs(found.exponent.item() / 0.9056 - 1) < 0.15
    assert found.verdict.item() == "chaotic"
    assert found.p_slope.item() == found.p_level.item() == 0.05                      # beyond all 19
    assert found.region_end.item() - found.region_start.item() > 1 / 0.9056


def test_its_surrogate_is_not(lorenz):
    """Nor are noise with the memory of a linear process, and a torus, though the torus is as predictable as can be."""
    for seed in (0, 1):
        surrogate = phase_surrogate(lorenz.observed.values[0], np.random.default_rng(seed))
        assert largest_exponent_from_data(surrogate, dt=0.01, n_reference=500).verdict.item() == "not shown"
    rng = np.random.default_rng(0)
    x = np.zeros((4_000, 2))
    for t in range(3_999):
        x[t + 1] = [[0.9, -0.3], [0.3, 0.9]] @ x[t] + rng.standard_normal(2)
    assert largest_exponent_from_data(x, n_reference=500).verdict.item() == "not shown"
    time = np.arange(4_000)
    torus = np.stack([f(w * time) for w in (0.31, 0.31 * np.sqrt(2)) for f in (np.cos, np.sin)], 1)
    assert largest_exponent_from_data(torus, n_reference=500).verdict.item() == "not shown"


def test_delays_of_one_channel_tell_states_apart():
    """The Henon map's x alone needs two delays, and has the exponent of the map, 0.4192, from 4,000 values within 15 %."""
    x = np.empty(4_000)
    x[:2] = 0.1, 0.2
    for t in range(3_998):
        x[t + 2] = 1 - 1.4 * x[t + 1] ** 2 + 0.3 * x[t]
    assert false_neighbours(x[100:, None], 1, 3, 10) == 2
    found = largest_exponent_from_data(x[100:, None])
    assert found.embedding_dim.item() == 2
    assert abs(found.exponent.item() / 0.4192 - 1) < 0.15
    assert found.verdict.item() == "chaotic"


def test_time_and_fits_are_labels(lorenz):
    """Another dt scales the exponent; a fit among others gets what it gets alone; a constant one has a status."""
    x = lorenz.observed.values[0][:3_000]
    alone = largest_exponent_from_data(x, dt=0.01, n_reference=300)
    both = largest_exponent_from_data(np.stack([x, np.ones_like(x)])[:, None], dt=0.02, n_reference=300)
    np.testing.assert_allclose(both.divergence.values[0], alone.divergence.values[0], rtol=1e-12)
    np.testing.assert_allclose(both.surrogate_divergence.values[0], alone.surrogate_divergence.values[0], rtol=1e-12)
    np.testing.assert_allclose(both.exponent.values[0], alone.exponent.values[0] / 2, rtol=1e-9)
    assert "constant" in str(both.status.values[1, 0])
    assert np.isnan(both.exponent.values[1, 0])


def test_bad_input_is_refused():
    x = np.random.default_rng(0).standard_normal((2_000, 2))
    with pytest.raises(dr.ArgumentError, match="fewer than 19"):
        largest_exponent_from_data(x, n_surrogates=5)
    with pytest.raises(dr.ArgumentError, match="dt must"):
        largest_exponent_from_data(x, dt=0.0)
    with pytest.raises(dr.ArgumentError, match="at least 500"):
        largest_exponent_from_data(x[:100])
    with pytest.raises(dr.RecordingError, match="constant"):
        largest_exponent_from_data(np.ones((1_000, 2)))
    gap = x.copy()
    gap[77] = np.nan
    with pytest.raises(dr.RecordingError, match="sample 77 of trial 0"):
        largest_exponent_from_data(gap)
