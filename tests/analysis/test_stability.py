"""Classes and scales against matrices whose multipliers are known."""

import numpy as np
import xarray as xr

from dynrnn.analysis.stability import describe, henrici, sorted_multipliers, stability_class, transient_growth


def rotation(r, turn):
    c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    return r * np.array([[c, -s], [s, c]])


def test_classes_and_qualifiers():
    J = np.stack([rotation(0.9, 0.1), np.diag([-2.0, 0.5]), np.diag([3.0, 2.0]), np.diag([1.0, 0.5])])
    mu = sorted_multipliers(J)
    told = describe(xr.DataArray(mu, dims=("fixed_point", "mode")), dt=0.01)
    assert told.stability.values.tolist() == ["sink", "saddle", "source", "non-hyperbolic"]
    assert told.n_unstable.values.tolist() == [0, 1, 2, 0]
    assert told.spiral.values.tolist() == [True, False, False, False]
    assert told.flip.values.tolist() == [False, True, False, False]
    assert told.monotone.values.tolist() == [False, False, True, True]
    np.testing.assert_allclose(told.frequency[0], 0.1 / 0.01, rtol=1e-12)
    np.testing.assert_allclose(told.time_constant[0], -0.01 / np.log(0.9), rtol=1e-12)
    assert told.time_constant[3, 0] == np.inf


def test_padding_stays_empty():
    told = describe(xr.DataArray(np.array([[np.nan + 0j, np.nan]]), dims=("cycle", "mode")))
    assert told.stability.values.tolist() == [""]
    assert told.spiral.item() is told.flip.item() is False
    assert told.n_unstable.item() == 0
    assert np.isnan(told.time_constant).all()
    assert np.isnan(told.frequency).all()


def test_pairs_stay_together_and_the_largest_leads():
    mu = sorted_multipliers(np.stack([np.block([[rotation(0.5, 0.2), np.zeros((2, 2))], [np.zeros((2, 2)), rotation(0.9, 0.3)]])]))[0]
    np.testing.assert_allclose(np.abs(mu), [0.9, 0.9, 0.5, 0.5])
    assert (mu.imag[::2] > 0).all()
    assert stability_class(mu) == "sink"


def test_growth_of_a_normal_matrix_is_its_radius():
    np.testing.assert_allclose(transient_growth(np.stack([np.diag([0.9, 0.1]), np.diag([1.5, 0.1])]), 10), [0.9, 1.5**10])
    assert transient_growth(np.array([[1e200]]), 5) == np.inf


def test_departure_from_normality():
    """0 for any rotation of a diagonal matrix; a shear with angle a between its eigenvectors: |J|^2 - sum mu^2 = b^2 with b its upper entry."""
    turn = rotation(1.0, 0.07)
    J = np.stack([turn @ np.diag([0.3, -0.8]) @ turn.T, rotation(0.9, 0.2), np.array([[0.5, 3.0], [0.0, -0.4]])])
    found = henrici(J, sorted_multipliers(J))
    np.testing.assert_allclose(found, [0, 0, 3 / np.sqrt(9.41)], atol=1e-7)         # the root of a difference that is rounding, 1e-16
    np.testing.assert_allclose(henrici(1e200 * J, sorted_multipliers(1e200 * J)), found, atol=1e-7)
