"""Gradients accumulated forwards: the compiled and the reference route beside backpropagation, and approximations where theory makes them exact or unbiased."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn_kernels.additive import Permutation
from dynrnn_kernels.additive.layout import layout_of
from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS, AdditiveMap
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.influence import algorithm_of, forward_sequence
from dynrnn_kernels.influence.columns import columns_of
from dynrnn_kernels.recurrences import forced_sequence
from tests.kernels.maps import random_map


def case(seed: int, phi: str, w2: str, M: int, H: int, K: int, T: int, F: int = 2, B: int = 3, A: bool = True):
    """A random map of 0.9 times its size, so that 200 steps do not explode, and what drives it; a third of the entries is not forced, some targets are NaN."""
    g = torch.Generator().manual_seed(seed)
    map = random_map(g, phi, w2, F, M, {"selection": min(H, M)}.get(w2, M if w2 != "dense" else H), K, A)
    rand = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    weight = torch.rand(F, B, T, M, generator=g, dtype=torch.float64) * (torch.rand(F, B, T, M, generator=g) < 0.66)
    target = torch.where((weight == 0) & (torch.rand(F, B, T, M, generator=g) < 0.5), torch.nan, rand(F, B, T, M))
    return map, rand(F, B, M), target, weight, rand(F, B, T, K) if K else None, rand(F, B, T, M)


def gradients(run, map, z0, target, weight, u, gout):
    tensors = {name: x.clone().requires_grad_() for name, x in map.tensors().items()}
    start = z0.clone().requires_grad_()
    z = run(map.with_tensors(tensors), start, target, weight, u)
    return torch.cat([g.flatten(1) for g in torch.autograd.grad((gout * z).sum(), [*tensors.values(), start])], 1)


def many(n: int, map, *tensors):
    """The same fit n times, so that each draws signs of its own."""
    repeat = lambda x: None if x is None else x.expand(n, *x.shape[1:]).clone()  # noqa: E731
    return map.with_tensors({name: repeat(x) for name, x in map.tensors().items()}), *(repeat(x) for x in tensors)


def by(algorithm: str, backend: str | None = None, seed: int = 0):
    return lambda *a: forward_sequence(*a, algorithm=algorithm, backend=backend, rng=torch.Generator().manual_seed(seed))


def backpropagation(*a):
    return forced_sequence(*a, backend="reference")


def apart(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("w2", W2_KINDS)
@pytest.mark.parametrize("phi", PHI_KINDS)
def test_exact_influence_is_backpropagation(phi, w2):
    """Both routes, with forcing of a part of the units, inputs and the first state; 1e-10 is what rounding may do."""
    given = case(1, phi, w2, 5, 9, 2, 12)
    want = gradients(backpropagation, *given)
    assert apart(gradients(by("rtrl", "cpu"), *given), want) < 1e-10
    assert apart(gradients(by("rtrl", "reference"), *given), want) < 1e-10


@pytest.mark.parametrize("seed", range(6))
def test_exact_influence_at_random_sizes(seed):
    rng = np.random.default_rng(seed)
    M, H, K, T = int(rng.integers(1, 13)), int(rng.integers(1, 40)), int(rng.integers(0, 4)), int(rng.integers(1, 201))
    given = case(seed, PHI_KINDS[seed % len(PHI_KINDS)], "dense", M, H, K, T, B=2, A=bool(rng.integers(0, 2)))
    assert apart(gradients(by("rtrl", "cpu"), *given), gradients(backpropagation, *given)) < 1e-10


def test_structured_matrices_get_their_own_gradient():
    map, z0, target, weight, _, gout = case(2, "tanh", "dense", 6, 6, 0, 10)
    ring = Permutation(torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)), torch.roll(torch.arange(6), 1))
    map = AdditiveMap(a=None, W1=ring, h1=map.h1, W2=map.W2, h2=map.h2, phi="tanh")
    given = map, z0, target, weight, None, gout
    assert apart(gradients(by("rtrl", "cpu"), *given), gradients(backpropagation, *given)) < 1e-10


def leaky(M: int, K: int, **like) -> AdditiveMap:
    """z' = (1 - a) z + a tanh(W2 z + D u + h2)."""
    rand = lambda *shape: torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(M)) / M**0.5  # noqa: E731
    rate = 0.1 + 0.5 * torch.rand(2, M, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return AdditiveMap(a=1 - rate, W1=torch.diag_embed(rate), h1=0 * rate, W2=rand(M, M), h2=rand(M), D=rand(M, K), phi="tanh")


@pytest.mark.parametrize("M", [3, 9])
def test_units_with_one_hidden_unit_each(M):
    """A diagonal W1, where a hidden unit has one row in a step's terms: all gradients, those of the zeros of W1 too."""
    _, z0, target, weight, u, gout = case(11, "tanh", "dense", M, M, 2, 40)
    given = leaky(M, 2), z0, target, weight, u, gout
    assert apart(gradients(by("rtrl", "cpu"), *given), gradients(backpropagation, *given)) < 1e-10


@pytest.mark.parametrize("map", [leaky(4, 2), case(12, "clipped_basis", "dense", 4, 6, 2, 1)[0]], ids=["leaky", "bases"])
def test_what_wants_no_gradient_has_no_column(map):
    """Tensors by turns with and without one: the same derivatives of those that have it, none of the others."""
    _, z0, target, weight, u, gout = case(12, "tanh", "dense", 4, 4, 2, 20)
    names = list(map.tensors())
    for wanted in (names[::2], names[1::2], ["h2" if map.h2 is not None else "slope"]):
        found = []
        for run in (by("rtrl", "cpu"), backpropagation):
            tensors = {name: x.clone().requires_grad_(name in wanted) for name, x in map.tensors().items()}
            z = run(map.with_tensors(tensors), z0, target, weight, u)
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad((gout * z).sum(), [tensors[name] for name in wanted])]))
        assert apart(*found) < 1e-10
    lay = layout_of(map)
    assert columns_of(lay, ["h1"])[0].size == 4
    assert columns_of(lay)[0].size == lay.size


@pytest.mark.parametrize("algorithm", ["diagonal", "e-prop", "rflo", "truncated-4"])
def test_kernel_and_reference_of_approximations(algorithm):
    given = case(4, "clipped", "dense", 4, 7, 1, 15)
    got, want = gradients(by(algorithm, "cpu"), *given), gradients(by(algorithm, "reference"), *given)
    assert apart(got, want) < 1e-10
    assert apart(got, gradients(backpropagation, *given)) > 1e-3                # it is an approximation


ALL = ("rtrl", "diagonal", "e-prop", "rflo", "snap-1", "snap-2", "truncated-3", "kronecker")


@pytest.mark.parametrize("algorithm", ALL)
def test_all_are_exact_where_forcing_carries_nothing_on(algorithm):
    """Weight 1 everywhere: what a step adds is all that there is."""
    map, z0, target, _, u, gout = case(5, "tanh", "dense", 4, 6, 2, 9)
    given = map, z0, torch.nan_to_num(target), torch.ones_like(target), u, gout
    assert apart(gradients(by(algorithm), *given), gradients(backpropagation, *given)) < 1e-10


@pytest.mark.parametrize("algorithm", ["diagonal", "snap-1", "rflo"])
def test_exact_where_units_do_not_meet(algorithm):
    """J is diagonal and constant: z' = a z + h1 + C u."""
    map, z0, target, weight, u, gout = case(6, "tanh", "dense", 4, 6, 2, 30)
    given = map.with_tensors({"W1": torch.zeros_like(map.W1)}) if map.A is None else None
    alone = AdditiveMap(a=map.a, W1=torch.zeros_like(map.W1), h1=map.h1, W2=map.W2, h2=map.h2, C=map.C, D=map.D, phi="tanh") if given is None else given
    want = gradients(backpropagation, alone, z0, target, weight, u, gout)
    assert apart(gradients(by(algorithm), alone, z0, target, weight, u, gout), want) < 1e-10


def test_snap_of_as_many_steps_as_units_is_exact():
    """A chain 1 -> 2 -> 3 -> 4 of linear units, where what reaches a unit does so within three steps."""
    M = 4
    A = torch.diag_embed(torch.full((1, M - 1), 0.7, dtype=torch.float64), offset=-1)
    map = AdditiveMap(
        a=torch.full((1, M), 0.5, dtype=torch.float64), A=A, W1=torch.zeros(1, M, 2, dtype=torch.float64), h1=torch.ones(1, M, dtype=torch.float64),
        W2=torch.zeros(1, 2, M, dtype=torch.float64), h2=torch.zeros(1, 2, dtype=torch.float64), phi="identity",
    )
    _, z0, target, _, _, gout = case(7, "tanh", "dense", M, 2, 0, 12, F=1)
    given = map, z0, target, torch.zeros_like(target), None, gout
    numbers = lambda run: gradients(run, *given)[:, :M]  # noqa: E731  those of a, each of which enters at one unit
    want = numbers(backpropagation)
    errors = [apart(numbers(by(f"snap-{n}")), want) for n in range(1, M + 1)]
    assert errors[-1] < 1e-12
    assert errors[0] > errors[1] > errors[2] > 1e-3


@pytest.mark.parametrize("algorithm", ["uoro", "kronecker"])
def test_random_ones_are_unbiased(algorithm):
    """Over 4,000 draws every entry's mean is within 5 standard errors (of some 60 numbers the largest goes to 3); and the draws differ."""
    given = case(8, "tanh", "dense", 3, 4, 0, 4, F=1, B=1)
    want, drawn = gradients(backpropagation, *given)[0], gradients(by(algorithm), *many(4_000, *given))
    error = drawn.std(0) / len(drawn) ** 0.5
    assert float(error.max()) > 0
    assert float(((drawn.mean(0) - want).abs() / (error + 1e-9 * want.norm())).max()) < 5


def test_names():
    assert algorithm_of("snap-3") == ("snap", 3)
    assert algorithm_of("rtrl") == ("rtrl", 0)
    for wrong in ("snap", "snap-0", "truncated-", "RTRL", "rtrl-2", ""):
        with pytest.raises(KernelError, match="an algorithm is one of rtrl"):
            algorithm_of(wrong)


def test_what_has_no_derivative_says_so():
    map, z0, target, weight, u, _ = case(9, "relu", "dense", 3, 4, 1, 3)
    with pytest.raises(KernelError, match="no part by target, weight or u"):
        forward_sequence(map, z0, torch.nan_to_num(target).requires_grad_(), weight, u).sum().backward()
