"""Arguments that no model takes, or of the wrong kind."""

import pytest

import dynrnn as dr


@pytest.mark.parametrize(("make", "said"), [
    (lambda: dr.ALRNN(3, 20, 2, n_fit=3), "unknown argument of ALRNN 'n_fit'. Did you mean 'n_fits'"),
    (lambda: dr.PLRNN(3, 3, hidden_dim=50), "unknown argument of PLRNN 'hidden_dim'"),
    (lambda: dr.ESN(3, 50, spectral_radius="0.4"), "spectral_radius must be a number"),
    (lambda: dr.concat(dr.PLRNN(3, 5)), "concat takes a list of models or runs, got PLRNN"),
    (lambda: dr.concat([dr.PLRNN(3, 5), "last"]), "a model of dynrnn or the run of a fit is wanted here, got str"),
    (lambda: dr.concat([dr.PLRNN(3, 5), dr.PLRNN(3, 6)]), "model 1 differs from model 0 in latent_dim"),
    (lambda: dr.concat([dr.PLRNN(3, 5), dr.ALRNN(3, 5, 2)]), "must be of one family: model 0 is 'plrnn', model 1 is 'alrnn'"),
    (lambda: dr.select([dr.PLRNN(3, 5)], 0), "a model of dynrnn or the run of a fit is wanted here, got list"),
])
def test_what_is_wrong_is_named(make, said):
    with pytest.raises(dr.ArgumentError, match=said):
        make()
