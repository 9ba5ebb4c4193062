"""The Triton kernels of influence: in the interpreter against backpropagation and the reference, and compiled for a card that is not here."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from dynrnn_kernels.additive import PHI_KINDS, W2_KINDS, AdditiveMap, Permutation, library
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.influence import forward_sequence, sequence
from tests.kernels.interpreter import INFLUENCE, RECURRENCE, interpret_triton_itself, interpreted
from tests.kernels.maps import random_map
from tests.kernels.test_influence import apart, backpropagation, by, case, gradients
from tests.kernels.test_triton import SHARED_MEMORY, compile_for_a_card

kernels = interpreted(INFLUENCE)
recurrence = interpreted(RECURRENCE)


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    interpret_triton_itself(monkeypatch)
    monkeypatch.setattr(sequence, "device_influence", lambda: kernels)
    monkeypatch.setattr(library, "device_kernels", lambda: recurrence)


@pytest.mark.parametrize(("phi", "w2"), [*((phi, "dense") for phi in PHI_KINDS), *(("clipped", w2) for w2 in W2_KINDS[1:])])
def test_influence_is_backpropagation(phi, w2):
    """Part of the units forced, missing targets, inputs and the first state; 1e-10 is what rounding may do."""
    given = case(1, phi, w2, 3, 2, 1, 3, F=1, B=1)
    assert apart(gradients(by("rtrl", "triton"), *given), gradients(backpropagation, *given)) < 1e-10


def test_blocks_of_time_hand_influence_on(monkeypatch):
    """Three steps in blocks of two; two fits and two sequences, and more columns than one program has, of an odd number."""
    monkeypatch.setattr(kernels, "STEPS", 2)
    given = case(2, "clipped", "dense", 2, 7, 0, 3, F=2, B=2, A=False)
    assert apart(gradients(by("rtrl", "triton"), *given), gradients(backpropagation, *given)) < 1e-10


@pytest.mark.parametrize("algorithm", ["truncated-2", "diagonal", "rflo"])
def test_approximations_are_those_of_the_reference(algorithm):
    given = case(3, "tanh", "dense", 3, 2, 0, 4, F=1, B=1)
    assert apart(gradients(by(algorithm, "triton"), *given), gradients(by(algorithm, "reference"), *given)) < 1e-10


def test_hidden_units_in_chunks_and_columns_shared_by_threads(monkeypatch):
    """As at sizes that do not fit: columns that a thread has not to itself, chunks of hidden units that do not divide them, more steps than a block has."""
    monkeypatch.setattr(kernels, "columns_of_block", lambda *_: 8)
    monkeypatch.setattr(kernels, "hidden_of_block", lambda *_: 4)
    for phi in ("relu", "clipped_basis"):
        given = case(4, phi, "dense", 2, 6, 0, 2, F=1, B=1, A=False)
        assert apart(gradients(by("rtrl", "triton"), *given), gradients(backpropagation, *given)) < 1e-10


def test_float32_to_its_precision():
    """Some 50 roundings a step over 4 steps."""
    given = case(5, "tanh", "dense", 3, 4, 0, 4, F=1, B=1)
    single = (None if x is None else x.to(torch.float32) for x in given)
    got, want = gradients(by("rtrl", "triton"), *single), gradients(backpropagation, *given)
    assert got.dtype == torch.float32
    assert apart(got.double(), want) < 1e-5


def test_structured_matrices_get_their_own_gradient():
    map, z0, target, weight, _, gout = case(6, "tanh", "dense", 3, 3, 0, 2, F=1, B=1)
    ring = Permutation(torch.randn(1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)), torch.roll(torch.arange(3), 1))
    given = AdditiveMap(a=None, W1=ring, h1=map.h1, W2=map.W2, h2=map.h2, phi="tanh"), z0, target, weight, None, gout
    assert apart(gradients(by("rtrl", "triton"), *given), gradients(backpropagation, *given)) < 1e-10


def test_nothing_uninitialised_is_read_and_runs_repeat(monkeypatch):
    given = case(7, "clipped_basis", "dense", 2, 3, 1, 2, F=1, B=1)
    before, empty = gradients(by("rtrl", "triton"), *given), torch.empty
    monkeypatch.setattr(kernels.torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(float("nan")))
    assert torch.equal(gradients(by("rtrl", "triton"), *given), before)


def test_more_units_than_registers_hold_are_refused():
    map = random_map(torch.Generator().manual_seed(0), "relu", "dense", 1, 65, 2, 0, False)
    z0, target = torch.zeros(1, 1, 65).double(), torch.zeros(1, 1, 1, 65).double()
    with pytest.raises(KernelError, match="M = 65 .* at most 64 do"):
        forward_sequence(map, z0.requires_grad_(), target, 0.1, backend="triton").sum().backward()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["influence", "all influence"])
def test_compiled_kernels_do_not_spill(which, tmp_path):
    """And are the same whatever the numbers of sequences and steps."""
    lines = compile_for_a_card(which, tmp_path)
    assert {line["kernel"] for line in lines} == {"terms_kernel", "influence_kernel"}
    bad = [line for line in lines if line["stack"] > 0 or line["shared"] > SHARED_MEMORY]
    assert not bad, "\n".join(map(str, bad))
    kernel_of: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        kernel_of.setdefault((line["case"], line["kernel"]), set()).add(line["hash"])
    assert all(len(hashes) == 1 for hashes in kernel_of.values())
