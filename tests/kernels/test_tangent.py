"""Tangent vectors along orbits: the compiled kernel against plain torch, and both against products of Jacobians."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

from dynrnn_kernels.additive import AdditiveMap, Scalar, Sparse, jacobian, step
from dynrnn_kernels.additive.tangent import carry, random_frames
from dynrnn_kernels.errors import KernelError
from tests.kernels.maps import ALL_KINDS, kink_distance, random_map, stay_native


def drawn(seed: int, phi: str, w2: str, K: int, F: int = 2, S: int = 11, M: int = 5, H: int = 7, k: int = 4, T: int = 13):
    """A map, states, frames and inputs in float64, the states of the run away from kinks."""
    for attempt in range(100):
        g = torch.Generator().manual_seed(1000 * seed + attempt)
        map = random_map(g, phi, w2, F, M, H, K, True)
        z = torch.randn(F, S, M, generator=g, dtype=torch.float64)
        u = torch.randn(1, S, T, K, generator=g, dtype=torch.float64) if K else None
        now, nearest = z, float("inf")
        for t in range(T):
            drive = None if u is None else u[:, :, t].expand(F, S, K)
            nearest, now = min(nearest, kink_distance(map, now, drive)), step(map, now, drive)
        if nearest > 1e-6:                                                          # the second trajectory, 1e-7 away, must see the same slopes
            return map, z, random_frames((F, S, k, M), np.random.default_rng(seed)), u
    raise AssertionError("no draw away from the kinks")


@pytest.mark.parametrize(("phi", "w2"), ALL_KINDS)
@pytest.mark.parametrize("K", [0, 2])
def test_cpu_is_the_reference(phi, w2, K):
    """Roundings of a step, 1e-15, are amplified by the frame's condition within an interval, e^widest; the second trajectory carries 1e-16 / 1e-7 a step."""
    map, z, Q, u = drawn(3, phi, w2, K)
    pair = z + 1e-7 * Q[:, :, 0]
    given = dict(n_steps=13, interval=torch.tensor([1, 3]), u=u, pair=pair, keep_path=True)
    got, want = carry(map, z, Q, **given), carry(map, z, Q, **given, backend="reference")
    torch.testing.assert_close(got.z, want.z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.path, want.path, rtol=1e-12, atol=1e-12)
    bound = 1e-13 * torch.exp(want.widest)[..., None]
    assert ((got.log_r - want.log_r).abs() <= bound).all()
    assert ((got.Q * want.Q).sum(-1).abs() - 1).abs().max() < 1e-10
    torch.testing.assert_close(got.log_pair, want.log_pair, rtol=0, atol=1e-5)
    assert (got.failed == -1).all()


@pytest.mark.parametrize("phi", ["relu", "tanh"])
@pytest.mark.parametrize(("M", "H", "k"), [(3, 9, 3), (9, 110, 6), (9, 110, 9), (9, 40, 4)])
def test_every_way_to_move_a_frame(phi, M, H, k):
    """By a table of pairs of weights; by the units whose slope is not zero, where they are many; vector by vector where those are few. Bound: H sums a step."""
    map, z, Q, _ = drawn(M + k, phi, "dense", 0, M=M, H=H, k=k, T=4)
    got, want = carry(map, z, Q, 4, 1), carry(map, z, Q, 4, 1, backend="reference")
    assert ((got.log_r - want.log_r).abs() <= 1e-13 * H * torch.exp(want.widest)[..., None]).all()
    torch.testing.assert_close(got.z, want.z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("factors", "n"), [((1e3, 0.5, 1e-5), 300), ((1e90, 1e85, 1e80), 3), ((1e-90, 1e-95, 1e-96), 3)])
def test_growth_beyond_the_range_of_numbers(factors, n):
    """z' = diag(factors) z at rest: lengths are the factors, however many of them, or how far out. A sum of n logarithms L has an error of n eps L."""
    logs = np.log(np.array(factors))
    zero = torch.zeros(1, 3, 1).double()
    map = AdditiveMap(a=torch.tensor([factors], dtype=torch.float64), W1=zero, W2=zero.mT.contiguous(), h1=zero[..., 0], phi="relu")
    z, Q = torch.zeros(1, 9, 3).double(), torch.eye(3).double().expand(1, 9, 3, 3).contiguous()
    got = carry(map, z, Q, n, 1)
    np.testing.assert_allclose(got.log_r[0], np.tile(n * logs, (9, 1)), rtol=8 * n * np.finfo(float).eps)
    np.testing.assert_allclose(got.widest[0], logs[0] - logs[2], rtol=1e-14)


def test_a_sparse_A_is_not_read_as_a_whole_matrix():
    """A map large enough that compiled code keeps A as its few numbers: every vector goes through it as it is stored."""
    g, M = torch.Generator().manual_seed(0), 24
    places = torch.randperm(M * M, generator=g)[:60].sort().values
    A = Sparse(0.2 * torch.randn(1, 60, generator=g, dtype=torch.float64), places // M, places % M, M, M)
    W1, W2 = (0.3 * torch.randn(1, *shape, generator=g, dtype=torch.float64) for shape in ((M, 9), (9, M)))
    map = AdditiveMap(a=None, A=A, W1=W1, W2=W2, h1=torch.zeros(1, M).double(), phi="tanh")
    z, Q = torch.randn(1, 9, M, generator=g, dtype=torch.float64), random_frames((1, 9, 14, M), np.random.default_rng(0))
    got, want = carry(map, z, Q, 6, 1), carry(map, z, Q, 6, 1, backend="reference")
    torch.testing.assert_close(got.z, want.z, rtol=1e-12, atol=1e-12)
    assert ((got.log_r - want.log_r).abs() <= 1e-12 * torch.exp(want.widest)[..., None]).all()       # as above, for the sums of a step


def test_growth_is_that_of_the_product_of_jacobians():
    """The frame's volume grows as |det| of the product, and its first vector as the product's image of it."""
    map, z, Q, _ = drawn(5, "tanh", "dense", 0, M=4, k=4, T=6)
    got = carry(map, z, Q, 6, 2)
    now, product = z, torch.eye(4, dtype=torch.float64).expand(2, 11, 4, 4)
    for _ in range(6):
        product, now = jacobian(map, now) @ product, step(map, now)
    torch.testing.assert_close(got.log_r.sum(-1), torch.linalg.slogdet(product).logabsdet, rtol=0, atol=1e-10)
    first = torch.linalg.vector_norm(torch.einsum("fsmn,fsn->fsm", product, Q[:, :, 0]), dim=-1)
    torch.testing.assert_close(got.log_r[..., 0], torch.log(first), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.einsum("fskm,fsjm->fskj", got.Q, got.Q), torch.eye(4, dtype=torch.float64).expand(2, 11, 4, 4), rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_dead_directions(backend):
    """J of rank one: one direction lives, the others are -inf, and the frame stays orthonormal. A zero J leaves none."""
    J = torch.outer(torch.tensor([1.0, 2, 3]).double(), torch.tensor([0.5, 0.1, 0.2]).double())
    zero = torch.zeros(2, 3, 3).double()
    map = AdditiveMap(a=None, A=torch.stack([J, 0 * J]), W1=zero[:, :, :1], W2=zero[:, :1], h1=zero[:, 0], phi="relu")
    z, Q = torch.zeros(2, 9, 3).double(), random_frames((2, 9, 3, 3), np.random.default_rng(0))
    got = carry(map, z, Q, 5, 1, backend=backend)
    assert torch.isfinite(got.log_r[0, :, 0]).all()
    assert torch.isneginf(got.log_r[0, :, 1:]).all()
    assert torch.isneginf(got.log_r[1]).all()
    torch.testing.assert_close(got.Q @ got.Q.mT, torch.eye(3).double().expand(2, 9, 3, 3), rtol=0, atol=1e-14)
    assert (got.widest == 0).all()


def test_bits_do_not_depend_on_threads_or_neighbours():
    map, z, Q, _ = drawn(7, "relu", "dense", 0)
    whole, before = carry(map, z, Q, 9, 2), numba.get_num_threads()
    numba.set_num_threads(1)
    one = carry(map, z, Q, 9, 2)
    numba.set_num_threads(before)
    alone = map.with_tensors({name: x[1:] for name, x in map.tensors().items()})
    some = carry(alone, z[1:, 3:8].contiguous(), Q[1:, 3:8].contiguous(), 9, 2)
    for name in ("z", "Q", "log_r", "widest"):
        assert torch.equal(getattr(whole, name), getattr(one, name))
        assert torch.equal(getattr(whole, name)[1:, 3:8], getattr(some, name))


def test_an_orbit_that_diverges_leaves_its_neighbours():
    map, z, Q, _ = drawn(9, "relu", "dense", 0)
    far = z.clone()
    far[0, 4] = torch.inf
    got, want = carry(map, far, Q, 6, 2), carry(map, z, Q, 6, 2)
    assert got.failed[0, 4] == 1                                                     # seen at the end of the first interval
    rest = torch.ones(2, 11, dtype=torch.bool)
    rest[0, 4] = False
    assert (got.failed[rest] == -1).all()
    assert torch.equal(got.log_r[rest], want.log_r[rest])


@pytest.mark.parametrize("native", [True, False])
def test_structured_matrices(native, monkeypatch):
    """The same bits of information from a structure and from its dense matrix, whether multiplied as it is or written out."""
    stay_native(monkeypatch, native)
    g = torch.Generator().manual_seed(0)
    rows, columns = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 2, 3, 4, 0, 3])
    W2 = Sparse(torch.randn(2, 6, generator=g, dtype=torch.float64), rows, columns, 5, 5)
    h1, h2 = (torch.randn(2, 5, generator=g, dtype=torch.float64) for _ in range(2))
    map = AdditiveMap(a=None, W1=Scalar(torch.tensor([[0.9], [0.7]], dtype=torch.float64), 5), W2=W2, h1=h1, h2=h2, phi="tanh")
    z, Q = torch.randn(2, 5, 5, generator=g, dtype=torch.float64), random_frames((2, 5, 3, 5), np.random.default_rng(1))
    got, want = carry(map, z, Q, 8, 2), carry(map.written_out(), z, Q, 8, 2, backend="reference")
    torch.testing.assert_close(got.log_r, want.log_r, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"z": torch.zeros(3, 11, 5)}, "z must have shape"), ({"Q": torch.zeros(2, 11, 6, 5)}, "1 to 5"), ({"interval": 0}, "at least 1"),
        ({"pair": torch.zeros(2, 3, 5)}, "pair must have the shape"), ({"u": torch.zeros(1, 1, 4, 3)}, "u must have shape"),
    ],
)  # fmt: skip
def test_bad_arguments(change, said):
    map, z, Q, _ = drawn(3, "relu", "dense", 0)
    given = {"z": z, "Q": Q, "n_steps": 13} | {name: x.double() if isinstance(x, torch.Tensor) else x for name, x in change.items()}
    with pytest.raises(KernelError, match=said):
        carry(map, given.pop("z"), given.pop("Q"), given.pop("n_steps"), **given)
