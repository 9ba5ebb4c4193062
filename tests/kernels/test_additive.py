"""The CPU kernel against the reference, values and every gradient; the reference against finite differences."""

from __future__ import annotations

import numba
import pytest
import torch

from dynrnn_kernels.additive import forced_sequence, jacobian, step
from dynrnn_kernels.additive.layout import layout_of, pack, unpack
from tests.kernels.maps import ALL_KINDS, problem, random_map


def leaves(map, z0, target, u, dtype):
    """Everything that has a gradient, as fresh leaves of ``dtype``: (names, map, z0, target, u)."""
    tensors = {name: value.to(dtype).requires_grad_() for name, value in map.tensors().items()}
    z0, target = z0.to(dtype).requires_grad_(), target.to(dtype).requires_grad_()
    u = None if u is None else u.to(dtype).requires_grad_()
    named = dict(tensors) | {"z0": z0, "target": target} | ({} if u is None else {"u": u})
    return named, map.with_tensors(tensors), z0, target, u


def value_and_gradients(case, dtype, backend):
    map, z0, target, weight, u = case
    named, map, z0, target, u = leaves(map, z0, target, u, dtype)
    z = forced_sequence(map, z0, target, weight.to(dtype), u, backend=backend)
    g = torch.Generator().manual_seed(1)
    seed = torch.randn(z.shape, generator=g, dtype=torch.float64).to(dtype)
    grads = torch.autograd.grad((z * seed).sum(), list(named.values()))
    return {"z": z.detach()} | dict(zip(named, grads, strict=True))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Error in the 2-norm, relative to the right one's."""
    return float((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30))


def compare(case):
    truth = value_and_gradients(case, torch.float64, "reference")
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):     # eps times sqrt of the longest sum, with a margin of 10
        got = value_and_gradients(case, dtype, "cpu")
        for name, want in truth.items():
            assert torch.isfinite(got[name]).all(), (name, dtype)
            assert relative(got[name], want) < tolerance, (name, dtype, relative(got[name], want))


@pytest.mark.parametrize(("phi", "w2"), ALL_KINDS)
def test_cpu_equals_reference(phi, w2):
    for i, (K, dense_A) in enumerate([(0, False), (3, True)]):
        compare(problem(10 * i + len(phi), phi, w2, K, dense_A))


@pytest.mark.parametrize("T", [1, 2, 17, 200])
@pytest.mark.parametrize(("phi", "w2", "dense_A"), [("clipped", "dense", False), ("relu", "selection", True)])
def test_cpu_equals_reference_for_lengths(T, phi, w2, dense_A):
    compare(problem(T, phi, w2, 0, dense_A, F=1, B=2, T=T, M=3, H=3))


def test_equal_sizes_are_not_confused():
    compare(problem(3, "clipped", "dense", 4, True, F=4, B=4, T=4, M=4, H=4))


def test_batches_of_several_chunks():
    compare(problem(5, "tanh", "dense", 2, False, F=2, B=37, T=5, M=3, H=5))


@pytest.mark.parametrize("phi", ["relu", "clipped", "basis", "clipped_basis", "tanh"])
def test_reference_gradcheck(phi):
    map, z0, target, weight, u = problem(7, phi, "dense", 2, True, F=1, B=2, T=4, M=3, H=4)
    names = list(map.tensors())

    def run(z0, target, u, *tensors):
        return forced_sequence(map.with_tensors(dict(zip(names, tensors, strict=True))), z0, target, weight, u, backend="reference")

    inputs = [x.clone().requires_grad_() for x in (z0, torch.nan_to_num(target), u, *map.tensors().values())]
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7)      # shorter than the distance to a kink


@pytest.mark.parametrize(("phi", "w2"), ALL_KINDS)
def test_jacobian_is_autograds(phi, w2):
    g = torch.Generator().manual_seed(2)
    map = random_map(g, phi, w2, 2, 4, 5, 2, True)
    z, u = torch.randn(2, 3, 4, generator=g, dtype=torch.float64), torch.randn(2, 3, 2, generator=g, dtype=torch.float64)
    auto = torch.autograd.functional.jacobian(lambda z: step(map, z, u).sum(1), z)     # [F, M, F, B, M]: states of one batch do not mix
    J = jacobian(map, z, u)
    for f in range(2):
        torch.testing.assert_close(J[f], auto[f, :, f].transpose(0, 1), rtol=1e-10, atol=1e-12)


def test_bits_do_not_depend_on_threads_or_on_other_fits():
    map, z0, target, weight, u = problem(11, "clipped", "dense", 2, False, F=3, B=40, T=9, M=3, H=8)
    case = (map, z0, target, weight, u)
    before = numba.get_num_threads()
    try:
        runs = []
        for n in (1, min(2, before)):
            numba.set_num_threads(n)
            runs.append(value_and_gradients(case, torch.float32, "cpu"))
    finally:
        numba.set_num_threads(before)
    for name in runs[0]:
        assert torch.equal(runs[0][name], runs[1][name]), name
    k = slice(1, 2)
    alone = (map.with_tensors({n: v[k] for n, v in map.tensors().items()}), z0[k], target[k], weight[k], None if u is None else u[k])
    z = forced_sequence(*[x.to(torch.float32) for x in alone])
    assert torch.equal(z[0], runs[0]["z"][1])


def test_pack_and_unpack_are_inverse():
    map = random_map(torch.Generator().manual_seed(4), "basis", "dense", 3, 4, 5, 2, True)
    again = unpack(pack(map), map)
    assert layout_of(map).size == pack(map).shape[1]
    for name, value in map.tensors().items():
        assert torch.equal(value, again.tensors()[name])


def test_a_masked_target_is_never_read():
    map, z0, target, weight, u = problem(13, "relu", "dense", 0, False)
    other = torch.where(weight == 0, torch.full_like(target, 1e30), target)
    for backend in ("cpu", "reference"):
        assert torch.equal(forced_sequence(map, z0, target, weight, u, backend=backend), forced_sequence(map, z0, other, weight, u, backend=backend))
