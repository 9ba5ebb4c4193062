"""Structured matrices: written out against multiplied natively and against other libraries' forms, and maps of them through every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynrnn_kernels.additive import AdditiveMap, Block, Circulant, Permutation, Scalar, Sparse, forced_sequence, jacobian, step
from dynrnn_kernels.additive.layout import layout_of, pack, unpack
from dynrnn_kernels.additive.pattern import compact, stays
from dynrnn_kernels.additive.reference import forced_sequence as reference_sequence
from dynrnn_kernels.errors import KernelError
from tests.kernels.maps import problem_of, stay_native
from tests.kernels.recurrences import interpret_additive, relative, value_and_gradients
from tests.kernels.test_random_sizes import BOTH


@pytest.fixture
def all_native(monkeypatch):
    """Structures of any size reach compiled code as they are."""
    stay_native(monkeypatch, True)


def draw(g: torch.Generator, *shape: int) -> torch.Tensor:
    """Small enough for a contracting map."""
    return 0.5 * torch.randn(*shape, generator=g, dtype=torch.float64) / max(shape[-1], 1) ** 0.5


def random_sparse(g: torch.Generator, F: int, n: int, m: int, k: int) -> Sparse:
    """k places anywhere, in no order."""
    place = torch.randperm(n * m, generator=g)[:k]
    return Sparse(draw(g, F, k), place // m, place % m, n, m)


def of_sizes(kind: str, g: torch.Generator, F: int, n: int, h: int, m: int):
    """A structure of each kind for any three sizes."""
    if kind == "scalar":
        return Scalar(draw(g, F, 1), n)
    if kind == "permutation":
        return Permutation(draw(g, F, n if h > 1 else 1), torch.randperm(n, generator=g))
    if kind == "block":
        return Block(draw(g, F, n, h, m))
    if kind == "sparse":
        return random_sparse(g, F, n, m, h * n * m // 6)
    if kind == "circulant":
        return Circulant(draw(g, F, h, m, n), n)
    shifts = tuple(int(s) - 1 for s in torch.randperm(n, generator=g)[: max(1, n - 2)])
    return Circulant(draw(g, F, h, m, len(shifts)), n, shifts)


KINDS = ("scalar", "permutation", "block", "sparse", "circulant", "few taps")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), F=st.integers(1, 3), n=st.integers(1, 6), h=st.integers(1, 4), m=st.integers(1, 4))
def test_native_products_are_those_of_the_written_out_matrix(kind, seed, F, n, h, m):
    """Value, and the gradients of the parameters and of what is multiplied."""
    g = torch.Generator().manual_seed(seed)
    structure = of_sizes(kind, g, F, n, h, m)
    values, x = structure.values.clone().requires_grad_(), torch.randn(F, 3, structure.shape[2], generator=g, dtype=torch.float64).requires_grad_()
    structure = structure.with_values(values)
    dense = structure.dense()
    assert dense.shape == structure.shape
    assert torch.equal(structure.transposed().dense(), dense.mT)
    assert int((structure.with_values(torch.ones_like(values)).dense() != 0)[0].sum()) == structure.terms
    native, product = structure.apply(x), torch.einsum("fnm,fbm->fbn", dense, x)
    seed_grad = torch.randn(native.shape, generator=g, dtype=torch.float64)
    pairs = zip(torch.autograd.grad(native, (values, x), seed_grad), torch.autograd.grad(product, (values, x), seed_grad), strict=True)
    for got, want in [(native, product), *pairs]:
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)                # sums of at most 24 terms of order 1: 24 eps


def test_written_out_matrices_are_those_of_other_libraries():
    g = torch.Generator().manual_seed(0)
    block, sparse, circulant = (of_sizes(kind, g, 2, 5, 3, 4) for kind in ("block", "sparse", "circulant"))
    assert torch.equal(block.dense()[1], torch.block_diag(*block.values[1]))
    where = torch.stack([sparse.rows, sparse.columns])
    assert torch.equal(sparse.dense()[1], torch.sparse_coo_tensor(where, sparse.values[1], (5, 4), check_invariants=True).to_dense())
    columns = circulant.values[1].numpy()
    np.testing.assert_array_equal(circulant.dense()[1].numpy(), np.block([[scipy.linalg.circulant(columns[o, i]) for i in range(4)] for o in range(3)]))


def test_a_shift_moves_a_bump_around_the_ring_exactly():
    """A tap at shift 1 and a permutation move every unit to the next place; after as many steps as units all is as before, to the bit."""
    x = torch.randn(1, 1, 7, generator=torch.Generator().manual_seed(1))
    ring = Permutation(torch.ones(1, 1), (torch.arange(7) - 1) % 7)
    for shift in (Circulant(torch.ones(1, 1, 1, 1), 7, (1,)), ring):
        assert torch.equal(shift.apply(x), x.roll(1, -1))
        z = x
        for _ in range(7):
            z = shift.apply(z)
        assert torch.equal(z, x)


def test_counts_are_those_of_the_parameters():
    """27 channels of a wave-RNN on 100 positions have 27 x 27 x 3 weights, not 2700 squared."""
    wave = Circulant(torch.zeros(2, 27, 27, 3), 100, (-1, 0, 1))
    assert (wave.shape, wave.parameters_per_fit) == ((2, 2700, 2700), 2187)
    assert Block(torch.zeros(1, 8, 16, 4)).parameters_per_fit == 512
    assert Scalar(torch.zeros(3, 1), 50).parameters_per_fit == 1


def wave(g):
    """Wave-RNN: A = 0, W1 = I, a circular convolution with three taps."""
    return AdditiveMap(
        a=None, W1=Scalar(torch.ones(2, 1, dtype=torch.float64), 10), h1=draw(g, 2, 10), W2=Circulant(draw(g, 2, 2, 2, 3), 5, (-1, 0, 1)), h2=draw(g, 2, 10),
        D=draw(g, 2, 10, 2),
    )


def reservoir(g):
    """Leaky echo state network with sparse weights."""
    return AdditiveMap(
        a=Scalar(draw(g, 2, 1), 9), W1=Scalar(draw(g, 2, 1), 9), h1=draw(g, 2, 9), phi="tanh", W2=random_sparse(g, 2, 9, 9, 20), h2=draw(g, 2, 9),
        D=draw(g, 2, 9, 1),
    )


def residual(g):
    """Residual echo state network on a ring."""
    ring = Permutation(draw(g, 2, 1), (torch.arange(6) - 1) % 6)
    return AdditiveMap(a=None, A=ring, W1=Scalar(draw(g, 2, 1), 6), h1=draw(g, 2, 6), phi="tanh", W2=draw(g, 2, 6, 6), h2=draw(g, 2, 6))


def assembly(g):
    """RNN of RNNs: blocks within areas, sparse couplings between them."""
    return AdditiveMap(a=draw(g, 2, 6), A=random_sparse(g, 2, 6, 6, 9), W1=Block(draw(g, 2, 2, 3, 3)), h1=draw(g, 2, 6), w2="identity", C=draw(g, 2, 6, 2))


def oblong(g):
    """Blocks of unequal sides on every matrix, and a clipped phi."""
    W1, W2 = Block(draw(g, 1, 3, 2, 4)), Block(draw(g, 1, 3, 4, 2))
    return AdditiveMap(a=draw(g, 1, 6), A=Block(draw(g, 1, 2, 3, 3)), W1=W1, h1=draw(g, 1, 6), phi="clipped", W2=W2, h2=draw(g, 1, 12))


def convolutions(g):
    """Two channels to three and back, with all taps."""
    W1, W2 = Circulant(draw(g, 1, 2, 3, 4), 4), Circulant(draw(g, 1, 3, 2, 4), 4)
    scaled = Permutation(draw(g, 1, 8), torch.randperm(8, generator=g))
    return AdditiveMap(a=Scalar(draw(g, 1, 1), 8), A=scaled, W1=W1, h1=draw(g, 1, 8), W2=W2, h2=draw(g, 1, 12))


MAPS = (wave, reservoir, residual, assembly, oblong, convolutions)


@pytest.mark.parametrize("draw_map", MAPS)
def test_cpu_equals_reference(draw_map, all_native):
    """Compiled against torch's products: values and the gradient of every parameter, at kernels' usual tolerances."""
    compare(problem_of(draw_map, 3), "cpu")


@pytest.mark.parametrize("draw_map", MAPS)
def test_cpu_equals_reference_written_out(draw_map):
    """As the rule has it for matrices as small as these."""
    compare(problem_of(draw_map, 3), "cpu")


def fitting(kind: str, g: torch.Generator, F: int, n: int, h: int, m: int):
    """A matrix [F, n h, n m] of any kind, sparse where a kind has no such shape."""
    if kind in ("block", "circulant", "few taps"):
        return of_sizes(kind, g, F, n, h, m)
    if kind in ("scalar", "permutation") and h == m:
        return of_sizes(kind, g, F, n * m, 2, 0)
    return draw(g, F, n * h, n * m) if kind == "dense" else random_sparse(g, F, n * h, n * m, n * n * h * m // 3)


ANY = st.sampled_from((*KINDS, "dense"))


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.tuples(ANY, ANY, ANY), phi=st.sampled_from(["tanh", "relu"]), seed=st.integers(0, 1000), B=st.integers(1, 17), T=st.integers(1, 7),
    F=st.integers(1, 2), n=st.integers(1, 4), h=st.integers(1, 3), m=st.integers(1, 3),
)
def test_cpu_equals_reference_at_random_sizes(all_native, kinds, phi, seed, B, T, F, n, h, m):
    """Any structure in any place, chunks that are not full, blocks of steps that are short."""

    def draw_map(g):
        W1, W2, A = fitting(kinds[0], g, F, n, m, h), fitting(kinds[1], g, F, n, h, m), fitting(kinds[2], g, F, n, m, m)
        return AdditiveMap(a=draw(g, F, n * m), A=A, W1=W1, h1=draw(g, F, n * m), W2=W2, h2=draw(g, F, n * h), phi=phi, C=draw(g, F, n * m, 2))

    compare(problem_of(draw_map, seed, B, T), "cpu")


@pytest.mark.parametrize("draw_map", MAPS)
def test_sequences_of_unequal_length(draw_map, all_native):
    """Packed one after the other, against the reference, in values and gradients; some are longer than a block of steps."""
    lengths = [3, 70, 1, 8, 2, 5, 4, 1, 9]
    N, g = sum(lengths), torch.Generator().manual_seed(7)
    map = draw_map(g)
    F, M = map.n_fits, map.latent_dim
    z0, target, seed = (torch.randn(F, k, M, generator=g, dtype=torch.float64) for k in (len(lengths), N, N))
    u = torch.randn(F, N, map.input_dim, generator=g, dtype=torch.float64) if map.input_dim else None
    results = []
    for backend in ("cpu", "reference"):
        leaves = {name: x.clone().requires_grad_() for name, x in map.tensors().items()}
        z = forced_sequence(map.with_tensors(leaves), z0, target, torch.tensor(0.3), u, lengths=lengths, backend=backend)
        results.append([z.detach(), *torch.autograd.grad((z * seed).sum(), list(leaves.values()))])
    for got, want in zip(*results, strict=True):
        assert relative(got, want) < 1e-10


@pytest.mark.parametrize("draw_map", MAPS)
def test_triton_equals_reference(draw_map, monkeypatch):
    interpret_additive(monkeypatch)
    compare(problem_of(draw_map, 4, B=2, T=3), "triton")


def compare(case, backend):
    truth = value_and_gradients(case, torch.float64, "reference")
    largest = max(float(x.norm()) for x in truth.values())
    for dtype, tolerance in BOTH:
        roundings = 16 * torch.finfo(dtype).eps * largest                               # of a sum that cancels, as in test_random_sizes.py
        for name, got in value_and_gradients(case, dtype, backend).items():
            assert relative(got, truth[name]) < tolerance or float((got - truth[name]).norm()) < roundings, (name, dtype, relative(got, truth[name]))


@pytest.mark.parametrize("draw_map", MAPS)
def test_jacobian_is_autograds(draw_map):
    g = torch.Generator().manual_seed(2)
    map = draw_map(g)
    F, M, K = map.n_fits, map.latent_dim, map.input_dim
    z, u = torch.randn(F, 3, M, generator=g, dtype=torch.float64), torch.randn(F, 3, K, generator=g, dtype=torch.float64)
    auto = torch.autograd.functional.jacobian(lambda z: step(map, z, u).sum(1), z)
    J = jacobian(map, z, u)
    for f in range(F):
        torch.testing.assert_close(J[f], auto[f, :, f].transpose(0, 1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("draw_map", MAPS)
def test_packing_is_inverse_and_holds_the_parameters_alone(draw_map, all_native):
    map = problem_of(draw_map, 5)[0]
    again = unpack(pack(map), map)
    assert layout_of(map) == layout_of(again)
    assert layout_of(map).size == sum(part[0].numel() for name, part in map.tensors().items() if name != "a") + map.latent_dim
    assert torch.equal(pack(map), pack(again))
    for name, part in map.tensors().items():
        if name != "a":
            assert torch.equal(again.tensors()[name], part), name


@pytest.mark.parametrize("draw_map", MAPS)
def test_the_written_out_map_is_the_same_map(draw_map, all_native):
    map, z0, target, weight, u = problem_of(draw_map, 5)
    dense = map.written_out()
    assert all(isinstance(part, torch.Tensor) for part in dense.parts().values())
    for sequence in (forced_sequence, reference_sequence):
        torch.testing.assert_close(sequence(map, z0, target, weight, u), sequence(dense, z0, target, weight, u), rtol=1e-12, atol=1e-13)


def test_what_stays_is_a_matter_of_size():
    """Small matrices, one block, dense patterns and many taps are written out; packing, layout and ``unpack`` follow the same rule."""
    g = torch.Generator().manual_seed(3)
    two, one, small = Block(draw(g, 1, 2, 12, 12)), Block(draw(g, 1, 1, 24, 24)), Block(draw(g, 1, 2, 11, 11))
    thin, thick = random_sparse(g, 1, 24, 24, 115), random_sparse(g, 1, 24, 24, 116)
    short, long = Circulant(draw(g, 1, 1, 1, 3), 24, (-1, 0, 1)), Circulant(draw(g, 1, 1, 1, 24), 24)
    assert [stays(x) for x in (two, one, small, thin, thick, short, long, two.dense())] == [True, False, False, True, False, True, False, False]
    map = AdditiveMap(a=None, A=thick, W1=thin, h1=draw(g, 1, 24), W2=one)
    assert [type(x) for x in (compact(map).A, compact(map).W1, compact(map).W2)] == [torch.Tensor, Sparse, torch.Tensor]
    assert layout_of(map).size == pack(map).shape[1] == 24 + 115 + 24 + 576 + 576
    assert torch.equal(unpack(pack(map), map).dense_A(), map.dense_A())


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 100))
def test_vmap_and_fits_alone(all_native, seed):
    """A fit taken out of a structured ensemble is bit-equal, and vmap over the parameters of a structure is a loop over them."""
    map, z0, target, weight, u = problem_of(reservoir, seed)
    k = slice(1, 2)
    alone = map.with_tensors({name: x[k] for name, x in map.tensors().items()})
    whole = forced_sequence(map, z0, target, weight, u)
    assert torch.equal(forced_sequence(alone, z0[k], target[k], weight[k], u[k])[0], whole[1])
    W2 = torch.stack([map.W2.values, -map.W2.values])
    both = torch.func.vmap(lambda w: forced_sequence(map.with_tensors({"W2": w}), z0, target, weight, u))(W2)
    assert torch.equal(both[0], whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scalar(torch.zeros(2), 3), r"Scalar: values must have shape \(fit, 1\)"),
        (lambda: Permutation(torch.zeros(2, 4), torch.arange(3)), r"Permutation: values must have shape .* got \(2, 4\)"),
        (lambda: Permutation(torch.zeros(2, 1), torch.tensor([0, 2, 2])), r"source must hold each of 0\.\.2 once"),
        (lambda: Block(torch.zeros(2, 3, 3)), "Block: values must have shape"),
        (lambda: Circulant(torch.zeros(1, 1, 1, 3), 4), r"Circulant: values must have shape \(fit, channels out, channels in, 4\)"),
        (lambda: Circulant(torch.zeros(1, 1, 1, 2), 4, (0, 4)), "shifts must differ modulo the size 4"),
        (lambda: Sparse(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0]), 2, 2), r"Sparse: values must have shape \(fit, 1\)"),
        (lambda: Sparse(torch.zeros(1, 1), torch.tensor([0]), torch.tensor([2]), 2, 2), "columns must be int64 .* from 0 to 1"),
        (lambda: Sparse(torch.zeros(1, 2), torch.tensor([1, 1]), torch.tensor([0, 0]), 2, 2), "name a place twice"),
    ],
)
def test_structures_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["W1", "W2", "A", "a"])
def test_a_matrix_of_another_size_is_named(name):
    tensors = dict(a=torch.zeros(1, 4), A=torch.zeros(1, 4, 4), W1=torch.zeros(1, 4, 4), W2=torch.zeros(1, 4, 4), h1=torch.zeros(1, 4))
    with pytest.raises(ValueError, match=rf"^{name} must "):
        AdditiveMap(**tensors | {name: Scalar(torch.zeros(2, 1), 4)})


def test_precisions_are_not_mixed():
    map, z0, target, weight, u = problem_of(wave, 6)
    with pytest.raises(KernelError, match="the map's W2 is torch.float32"):
        forced_sequence(map.with_tensors({"W2": map.W2.values.float()}), z0, target, weight, u)


def test_an_empty_pattern_is_a_zero_matrix():
    none = torch.zeros(0, dtype=torch.int64)
    empty = Sparse(torch.zeros(2, 0), none, none, 3, 4)
    assert math.prod(empty.values.shape) == 0
    assert torch.equal(empty.dense(), torch.zeros(2, 3, 4))
    assert torch.equal(empty.apply(torch.ones(2, 5, 4)), torch.zeros(2, 5, 3))
