"""What every family promises, whatever its equation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn.errors import ArgumentError, FileFormatError, UnknownNameError
from dynrnn.models import MODELS, Reservoir, concat_models, forecast, generate, select_model, warmup
from dynrnn.models.storage import load, save
from tests.models.families import FAMILIES

pytestmark = pytest.mark.parametrize("family", FAMILIES)


def states(model, n=6, seed=0):
    return torch.randn(model.n_fits, n, model.latent_dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_jacobian_is_autograds(family):
    model = FAMILIES[family](n_fits=2, input_dim=2, random_state=0)
    z, u = states(model), torch.randn(2, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    auto = torch.autograd.functional.jacobian(lambda z: model.step(z, u).sum(1), z)
    J = model.jacobian(z, u).detach()
    for f in range(2):
        torch.testing.assert_close(J[f], auto[f, :, f].transpose(0, 1), rtol=1e-10, atol=1e-12)


def test_free_run_is_the_step_iterated(family):
    model = FAMILIES[family](n_fits=2, random_state=0)
    orbit = generate(model, 20, initial=states(model, 3), transient=4)
    z = states(model, 3)
    with torch.no_grad():
        for _ in range(4):
            z = model.step(z)
        for t in range(20):
            np.testing.assert_allclose(orbit.latent.values[:, :, t], z.numpy(), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(orbit.observed.values[:, :, t], model.readout(z).numpy(), rtol=1e-9, atol=1e-12)
            z = model.step(z)


def test_forecast_is_a_free_run_from_the_sample(family):
    """Or, for models with a past, from the state that the samples up to it have driven them to."""
    model = FAMILIES[family](n_fits=2, random_state=0)
    x = np.random.default_rng(0).standard_normal((30, 3))
    ahead = forecast(model, x, np.array([[0, 4], [0, 11]]), 7)
    for i, t in enumerate((4, 11)):
        run = generate(model, 8, initial=warmup(model, x[: t + 1]) if isinstance(model, Reservoir) else x[t])
        np.testing.assert_allclose(ahead.values[:, i], run.observed.values[:, 0, 1:], rtol=1e-9, atol=1e-12)


def test_saved_and_loaded_to_the_bit(family, tmp_path):
    model = FAMILIES[family](n_fits=2, random_state=5)
    model.recording_info = {"dim": "neuron", "names": ["a", "b", "c"], "dt": 0.1, "units": "s"}
    again = load(save(model, tmp_path / "m.dynrnn"))
    assert again.config() == model.config()
    assert again.recording_info == model.recording_info
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert generate(again, 5).observed.dims == ("fit", "trial", "time", "neuron")


def test_a_damaged_file_is_refused(family, tmp_path):
    path = save(FAMILIES[family](random_state=0), tmp_path / "m.dynrnn")
    tensors = path / "model.safetensors"
    data = bytearray(tensors.read_bytes())
    data[-3] ^= 4
    tensors.write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="m.dynrnn"):
        load(path)


def test_a_fit_alone_is_the_fit_of_the_ensemble(family):
    ensemble, alone = FAMILIES[family](n_fits=3, random_state=7), FAMILIES[family](n_fits=1, random_state=7)
    for name, value in alone.state_dict().items():
        assert torch.equal(value[0], ensemble.state_dict()[name][0]), name
    parts = [select_model(ensemble, k) for k in range(3)]
    assert [int(p.fit_number[0]) for p in parts] == [0, 1, 2]
    whole = concat_models(parts)
    for name, value in ensemble.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


def test_bad_arguments_are_named(family):
    make = FAMILIES[family]
    with pytest.raises(ArgumentError, match="n_fits"):
        make(n_fits=0)
    with pytest.raises(ArgumentError, match="random_state"):
        make(random_state=-1)
    with pytest.raises(UnknownNameError, match="init"):
        make(init="gtff")


def test_every_family_is_in_the_table(family):
    model = FAMILIES[family]()
    assert MODELS[model.family] is type(model)
