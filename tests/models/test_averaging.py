"""The average of several fits' maps is a model whose step is the mean of their steps."""

from __future__ import annotations

import pytest
import torch

import dynrnn as dr

MODELS = {
    "shallow": lambda **o: dr.ShallowPLRNN(3, 3, 5, **o),
    "clipped": lambda **o: dr.ShallowPLRNN(3, 3, 5, clipped=True, **o),
    "plrnn": lambda **o: dr.PLRNN(3, 3, **o),
    "mean-centred": lambda **o: dr.PLRNN(3, 3, mean_centred=True, **o),
    "alrnn": lambda **o: dr.ALRNN(3, 3, 2, **o),
}


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("size", [1, 2, None])
def test_step_and_jacobian_are_the_means(family, size):
    model = MODELS[family](n_fits=4, input_dim=2, random_state=0).double()
    with torch.no_grad():
        for value in model.parameters():
            value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    n = size or 4
    together = dr.average(model, size)
    assert together.n_fits == 4 // n
    assert together.fit_number.tolist() == list(range(0, 4, n))
    g = torch.Generator().manual_seed(2)
    z, u = torch.randn(1, 7, 3, generator=g, dtype=torch.float64), torch.randn(1, 7, 2, generator=g, dtype=torch.float64)
    for apply in (lambda m: m.step(z.expand(m.n_fits, -1, -1), u.expand(m.n_fits, -1, -1)), lambda m: m.jacobian(z.expand(m.n_fits, -1, -1))):
        each = apply(model)
        want = each.reshape(4 // n, n, *each.shape[1:]).mean(1)
        torch.testing.assert_close(apply(together), want, rtol=1e-6, atol=1e-6)         # parameters are float32


def test_average_of_a_run_keeps_units_names_and_trains_on():
    x = torch.sin(0.2 * torch.arange(400.0)[:, None] * torch.tensor([1.0, 1.3, 0.7])).numpy() * [1.0, 5.0, 2.0] + [0.0, 3.0, 0.0]
    recording = dr.as_recording(x, dt=0.1)
    settings = dict(n_updates=5, sequence_length=20, progress=False, random_state=0)
    run = dr.fit(MODELS["clipped"](n_fits=4, random_state=0), recording, **settings)
    together = dr.average(run, size=2)
    assert torch.equal(together.data_scale, run.model.data_scale[:2])
    assert dr.generate(together, 10, initial=recording).observed.dims == dr.generate(run, 10, initial=recording).observed.dims
    assert dr.fit(together, recording, **settings).status.values.tolist() == ["finished"] * 2


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(dr.ArgumentError, match="does not divide the 4 fits"):
        dr.average(MODELS["clipped"](n_fits=4), size=3)
    with pytest.raises(dr.ArgumentError, match="latent_dim = 5"):
        dr.average(dr.PLRNN(3, 5, n_fits=2))
    with pytest.raises(dr.ArgumentError, match="observation='affine'"):
        dr.average(dr.ShallowPLRNN(3, 3, 5, n_fits=2, observation="affine"))
    with pytest.raises(dr.ArgumentError, match="dendritic-plrnn"):
        dr.average(dr.DendriticPLRNN(3, 3, 2, n_fits=2))
    model = MODELS["clipped"](n_fits=2)
    model.data_scale[1] *= 2
    with pytest.raises(dr.ArgumentError, match="data_scale differs"):
        dr.average(model)
