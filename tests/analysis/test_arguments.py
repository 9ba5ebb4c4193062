"""What the functions of the analysis take alike, and refuse alike: an argument that cannot act is named, and so is what would help."""

import numpy as np
import pytest
import torch

import dynrnn as dr
from dynrnn.analysis import count_regions, cycles, fixed_points, n_fixed, smooth_cycles, smooth_fixed_points, summary
from dynrnn.analysis.piecewise.arrangement import n_regions
from tests.analysis.piecewise.published import LOZI, TENT
from tests.analysis.smooth.systems import TanhRNN, henon


class Henon:
    """An object with ``step`` and ``dim``."""

    dim = 2

    def step(self, z):
        return henon(z)


def test_objects_with_step_and_dim_take_the_smooth_route():
    x = np.sort((-0.7 + np.array([-1, 1]) * np.sqrt(0.49 + 5.6)) / 2.8)             # 1.4 x^2 + 0.7 x - 1 = 0
    found = fixed_points(Henon(), n_starts=64)
    np.testing.assert_allclose(np.sort(found.location.values[0, :, 0]), x, rtol=1e-12)
    assert cycles(Henon(), periods=[2], n_starts=100).valid.sum() == 1


@pytest.mark.parametrize("change", [{"inputs": [1.0]}, {"dim": 7}])
@pytest.mark.parametrize("call", [fixed_points, cycles, lambda map, **change: smooth_fixed_points(map, **change)])
def test_a_bare_map_refuses_what_it_cannot_use(call, change):
    with pytest.raises(dr.ArgumentError, match="inputs are for models" if "inputs" in change else "the system has 2 latent units"):
        call(LOZI, **change)
    assert call(LOZI, **({"dim": 2} if "dim" in change else {})).valid.any()


@pytest.mark.parametrize("change", [{"limit": 5}, {"n_virtual": 3}, {"tolerance": 1e-8}])
def test_fixed_points_of_a_callable_refuse_the_arguments_of_regions(change):
    with pytest.raises(dr.ArgumentError, match=f"{next(iter(change))} would do nothing on the smooth route"):
        fixed_points(henon, dim=2, **change)


@pytest.mark.parametrize("change", [{"limit": 5}, {"words": np.ones((1, 1), bool)}, {"orbits": np.zeros((9, 2))}, {"virtual": True}])
def test_cycles_of_a_callable_refuse_the_arguments_of_regions(change):
    with pytest.raises(dr.ArgumentError, match=f"{next(iter(change))} would do nothing on the smooth route"):
        cycles(henon, 2, dim=2, **change)


@pytest.mark.parametrize("system", [henon, TanhRNN(2, random_state=0), Henon()], ids=["callable", "tanh", "step"])
def test_an_exact_routine_says_what_to_do_with_a_smooth_map(system):
    for call in (lambda: fixed_points(system, dim=2, route="exact"), lambda: cycles(system, 2, dim=2, route="all")):
        with pytest.raises(dr.ArgumentError, match=r"no regions.*route='smooth'"):
            call()
    for call in (
        lambda: dr.analysis.manifolds(system, [0, 0]), lambda: dr.analysis.admissible_graph(system), lambda: count_regions(system),
        lambda: dr.analysis.bifurcations([system, system]), lambda: dr.analysis.basin_boundary(system), lambda: dr.analysis.homoclinic_points(system, [0, 0]),
    ):
        with pytest.raises(dr.ArgumentError, match="no regions") as refused:
            call()
        assert "smooth'" not in str(refused.value)                                  # which these have not


def test_a_map_is_no_partition():
    with pytest.raises(dr.ArgumentError, match="has no regions"):
        dr.analysis.symbolic_code(henon, np.zeros((5, 2)))


def test_routes_and_periods_are_named():
    with pytest.raises(dr.UnknownNameError, match="smooth"):
        cycles(LOZI, route="smoth")
    with pytest.raises(dr.ArgumentError, match=r"period 3 were not asked for.*periods=\[1, 2, 3, 6\]"):
        n_fixed(cycles(TENT, periods=[1, 2, 6]), 6)


def test_regions_are_counted_of_whatever_is_a_map():
    model = dr.ShallowPLRNN(2, 2, 9, n_fits=2, random_state=0)
    with torch.no_grad():
        model.h2 += torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    assert count_regions(model, fit=1) == n_regions(9, 2)
    with pytest.raises(dr.ArgumentError, match="2 fits"):
        count_regions(model)
    assert count_regions((LOZI.A, LOZI.W1, LOZI.W2, LOZI.h1, LOZI.h2)) == 2


@pytest.mark.parametrize("n_relu", [0, 2])
def test_a_search_without_units_that_switch_is_the_list(n_relu):
    """One region: z* = (I - A)^-1 h."""
    model = dr.ALRNN(2, 4, n_relu, random_state=0)
    with torch.no_grad():
        model.h += 1
        model.W[..., 4 - n_relu :] = 0                                              # relu units drive nothing
    found = fixed_points(model, route="search")
    map = dr.analysis.canonical(model).maps[0]
    np.testing.assert_allclose(found.location[0, 0], np.linalg.solve(np.eye(4) - map.A, map.h1), rtol=1e-10)
    assert int(found.n_fixed_points[0]) == 1
    assert bool(found.complete[0])


def test_an_ensemble_of_which_nothing_is_left_has_empty_rows():
    model = dr.ALRNN(2, 4, 2, n_fits=2, random_state=0)
    with torch.no_grad():
        model.W[:] = torch.nan
    points, rings = fixed_points(model), cycles(model, 2)
    for found in (points, rings):
        assert found.status.values.tolist() == ["parameters not finite"] * 2
        assert not found.valid.any()
        assert found.sizes["latent"] == 4
        assert np.isnan(found.n_unseen).all()
    assert points.observed.shape == (2, 0, 2)
    assert dr.analysis.bifurcations([model, model]).n_events.values.tolist() == [0, 0]


def test_a_summary_tells_of_smooth_results():
    text = summary({"fixed_points": fixed_points(henon, dim=2, n_starts=64), "cycles": smooth_cycles(henon, [1, 2], 2, n_starts=100)})
    assert "2 (2 saddles); perhaps not all" in text
    assert "period 2: 1 found (1 saddle)" in text
    ghost = fixed_points(lambda z: z + 1e-3 + z**2, dim=1, n_starts=64)             # q has its minimum where 2 z = 0
    assert "0 and 1 slow point" in summary({"fixed_points": ghost})


def test_a_models_smooth_points_are_read_out():
    model = TanhRNN(2, n_fits=2, random_state=0)
    with torch.no_grad():
        model.data_mean += 3.0
    found = fixed_points(model, n_starts=64)
    here = found.valid.values
    np.testing.assert_allclose(found.observed.values[here], found.location.values[here] + 3.0, rtol=1e-12)
    assert not found.virtual.any()
