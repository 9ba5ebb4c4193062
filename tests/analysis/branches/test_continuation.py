"""Bifurcations in closed form, met on branches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import dynrnn as dr
from dynrnn.analysis import PiecewiseLinearMap, continuation
from dynrnn.errors import ArgumentError
from dynrnn.results import read_results, write_results

TOLERANCE = 1e-9             # to which events are promised


def logistic(z, p):
    return p * z * (1 - z)


def events(found: xr.Dataset) -> dict[str, float]:
    return dict(zip(found.kind.values.tolist(), found.event_parameter.values.tolist(), strict=True))


def test_the_logistic_map_flips_at_3_and_meets_zero_at_1():
    found = continuation(logistic, [0.6], 2.5, (0.5, 4), dim=1, step=0.05)
    assert found.kind.values.tolist() == ["branch point", "flip"]
    np.testing.assert_allclose(found.event_parameter, [1, 3], atol=TOLERANCE)
    np.testing.assert_allclose(found.event_location.values[:, 0, 0], [0, 2 / 3], atol=TOLERANCE)
    p = found.parameter.values
    np.testing.assert_allclose(found.location.values[:, 0, 0], 1 - 1 / p, atol=1e-12)
    np.testing.assert_allclose(found.multiplier.values[:, 0], 2 - p, atol=1e-11)
    np.testing.assert_allclose(p[[0, -1]], [0.5, 4], atol=1e-14)
    assert found.unstable_before.values.tolist() == [1, 0]
    assert found.unstable_after.values.tolist() == [0, 1]
    assert (np.diff(found.arclength) > 0).all()
    zero = continuation(logistic, [0.0], 0.5, (0.2, 2), dim=1)                       # the other branch through the same point
    assert abs(events(zero)["branch point"] - 1) < TOLERANCE


def test_the_period_3_window_opens_at_a_fold_at_1_plus_the_root_of_8():
    found = continuation(logistic, [0.152], 3.84, (3.7, 3.85), dim=1, period=3)
    assert abs(events(found)["fold"] - (1 + np.sqrt(8))) < TOLERANCE
    x = found.location.values
    np.testing.assert_allclose(x[:, [1, 2, 0], 0], found.parameter.values[:, None] * x[..., 0] * (1 - x[..., 0]), atol=1e-12)
    assert found.ended_low == found.ended_high == "the end of the parameter's range"  # round the fold and back, on the unstable cycle
    at = int(np.argmin(np.abs(found.arclength.values - float(found.event_arclength[found.kind.values.tolist().index("fold")]))))
    assert (np.abs(found.multiplier.values[:at, 0]) > 1).all()


def test_the_2_cycle_ends_where_it_is_born_and_flips_in_its_turn():
    found = continuation(logistic, [0.4794], 3.3, (2.5, 3.6), dim=1, period=2)
    assert found.kind.values.tolist() == ["branch point", "flip"]
    np.testing.assert_allclose(found.event_parameter, [3, 1 + np.sqrt(6)], atol=2 * TOLERANCE)
    assert found.ended_low == "it meets the cycle of period 1"


def test_the_delayed_logistic_map_has_its_neimark_sacker_point_at_2():
    """x' = p x (1 - y), y' = x (Maynard Smith 1968): at x = y = 1 - 1 / p the trace is 1 and det = p - 1, so the multipliers are exp(+-i pi / 3) at p = 2."""

    def delayed(z, p):
        return torch.stack([p * z[..., 0] * (1 - z[..., 1]), z[..., 0]], -1)

    found = continuation(delayed, [0.4, 0.4], 1.6, (0.5, 2.3), dim=2, step=0.05)
    assert found.kind.values.tolist() == ["branch point", "neimark-sacker"]
    np.testing.assert_allclose(found.event_parameter, [1, 2], atol=TOLERANCE)
    np.testing.assert_allclose(found.event_multiplier.values[1], np.exp(1j * np.pi / 3 * np.array([1, -1])), atol=TOLERANCE)
    assert found.unstable_after.values.tolist() == [0, 2]


def test_a_saddle_with_multipliers_m_and_1_over_m_is_no_neimark_sacker_point():
    def saddle(z, p):
        return torch.stack([2 * z[..., 0] + 0 * p, p * z[..., 1]], -1)

    assert events(continuation(saddle, [0.0, 0.0], 0.3, (0.2, 0.9), dim=2)) == {}


def test_a_closed_branch_closes():
    """Fixed points of z' = z + (z^2 + p^2 - 1) / 4 are a circle, with folds at p = +-1."""
    found = continuation(lambda z, p: z + (z**2 + p**2 - 1) / 4, [1.0], 0.0, (-2, 2), dim=1, step=0.05)
    assert found.ended_low == found.ended_high == "it closes"
    np.testing.assert_allclose(found.location.values[:, 0, 0] ** 2 + found.parameter.values**2, 1, atol=1e-12)
    assert sorted(found.kind.values.tolist()) == ["fold", "fold"]
    np.testing.assert_allclose(np.sort(found.event_parameter), [-1, 1], atol=TOLERANCE)


@pytest.mark.parametrize(("slope", "mechanism", "after"), [(-0.7, "persistence", 0), (1.7, "non-smooth fold", 1)])
def test_the_border_collision_of_the_skew_tent_map(slope, mechanism, after):
    """x' = q + x / 2 left of 0, q + slope x right of it, with q = p^2 - 2: the fixed point is at the border at p = sqrt 2."""
    found = continuation(lambda p: PiecewiseLinearMap([0.5], [[slope - 0.5]], [[1.0]], [p**2 - 2], [0.0]), [-2.0], 1.0, (0.5, 2))
    assert found.kind.values.tolist() == ["border collision"]
    assert found.mechanism.values.tolist() == [mechanism]
    np.testing.assert_allclose(found.event_parameter, np.sqrt(2), atol=TOLERANCE)
    np.testing.assert_allclose(found.event_location.values.ravel(), 0, atol=1e-12)
    assert found.unstable_after.values.tolist() == [after]
    x, p = found.location.values[:, 0, 0], found.parameter.values
    np.testing.assert_allclose(x, (p**2 - 2) / np.where(x < 0, 0.5, 1 - slope), atol=1e-9)
    assert p.max() > 1.9 if after == 0 else p.max() < 1.42                           # goes through, or back


def test_a_pair_of_3_cycles_is_born_at_a_border():
    """x' = 1 + a x left of 0, 1 - 3 x right: 0 -> 1 -> -2 -> 1 - 2 a, so x = (1 - 2 a) / (1 + 3 a^2) < 0 and (1 - 2 a) / (1 - 9 a) > 0 meet at a = 1/2."""
    found = continuation(lambda a: PiecewiseLinearMap([a], [[-3 - a]], [[1.0]], [1.0], [0.0]), [-0.1], 0.6, (0.2, 0.9), period=3)
    collision = found.isel(event=found.kind.values == "border collision")
    np.testing.assert_allclose(collision.event_parameter, 0.5, atol=TOLERANCE)
    assert collision.mechanism.values.tolist() == ["non-smooth fold"]
    a, x = found.parameter.values, found.location.values[:, int(collision.unit_phase[0]), 0]
    np.testing.assert_allclose(x, (1 - 2 * a) / np.where(x < 0, 1 + 3 * a**2, 1 - 9 * a), atol=1e-9)
    assert (np.sign(x[[0, -1]]) == [1, -1]).all()


def test_a_model_is_followed_over_its_input_and_its_fixed_points_are_those_of_the_list():
    model = dr.PLRNN(observed_dim=2, latent_dim=2, n_fits=2, input_dim=2, random_state=0)
    with torch.no_grad():
        model.A[:] = 0.5
        model.W[:] = torch.tensor([[0.0, -1.0], [-1.0, 0.0]])
        model.h[:] = 0.5
        model.C[:] = torch.eye(2)
    found = continuation(model, [1.0, -1.0], 0.0, (-2, 2), input=1, inputs=[0.1, 0.0], fit=1, step=0.05)
    assert int(found.fit) == 1
    # h_1 = 0.6, h_2 = 0.5 + u: z_2 = 2 h_2 - 4 h_1 is 0 at u = 0.7, where the saddle, z_1 = (4 h_2 - 2 h_1) / 3, leads back to z_1 = 0 at u = -0.2
    collisions = found.isel(event=found.kind.values == "border collision")
    np.testing.assert_allclose(collisions.event_parameter.values, [0.7, -0.2], atol=TOLERANCE)
    assert collisions.mechanism.values.tolist() == ["non-smooth fold", "non-smooth fold"]
    for at in np.linspace(0, found.sizes["point"] - 1, 12).astype(int):
        listed = dr.analysis.fixed_points(model, inputs=[0.1, float(found.parameter[at])], n_virtual=0)
        every = listed.location.values[1][listed.valid.values[1]]
        assert np.abs(every - found.location.values[at, 0]).max(-1).min() < 1e-9


def test_branches_survive_storage(tmp_path):
    found = continuation(logistic, [0.6], 2.5, (2, 3.2), dim=1)
    write_results(tmp_path / "a.zarr", {"branch": found})
    xr.testing.assert_identical(read_results(tmp_path / "a.zarr")["branch"].to_dataset().load(), found)


@pytest.mark.parametrize(
    ("system", "arguments", "said"),
    [
        (logistic, {"z0": [0.5], "period": 3, "p0": 2.5}, "period"),
        (logistic, {"z0": [0.6], "period": 2, "p0": 2.5}, "cycle of period 1, not 2"),
        (lambda z, p: z + 1 + p * z**2, {"z0": [0.5]}, "does not converge; the start misses by"),
        (logistic, {"z0": [0.6], "p0": 5}, "outside of p_range"),
        (logistic, {"z0": [0.6], "p_range": (3, 1)}, "low < high"),
        (logistic, {"z0": [0.6], "p_range": (1, np.nan)}, "finite"),
        (logistic, {"z0": [0.6, 0.6]}, "shape"),
        (logistic, {"z0": [np.nan]}, "finite"),
        (lambda z, p: 2.5 * z * (1 - z), {"z0": [0.6]}, "ignores p"),
        (lambda z, p: float(p) * z * (1 - z), {"z0": [0.6]}, "no gradient by it"),
        (lambda z, p: torch.tensor((p * z).detach().numpy()), {"z0": [0.6]}, "no gradient"),
        (lambda p: PiecewiseLinearMap([0.5], [[1.0]], [[1.0]], [1.0], [0.0]), {"z0": [0.6], "dim": None}, "ignores p"),
        (logistic, {"z0": [0.6], "step": 0.0}, "step"),
        (logistic, {"z0": [0.6], "period": 700}, "600"),
        (logistic, {"z0": [0.6], "input": 0}, "for models"),
        (dr.PLRNN(2, 2, random_state=0), {"z0": [0.6, 0.6], "dim": None}, "takes no inputs"),
        (dr.PLRNN(2, 2, input_dim=1, n_fits=2, random_state=0), {"z0": [0.6, 0.6], "dim": None, "input": 0}, "pass fit="),
    ],
)
def test_what_cannot_be_followed_is_refused_with_the_reason(system, arguments, said):
    with pytest.raises(ArgumentError, match=said):
        continuation(system, **{"p0": 2.5, "p_range": (1.5, 3.5), "dim": 1} | arguments)
