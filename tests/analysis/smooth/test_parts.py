"""The parts of the search: Jacobians, Newton's error bound, grouping and the estimate of what was not seen."""

from __future__ import annotations

import numpy as np
import torch

from dynrnn.analysis.chao import unseen
from dynrnn.analysis.smooth.groups import components, distinct, whitening
from dynrnn.analysis.smooth.newton import MINIMUM, ROOT, newton_errors, solve
from dynrnn.analysis.smooth.shooting import shooting
from dynrnn.analysis.smooth.system import smooth_maps
from tests.analysis.smooth.systems import TanhRNN, henon


def test_jacobians_of_callables_are_those_of_torch_func():
    W = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def f(z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ W.T) * z.roll(1, -1)

    z = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    map = smooth_maps(f, 4).maps[0]
    assert torch.allclose(map.jacobian(z), torch.func.vmap(torch.func.jacrev(f))(z), rtol=0, atol=1e-14)


def test_closed_form_jacobians_of_models_are_those_of_their_step():
    map = smooth_maps(TanhRNN(3, random_state=0)).maps[0]
    z = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(map.jacobian(z), torch.func.vmap(torch.func.jacrev(lambda x: map.step(x[None])[0]))(z), rtol=0, atol=1e-14)


def test_the_jacobian_of_shooting_is_that_of_its_residual():
    map = smooth_maps(henon, 2).maps[0]
    for k in (1, 2, 5):
        residual, jacobian = shooting(map, k)
        x = torch.randn(3, 2 * k, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        expected = torch.stack([torch.autograd.functional.jacobian(lambda row, f=residual: f(row[None])[0], row) for row in x])
        assert torch.allclose(jacobian(x), expected, rtol=0, atol=1e-13)


def test_newtons_error_bound_holds():
    # x^2 = 2 and 3 beside each other; the bound must hold for roots that are polished, and for those that are off by 1e-9
    target = torch.tensor([2.0, 3.0], dtype=torch.float64)
    functions = (lambda x: x**2 - target, lambda x: torch.diag_embed(2 * x))
    found = solve(*functions, np.random.default_rng(0).uniform(0.5, 3, (20, 2)), radius=5.0)
    assert (found.state == ROOT).all()
    error = newton_errors(functions[1], found.x, found.r)[0]
    assert (np.linalg.norm(found.x - np.sqrt([2.0, 3.0]), axis=-1) <= error).all()
    off = found.x + 1e-9
    off_error = newton_errors(functions[1], off, functions[0](torch.tensor(off)).numpy())[0]
    distance = np.linalg.norm(off - np.sqrt([2.0, 3.0]), axis=-1)
    assert (distance <= off_error).all()
    assert (off_error < 10 * distance).all()


def test_minima_that_are_no_roots_are_told():
    found = solve(lambda x: x**2 + 0.1, lambda x: torch.diag_embed(2 * x), np.linspace(-1, 1, 9)[:, None] + 0.01, radius=2.0)
    assert (found.state == MINIMUM).all()
    assert np.allclose(found.x, 0, atol=1e-4)


def test_groups_are_components_not_rounding():
    # a chain of steps below the radius is one; pairs on the two sides of a rounding boundary are one too
    chain = np.arange(10)[:, None] * 0.9
    assert len(set(components(chain, 1.0))) == 1
    assert len(set(components(chain, 0.5))) == 10
    pair = np.array([[0.49999999], [0.50000001]])
    best, hits = distinct(pair, np.full(2, 1e-6), np.array([1.0, 0.5]))
    assert best.tolist() == [1]
    assert hits.tolist() == [2]
    # points of one owner are one node, as rotations of one cycle are
    assert len(set(components(np.array([[0.0], [1.0], [1.0], [0.0]]), 0.1, np.array([0, 0, 1, 1])))) == 1


def test_the_estimate_of_unseen_objects_is_of_the_right_size():
    # 50 equally likely objects, 60 draws: about 50 exp(-1.2) = 15 are missed, and Chao's estimate is unbiased for equal chances
    missed, estimated = [], []
    rng = np.random.default_rng(0)
    for _ in range(400):
        hits = np.bincount(rng.integers(50, size=60), minlength=50)
        missed.append((hits == 0).sum())
        estimated.append(unseen(hits[hits > 0]))
    assert abs(np.mean(estimated) - np.mean(missed)) < 4 * np.std(estimated) / 20    # 400 draws: 4 standard errors


def test_whitened_coordinates_have_unit_variance():
    z = np.random.default_rng(0).standard_normal((500, 3)) @ np.array([[3.0, 1, 0], [0, 1, 0], [0, 0.5, 2]])
    assert np.allclose(np.cov((z @ whitening(z)).T), np.eye(3), atol=1e-10)
