"""Settings and spaces: flat tables that make models, and what cannot make one is told before any work."""

import numpy as np
import optuna
import pytest
import torch

import dynrnn as dr
from dynrnn.study.setting import SIZES, arguments_of, build, shape_of, side_by_side, starting_point
from dynrnn.study.space import SPACES, as_space, distribution

RECORDING = dr.as_recording(np.random.default_rng(0).standard_normal((300, 3)))


@pytest.mark.parametrize("family", dr.MODELS)
def test_every_family_has_a_space_whose_corners_make_models(family):
    space = as_space(None, family, RECORDING)
    assert set(space) == set(SPACES[family])
    assert all(isinstance(d, optuna.distributions.BaseDistribution) for d in space.values())


@pytest.mark.parametrize("name", [name for name, row in dr.PUBLISHED.items() if row.family in ("shallow-plrnn", "alrnn", "esn")])
def test_a_published_setting_as_a_table_makes_what_published_makes(name):
    changes = {} if dr.PUBLISHED[name].arguments["observed_dim"] == 1 else {"observed_dim": 3}
    recording = RECORDING if changes else dr.as_recording(np.random.default_rng(0).standard_normal((300, 1)))
    one, settings = dr.published(name, **changes, n_fits=2, random_state=7)
    two, training = build(starting_point(name), recording, 2, 7)
    assert one.config() == two.config()
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())
    assert {key: value for key, value in training.items() if key in settings} == settings


def test_learning_rates_and_strengths_have_ends():
    _, training = build({"model": "plrnn", "alpha": 0.4, "alpha_end": 0.1, "learning_rate": 1e-2}, RECORDING, 1, 0)
    assert training["forcing"].alpha == (0.4, 0.1)
    assert training["learning_rate"] == (1e-2, pytest.approx(1e-4))
    _, training = build({"model": "plrnn", "forcing": "sparse", "interval": 5, "learning_rate_end": 1e-6}, RECORDING, 1, 0)
    assert training["forcing"] == dr.SparseTeacherForcing(5)
    assert training["learning_rate"] == (1e-3, 1e-6)


def test_latent_units_are_at_least_as_many_as_channels():
    model, _ = build({"model": "alrnn"}, dr.as_recording(np.random.default_rng(0).standard_normal((99, 25))), 1, 0)
    assert model.latent_dim == 25 > SIZES["alrnn"]["latent_dim"]


def test_names_are_those_of_the_family():
    assert "hidden_dim" in arguments_of("shallow-plrnn")
    assert "hidden_dim" not in arguments_of("alrnn")
    assert "interval" in arguments_of("alrnn", "sparse")
    assert "interval" not in arguments_of("alrnn", "gtf")
    assert "alpha" not in arguments_of("esn")
    assert not set(arguments_of("esn")) & {"W", "n_fits", "random_state", "n_updates"}
    with pytest.raises(dr.UnknownNameError, match="Did you mean 'hidden_dim'"):
        build({"model": "shallow-plrnn", "hiden_dim": 5}, RECORDING, 1, 0)
    with pytest.raises(dr.UnknownNameError, match="Did you mean 'sparse'"):
        arguments_of("alrnn", "spares")
    with pytest.raises(dr.UnknownNameError, match="Did you mean 'gtf-default'"):
        starting_point("gtf-defalt")
    with pytest.raises(dr.ArgumentError, match="names its model"):
        starting_point({"alpha": 0.1})


def test_settings_that_differ_only_where_fits_may_differ_have_one_shape():
    one = {"model": "alrnn", "alpha": 0.1, "latent_dim": 20}
    assert shape_of(one) == shape_of(one | {"alpha": 0.2})
    assert shape_of(one) != shape_of(one | {"latent_dim": 21})
    assert shape_of(one) != shape_of({k: v for k, v in one.items() if k != "alpha"})
    esn = {"model": "esn", "ridge": 1e-6}
    assert shape_of(esn) != shape_of(esn | {"ridge": 1e-5})
    assert side_by_side([one, one | {"alpha": 0.2}], 2)["alpha"].tolist() == [0.1, 0.1, 0.2, 0.2]


def test_forms_of_a_range():
    Float, Int = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
    assert distribution("a", (1, 5)) == Int(1, 5)
    assert distribution("a", (1, 5.0)) == Float(1, 5)
    assert distribution("a", "1e-4..1e-2:log") == Float(1e-4, 1e-2, log=True)
    assert distribution("a", "0..0.1:step=0.01") == Float(0, 0.1, step=0.01)
    assert distribution("a", "10..50:step=5") == Int(10, 50, step=5)
    assert distribution("a", "-2..-1") == Int(-2, -1)
    assert distribution("a", [True, False]).choices == (True, False)
    assert distribution("a", "none,2,x").choices == (None, 2, "x")


@pytest.mark.parametrize(("space", "said"), [
    ({}, "space is empty"),
    ({"alhpa": (0, 1)}, "Did you mean 'alpha'"),
    ({"alpha": (0.5, 0.1)}, "from 0.5 to 0.1 is empty"),
    ({"alpha": "0..1:log"}, "begins above 0"),
    ({"alpha": (0.1, 2.0)}, r"alpha must lie within \[0, 1\]"),
    ({"learning_rate": (1e-3, 1e18)}, r"learning_rate must lie within \[1e-30, 1000\]"),
    ({"sequence_length": (50, 5_000)}, "sequence_length"),
    ({"latent_dim": (1, 4)}, "latent_dim must be at least observed_dim = 3"),
    ({"hidden_dim": "20.."}, "is no range"),
    ({"hidden_dim": (20, float("nan"))}, "ends at finite numbers"),
    ({"alpha": "0..1:step=0"}, "a step is a number above 0"),
    ({"alpha": "0..1:step=2.0"}, "no longer than the range"),
    ({"hidden_dim": "10..20:step=few"}, "got 'few'"),
    ({"alpha": []}, "one or more"),
    ({"alpha": {"low": 1}}, "is no range"),
    ({"model": ["alrnn", "plrnn"]}, "not a parameter to vary"),
    ("alpha", "must be a table"),
])
def test_spaces_that_cannot_work_are_told_before_the_first_trial(space, said):
    with pytest.raises(dr.ArgumentError, match=said):
        as_space(space, "shallow-plrnn", RECORDING)


def test_what_is_fixed_is_not_varied():
    with pytest.raises(dr.ArgumentError, match="fixed and varied at once"):
        as_space({"alpha": (0.1, 0.2)}, {"model": "plrnn", "alpha": 0.1}, RECORDING)
