"""Binned D_stsp: hand-counted cells, an independent dense histogram, and what happens outside the box."""

import math

import numpy as np
import pytest

from dynrnn.analysis.reconstruction import binned_divergence, d_stsp_binned
from dynrnn.analysis.reconstruction.histogram import bin_edges
from dynrnn.errors import ArgumentError, RecordingError, UnknownNameError

A = 1e-5
CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TWO_CORNERS = CORNERS[[0, 0, 0, 3]]


def dense(true, generated, low, high, n_bins, laplace):
    """KL on the whole grid of n_bins**N cells, by numpy's own histogram."""
    edges = [np.linspace(a, b, n_bins + 1) for a, b in zip(low, high)]
    p, q = (np.histogramdd(x, bins=edges)[0] + laplace for x in (true, generated))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


@pytest.mark.parametrize("bin_range", ["padded", "min-max"])
def test_two_by_two_bins_by_hand(bin_range):
    # one true sample in each of 4 cells; generated counts 3, 0, 0, 1
    expected = 0.25 * (math.log((1 + A) / (3 + A)) + 2 * math.log((1 + A) / A))
    options = {"n_bins": 2, "bin_range": bin_range, "overflow_cell": False}
    assert d_stsp_binned(CORNERS, TWO_CORNERS, **options) == pytest.approx(expected, rel=1e-14)


def test_two_by_two_bins_with_an_overflow_cell_by_hand():
    # counts 2, 0, 0, 1 and one sample outside, on 5 cells
    generated = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [9.0, 0.0]])
    total = 4 + 5 * A
    expected = (1 + A) / total * (math.log((1 + A) / (2 + A)) + 2 * math.log((1 + A) / A)) + A / total * math.log(A / (1 + A))
    result = binned_divergence(CORNERS, generated, n_bins=2)
    assert result.value == pytest.approx(expected, rel=1e-12)
    assert (result.n_true, result.n_true_outside, result.n_generated_outside) == (4, 0, 1)


def test_published_python_edges_by_hand():
    # bins of [0, 1] in quarters: bin 0 and the maximum fall out, so true keeps 2 and 1, generated 1, 2 and 1
    true = np.array([[0.0], [0.3], [0.3], [0.6], [1.0]])
    generated = np.array([[0.3], [0.6], [0.6], [0.1], [0.9]])
    p = np.array([0, 2, 1, 0]) + A
    q = np.array([0, 1, 2, 1]) + A
    p, q = p / p.sum(), q / q.sum()
    value = d_stsp_binned(true, generated, n_bins=4, bin_range="min-max", drop_edges=True, overflow_cell=False)
    assert value == pytest.approx(float(np.sum(p * np.log(p / q))), rel=1e-12)


def test_mass_in_bin_zero_is_invisible_to_the_published_edges_only():
    generator = np.random.default_rng(0)
    true = generator.uniform(size=(2000, 1))
    good = generator.uniform(size=(2000, 1))
    stuck = np.concatenate([good, np.full((2000, 1), 0.01)])  # half of the orbit sits in the lowest bin
    published = {"bin_range": "min-max", "drop_edges": True, "overflow_cell": False}
    assert d_stsp_binned(true, stuck, **published) == pytest.approx(d_stsp_binned(true, good, **published), rel=1e-12)
    # ours: every other cell loses half of its mass, so nearly log 2 more
    assert d_stsp_binned(true, stuck) > d_stsp_binned(true, good) + 0.5


@pytest.mark.parametrize("bin_range", ["padded", "min-max", "two-sd"])
def test_sparse_equals_dense(bin_range):
    generator = np.random.default_rng(1)
    true, generated = generator.normal(size=(700, 2)), generator.normal(size=(300, 2)) * 1.3 + 0.2
    sd, low, high = true.std(0, ddof=1), true.min(0), true.max(0)
    low, high = {"padded": (low - 0.1 * sd, high + 0.1 * sd), "min-max": (low, high), "two-sd": (-2 * sd, 2 * sd)}[bin_range]
    sparse = d_stsp_binned(true, generated, n_bins=12, bin_range=bin_range, overflow_cell=False)
    # a sum of 144 terms of order 1: rounding far below 1e-12
    assert sparse == pytest.approx(dense(true, generated, low, high, 12, A), rel=1e-12)


def test_more_cells_than_integers():
    # 30**25 cells: too many for one code a cell, so rows are ranked; the same counts by unique rows
    generator = np.random.default_rng(2)
    base = generator.integers(0, 2, size=(50, 25))
    true, generated = base[generator.integers(50, size=400)].astype(float), base[generator.integers(50, size=300)].astype(float)
    rows, inverse = np.unique(np.concatenate([true, generated]), axis=0, return_inverse=True)
    p = np.bincount(inverse[:400], minlength=len(rows)) + A
    q = np.bincount(inverse[400:], minlength=len(rows)) + A
    n_cells = 30.0**25
    total_p, total_q = 400 + A * n_cells, 300 + A * n_cells
    expected = np.sum(p / total_p * np.log((p / total_p) / (q / total_q)))
    expected += (n_cells - len(rows)) * A / total_p * math.log(total_q / total_p)
    # smoothing holds nearly all mass there, so the value is tiny: compare on the scale of its terms
    value = d_stsp_binned(true, generated, overflow_cell=False)
    assert value == pytest.approx(max(expected, 0.0), abs=1e-15)
    near = d_stsp_binned(true, generated, overflow_cell=False, laplace=1e-40)  # and with laplace * n_cells = 8e-4, of order 1
    p, q = p - A + 1e-40, q - A + 1e-40
    total_p, total_q = 400 + 1e-40 * n_cells, 300 + 1e-40 * n_cells
    expected = np.sum(p / total_p * np.log((p / total_p) / (q / total_q))) + (n_cells - len(rows)) * 1e-40 / total_p * math.log(
        total_q / total_p
    )
    assert near == pytest.approx(expected, rel=1e-10)


def test_equal_orbits_score_exactly_zero_and_channels_commute():
    generator = np.random.default_rng(3)
    true, generated = generator.normal(size=(500, 3)), generator.normal(size=(400, 3))
    for options in ({}, {"overflow_cell": False}, {"bin_range": "min-max", "drop_edges": True}, {"bin_range": "two-sd"}):
        assert d_stsp_binned(true, true, **options) == 0.0
        order = [2, 0, 1]
        permuted = d_stsp_binned(true[:, order], generated[:, order], **options)
        assert permuted == pytest.approx(d_stsp_binned(true, generated, **options), rel=1e-12)


def test_share_outside_costs_its_logarithm():
    x = np.random.default_rng(4).uniform(size=(1000, 2))
    generated = np.concatenate([x, np.tile([[50.0, 1e300]], (3000, 1))])
    # every cell holds a quarter of its mass: log 4, but for the smoothing of 900 cells by 1e-5 (relative 1e-5)
    assert d_stsp_binned(x, generated) == pytest.approx(math.log(4), abs=1e-3)
    assert d_stsp_binned(x, generated, overflow_cell=False) < 1e-3  # published: not punished at all
    gone = d_stsp_binned(x, generated[1000:])
    assert gone > d_stsp_binned(x, x[:1].repeat(1000, axis=0)) - 1.0  # leaving the box altogether is as bad as standing still


def test_missing_samples_are_left_out_and_counted():
    generator = np.random.default_rng(5)
    true, generated = generator.uniform(size=(400, 2)), generator.uniform(size=(400, 2))
    true[0], true[1] = 0.0, 1.0  # the range, whatever is missing
    holed = true.copy()
    holed[10:60, 0] = np.nan
    holed[50:90, 1] = np.nan
    result = binned_divergence(holed, generated, bin_range="min-max")
    assert result.n_true_missing == 80
    assert result.value == d_stsp_binned(np.delete(true, slice(10, 90), axis=0), generated, bin_range="min-max")


def test_not_finite_is_infinitely_bad_and_bad_input_is_named():
    x = np.random.default_rng(6).normal(size=(100, 2))
    for broken in (np.nan, np.inf):
        generated = x.copy()
        generated[50, 1] = broken
        assert d_stsp_binned(x, generated) == math.inf
    with pytest.raises(RecordingError, match="channel 1 of the true recording is constant"):
        d_stsp_binned(np.stack([x[:, 0], np.ones(100)], axis=1), x)
    with pytest.raises(RecordingError, match="infinite at trial 0, time index 3, channel 1"):
        d_stsp_binned(np.where((np.arange(100) == 3)[:, None] & [False, True], np.inf, x), x)
    unchecked = getattr(bin_edges, "__wrapped__", bin_edges)  # below the type check of the test run
    with pytest.raises(UnknownNameError, match="Did you mean 'padded'"):
        unchecked(x, "paded")
    with pytest.raises(ArgumentError, match="laplace"):
        d_stsp_binned(x, x, laplace=0.0)
