"""Checks before training, scaling and splits."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dynrnn.data import Scaling, as_recording, check_for_training, fit_scaling, load_dataset, split
from dynrnn.errors import ArgumentError, DatasetError, RecordingError, UnknownNameError

RNG = np.random.default_rng(0)


def _recording(x, names):
    return as_recording(xr.DataArray(x, dims=("time", "channel"), coords={"channel": names}))


def test_constant_channel_is_named_with_what_to_do():
    x = RNG.normal(size=(10_000, 3))
    x[:, 1] = 0.0
    rec = _recording(x, ["ch16", "ch17", "ch18"])
    with pytest.raises(RecordingError) as caught:
        check_for_training(rec, sequence_length=200, standardise=True)
    assert str(caught.value) == (
        "channel 'ch17' is constant (all 10,000 samples equal 0.0), so it cannot be standardised.\n"
        "Drop it with rec.drop_sel(channel='ch17'), or pass standardise=False."
    )
    check_for_training(rec, sequence_length=200, standardise=False)
    check_for_training(rec.drop_sel(channel="ch17"), sequence_length=200, standardise=True)


@pytest.mark.parametrize(
    "values",
    [np.full(50, 1.0) + np.spacing(1.0) * (np.arange(50) % 2), 1e-310 * np.arange(50.0), np.where(np.arange(50) == 7, 3.0, np.nan)],
    ids=["rounding", "denormal", "one sample"],
)
def test_channels_without_a_usable_scale_are_refused(values):
    with pytest.raises(RecordingError, match=r"channel 'c'.*cannot be standardised"):
        check_for_training(_recording(values[:, None], ["c"]), sequence_length=10, standardise=True)


def test_values_beyond_single_precision_are_refused_unless_scaled():
    rec = _recording(1e30 * RNG.normal(size=(50, 1)), ["c"])
    with pytest.raises(RecordingError, match="float32"):
        check_for_training(rec, sequence_length=10, standardise=False)
    assert np.isfinite(fit_scaling(rec).scale[0])


def test_too_short_names_the_longest_trial():
    rec = as_recording([RNG.normal(size=(n, 2)) for n in (5, 20, 12)])
    with pytest.raises(RecordingError, match=r"sequence_length \+ 1 = 21 steps: the longest, trial 1, has 20.*sequence_length=19"):
        check_for_training(rec, sequence_length=20)
    check_for_training(rec, sequence_length=19)


def test_a_channel_recorded_twice_is_a_warning():
    x = RNG.normal(size=(50, 2))
    with pytest.warns(UserWarning, match="'a' and 'c' are identical"):
        check_for_training(_recording(np.column_stack([x, x[:, 0]]), ["a", "b", "c"]), sequence_length=10)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(0, 2**32 - 1))
def test_scaling_standardises_and_inverts(mean, scale, seed):
    rng = np.random.default_rng(seed)
    x = mean + scale * rng.normal(size=(40, 2))
    x[rng.random(x.shape) < 0.2] = np.nan
    rec = as_recording(x)
    scaling = fit_scaling(rec)
    z = scaling.apply(rec)["observed"].values
    # cancellation in x - mean costs eps |mean| / scale of a standard deviation
    slack = 1e-13 + 10 * np.finfo(float).eps * (1 + abs(mean) / scale)
    np.testing.assert_allclose(np.nanmean(z, axis=(0, 1)), 0.0, atol=slack)
    np.testing.assert_allclose(np.nanstd(z, axis=(0, 1)), 1.0, atol=slack)
    np.testing.assert_allclose(scaling.invert(scaling.apply(rec))["observed"].values[0], x, rtol=1e-13, atol=1e-13 * (abs(mean) + scale))


def test_scaling_knows_tensors_and_refuses_other_channels():
    scaling = Scaling(("a", "b"), (1.0, 2.0), (2.0, 4.0))
    x = torch.tensor([[3.0, 6.0]], dtype=torch.float32)
    assert scaling.apply(x).dtype == torch.float32
    assert scaling.invert(scaling.apply(x)).tolist() == x.tolist()
    with pytest.raises(RecordingError, match="not those of the scaling"):
        scaling.apply(_recording(np.zeros((5, 2)), ["b", "a"]))
    with pytest.raises(ArgumentError, match="3 entries"):
        scaling.apply(np.zeros((5, 3)))
    with pytest.raises(ArgumentError, match="'a' has mean"):
        Scaling(("a",), (0.0,), (0.0,))


def test_statistics_of_the_test_part_do_not_leak():
    x = np.concatenate([RNG.normal(size=(80, 1)), 1e6 + RNG.normal(size=(20, 1))])
    train, _ = split(as_recording(x), train=0.8)
    assert fit_scaling(train).mean[0] == pytest.approx(x[:80].mean(), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(10, 200), st.floats(0.1, 0.9), st.integers(0, 20))
def test_blocks_of_one_trial_do_not_overlap_and_keep_their_times(n_steps, fraction, gap):
    rec = as_recording(np.arange(float(n_steps))[:, None], dt=0.5)
    if round(fraction * n_steps) + gap >= n_steps:
        with pytest.raises(RecordingError, match="no room"):
            split(rec, train=fraction, gap=gap)
        return
    train, test = split(rec, train=fraction, gap=gap)
    last, first = train["observed"].values[0, -1, 0], test["observed"].values[0, 0, 0]
    assert first - last == gap + 1
    assert test["time"].values[0] - train["time"].values[-1] == pytest.approx(0.5 * (gap + 1))
    assert train["n_time"].item() + test["n_time"].item() + gap == n_steps
    as_recording(test)


def test_several_trials_are_parted_whole():
    rec = as_recording([np.full((n, 1), float(n)) for n in (5, 9, 30, 7)])
    train, test = split(rec, train=0.5)
    assert train["n_time"].values.tolist() == [5, 9]
    assert train.sizes["time"] == 9
    assert test["n_time"].values.tolist() == [30, 7]
    assert split(rec, train=0.01)[0].sizes["trial"] == 1
    with pytest.raises(ArgumentError, match="gap=3"):
        split(rec, gap=3)
    with pytest.raises(ArgumentError, match="fraction"):
        split(rec, train=1.0)


def test_load_dataset_raises_this_packages_errors():
    with pytest.raises(UnknownNameError, match="Did you mean 'lorenz63'"):
        load_dataset("lorentz63")
    with pytest.raises(DatasetError, match="Did you mean 'rho'"):
        load_dataset("lorenz63", roh=1.0)
    rec = load_dataset("lorenz63", n_steps=100, transient=1.0, n_trials=2)
    xr.testing.assert_identical(as_recording(rec), rec)
