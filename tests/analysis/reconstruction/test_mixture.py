"""D_stsp by Gaussian mixtures: closed forms, an independent density, and nothing dropped in silence."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from dynrnn.analysis.reconstruction import d_stsp_gmm
from dynrnn.analysis.reconstruction.mixture import log_density
from dynrnn.errors import RecordingError


@pytest.mark.parametrize("variance", [0.3, 1.0])
def test_two_gaussians_have_the_closed_form(variance):
    # one sample each: N(x, v I) and N(y, v I), KL = |x - y|^2 / 2v; log p - log q is normal with variance |x - y|^2 / v
    x, y = np.zeros((1, 7)), np.full((1, 7), 0.6)
    distance2 = float(((x - y) ** 2).sum())
    standard_error = math.sqrt(distance2 / variance / 4000)
    value = d_stsp_gmm(x, y, variance=variance, n_samples=4000)
    assert value == pytest.approx(distance2 / (2 * variance), abs=4 * standard_error)


def test_many_samples_of_gaussians_approach_the_closed_form():
    # normal samples of variance 1, smoothed by variance 1: N(0, 2 I) against N(m, 2 I), KL = |m|^2 / 4
    generator = np.random.default_rng(0)
    true, generated = generator.normal(size=(8000, 2)), generator.normal(size=(8000, 2)) + np.array([1.0, -1.0])
    # Monte Carlo: sd of log p - log q is |m| / sqrt 2 = 1, so 4 / sqrt 2000 = 0.09; a kernel sum over about 8000 / 4 samples: 0.03 more
    assert d_stsp_gmm(true, generated, n_samples=2000) == pytest.approx(0.5, abs=0.12)


def test_log_density_equals_scipy():
    generator = np.random.default_rng(1)
    x, means = generator.normal(size=(9, 4)), generator.normal(size=(31, 4)) * 2
    direct = np.array([logsumexp([multivariate_normal(m, 0.4 * np.eye(4)).logpdf(point) for m in means]) for point in x]) - math.log(31)
    np.testing.assert_allclose(log_density(x, means, 0.4), direct, rtol=1e-11)


def test_nothing_is_dropped():
    # half of the true orbit is where the model never goes: published codes drop those draws and see no fault
    near, far = np.zeros((50, 3)), np.full((50, 3), 40.0)
    true = np.concatenate([near, far])
    exact = d_stsp_gmm(true, near)
    # about half of the draws lie at distance^2 = 4800 from the model: log p - log q = 2400 (+- 69 each), share 0.5 +- 4 * 0.016
    assert exact == pytest.approx(1200, rel=0.14)
    assert abs(d_stsp_gmm(true, near, underflow="drop")) < 1.0
    assert d_stsp_gmm(near, far, underflow="drop") == math.inf  # all dropped; published: NaN
    assert d_stsp_gmm(near, np.full((5, 3), 1e200)) == math.inf


def test_published_variants_agree_with_ours_where_nothing_underflows():
    generator = np.random.default_rng(2)
    true, generated = generator.normal(size=(800, 6)), generator.normal(size=(700, 6)) + 0.3
    exact = d_stsp_gmm(true, generated)
    # float32 densities: relative rounding 6e-8 each, in a mean of logarithms
    assert d_stsp_gmm(true, generated, underflow="drop") == pytest.approx(exact, abs=1e-6)
    assert d_stsp_gmm(true, generated, underflow="epsilon") == pytest.approx(exact, abs=1e-3)  # 1e-8 beside densities above 1e-5


def test_equal_orbits_score_exactly_zero_with_any_thinning():
    x = np.random.default_rng(3).normal(size=(5000, 8))
    assert d_stsp_gmm(x, x, n_components=700) == 0.0
    assert d_stsp_gmm(x, x, components="first", underflow="drop") == 0.0


def test_even_thinning_sees_the_whole_orbit():
    # the second half of the orbit is elsewhere; the first 100 samples of it do not know
    x = np.concatenate([np.zeros((100, 2)), np.full((100, 2), 10.0)])
    y = np.zeros((200, 2))
    assert d_stsp_gmm(x, y, n_components=100, components="first") == 0.0
    assert d_stsp_gmm(x, y, n_components=100, components="even") > 10


def test_missing_and_not_finite():
    x = np.random.default_rng(4).normal(size=(60, 3))
    holed = np.concatenate([x, x])
    holed[60:, 1] = np.nan
    assert d_stsp_gmm(holed, x + 0.1) == d_stsp_gmm(x, x + 0.1)
    assert d_stsp_gmm(x, np.where(np.arange(60)[:, None] == 7, np.nan, x)) == math.inf
    with pytest.raises(RecordingError, match="no sample"):
        d_stsp_gmm(np.full((4, 2), np.nan), x[:, :2])
