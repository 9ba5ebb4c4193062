"""Correlation dimensions of published and exact sets, pairs against a dense count, and data that have none."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter1d

import dynrnn as dr
from dynrnn.analysis import correlation_dimension
from dynrnn.analysis.dimension.pairs import correlation_sums, pair_counts
from dynrnn.analysis.dimension.points import resolution
from dynrnn.analysis.dimension.scaling import straight_region
from tests.analysis.lyapunov.systems import orbit_of_lorenz


def henon(n, seed=0):
    x, y = np.random.default_rng(seed).uniform(-0.1, 0.1, 2)
    out = np.empty((n + 100, 2))
    for i in range(n + 100):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        out[i] = x, y
    return out[100:]


@pytest.fixture(scope="module")
def recording():
    return orbit_of_lorenz(20_000)


def test_pairs_are_those_of_a_dense_count():
    """Every pair by itself, for points at times with gaps, reference points that are a part, and a window."""
    rng = np.random.default_rng(0)
    time = np.sort(rng.choice(300, 200, replace=False))
    x, reference, radii = rng.standard_normal((200, 2)), np.arange(0, 200, 3), np.array([0.1, 0.4, 1.0, 3.0])
    counts, total = pair_counts(x, time, reference, radii, 7, 4)
    distance = np.abs(x[reference][:, None] - x).max(-1)
    apart, block = np.abs(time[reference][:, None] - time) >= 7, np.arange(200) * 4 // 200
    for a in range(4):
        for b in range(4):
            chosen = apart & (block[reference] == a)[:, None] & (block == b)
            assert total[a, b] == chosen.sum()
            np.testing.assert_array_equal(counts[a, b], [(chosen & (distance <= r)).sum() for r in radii])
    whole, without = correlation_sums(counts, total)
    keep = apart & (block[reference] != 2)[:, None] & (block != 2)
    np.testing.assert_allclose(without[2], [(keep & (distance <= r)).sum() / keep.sum() for r in radii])
    np.testing.assert_allclose(whole, [(apart & (distance <= r)).sum() / apart.sum() for r in radii])


def test_henon_and_lorenz_have_the_published_dimensions(recording):
    """1.220 +- 0.036 and 2.068 +- 0.086 (Sprott, Chaos and Time-Series Analysis); our own intervals must hold them too."""
    found = correlation_dimension(henon(20_000))
    assert abs(found.dimension.item() - 1.220) < 0.036
    assert abs(found.dimension.item() - 1.220) < 3 * found.standard_error.item()
    assert found.region_high.item() > 4 * found.region_low.item()
    flow = correlation_dimension(recording)
    assert abs(flow.dimension.item() - 2.068) < 0.086
    assert abs(flow.dimension.item() - 2.068) < 3 * flow.standard_error.item()
    assert flow.theiler.item() > 30


def test_errors_are_those_of_replicas():
    """Of 12 Henon orbits of 2,000 points: block errors are the spread of the estimates, within what 12 tell (a factor of 2 is 3 standard errors of it)."""
    found = correlation_dimension(np.stack([henon(2_000, seed) for seed in range(12)]), n_reference=1_000)
    ratio = float(found.block_error.mean() / found.dimension.std(ddof=1))
    assert 0.5 < ratio < 2


def test_without_the_window_slow_noise_looks_like_a_curve():
    """Theiler's own case: noise in three dimensions that is slow beside its sampling. Pairs close in time lie
    along its path, of dimension 1, and are most of the near ones."""
    slow = gaussian_filter1d(np.random.default_rng(0).standard_normal((20_000, 3)), 30, axis=0)
    with_window, without = correlation_dimension(slow), correlation_dimension(slow, theiler=1)
    assert without.local_slope.min().item() < 2
    assert abs(with_window.dimension.item() - 3) < 3 * max(with_window.standard_error.item(), 0.03)


def test_fits_and_trials_have_their_own_rows_and_a_bad_one_is_empty():
    orbit = np.stack([henon(1_500), np.zeros((1_500, 2)), np.where(np.arange(1_500)[:, None] > 700, np.inf, henon(1_500))])[:, None]
    data = xr.DataArray(orbit, dims=("fit", "trial", "time", "feature"), coords={"fit": [3, 5, 8]})
    found = correlation_dimension(data)
    assert found.fit.values.tolist() == [3, 5, 8]
    assert found.dimension[0, 0].item() == correlation_dimension(henon(1_500)).dimension.item()
    assert np.isnan(found.dimension.values[1:]).all()
    assert [str(s) for s in found.status.values[:, 0]] == ["analysed", "constant: every sample is the same", "orbit not finite"]


def test_data_without_a_dimension_are_refused_or_said():
    with pytest.raises(dr.ArgumentError, match="at least 500"):
        correlation_dimension(henon(300))
    with pytest.raises(dr.RecordingError, match="constant"):
        correlation_dimension(np.ones((1_000, 2)))
    with pytest.raises(dr.RecordingError, match="distinct"):
        correlation_dimension(np.tile(henon(10), (200, 1)))
    with pytest.raises(dr.RecordingError, match="too short for its memory"):
        correlation_dimension(np.cumsum(np.random.default_rng(0).standard_normal((1_000, 1)), 0))
    with pytest.raises(dr.ArgumentError, match="tolerance"):
        correlation_dimension(henon(600), tolerance=2.0)


def test_rounded_values_leave_radii_of_five_steps():
    x = henon(5_000).round(2)
    assert resolution(x) == pytest.approx(0.01)
    found = correlation_dimension(x, standardise=False)
    assert found.radius.values[0, 0, 0] >= 0.05 - 1e-12


def test_the_region_is_the_straight_part():
    """A line of slope 2 between a steep and a flat end: exact but for what the tolerance lets in, and none where every part bends."""
    x = np.linspace(0, 10, 41)
    y = np.where(x < 2, 5 * x - 6, np.where(x < 7, 2 * x, 14.0))
    noise = 1e-3 * np.random.default_rng(0).standard_normal((8, 41))
    found = straight_region(x, y, y + noise, 2.0, 0.1)
    assert x[found.first] == pytest.approx(2, abs=0.5)
    assert x[found.last] == pytest.approx(7, abs=0.5)
    assert found.slope == pytest.approx(2, abs=0.1)
    assert not straight_region(x, np.exp(x), np.exp(x) + noise, 2.0, 0.1).found
