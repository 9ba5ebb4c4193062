"""The search for a minimal code: what it returns and refuses. Whether it finds the fewest is a study's question."""

import numpy as np
import pytest

import dynrnn as dr
from dynrnn.training import minimal_code
from dynrnn.training.minimal import fewest


def test_scores_and_symbols_of_every_number_of_units():
    x = np.stack([np.sin(0.1 * np.arange(600)), np.cos(0.1 * np.arange(600))], 1)
    found = minimal_code(
        x[:400], x[400:], (2, 0), latent_dim=4, n_fits=2, n_steps=200, random_state=0, n_updates=20, sequence_length=20, progress=False,
        forcing=dr.SparseTeacherForcing(interval=5),
    )
    assert found.n_relu.values.tolist() == [0, 2]
    assert found.n_symbols.sel(n_relu=0).values.tolist() == [1, 1]                   # a linear map has one region
    assert (found.n_symbols <= 4).all()
    assert np.isfinite(found.d_stsp).all()
    assert (found.status == "finished").all()
    assert int(found.minimal) in (0, 2)
    np.testing.assert_allclose(found["median"], np.median(found.d_stsp, 1))


def test_nothing_is_minimal_where_everything_diverges():
    """Infinity lies within infinity of infinity, and says nothing."""
    inf, nan = np.inf, np.nan
    number, said = fewest([0, 1, 2], np.array([inf, inf, inf]), np.array([nan, nan, nan]))
    assert number == -1
    assert "diverge" in said
    assert fewest([0, 1, 2], np.array([inf, 3.0, 2.0]), np.array([nan, 0.5, inf]))[0] == 2
    assert fewest([0, 1, 2], np.array([nan, 2.1, 2.0]), np.array([nan, 0.5, 0.2]))[0] == 1


def test_bad_arguments():
    x = np.zeros((100, 2))
    with pytest.raises(dr.ArgumentError, match="n_relu must be from 0 to 4"):
        minimal_code(x, x, (5,), latent_dim=4)
    with pytest.raises(dr.ArgumentError, match="at least one"):
        minimal_code(x, x, ())
