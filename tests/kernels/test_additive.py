"""The CPU kernel against the reference, values and every gradient; the reference against finite differences."""

from __future__ import annotations

import numba
import pytest
import torch

from dynrnn_kernels.additive import AdditiveMap, forced_sequence
from dynrnn_kernels.additive.layout import layout_of, pack, unpack
from tests.kernels.maps import problem, random_map
from tests.kernels.recurrences import KINDS, RECURRENCES, relative, value_and_gradients


def compare(case, recurrence=RECURRENCES["additive"]):
    truth = value_and_gradients(case, torch.float64, "reference", recurrence)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):     # eps times sqrt of the longest sum, with a margin of 10
        got = value_and_gradients(case, dtype, "cpu", recurrence)
        for name, want in truth.items():
            assert torch.isfinite(got[name]).all(), (name, dtype)
            assert relative(got[name], want) < tolerance, (name, dtype, relative(got[name], want))


@pytest.mark.parametrize(("row", "kind"), KINDS)
def test_cpu_equals_reference(row, kind):
    for i, (K, dense) in enumerate([(0, False), (3, True)]):
        compare(row.draw(10 * i + len(kind[0]), *kind, K, dense), row.recurrence)


@pytest.mark.parametrize("T", [1, 2, 17, 200])
def test_cpu_equals_reference_for_any_length(T, row):
    compare(row.draw(T, *row.usual, 0, False, F=1, B=2, T=T, M=3, H=3), row.recurrence)


@pytest.mark.parametrize("T", [1, 2, 17, 200])
def test_selected_units_of_any_length(T):
    compare(problem(T, "relu", "selection", 0, True, F=1, B=2, T=T, M=3, H=3))


def test_equal_sizes_are_not_confused(row):
    compare(row.draw(3, *row.usual, 4, True, F=4, B=4, T=4, M=4, H=4), row.recurrence)


@pytest.mark.parametrize(("row", "kind"), KINDS)
def test_batches_of_several_chunks(row, kind):
    compare(row.draw(5, *kind, 2, False, F=2, B=37, T=5, M=3, H=5), row.recurrence)


@pytest.mark.parametrize("phi", ["relu", "clipped", "basis", "clipped_basis", "tanh"])
def test_reference_gradcheck(phi):
    map, z0, target, weight, u = problem(7, phi, "dense", 2, True, F=1, B=2, T=4, M=3, H=4)
    names = list(map.tensors())

    def run(z0, target, u, *tensors):
        return forced_sequence(map.with_tensors(dict(zip(names, tensors, strict=True))), z0, target, weight, u, backend="reference")

    inputs = [x.clone().requires_grad_() for x in (z0, torch.nan_to_num(target), u, *map.tensors().values())]
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7)      # shorter than the distance to a kink


@pytest.mark.parametrize(("row", "kind"), KINDS)
def test_jacobian_is_autograds(row, kind):
    map, z, *_ = row.draw(2, *kind, 2, True, F=2, B=3, T=1, M=4, H=5)
    u = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    auto = torch.autograd.functional.jacobian(lambda z: row.recurrence.step(map, z, u).sum(1), z)     # [F, M, F, B, M]: states of one batch do not mix
    J = row.recurrence.jacobian(map, z, u)
    for f in range(2):
        torch.testing.assert_close(J[f], auto[f, :, f].transpose(0, 1), rtol=1e-10, atol=1e-12)


def test_bits_do_not_depend_on_threads_or_on_other_fits(row):
    map, z0, target, weight, u = row.draw(11, *row.usual, 2, False, F=3, B=40, T=9, M=3, H=8)
    case = (map, z0, target, weight, u)
    before = numba.get_num_threads()
    try:
        runs = []
        for n in (1, min(2, before)):
            numba.set_num_threads(n)
            runs.append(value_and_gradients(case, torch.float32, "cpu", row.recurrence))
    finally:
        numba.set_num_threads(before)
    for name in runs[0]:
        assert torch.equal(runs[0][name], runs[1][name]), name
    k = slice(1, 2)
    alone = map.with_tensors({name: value[k].float() for name, value in map.tensors().items()})
    z = row.recurrence.forced_sequence(alone, *(x[k].float() for x in (z0, target, weight, u)))
    assert torch.equal(z[0], runs[0]["z"][1])


def test_pack_and_unpack_are_inverse():
    map = random_map(torch.Generator().manual_seed(4), "basis", "dense", 3, 4, 5, 2, True)
    again = unpack(pack(map), map)
    assert layout_of(map).size == pack(map).shape[1]
    for name, value in map.tensors().items():
        assert torch.equal(value, again.tensors()[name])


@pytest.mark.parametrize(("row", "kind"), KINDS)
def test_a_masked_target_is_never_read(row, kind):
    map, z0, target, weight, u = row.draw(13, *kind, 2, False)
    other = torch.where(weight == 0, torch.full_like(target, 1e30), target)
    for backend in ("cpu", "reference"):
        once, again = (row.recurrence.forced_sequence(map, z0, x, weight, u, backend=backend) for x in (target, other))
        assert torch.equal(once, again)


def test_the_gradient_of_an_unread_target_is_zero_whatever_passes_it():
    """The adjoint of its state overflows; 0 times inf would be NaN."""
    one = torch.ones(1, 1, 1)
    map = AdditiveMap(a=torch.full((1, 1), 1e30), W1=0 * one, h1=torch.zeros(1, 1), w2="identity", h2=torch.zeros(1, 1))
    for backend in ("reference", "cpu"):
        z0, target = torch.zeros(1, 1, 1), torch.zeros(1, 1, 2, 1, requires_grad=True)
        z = forced_sequence(map, z0, target, torch.tensor([0.0, 0.5])[:, None], backend=backend)
        (gtarget,) = torch.autograd.grad(z[0, 0, 1, 0], target, torch.tensor(1e20))
        assert torch.equal(gtarget[0, 0, :, 0], torch.tensor([0.0, float("inf")])), backend
