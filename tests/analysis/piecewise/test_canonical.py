"""Canonical maps step as their models do, and bad maps are refused."""

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis.piecewise.canonical import NOT_FINITE, canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from tests.models.families import DESCENDED

PIECEWISE = [name for name, make in DESCENDED.items() if make().additive_map().phi != "tanh"]


@pytest.mark.parametrize("family", PIECEWISE)
def test_steps_and_jacobians_are_the_models(family):
    model = DESCENDED[family](random_state=0)
    z = torch.tensor(np.random.default_rng(0).standard_normal((model.n_fits, 50, model.latent_dim)) * 2)
    u = None if model.input_dim == 0 else torch.zeros(model.n_fits, 50, model.input_dim, dtype=torch.float64) + 0.3
    maps = canonical(model, None if u is None else np.full(model.input_dim, 0.3))
    with torch.no_grad():
        want, J = model.step(z, u).numpy(), model.jacobian(z, u).numpy()
    for k, map in enumerate(maps.maps):
        at = z[k].numpy()
        words = map.words(at)
        np.testing.assert_allclose(map.step(at), want[k], rtol=1e-12, atol=1e-12)                 # float64 sums of some 50 terms of order 1
        np.testing.assert_allclose(map.jacobians(words), J[k], rtol=1e-12, atol=1e-12)
        affine = np.einsum("bmn,bn->bm", map.jacobians(words), at) + map.offsets(words)
        np.testing.assert_allclose(affine, want[k], rtol=1e-12, atol=1e-12)


def test_margin_is_the_distance_at_which_the_word_changes():
    rng = np.random.default_rng(1)
    map = PiecewiseLinearMap(rng.random(3), rng.standard_normal((3, 8)), rng.standard_normal((8, 3)), rng.random(3), rng.random(8))
    z = rng.standard_normal((20, 3))
    margin = map.margins(z)
    nearest = np.argmin(np.abs(z @ map.W2.T + map.h2) / np.linalg.norm(map.W2, axis=1), axis=1)
    side = np.where(map.words(z), -1.0, 1.0)[np.arange(20), nearest]
    towards = side[:, None] * (map.W2 / np.linalg.norm(map.W2, axis=1)[:, None])[nearest]
    assert (map.words(z + 0.999 * margin[:, None] * towards) == map.words(z)).all()
    assert (map.words(z + 1.001 * margin[:, None] * towards) != map.words(z)).any(1).all()


def test_a_diverged_fit_has_no_map_and_the_others_do():
    model = dr.ALRNN(3, 5, 2, n_fits=3, random_state=0)
    with torch.no_grad():
        model.W[1, 0, 0] = torch.nan
    maps = canonical(model)
    assert [map is None for map in maps.maps] == [False, True, False]
    assert maps.status[1] == NOT_FINITE
    with pytest.raises(dr.ArgumentError, match="diverged"):
        canonical(dr.select(model, fit=1))


BAD = [({"h1": [0.0, np.inf]}, r"h1\[1\] is inf"), ({"W2": np.ones((2, 2))}, "W2 must have shape"), ({"A": "x"}, "A must be")]


@pytest.mark.parametrize(("change", "match"), BAD)
def test_bad_maps_name_the_array(change, match):
    arrays = {"A": [0.5, 0.5], "W1": np.ones((2, 3)), "W2": np.ones((3, 2)), "h1": np.zeros(2), "h2": np.zeros(3)}
    with pytest.raises(dr.ArgumentError, match=match):
        PiecewiseLinearMap(**(arrays | change))
    with pytest.raises(dr.ArgumentError, match="five arrays"):
        canonical([1, 2, 3])
