"""Correlation entropies: exact for a skew tent map, published for Henon, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from dynrnn.analysis import correlation_entropy
from dynrnn.errors import ArgumentError, RecordingError
from tests.analysis.dimension.test_correlation import henon


def skew_tent(n: int, p: float = 0.3) -> np.ndarray:
    x = np.empty((n, 1))
    x[0] = 0.3123
    for i in range(n - 1):
        x[i + 1] = x[i] / p if x[i] < p else (1 - x[i]) / (1 - p)
    return x


def test_the_skew_tent_has_its_closed_form():
    """Pairs stay within r for m more steps with probability (p^2 + (1 - p)^2)^m, where the density is uniform; the metric entropy is .611."""
    found = correlation_entropy(skew_tent(6_000), max_dim=8)
    assert abs(found.entropy.item() + np.log(0.3**2 + 0.7**2)) < 3 * found.standard_error.item()
    assert found.standard_error.item() < 0.03
    assert found.status.item() == "analysed"
    assert found.delay.item() == 1


def test_henon_lies_between_nothing_and_its_exponent():
    """.325 +- .02 (Grassberger & Procaccia 1983), below the metric entropy, .419; from all channels as from one."""
    both = correlation_entropy(np.stack([henon(5_000), henon(5_000, 2)]), n_reference=500)
    assert both.entropy.shape == (1, 2)
    assert (np.abs(both.entropy - 0.325) < 3 * np.hypot(both.standard_error, 0.02)).all()
    assert (both.entropy < 0.419).all()
    one = correlation_entropy(henon(5_000)[:, :1], n_reference=500)
    assert abs(one.entropy.item() - both.entropy[0, 0].item()) < 3 * np.hypot(one.standard_error.item(), both.standard_error[0, 0].item())


def test_time_is_in_the_units_of_dt():
    import dynrnn as dr

    x = skew_tent(2_000)
    step = correlation_entropy(x, max_dim=8, n_reference=500)
    slow = correlation_entropy(dr.as_recording(x, dt=0.5), max_dim=8, n_reference=500)
    assert slow.entropy.item() == pytest.approx(2 * step.entropy.item())
    assert slow.attrs["dt"] == 0.5


def test_noise_and_tori_have_none():
    noise = np.random.default_rng(0).uniform(size=(3_000, 1))
    time = np.arange(3_000) / 10
    torus = np.stack([np.sin(time), np.sin(2**0.5 * time)], 1)
    for data in (noise, torus):
        found = correlation_entropy(data, max_dim=8, n_reference=600)
        assert np.isnan(found.entropy.item())
        assert "no range" in found.status.item()
        assert np.isfinite(found.correlation_sum).all()


def test_bad_data():
    with pytest.raises(ArgumentError, match="at least 500"):
        correlation_entropy(henon(300))
    with pytest.raises(RecordingError, match="constant"):
        correlation_entropy(np.ones((1_000, 2)))
    with pytest.raises(RecordingError, match="delay vectors"):
        correlation_entropy(henon(1_000), max_dim=8, delay=150)
    with pytest.raises(ArgumentError, match="max_dim"):
        correlation_entropy(henon(1_000), max_dim=3)
    gap = henon(3_000)
    gap[1_000, 0] = np.nan
    assert np.isfinite(correlation_entropy(gap, max_dim=8, n_reference=600).entropy.item())


def test_rounded_values_leave_radii_of_five_steps():
    found = correlation_entropy(skew_tent(6_000).round(3), max_dim=8)
    assert found.radius.values[0, 0, 0] >= 5 * 0.001 / skew_tent(6_000).std() * (1 - 1e-3)
    assert abs(found.entropy.item() + np.log(0.3**2 + 0.7**2)) < 3 * found.standard_error.item()
