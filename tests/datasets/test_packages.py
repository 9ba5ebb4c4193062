"""Flows of dysts and recordings of nitime; skipped where the extra is absent."""

import numpy as np
import pytest

from dynrnn_datasets import DatasetError, UnknownDatasetError, load
from dynrnn_datasets.integrate import trajectory
from dynrnn_datasets.systems import Lorenz63


def test_dysts_thomas_follows_its_published_equation():
    pytest.importorskip("dysts")
    rec = load("dysts:Thomas", n_steps=300, dt=0.01, standardise=False, random_state=2)
    z = rec["observed"].values[0]
    parameters = {"a": 1.85, "b": 10.0}
    # Thomas 1999: x' = -a x + b sin y and cyclic; central differences err by dt^2 / 6 |z'''|, |z'''| < 10^4
    slope = (z[2:] - z[:-2]) / 0.02
    expected = -parameters["a"] * z[1:-1] + parameters["b"] * np.sin(np.roll(z[1:-1], -1, axis=-1))
    assert np.abs(slope - expected).max() < 0.2
    assert np.abs(slope).max() > 2  # it does move


def test_dysts_lorenz_and_ours_are_one_field():
    pytest.importorskip("dysts")
    from dynrnn_datasets._dysts import DystsFlow

    flow = DystsFlow("Lorenz", {"beta": 8 / 3, "rho": 28, "sigma": 10})
    z = np.random.default_rng(0).normal(size=(20, 3)) * 10
    np.testing.assert_allclose([flow.rate(0.0, row) for row in z], Lorenz63().field(z), rtol=1e-13, atol=1e-12)
    times = np.linspace(0.1, 2, 20)
    lsoda = trajectory(flow.rate, z[0], times, rtol=1e-10, atol=1e-10, method="LSODA")
    dop853 = trajectory(Lorenz63().rate, z[0], times, rtol=1e-10, atol=1e-10)
    assert np.abs(lsoda - dop853).max() < 1e-4  # two solvers: LSODA's 1e-10 a step, 1,000 steps, growth e^(0.9 * 2), some spare


def test_dysts_clocks_come_back_bounded():
    pytest.importorskip("dysts")
    rec = load("dysts:ForcedVanDerPol", n_steps=300, standardise=False)
    phase = rec["observed"].sel(feature="x2").values  # a sine of the clock, which itself passes 100
    assert 0.9 < np.abs(phase).max() <= 1


@pytest.mark.slow
def test_dysts_scaling_is_that_of_the_attractor():
    pytest.importorskip("dysts")
    rec = load("dysts:Lorenz", n_steps=100, sigma=10, rho=28, beta=8 / 3)
    # one run of 400 periods: relative error of a standard deviation some 1 to 2 %
    np.testing.assert_allclose(rec.attrs["scale"], Lorenz63().scale, rtol=0.06)


def test_dysts_names_and_parameters_are_checked():
    pytest.importorskip("dysts")
    with pytest.raises(UnknownDatasetError, match="Did you mean 'Thomas'"):
        load("dysts:Tomas")
    with pytest.raises(DatasetError, match="delay equation"):
        load("dysts:MackeyGlass")
    with pytest.raises(DatasetError, match="no parameter 'c'"):
        load("dysts:Thomas", c=1)
    with pytest.raises(DatasetError, match="must be a finite number"):
        load("dysts:Thomas", a=[1, 2])


def test_nitime_fmri_is_the_published_scan():
    pytest.importorskip("nitime")
    rec = load("nitime-fmri")
    assert rec["observed"].shape == (1, 250, 31)
    assert rec.attrs["dt"] == 1.89
    assert {"LCau", "RCau", "LPut"} <= set(rec["region"].values)
    left, right = (rec["observed"].sel(region=name).values[0] for name in ("LCau", "RCau"))
    # nitime's own example: the two caudate nuclei are correlated; 250 samples of no correlation would stay within 4 / sqrt(250) = 0.25
    assert np.corrcoef(left, right)[0, 1] > 0.25


def test_nitime_grasshopper_spikes_follow_the_stimulus():
    pytest.importorskip("nitime")
    rec = load("nitime-grasshopper", bin_size=1e-3)
    counts, stimulus = rec["observed"].values[..., 0], rec["inputs"].values[..., 0]
    assert counts.shape == stimulus.shape == (2, 10_000)
    assert counts.sum(axis=1).tolist() == [929, 868]  # lines of numbers in the two files
    for spikes, sound in zip(counts, stimulus):
        # the spike-triggered average of nitime's example: the amplitude peaks some 2 to 6 ms before a spike
        average = [np.average(np.roll(sound, lag), weights=spikes) - sound.mean() for lag in range(1, 20)]
        assert 1 <= 1 + int(np.argmax(average)) <= 8
        assert max(average) > 5 * sound.std() / np.sqrt(spikes.sum())


def test_nitime_bins_add_up():
    pytest.importorskip("nitime")
    fine, coarse = (load("nitime-grasshopper", bin_size=size) for size in (1e-3, 5e-3))
    np.testing.assert_array_equal(fine["observed"].values.reshape(2, 2_000, 5, 1).sum(axis=2), coarse["observed"].values)
    np.testing.assert_allclose(fine["inputs"].values.reshape(2, 2_000, 5, 1).mean(axis=2), coarse["inputs"].values, rtol=1e-12)


def test_nitime_refuses_what_does_not_apply():
    pytest.importorskip("nitime")
    with pytest.raises(DatasetError, match="noise does not apply"):
        load("nitime-fmri", noise=0.1)
    for bin_size in (7e-5, 0.0, 6.0):
        with pytest.raises(DatasetError, match="bin_size"):
            load("nitime-grasshopper", bin_size=bin_size)
    with pytest.raises(DatasetError, match=r"no parameter 'binsize'\. Did you mean 'bin_size'"):
        load("nitime-grasshopper", binsize=0.1)


def test_a_missing_extra_is_named(monkeypatch):
    import importlib
    import importlib.util

    def absent(name, *rest):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("dysts:Thomas", "nitime-fmri"):
        with pytest.raises(DatasetError, match=r"dynrnn\[datasets\]"):
            load(name)
