"""The Triton kernel of tangent vectors: in the interpreter against the CPU kernel, and compiled for a card that is not here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from dynrnn_kernels.additive import AdditiveMap, Config, Scalar, tangent
from dynrnn_kernels.additive.layout import layout_of
from dynrnn_kernels.additive.tangent import carry, random_frames
from dynrnn_kernels.errors import KernelError
from tests.kernels.interpreter import RECURRENCE, interpret_triton_itself, interpreted
from tests.kernels.maps import random_map
from tests.kernels.test_tangent import drawn
from tests.kernels.test_triton import SHARED_MEMORY, compile_for_a_card

kernels = interpreted([*RECURRENCE, "dynrnn_kernels.additive.triton_tangent"])


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    interpret_triton_itself(monkeypatch)
    monkeypatch.setattr(tangent, "device_tangents", lambda: kernels)


def in_chunks(monkeypatch, hidden):
    monkeypatch.setattr(kernels, "choose_tangent", lambda *_: Config("stream", 1, hidden, 1))


def close(got, want):
    """Roundings of a step, 1e-15, are amplified by the frame's condition within an interval, e^widest; the second trajectory carries 1e-16 / 1e-7 a step."""
    torch.testing.assert_close(got.z, want.z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.path, want.path, rtol=1e-12, atol=1e-12)
    assert ((got.log_r - want.log_r).abs() <= 1e-13 * torch.exp(want.widest)[..., None]).all()
    torch.testing.assert_close(got.widest, want.widest, rtol=0, atol=1e-9)
    torch.testing.assert_close(got.Q, want.Q, rtol=0, atol=1e-9)
    torch.testing.assert_close(got.failed, want.failed)
    if want.pair is not None:
        torch.testing.assert_close(got.log_pair, want.log_pair, rtol=0, atol=1e-5)
        torch.testing.assert_close(got.pair, want.pair, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("phi", "w2", "K", "hidden"),
    [
        ("relu", "dense", 2, 0), ("clipped", "dense", 0, 4), ("tanh", "dense", 2, 4), ("basis", "dense", 0, 0), ("clipped_basis", "identity", 2, 0),
        ("relu", "selection", 0, 0), ("tanh", "centring", 2, 0), ("identity", "dense", 0, 0),
    ],
)  # fmt: skip
def test_the_kernel_is_the_cpu_kernel(phi, w2, K, hidden, monkeypatch):
    """Odd sizes, two fits with intervals of their own, inputs of their own for each segment, weights held and in chunks that do not divide H."""
    map, z, Q, u = drawn(3, phi, w2, K, S=2, k=3, T=4)
    if hidden:
        in_chunks(monkeypatch, hidden)
    given = dict(n_steps=4, interval=torch.tensor([1, 3]), u=u, pair=z + 1e-7 * Q[:, :, 0], keep_path=True)
    close(carry(map, z, Q, **given, backend="triton"), carry(map, z, Q, **given, backend="cpu"))


@pytest.mark.parametrize(("M", "H", "k"), [(1, 1, 1), (3, 17, 3), (9, 5, 2)])
def test_sizes_without_a_second_trajectory(M, H, k):
    map, z, Q, _ = drawn(4, "clipped", "dense", 0, F=1, S=2, M=M, H=H, k=k, T=3)
    close(carry(map, z, Q, 3, 2, backend="triton"), carry(map, z, Q, 3, 2, backend="cpu"))


def test_float32_to_its_precision():
    map, z, Q, _ = drawn(5, "tanh", "dense", 0, S=2, k=2, T=4)
    got, want = carry(map, z.float(), Q.float(), 4, 2, backend="triton"), carry(map, z, Q, 4, 2, backend="cpu")
    assert got.log_r.dtype == torch.float32
    assert ((got.log_r - want.log_r).abs() <= 1e-5 * torch.exp(want.widest)[..., None]).all()


def test_dead_directions():
    """J of rank one, and none at all: one direction lives, the others are -inf, and the frame that takes their place is the CPU kernel's."""
    J = torch.outer(torch.tensor([1.0, 2, 3]).double(), torch.tensor([0.5, 0.1, 0.2]).double())
    zero = torch.zeros(2, 3, 3).double()
    map = AdditiveMap(a=None, A=torch.stack([J, 0 * J]), W1=zero[:, :, :1], W2=zero[:, :1], h1=zero[:, 0], phi="relu")
    z, Q = torch.zeros(2, 2, 3).double(), random_frames((2, 2, 3, 3), np.random.default_rng(0))
    got, want = carry(map, z, Q, 4, 1, backend="triton"), carry(map, z, Q, 4, 1, backend="cpu")
    torch.testing.assert_close(got.log_r, want.log_r, rtol=0, atol=1e-13)
    assert torch.isneginf(got.log_r).sum() == 2 * 2 + 2 * 3
    torch.testing.assert_close(got.Q, want.Q, rtol=0, atol=1e-13)
    torch.testing.assert_close(got.Q @ got.Q.mT, torch.eye(3).double().expand(2, 2, 3, 3), rtol=0, atol=1e-14)
    assert (got.widest == 0).all()


def test_two_orbits_that_met_go_on_apart():
    map, z, Q, _ = drawn(6, "tanh", "dense", 0, S=2, k=1, T=1)
    got = carry(map, z, Q, 1, 1, pair=z.clone(), distance=1e-3, backend="triton")
    assert torch.isneginf(got.log_pair).all()
    torch.testing.assert_close(got.pair, got.z + 1e-3 * got.Q[:, :, 0], rtol=0, atol=1e-15)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_an_orbit_that_diverges_is_said_and_leaves_its_neighbours():
    map, z, Q, _ = drawn(9, "relu", "dense", 0, S=3, k=2, T=4)
    far = z.clone()
    far[0, 1] = torch.inf
    got, want = carry(map, far, Q, 4, 2, backend="triton"), carry(map, z, Q, 4, 2, backend="cpu")
    assert got.failed.tolist() == [[-1, 1, -1], [-1, -1, -1]]                        # seen at the end of the first interval
    rest = got.failed < 0
    torch.testing.assert_close(got.log_r[rest], want.log_r[rest], rtol=0, atol=1e-10)


def test_structures_are_written_out():
    g = torch.Generator().manual_seed(0)
    W2, h1, h2 = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((1, 4, 4), (1, 4), (1, 4)))
    map = AdditiveMap(a=None, W1=Scalar(torch.tensor([[0.9]], dtype=torch.float64), 4), W2=W2, h1=h1, h2=h2, phi="tanh")
    z, Q = torch.randn(1, 2, 4, generator=g, dtype=torch.float64), random_frames((1, 2, 4, 4), np.random.default_rng(1))
    close(carry(map, z, Q, 3, 1, backend="triton"), carry(map, z, Q, 3, 1, backend="cpu"))


def test_what_does_not_fit_is_refused():
    def lay(M):
        return layout_of(random_map(torch.Generator(), "relu", "dense", 1, M, 9, 0, False))

    assert kernels.choose_tangent(lay(50), 50, torch.float64).rows == 1
    with pytest.raises(KernelError, match="16,384 numbers, and 8,192 do"):
        kernels.choose_tangent(lay(128), 65, torch.float32)
    for M, dtype, most in ((65, torch.float64, 64), (129, torch.float32, 128)):
        with pytest.raises(KernelError, match=f"M = {M} .* at most {most}"):
            kernels.choose_tangent(lay(M), 1, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["tangents", "all tangents"])
def test_compiled_kernels_do_not_spill(which, tmp_path):
    """And are the same whatever the numbers of segments, steps and vectors that one padded frame holds."""
    lines = compile_for_a_card(which, tmp_path)
    assert {line["kernel"] for line in lines} == {"tangent_kernel"}
    bad = [line for line in lines if line["stack"] > 0 or line["shared"] > SHARED_MEMORY]
    assert not bad, "\n".join(map(str, bad))
    kernel_of: dict[str, set[str]] = {}
    for line in lines:
        kernel_of.setdefault(line["case"], set()).add(line["hash"])
    assert all(len(hashes) == 1 for hashes in kernel_of.values())
