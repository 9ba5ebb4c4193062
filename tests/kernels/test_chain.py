"""Chains of additive maps: their steps one after the other, Jacobians against autograd, compiled orbits and tangents against torch, forcing before the first
stage, packed sequences."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

from dynrnn_kernels import additive
from dynrnn_kernels.additive.tangent import random_frames
from dynrnn_kernels.chain import ChainMap, carry, forced_sequence, jacobian, orbit, step, tangents
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


def run_of(seed, phis=("tanh", "relu", "clipped"), S=11, T=9):
    """A chain of stages with unequal units and tags, of which the middle one takes no input, with states, frames and inputs. F = 2; S fills no whole lanes."""
    g = torch.Generator().manual_seed(seed)
    shapes = zip(phis, ("dense", "selection", "identity"), (5, 3, 6), (2, 0, 2), strict=True)
    map = ChainMap(tuple(random_map(g, phi, w2, 2, 6, H, K, True) for phi, w2, H, K in shapes))
    z = torch.randn(2, S, 6, generator=g, dtype=torch.float64)
    return map, z, random_frames((2, S, 4, 6), np.random.default_rng(seed)), torch.randn(1, S, T, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("phis", [("tanh", "relu", "clipped"), ("basis", "tanh", "identity")])
def test_compiled_orbits_and_tangents_are_the_reference(phis):
    """To the roundings of nine steps; the second trajectory, which comes as near as 1e-3 e^-7 before it is put back, to 1e-14 over that."""
    map, z, Q, u = run_of(5, phis)
    torch.testing.assert_close(orbit(map, z, 9, u), orbit(map, z, 9, u, backend="reference"), rtol=1e-12, atol=1e-12)
    given = dict(n_steps=9, interval=torch.tensor([1, 2]), u=u, pair=z + 1e-3 * Q[:, :, 0], distance=1e-3, keep_path=True)
    got, want = carry(map, z, Q, **given), carry(map, z, Q, **given, backend="reference")
    torch.testing.assert_close(got.z, want.z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.path, want.path, rtol=1e-12, atol=1e-12)
    assert ((got.log_r - want.log_r).abs() <= 1e-12 * torch.exp(want.widest)[..., None]).all()
    assert ((got.Q * want.Q).sum(-1).abs() - 1).abs().max() < 1e-10
    torch.testing.assert_close(got.log_pair, want.log_pair, rtol=0, atol=1e-8)
    assert (got.failed == -1).all()


def test_tangents_are_the_jacobians_images():
    """Stage by stage, without J, against the product of the stages' Jacobians; and a whole frame's volume against its determinants."""
    map, z, _, u = run_of(6, ("tanh", "identity", "tanh"), S=3)
    whole = random_frames((2, 3, 6, 6), np.random.default_rng(0))
    J = jacobian(map, z, u[:, :, 0].expand(2, -1, -1))
    torch.testing.assert_close(tangents(map, z, whole, u[:, :, 0].expand(2, -1, -1)), whole @ J.mT, rtol=1e-10, atol=1e-12)
    volume, now = torch.zeros(2, 3, dtype=torch.float64), z
    for t in range(9):
        drive = u[:, :, t].expand(2, -1, -1)
        volume, now = volume + torch.linalg.slogdet(jacobian(map, now, drive)).logabsdet, step(map, now, drive)
    torch.testing.assert_close(carry(map, z, whole, 9, 1, u=u).log_r.sum(-1), volume, rtol=0, atol=1e-10)


def test_bits_do_not_depend_on_threads_or_neighbours():
    map, z, Q, u = run_of(7)
    before = numba.get_num_threads()
    whole = orbit(map, z, 9, u), carry(map, z, Q, 9, 2, u=u)
    numba.set_num_threads(1)
    one = orbit(map, z, 9, u), carry(map, z, Q, 9, 2, u=u)
    numba.set_num_threads(before)
    alone = map.with_tensors({name: x[1:] for name, x in map.tensors().items()})
    some = orbit(alone, z[1:, 3:8], 9, u[:, 3:8]), carry(alone, z[1:, 3:8].contiguous(), Q[1:, 3:8].contiguous(), 9, 2, u=u[:, 3:8])
    for name in ("z", "Q", "log_r", "widest"):
        assert torch.equal(getattr(whole[1], name), getattr(one[1], name))
        assert torch.equal(getattr(whole[1], name)[1:, 3:8], getattr(some[1], name))
    assert torch.equal(whole[0], one[0])
    assert torch.equal(whole[0][1:, 3:8], some[0])


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
    z, driven = torch.zeros(1, 1, 4, dtype=torch.float64), ChainMap((one, inputs))
    with pytest.raises(KernelError, match="takes 3 inputs"):
        forced_sequence(driven, z, torch.zeros(1, 1, 2, 4, dtype=torch.float64), 0.0)
    for compute in (orbit, lambda map, z, n, u=None: carry(map, z, torch.eye(4, dtype=torch.float64)[None, None, :2], n, u=u)):
        with pytest.raises(KernelError, match="takes 3 inputs"):
            compute(driven, z, 2)
        with pytest.raises(KernelError, match="u must have shape"):
            compute(driven, z, 2, torch.zeros(1, 1, 3, 3, dtype=torch.float64))
        with pytest.raises(KernelError, match="z must have shape"):
            compute(driven, z[..., :3], 2)
