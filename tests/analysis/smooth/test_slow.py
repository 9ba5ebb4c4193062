"""Ghosts of folds, line attractors and other continua, all with known places and speeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn.analysis.smooth import smooth_fixed_points
from tests.analysis.smooth.systems import fold

# relaxes onto the diagonal at 0.5 a step and keeps its place along it
P = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [1e-2, 1e-3])
def test_the_ghost_of_a_fold_is_a_slow_point(epsilon: float):
    found = smooth_fixed_points(fold(epsilon), 2)
    assert found.kind.values.tolist() == [["slow point"]]
    # |F - z| = epsilon + x^2 on the axis; at |grad q| = 1e-7 |F - z| the place is known to 1e-7 / 2, at a stalled descent to 1e-4 / 2
    assert np.allclose(found.location, 0, atol=1e-4)
    assert np.isclose(found.speed.item(), epsilon, rtol=1e-6)
    assert np.isclose(found.q.item(), epsilon**2 / 2, rtol=1e-6)
    assert np.abs(found.eigenvalue.values[0, 0] - 1).min() < 1e-3
    assert found.index_sum.item() == 0


@pytest.mark.parametrize("epsilon", [-1e-2, -1e-3])
def test_before_the_fold_there_are_two_fixed_points(epsilon: float):
    found = smooth_fixed_points(fold(epsilon), 2)
    assert found.kind.values.tolist() == [["fixed point"] * 2]
    assert np.allclose(found.location.values[0], [[-np.sqrt(-epsilon), 0], [np.sqrt(-epsilon), 0]], atol=1e-14 / np.sqrt(-epsilon))
    assert found.stability.values.tolist() == [["sink", "saddle"]]
    assert found.index.values.tolist() == [[1, -1]]


def test_at_the_fold_there_is_one_fixed_point_without_an_index():
    found = smooth_fixed_points(fold(0.0), 2)
    assert found.kind.values.tolist() == [["fixed point"]]
    assert found["index"].item() == 0
    assert found.stability.item() == "non-hyperbolic"


def test_an_integrator_of_two_neurons_is_a_line_attractor():
    found = smooth_fixed_points(lambda z: z @ P.T, 2)
    assert set(found.kind.values.ravel()) == {"line attractor"}
    z = found.location.values[0]
    assert np.allclose(z[:, 0], z[:, 1], atol=1e-9)                                  # where the projection onto slow states stops
    assert np.ptp(z[:, 0]) > 2
    assert (found.dimension == 1).all()
    assert (found.drift < 1e-12).all()
    assert (found["index"] == 0).all()


def test_a_leaky_integrator_has_a_drift_and_one_fixed_point():
    leak = 1e-3
    found = smooth_fixed_points(lambda z: (1 - leak) * z @ P.T, 2)
    kind = found.kind.values[0]
    assert (kind == "fixed point").sum() == 1
    assert np.allclose(found.location.values[0, kind == "fixed point"], 0, atol=1e-12)
    assert found.group.values[0, 0] == 0                                             # the fixed point lies on the line
    line = found.isel(fit=0, fixed_point=kind == "line attractor")
    assert line.sizes["fixed_point"] > 10
    # on the diagonal one step is -leak z
    assert np.allclose(line.drift, leak * np.linalg.norm(line.location, axis=-1), rtol=1e-6, atol=1e-12)


def test_a_line_with_constant_drift_has_no_fixed_point():
    found = smooth_fixed_points(lambda z: z @ P.T + 1e-3, 2)
    assert set(found.kind.values.ravel()) == {"line attractor"}
    assert np.allclose(found.drift, 1e-3 * np.sqrt(2), rtol=1e-6)


def test_a_ring_is_found_beside_the_source_in_its_middle():
    def ring(z: torch.Tensor) -> torch.Tensor:
        r = z[..., :2].norm(dim=-1, keepdim=True)
        return torch.cat([z[..., :2] * (1 + 0.5 * (1 - r)), 0.3 * z[..., 2:]], -1)

    found = smooth_fixed_points(ring, 3)
    kind = found.kind.values[0]
    assert (kind == "fixed point").sum() == 1
    on = found.location.values[0, kind == "line attractor"]
    assert np.allclose(np.linalg.norm(on, axis=-1), 1, atol=1e-9)
    angle = np.sort(np.arctan2(on[:, 1], on[:, 0]))
    assert np.diff(np.append(angle, angle[0] + 2 * np.pi)).max() < 0.6               # all round
    assert (found.dimension.values[0, kind == "line attractor"] == 1).all()


@pytest.mark.parametrize(("diagonal", "dimension"), [([1.0, 1.0, 0.5, 0.3], 2), ([1.0, 1.5, 0.5], 1)])
def test_planes_and_repelling_lines_are_continua(diagonal: list[float], dimension: int):
    scale = torch.tensor(diagonal, dtype=torch.float64)
    found = smooth_fixed_points(lambda z: z * scale, len(diagonal))
    assert set(found.kind.values.ravel()) == {"continuum"}
    assert (found.dimension == dimension).all()


@pytest.mark.parametrize("mu", [0.9, 0.99, 0.999])
def test_a_sink_that_is_slow_in_all_directions_is_no_continuum(mu: float):
    # a finely sampled flow: every multiplier is near 1, none nearer than the others
    scale = mu * torch.tensor([[np.cos(0.01), -np.sin(0.01)], [np.sin(0.01), np.cos(0.01)]], dtype=torch.float64)
    found = smooth_fixed_points(lambda z: z @ scale.T, 2)
    assert found.kind.values.tolist() == [["fixed point"]]
    assert found.stability.item() == "sink"
