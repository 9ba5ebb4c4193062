"""Recordings of known systems: streams, noise, scaling, provenance, errors."""

import json

import numpy as np
import pytest

from dynrnn_datasets import DatasetError, Lorenz63, UnknownDatasetError, available, load

SHORT = {"n_steps": 400, "transient": 5.0}


def test_form_of_a_recording():
    rec = load("lorenz96", n_dims=5, n_trials=2, standardise=False, **SHORT)
    assert rec["observed"].dims == ("trial", "time", "feature")
    assert rec["observed"].shape == (2, 400, 5)
    assert rec["n_time"].values.tolist() == [400, 400]
    assert rec["feature"].values.tolist() == ["x0", "x1", "x2", "x3", "x4"]
    assert rec.attrs["dt"] == 0.05
    assert json.loads(rec.attrs["parameters"]) == {"n_dims": 5, "forcing": 8.0}
    json.dumps(rec.attrs)  # provenance survives any store


def test_samples_lie_on_one_solution_of_the_stated_equations():
    """Central differences of the unscaled samples against the field: the error is dt^2 / 6 times the third derivative."""
    rec = load("lorenz63", n_steps=200, dt=1e-3, random_state=3)
    raw = rec["observed"].values[0] * rec.attrs["scale"] + rec.attrs["mean"]
    slope = (raw[2:] - raw[:-2]) / (2e-3)
    # |z'''| on the attractor is below 2e5 (rates up to 250, time scales of 0.03): 1e-6 / 6 * 2e5 = 0.03
    assert np.abs(slope - Lorenz63().field(raw[1:-1])).max() < 0.05


def test_one_random_state_is_one_trajectory_clean_or_noisy_and_noise_has_its_level():
    clean = load("lorenz63", n_steps=2_500, n_trials=2, random_state=4, rtol=1e-6)["observed"].values
    noisy = load("lorenz63", n_steps=2_500, n_trials=2, random_state=4, rtol=1e-6, noise=0.05)["observed"].values
    residual = (noisy - clean).reshape(-1, 3)
    # the standard deviation of n = 5,000 normals has relative error 1 / sqrt(2 n) = 0.01; five of them
    np.testing.assert_allclose(residual.std(axis=0), 0.05, rtol=0.05)
    assert np.abs(np.corrcoef(residual.T) - np.eye(3)).max() < 5 / np.sqrt(5_000)
    assert abs(np.corrcoef(residual[1:, 0], residual[:-1, 0])[0, 1]) < 5 / np.sqrt(5_000)


def test_noise_is_a_fraction_of_the_standard_deviation_in_raw_units_too():
    quiet, loud = (load("lorenz63", noise=noise, standardise=False, random_state=1, **SHORT)["observed"].values for noise in (0.0, 0.1))
    scaled = load("lorenz63", noise=0.1, random_state=1, **SHORT)["observed"].values
    scale, mean = np.array(Lorenz63().scale), np.array(Lorenz63().mean)
    np.testing.assert_allclose(scaled * scale + mean, loud, atol=1e-10)  # values up to 50, eps 1e-16
    assert (loud - quiet).std() > 0.5


def test_trials_differ_and_do_not_depend_on_their_number():
    one = load("roessler", n_trials=1, **SHORT)["observed"].values
    three = load("roessler", n_trials=3, **SHORT)["observed"].values
    np.testing.assert_array_equal(one[0], three[0])
    assert np.abs(three[0] - three[1]).max() > 0.1
    assert np.abs(three[1] - three[2]).max() > 0.1


def test_partial_observation_is_a_part_of_the_whole():
    whole = load("lorenz63", noise=0.1, **SHORT)
    part = load("lorenz63", noise=0.1, observed=["z", 0], **SHORT)
    np.testing.assert_array_equal(part["observed"].values, whole["observed"].values[..., [2, 0]])
    assert part["feature"].values.tolist() == ["z", "x"]
    assert part.attrs["mean"] == [Lorenz63().mean[2], 0.0]


def test_scaling_of_untabulated_parameters_does_not_depend_on_the_sample():
    first, second = (load("lorenz63", rho=35.0, random_state=seed, **SHORT).attrs["scale"] for seed in (0, 1))
    assert first == second
    assert first[0] > Lorenz63().scale[0]  # the attractor grows with rho


def test_symmetric_recordings_visit_both_wings_alike():
    rec = load("lorenz63", n_steps=3_000, n_trials=10, transient=5.0, random_state=5, rtol=1e-5, atol=1e-5)
    x = rec["observed"].sel(feature="x").values
    # 300 time units with a correlation time of about 1 (some 1.2 wing changes a unit): sd of the mean 0.06 or so; five of them
    assert abs(x.mean()) < 0.3
    assert x.min() < -1.5 < 1.5 < x.max()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lorenz63", {"roh": 28}, "no parameter 'roh'.*Did you mean 'rho'"),
        ("lorenz63", {"rho": float("nan")}, "'rho' of lorenz63 must be a finite number"),
        ("lorenz63", {"noise": -0.1}, "noise must be"),
        ("lorenz63", {"dt": 0.0}, "dt must be"),
        ("lorenz63", {"n_steps": 0}, "n_steps must be"),
        ("lorenz63", {"n_trials": 0}, "n_trials must be"),
        ("lorenz63", {"random_state": -1}, "random_state must be"),
        ("lorenz63", {"observed": ["x", "w"], **SHORT}, "'w', which is no channel"),
        ("lorenz63", {"observed": ["x", "x"], **SHORT}, "each once"),
        ("lorenz63", {"rho": 0.5, **SHORT}, "comes to rest"),
        ("roessler", {"a": 0.6, **SHORT}, "ran away at t"),
        ("lorenz96", {"n_dims": 3}, "n_dims >= 4"),
        ("lorenz96", {"n_dims": 20.5}, "'n_dims' of lorenz96 must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name, options, message):
    with pytest.raises(DatasetError, match=message):
        load(name, **options)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownDatasetError, match=r"'rossler'\. Did you mean 'roessler'"):
        load("rossler")


def test_available_lists_every_loadable_name():
    table = available()
    assert {"lorenz63", "lorenz96", "roessler", "nitime-fmri", "nitime-grasshopper"} <= set(table.index)
    assert not table.loc["lorenz63", "extra"]
    assert table.loc["nitime-fmri", "extra"] == "datasets"
