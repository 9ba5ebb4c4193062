"""Scores of orbits beside their floor and nulls, on the Henon map and on linear processes."""

import math

import numpy as np
import pytest

from dynrnn.analysis.reconstruction import d_hellinger, d_stsp_binned, score_orbits, statistics
from dynrnn.errors import ArgumentError


def henon(n, start=(0.1, 0.1)):
    x = np.empty((n + 100, 2))
    x[0] = start
    for t in range(1, n + 100):
        x[t] = 1 - 1.4 * x[t - 1, 0] ** 2 + x[t - 1, 1], 0.3 * x[t - 1, 0]
    return x[100:]


def linear(n, seed):
    generator = np.random.default_rng(seed)
    x = np.zeros((n + 100, 2))
    for t in range(1, n + 100):
        x[t] = np.array([[0.6, 0.3], [-0.3, 0.6]]) @ x[t - 1] + generator.normal(size=2)
    return x[100:]


TRUE, SECOND, THIRD = henon(3000), henon(3000, (0.2, -0.1)), henon(3000, (-0.3, 0.2))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_many_orbits_score_what_each_scores_alone(n_threads, missing, monkeypatch):
    monkeypatch.setattr("dynrnn_kernels.threads.get_num_threads", lambda: n_threads)
    true = TRUE.copy()
    if missing:
        true[100:400, 1] = np.nan
    orbits = np.stack([SECOND, THIRD, 30 * SECOND, THIRD + np.inf]).reshape(2, 2, *SECOND.shape)
    alone = [score_orbits([true], orbit[None, None], n_null=0) for orbit in orbits.reshape(4, *SECOND.shape)]
    np.testing.assert_allclose(statistics.d_stsp([true], orbits), np.reshape([a.d_stsp.item() for a in alone], (2, 2)), rtol=1e-12)
    np.testing.assert_allclose(
        statistics.spectral_distances([true, true], orbits), np.reshape([a.d_hellinger.item() for a in alone], (2, 2)), rtol=1e-12,
    )


def test_an_orbit_that_is_the_reference_scores_its_floor():
    score = score_orbits([TRUE], np.stack([SECOND, THIRD])[:, None], reference=[SECOND, THIRD], n_null=1)
    np.testing.assert_array_equal(score.d_stsp, score.d_stsp_floor)
    np.testing.assert_array_equal(score.d_hellinger, score.d_hellinger_floor)
    assert score.attrs["floor_is_shorter"] == 0
    # and both are the plain metrics, since neither depends on units: to rounding of the standardisation
    assert float(score.d_stsp[0]) == pytest.approx(d_stsp_binned(TRUE, SECOND), rel=1e-9)
    assert float(score.d_hellinger[1]) == pytest.approx(d_hellinger(TRUE, THIRD), rel=1e-9)


def test_nulls_of_a_chaotic_map_are_far_above_its_floor_and_those_of_a_linear_process_are_not():
    score = score_orbits([TRUE], SECOND[None, None], n_null=3)
    # a fractal fills few of the cells that its Gaussian look-alike fills
    assert float(score.d_stsp_surrogate.min()) > 3 * float(score.d_stsp_floor.max())
    assert float(score.d_stsp_linear.min()) > 3 * float(score.d_stsp_floor.max())
    assert float(score.d_hellinger_surrogate.max()) < 1e-6  # its spectrum is the recording's own
    score = score_orbits([linear(3000, 0)], linear(3000, 1)[None, None], reference=[linear(3000, s) for s in range(2, 6)], n_null=4)
    # four against four draws of one law: the nulls' median lies within the floor's range widened by half
    low, high = float(score.d_stsp_floor.min()), float(score.d_stsp_floor.max())
    for null in (score.d_stsp_linear, score.d_stsp_surrogate):
        assert low / 1.5 < float(null.median()) < high * 1.5


def test_the_frozen_orbit_has_no_spectrum():
    score = score_orbits([TRUE], SECOND[None, None], n_null=0)
    assert float(score.d_hellinger_persistence) == 1.0
    assert float(score.d_stsp_persistence) > 5
    assert score.sizes["draw"] == 0


def test_a_diverged_fit_is_infinitely_bad_and_leaves_the_others_alone():
    broken = SECOND.copy()
    broken[2000:, 1] = np.nan
    together = score_orbits([TRUE], np.stack([broken, SECOND, SECOND * 1e300])[:, None], n_null=1)
    alone = score_orbits([TRUE], SECOND[None, None], n_null=1)
    assert together.diverged.values.tolist() == [True, False, False]
    assert float(together.d_stsp[0]) == float(together.d_hellinger[0]) == math.inf
    assert float(together.d_stsp[1]) == float(alone.d_stsp[0])
    assert math.isfinite(float(together.d_stsp[2]))
    assert float(together.d_stsp[2]) > 10
    assert not any(np.isnan(together[name]).any() for name in together.data_vars)


def test_units_do_not_matter():
    scale, shift = np.array([1e3, 1e-4]), np.array([5.0, -2.0])
    a = score_orbits([TRUE], SECOND[None, None], n_null=2)
    b = score_orbits([TRUE * scale + shift], (SECOND * scale + shift)[None, None], n_null=2)
    # the mixture's seeds and the nulls' draws are the same; samples at a cell's border may change sides by rounding
    for name in ("d_stsp", "d_hellinger", "d_stsp_surrogate", "d_stsp_floor"):
        np.testing.assert_allclose(b[name], a[name], atol=2e-2)


def test_trials_are_pooled_and_averaged():
    trials, orbit = [TRUE[:1000], TRUE[1000:1600]], np.stack([SECOND[:1000], THIRD[:1000]])[None]
    score = score_orbits(trials, orbit, n_null=1)
    pooled = d_stsp_binned(TRUE[:1600], np.concatenate([SECOND[:1000], THIRD[:600]]))
    assert float(score.d_stsp[0]) == pytest.approx(pooled, rel=1e-9)
    mean = (d_hellinger(trials[0], SECOND[:1000]) + d_hellinger(trials[1], THIRD[:600])) / 2
    assert float(score.d_hellinger[0]) == pytest.approx(mean, rel=1e-9)
    with pytest.raises(ArgumentError, match="orbits have 2 trials"):
        score_orbits([TRUE], orbit)


def test_a_channel_that_is_silent_in_one_trial_is_skipped_there_and_counted():
    silent = TRUE[1000:1600].copy()
    silent[:, 1] = 0.0
    score = score_orbits([TRUE[:1000], silent], np.stack([SECOND[:1000], THIRD[:1000]])[None], n_null=1)
    first = d_hellinger(TRUE[:1000], SECOND[:1000])
    second = d_hellinger(silent[:, :1], THIRD[:600, :1])
    assert float(score.d_hellinger[0]) == pytest.approx((2 * first + second) / 3, rel=1e-9)
    assert score.attrs["spectra_skipped"] == 1


def test_nulls_come_from_the_training_data_where_there_are_any():
    training = [SECOND, THIRD[:500]]
    score = score_orbits([TRUE], SECOND[None, None], training=training, n_null=2)
    assert "training" in score.d_stsp_surrogate.attrs["source"]
    assert "training" in score.d_stsp_linear.attrs["source"]
    assert float(score.d_hellinger_surrogate.min()) > 1e-3  # the spectrum of another stretch
    short = score_orbits([TRUE], SECOND[None, None], training=[THIRD[:500]], n_null=1)
    assert "in-sample" in short.d_stsp_surrogate.attrs["source"]
    assert "training" in short.d_stsp_linear.attrs["source"]


def test_one_seed_gives_the_same_numbers():
    a, b = (score_orbits([TRUE], SECOND[None, None], n_null=2, random_state=5) for _ in range(2))
    assert a.identical(b)
    other = score_orbits([TRUE], SECOND[None, None], n_null=2, random_state=6)
    assert not np.array_equal(other.d_stsp_linear, a.d_stsp_linear)
