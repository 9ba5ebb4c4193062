"""Chains of additive maps: their steps one after the other, Jacobians against autograd, forcing before the first stage, packed sequences."""

from __future__ import annotations

import pytest
import torch

from dynrnn_kernels import additive
from dynrnn_kernels.chain import ChainMap, forced_sequence, jacobian, step
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.recurrences import recurrence_of
from tests.kernels.maps import random_map


def chain(seed=0, F=2, M=4, K=2):
    """Three stages of which the middle one takes no input."""
    g = torch.Generator().manual_seed(seed)
    stages = tuple(random_map(g, phi, "dense", F, M, H, k, False) for phi, H, k in (("tanh", 5, K), ("relu", 3, 0), ("tanh", 6, K)))
    z = torch.randn(F, 3, M, generator=g, dtype=torch.float64)
    return ChainMap(stages), z, torch.randn(F, 3, 7, K, generator=g, dtype=torch.float64), g


def test_a_step_is_the_stages_one_after_the_other():
    map, z, u, _ = chain()
    by_hand = additive.step(map.stages[0], z, u[:, :, 0])
    by_hand = additive.step(map.stages[2], additive.step(map.stages[1], by_hand, None), u[:, :, 0])
    torch.testing.assert_close(step(map, z, u[:, :, 0]), by_hand, rtol=0, atol=0)
    alone = ChainMap(map.stages[:1])
    torch.testing.assert_close(step(alone, z, u[:, :, 0]), additive.step(map.stages[0], z, u[:, :, 0]), rtol=0, atol=0)
    assert recurrence_of(map).step is step


def test_the_jacobian_is_autograds():
    map, z, u, _ = chain(1)
    auto = torch.autograd.functional.jacobian(lambda z: step(map, z, u[:, :, 0]).sum(1), z)
    for f in range(2):
        torch.testing.assert_close(jacobian(map, z, u[:, :, 0])[f], auto[f, :, f].transpose(0, 1), rtol=1e-10, atol=1e-12)


def test_a_chain_of_one_is_its_additive_map_forced_and_packed():
    map, z, u, g = chain(2)
    alone, target = ChainMap(map.stages[:1]), torch.randn(2, 3, 7, 4, generator=g, dtype=torch.float64)
    weight = torch.rand(2, 3, 7, 4, generator=g, dtype=torch.float64) * (torch.rand(2, 3, 7, 4, generator=g) < 0.6)
    target[weight == 0] = float("nan")
    want = additive.forced_sequence(map.stages[0], z, target, weight, u, backend="cpu")
    torch.testing.assert_close(forced_sequence(alone, z, target, weight, u, backend="cpu"), want, rtol=1e-10, atol=1e-12)
    lengths = [3, 7, 1]
    pack = lambda x: torch.cat([x[:, b, :n] for b, n in enumerate(lengths)], 1)  # noqa: E731
    packed = forced_sequence(map, z, pack(target), pack(weight), pack(u), lengths=lengths)
    torch.testing.assert_close(packed, pack(forced_sequence(map, z, target, weight, u)), rtol=0, atol=0)


def test_gradients_and_tensors():
    map, z, u, _ = chain(3)
    tensors = {name: value.clone().requires_grad_() for name, value in map.tensors().items()}
    nothing = torch.zeros(2, 3, 7, 4, dtype=torch.float64)
    out = forced_sequence(map.with_tensors(tensors), z, nothing, 0.0, u)
    grads = torch.autograd.grad(out.sum(), list(tensors.values()))
    name, eps = "1.W1", 1e-6
    up, down = (map.with_tensors(tensors | {name: tensors[name] + sign * eps * (torch.arange(24).reshape(2, 4, 3) == 5)}) for sign in (1, -1))
    slope = (forced_sequence(up, z, nothing, 0.0, u).sum() - forced_sequence(down, z, nothing, 0.0, u).sum()) / (2 * eps)
    torch.testing.assert_close(grads[list(tensors).index(name)].flatten()[5], slope, rtol=1e-6, atol=1e-8)
    assert map.to(torch.float32).tensors()["2.h1"].dtype == torch.float32


def test_what_does_not_fit_is_refused():
    g = torch.Generator().manual_seed(0)
    one, other, inputs = (random_map(g, "tanh", "dense", 1, M, 3, K, False) for M, K in ((4, 0), (5, 0), (4, 3)))
    with pytest.raises(KernelError, match="all of the same fits and latent units"):
        ChainMap((one, other))
    with pytest.raises(KernelError, match="must take equally many"):
        ChainMap((inputs, random_map(g, "tanh", "dense", 1, 4, 3, 2, False)))
    with pytest.raises(KernelError, match="backend must be one of"):
        forced_sequence(ChainMap((one,)), torch.zeros(1, 1, 4, dtype=torch.float64), torch.zeros(1, 1, 2, 4, dtype=torch.float64), 0.0, backend="cuda")
    with pytest.raises(KernelError, match="takes 3 inputs"):
        forced_sequence(ChainMap((one, inputs)), torch.zeros(1, 1, 4, dtype=torch.float64), torch.zeros(1, 1, 2, 4, dtype=torch.float64), 0.0)
