"""Arguments that no model takes, or of the wrong kind."""

import pytest

import dynrnn as dr


@pytest.mark.parametrize(("make", "said"), [
    (lambda: dr.ALRNN(3, 20, 2, n_fit=3), "unknown argument of ALRNN 'n_fit'. Did you mean 'n_fits'"),
    (lambda: dr.PLRNN(3, 3, hidden_dim=50), "unknown argument of PLRNN 'hidden_dim'"),
    (lambda: dr.ESN(3, 50, spectral_radius="0.4"), "spectral_radius must be a number"),
])
def test_what_is_wrong_is_named(make, said):
    with pytest.raises(dr.ArgumentError, match=said):
        make()
