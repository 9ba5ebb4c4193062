"""The compiled RAdam step against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn_kernels.radam import radam_step


def ours(theta, grads, rates):
    first, second, fresh = np.zeros_like(theta), np.zeros_like(theta), np.empty((3, len(theta)), theta.dtype)
    count = 0
    for grad, rate in zip(grads, rates, strict=True):
        count += radam_step(theta, grad, first, second, count, rate, fresh)
    return theta, first, second


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-6)])      # a few roundings a step, 40 steps
def test_equal_to_torch_through_the_rectification(dtype, tolerance):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(11).astype(dtype), rng.standard_normal((40, 11)).astype(dtype)    # rectified from the 6th step on
    rates = 1e-2 * 0.9 ** np.arange(40)
    p = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.RAdam([p], lr=1.0)
    for grad, rate in zip(grads, rates, strict=True):
        optimiser.param_groups[0]["lr"] = rate
        p.grad = torch.tensor(grad)
        optimiser.step()
    theta, _, _ = ours(start.copy(), grads, rates)
    np.testing.assert_allclose(theta, p.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])                    # 1e30 squared overflows float32: the second moment would stay inf
def test_a_step_that_is_not_finite_changes_nothing(bad):
    theta, first, second = np.ones(3, np.float32), np.full(3, 0.1, np.float32), np.full(3, 0.2, np.float32)
    grad = np.array([0.1, bad, 0.1], np.float32)
    assert not radam_step(theta, grad, first, second, 3, 1e-3, np.empty((3, 3), np.float32))
    assert theta.tolist() == [1.0] * 3
    assert np.array_equal(first, np.full(3, 0.1, np.float32))
    assert np.array_equal(second, np.full(3, 0.2, np.float32))
