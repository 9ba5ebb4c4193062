"""Maps that parameters fill by any differentiable function: the same training as by index, where the function says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.errors import ArgumentError
from dynrnn.models import ALRNN, ShallowPLRNN
from dynrnn.training.parameters import flat_parameters
from dynrnn_kernels.additive import AdditiveMap
from tests.training.test_update import SETTINGS, recording

EVERYTHING = dict(batch_size=18, noise=0.05, gradient_clip=np.array([2.0, np.inf]), regularisation=dr.Regularisation(latent=1e-3, observation=1e-3))


class Roundabout(ShallowPLRNN):
    """The same map, of which not every entry is a parameter."""

    def additive_map(self) -> AdditiveMap:
        map = super().additive_map()
        return map.with_tensors({"W1": torch.sinh(torch.asinh(map.W1))})


class RoundaboutAL(ALRNN):
    def additive_map(self) -> AdditiveMap:
        map = super().additive_map()
        return map.with_tensors({"h1": torch.sinh(torch.asinh(map.h1))})


MAKE = {
    "identity": (lambda cls, **o: cls(3, 4, 7, **o), ShallowPLRNN, Roundabout),
    "affine": (lambda cls, **o: cls(3, 2, 7, clipped=True, observation="affine", decoder_bias=True, **o), ShallowPLRNN, Roundabout),
    "alrnn": (lambda cls, **o: cls(3, 6, 2, **o), ALRNN, RoundaboutAL),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_equals_the_training_by_index(kind, backend):
    """Missing samples, inputs, noise, regularisers and clipping at once; float32, and 12 updates amplify rounding little."""
    make, plain, roundabout = MAKE[kind]
    one, two = make(plain, n_fits=2, input_dim=2, random_state=0), make(roundabout, n_fits=2, input_dim=2, random_state=0)
    assert flat_parameters(one).layout is not None
    assert flat_parameters(two).layout is None
    a = dr.fit(one, recording(missing=True, inputs=True), **EVERYTHING, **SETTINGS)
    b = dr.fit(two, recording(missing=True, inputs=True), backend=backend, **EVERYTHING, **SETTINGS)
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-5)
    np.testing.assert_allclose(a.history.gradient_norm, b.history.gradient_norm, rtol=1e-4)
    for (name, x), (_, y) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6, msg=name)


def test_a_fit_alone_is_bit_equal_to_the_fit_of_the_ensemble():
    ensemble = Roundabout(3, 3, 10, n_fits=3, random_state=1)
    alone = dr.select(ensemble, 1)
    for model, n_threads in ((ensemble, 2), (alone, 1)):
        dr.fit(model, recording(), batch_size=20, noise=0.1, n_threads=n_threads, **SETTINGS)
    for name, value in alone.named_parameters():
        assert torch.equal(value[0], dict(ensemble.named_parameters())[name][1]), name


def test_adaptive_forcing_sees_the_same_norms():
    one, two = (cls(3, 3, 10, n_fits=2, random_state=1) for cls in (ShallowPLRNN, Roundabout))
    histories = [dr.fit(m, recording(), dr.AdaptiveTeacherForcing(gamma=0.5), batch_size=4, **SETTINGS).history for m in (one, two)]
    np.testing.assert_allclose(histories[0].alpha, histories[1].alpha, rtol=1e-4)          # float32, and three estimates in 12 updates
    assert (histories[0].alpha.values > 0).any()


def test_a_member_that_diverges_stops_alone():
    """Its steps are refused, and the others have the bits that they have without it."""
    ensemble, without = (Roundabout(3, 3, 10, n_fits=2, random_state=1) for _ in range(2))
    with torch.no_grad():
        ensemble.A[0] = 1e30
    with pytest.warns(UserWarning, match="1 of 2 fits stopped early: fit 0"):
        runs = [dr.fit(m, recording(), batch_size=4, max_refused=3, **SETTINGS) for m in (ensemble, without)]
    assert runs[0].status.values.tolist()[1] == "finished"
    assert runs[0].status.values.tolist()[0] != "finished"
    assert int(runs[0].refused[0]) == 3
    assert torch.equal(ensemble.A[1], without.A[1])


def test_whole_updates_on_a_device_are_refused(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ArgumentError, match="backend='cpu'"):
        dr.fit(Roundabout(3, 3, 10), recording(), backend="triton", **SETTINGS)
