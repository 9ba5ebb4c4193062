"""Orbit diagrams: exponents and cycles in closed form at every value, however the runs are batched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import PiecewiseLinearMap, orbit_diagram
from dynrnn.errors import ArgumentError
from dynrnn.results import read_results, write_results
from tests.models.families import with_readout

VALUES = np.array([1.5, 2.5, 3.2, 3.5, 4.0])


def logistic(p):
    return lambda z: p * z * (1 - z)


def logistic_of_numbers(p):
    """As above, but of a number alone, so that it goes in a loop."""
    r = float(p)
    return lambda z: r * z * (1 - z)


def test_cycles_and_exponents_of_the_logistic_map(tmp_path):
    found = orbit_diagram(logistic, VALUES, box=(0.1, 0.9), dim=1, n_steps=500, transient=500, n_samples=32)
    seen = found.observable.values[0]
    assert [len(np.unique(one.round(6))) for one in seen[:4]] == [1, 1, 2, 4]
    np.testing.assert_allclose(seen[:2].reshape(2, -1), np.repeat(1 - 1 / VALUES[:2, None], seen[0].size, 1), atol=1e-12)
    p = VALUES[2]                                                                    # the 2-cycle has the multiplier 4 + 2 p - p^2
    exact = [np.log(0.5), np.log(0.5), 0.5 * np.log(abs(4 + 2 * p - p**2))]
    np.testing.assert_allclose(found.exponent.values[0, :3], exact, atol=1e-12)
    assert abs(float(found.exponent[0, 4]) - np.log(2)) < 5 * float(found.exponent_standard_error[0, 4])
    assert 0 < float(found.exponent_standard_error[0, 4]) < 0.02
    write_results(tmp_path / "a.zarr", {"diagram": found})
    xr.testing.assert_identical(read_results(tmp_path / "a.zarr")["diagram"].to_dataset().load(), found)


def test_batched_and_looped_runs_are_the_same_and_nothing_is_carried_from_value_to_value():
    arguments = {"box": (0.1, 0.9), "dim": 1, "n_steps": 100, "transient": 50, "n_samples": 16, "n_starts": 3}
    batched, looped = orbit_diagram(logistic, VALUES, **arguments), orbit_diagram(logistic_of_numbers, VALUES, **arguments)
    xr.testing.assert_allclose(batched.isel(parameter=slice(4)), looped.isel(parameter=slice(4)), rtol=1e-9)
    alone = orbit_diagram(logistic_of_numbers, VALUES[3:4], **arguments)
    xr.testing.assert_identical(alone, looped.isel(parameter=slice(3, 4)))


def test_a_map_of_two_variables_is_batched_too():
    def henon(p):
        return lambda z: torch.stack([1 - p * z[..., 0] ** 2 + z[..., 1], 0.3 * z[..., 0]], -1)

    values = np.array([0.1, 0.2, 0.3])
    found = orbit_diagram(henon, values, box=(-0.1, 0.1), dim=2, n_steps=100, n_samples=4, observable=lambda z: z[..., 0] + z[..., 1])
    x = (-0.7 + np.sqrt(0.49 + 4 * values)) / (2 * values)
    np.testing.assert_allclose(found.observable.values[0, :, 0, 0], 1.3 * x, atol=1e-9)
    mu = -values * x - np.sqrt((values * x) ** 2 + 0.3)
    np.testing.assert_allclose(np.exp(found.exponent.values[0]), abs(mu), rtol=1e-3)  # a bounded term over 100 steps remains


def test_stacks_of_maps_and_a_model_over_its_input():
    tent = orbit_diagram(lambda s: PiecewiseLinearMap([s], [[-2 * s]], [[1.0]], [0.0], [-0.5]), [1.2, 1.7], box=(0.2, 0.8), n_steps=100, n_samples=4)
    np.testing.assert_allclose(np.exp(tent.exponent.values), [[1.2, 1.7]], rtol=1e-12)
    model = dr.PLRNN(observed_dim=2, latent_dim=2, n_fits=3, input_dim=1, random_state=0)
    with torch.no_grad():
        model.A[:] = torch.tensor([[0.5, 0.3], [np.nan, 0.5], [2.0, 0.3]])
        model.W[:], model.h[:], model.C[:] = 0.0, 0.0, torch.tensor([[1.0], [0.0]])
    found = orbit_diagram(model, [-1.0, 0.5], input=0, n_steps=100, n_samples=4)
    np.testing.assert_allclose(found.observable.values[0, :, 0, 0], [-2, 1], atol=1e-12)      # z = u / (1 - 1/2)
    np.testing.assert_allclose(found.exponent.values[0], np.log(0.5), atol=1e-12)
    assert found.status.values[:, 0].tolist() == ["analysed", "parameters not finite", "every orbit diverges"]
    assert np.isnan(found.exponent.values[1:]).all()
    assert not found.valid.values[1:].any()


def test_maxima_of_a_rotation_are_its_amplitude():
    def rotation(p):
        c, s = np.cos(p), np.sin(p)
        return PiecewiseLinearMap([[c, -s], [s, c]], np.zeros((2, 0)), np.zeros((0, 2)), [0.0, 0.0], [])

    angle = 2 * np.pi / 8
    found = orbit_diagram(rotation, [angle], starts=[[1.0, 0.0], [0.0, 2.0]], n_steps=16, n_samples=32, transient=8, warmup=8, maxima=True)
    for start, radius in enumerate([1.0, 2.0]):
        tops = found.observable.values[0, 0, start][found.valid.values[0, 0, start]]
        np.testing.assert_allclose(tops, radius, atol=1e-12)
        assert 3 <= len(tops) <= 4                                                   # four turns, of which the first or last may be cut
    np.testing.assert_allclose(found.exponent.values, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("system", "arguments", "said"),
    [
        (logistic, {"values": [1.0, 3.0, 2.0]}, r"values must increase, but values\[1\] = 3"),
        (logistic, {"values": [1.0, np.nan]}, r"values\[1\] is not finite"),
        (logistic, {"values": []}, "at least one"),
        (logistic, {"values": [[1.0]]}, "shape"),
        (logistic, {"n_starts": 1}, "n_starts"),
        (logistic, {"box": (1, 0)}, "empty"),
        (logistic, {"starts": [[0.5]], "box": None}, "at least 2"),
        (logistic, {"observable": 1}, "observable"),
        (logistic, {"observable": lambda z: z}, "observable must take"),
        (lambda p: lambda z: 2.0 * z * (1 - z), {}, "ignores the parameter"),
        (lambda p: lambda z: torch.tensor((p * z).detach().numpy()), {}, "no gradient"),
        (0.5, {}, "a model, or a function"),
        (logistic, {"input": 0}, "input"),
        (dr.PLRNN(2, 2, random_state=0), {"box": None, "dim": None}, "takes no inputs"),
    ],
)
def test_bad_diagrams_are_refused(system, arguments, said):
    arguments = {"values": [1.5, 2.5], "box": (0.1, 0.9), "dim": 1, "n_steps": 20, "n_samples": 4, "transient": 10} | arguments
    with pytest.raises(ArgumentError, match=said):
        orbit_diagram(system, arguments.pop("values"), **arguments)


def test_reservoirs_start_from_the_states_of_observations():
    """Random units would lead a closed loop elsewhere: without starts they are those that a generation has."""
    model = with_readout(dr.ESN(2, 12, input_dim=1, random_state=0))
    options = {"input": 0, "n_steps": 20, "n_samples": 4, "transient": 5, "warmup": 5}
    drawn = orbit_diagram(model, [0.0, 0.5], n_starts=3, random_state=4, **options)
    given = orbit_diagram(model, [0.0, 0.5], starts=model.random_states(3, 4)[0].numpy(), random_state=4, **options)
    np.testing.assert_array_equal(drawn.observable, given.observable)
