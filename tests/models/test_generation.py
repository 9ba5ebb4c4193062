"""Free running: starts, inputs, blocks on disk, divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.errors import ArgumentError, RecordingError, RunFolderError
from dynrnn.models import generation


def test_inputs_act_in_the_step_to_their_sample():
    model = dr.PLRNN(2, 2, input_dim=1, random_state=0)
    with torch.no_grad():
        model.A.zero_(), model.W.zero_(), model.h.zero_()
        model.C.copy_(torch.tensor([[[1.0], [10.0]]]))
    u = np.arange(6.0)[:, None]
    orbit = dr.generate(model, 6, initial=np.zeros(2), inputs=u)
    np.testing.assert_array_equal(orbit.observed.values[0, 0, :, 0], [0, 1, 2, 3, 4, 5])     # x[t] = u[t], but for the initial state


def test_blocks_do_not_change_an_orbit(monkeypatch):
    model = dr.ALRNN(3, 6, 2, n_fits=2, input_dim=1, random_state=1)
    u = np.sin(np.arange(60.0))[:, None]
    whole = dr.generate(model, 50, transient=7, inputs=u)
    monkeypatch.setattr(generation, "BLOCK_NUMBERS", 2 * 6 * 9)
    blocks = dr.generate(model, 50, transient=7, inputs=u)
    assert whole.identical(blocks)


def test_observed_orbits_are_those_of_generate():
    recording = dr.load_dataset("lorenz63", n_steps=60, random_state=0)
    model = dr.ALRNN(3, 6, 2, n_fits=2, random_state=1)
    for transient in (0, 7):
        want = dr.generate(model, 50, initial=recording, transient=transient).observed.values
        np.testing.assert_array_equal(generation.observed_orbits(model, 50, recording, transient), want)


def test_out_writes_what_memory_holds(tmp_path):
    model = dr.ShallowPLRNN(3, 3, 8, clipped=True, n_fits=2, random_state=1)
    in_memory = dr.generate(model, 3000, transient=10)
    on_disk = dr.generate(model, 3000, transient=10, out=tmp_path / "orbit.zarr")
    xr.testing.assert_identical(in_memory.observed.load(), on_disk.observed.load())
    xr.testing.assert_identical(in_memory.latent.load(), on_disk.latent.load())
    with pytest.raises(RunFolderError, match="orbit.zarr"):
        dr.generate(model, 10, out=tmp_path / "orbit.zarr")


def test_divergence_is_marked_where_it_begins():
    model = dr.PLRNN(1, 1, random_state=0)
    with torch.no_grad():
        model.A.fill_(1e100 if model.A.dtype == torch.float64 else 1e30), model.W.zero_(), model.h.zero_()
    orbit = dr.generate(model, 30, initial=np.ones(1))
    first = int(orbit.diverged[0, 0])
    assert np.isfinite(orbit.observed.values[0, 0, :first]).all()
    assert not np.isfinite(orbit.observed.values[0, 0, first])
    assert first == 11                                              # 10^(30 t) passes 1.8e308 at t = 11


def test_missing_channels_start_from_their_mean():
    model = dr.ShallowPLRNN(2, 2, 5, random_state=0)
    model.data_mean[:] = torch.tensor([4.0, 5.0])
    orbit = dr.generate(model, 1, initial=np.array([1.0, np.nan]))
    np.testing.assert_array_equal(orbit.observed.values[0, 0, 0], [1.0, 5.0])


def test_bad_starts_are_named():
    model = dr.ShallowPLRNN(3, 3, 5, input_dim=1, random_state=0)
    with pytest.raises(ArgumentError, match="inputs= of shape"):
        dr.generate(model, 5)
    with pytest.raises(ArgumentError, match="inputs cover 4 samples"):
        dr.generate(model, 5, inputs=np.zeros((4, 1)))
    with pytest.raises(RecordingError, match="2 channels"):
        dr.generate(model, 5, initial=np.zeros((10, 2)), inputs=np.zeros((5, 1)))
    with pytest.raises(ArgumentError, match="n_steps"):
        dr.generate(model, 0)
    with pytest.raises(ArgumentError, match="model of dynrnn"):
        dr.generate("model", 5)


@pytest.mark.parametrize(("starts", "said"), [
    ([[0, 3], [0, 5]], r"starts\[1\] is sample 5 of trial 0, which has the samples 0 to 4"),
    ([[1, 7]], r"sample 7 of trial 1, which has the samples 0 to 6"),
    ([[2, 0]], "there are the trials 0 to 1"),
    ([[0, -1]], "sample -1 of trial 0"),
    ([[0.0, 1.0]], "whole numbers"),
])
def test_forecasts_start_within_their_trials(starts, said):
    recording = dr.as_recording([np.ones((5, 2)), np.ones((7, 2))])
    with pytest.raises(ArgumentError, match=said):
        dr.models.generation.forecast(dr.PLRNN(2, 2, random_state=0), recording, np.array(starts), 3)
