"""Spectral norms of all Jacobians against singular values, through every backend; and norms of their means."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynrnn_kernels.additive import AdditiveMap, jacobian
from dynrnn_kernels.additive.cpu_singular import largest_singular_values, work_rows
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.norms import map_of, mean_norms, spectral_norms
from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.errors import KernelError
from tests.kernels.maps import ALL_KINDS, kink_distance, random_map
from tests.kernels.recurrences import interpret_additive

DTYPES = (torch.float32, torch.float64)


def singular_values(J: np.ndarray) -> np.ndarray:
    """The kernel's norms of J [8, M, M]."""
    M = J.shape[1]
    lanes, work, out = np.ascontiguousarray(J.reshape(ROWS, M * M).T), np.full((work_rows(M), ROWS), np.nan, J.dtype), np.empty(ROWS, J.dtype)
    largest_singular_values(lanes, M, work, out)
    return out


def hard_matrices(g: np.random.Generator, M: int) -> np.ndarray:
    """Repeated and clustered singular values, rank one, zero, entries near the ends of the range of numbers, one column, a random one."""
    J = g.standard_normal((ROWS, M, M))
    J[0] = -0.9 * np.eye(M)
    J[1] = 0
    J[2] *= 1e-30
    J[3] *= 1e30
    J[4] = np.outer(J[4, 0], J[4, -1])
    J[5] = 1.1 * np.linalg.qr(J[5])[0]
    J[6] = np.diag(1 + 1e-7 * np.arange(M)) + 1e-8 * J[6]
    J[7, :, 1:] *= 1e-12
    return J


@pytest.mark.parametrize("M", [1, 2, 3, 4, 9, 12, 13, 30, 65])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_largest_singular_value(M, kind):
    """Backward stable: the error of 2 M reflections of vectors of length M is far below 2 M eps (Golub & Van Loan, 5.1.5), that of bisection below eps."""
    J = hard_matrices(np.random.default_rng(M), M).astype(kind)
    want = np.linalg.norm(J.astype(np.float64), 2, axis=(1, 2))
    assert want[1] == 0
    error = np.abs(singular_values(J) - want)
    assert (error <= (2 * M + 2) * np.finfo(kind).eps * want).all(), error / want


def test_lanes_do_not_mix():
    """A matrix that is not finite has norm NaN, and leaves its neighbours' bits."""
    J = np.random.default_rng(0).standard_normal((ROWS, 5, 5))
    before = singular_values(J)
    J[2, 1, 3], J[6, 0, 0] = np.nan, np.inf
    after = singular_values(J)
    bad = np.isin(np.arange(ROWS), [2, 6])
    assert np.isnan(after[bad]).all()
    np.testing.assert_array_equal(after[~bad], before[~bad])


def drawn(seed: int, phi: str, w2: str, K: int, dense_A: bool, F: int, R: int, M: int, H: int, smooth: bool):
    """A map, states and inputs in float64; smooth ones wander, so that many lie in the region of the one before."""
    g = torch.Generator().manual_seed(seed)
    for _ in range(100):
        map = random_map(g, phi, w2, F, M, H, K, dense_A)
        states = torch.randn(F, R, M, generator=g, dtype=torch.float64)
        u = torch.randn(F, R, K, generator=g, dtype=torch.float64)
        if smooth:
            states, u = 0.05 * states.cumsum(1), 0.05 * u.cumsum(1)
        if kink_distance(map, states, u) > 1e-5:                                 # float32 must see the same slopes
            return map, states, u
    raise AssertionError("no draw away from the kinks")


cases = st.fixed_dictionaries({
    "seed": st.integers(0, 10_000), "kind": st.sampled_from(ALL_KINDS), "K": st.integers(0, 3), "dense_A": st.booleans(), "F": st.integers(1, 2),
    "R": st.integers(1, 300), "M": st.integers(1, 14), "H": st.integers(1, 30), "smooth": st.booleans(),
})


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=cases)
def test_kernel_equals_singular_values(case):
    """J has rounding of its own: sums of H + 2 terms, carried through a block of at most 16 x 8 states, so up to (H + 2 M + 34) eps of its parts' norms."""
    phi, w2 = case.pop("kind")
    if w2 == "centring":
        case["M"] = max(2, case["M"])                                             # one unit less its mean is always 0, at the kink
    map, states, u = drawn(phi=phi, w2=w2, **case)
    J = jacobian(map, states, u)
    want = torch.linalg.matrix_norm(J, ord=2)
    slope = 1.0 if map.slope is None else map.slope.abs().sum(-1)
    parts = torch.linalg.matrix_norm(map.dense_A(), ord=2) + slope * torch.linalg.matrix_norm(map.dense_W1()) * torch.linalg.matrix_norm(map.dense_W2())
    for dtype in DTYPES:
        flat, lay = pack(map).to(dtype), layout_of(map)
        tolerance = (map.hidden_dim + 2 * map.latent_dim + 34) * torch.finfo(dtype).eps * parts
        got = spectral_norms(flat, lay, states.to(dtype), u.to(dtype), backend="cpu").double()
        assert ((got - want).abs() <= tolerance[:, None]).all()
        mean = mean_norms(flat, lay, states[:, None].to(dtype), u[:, None].to(dtype), backend="cpu").double()
        assert ((mean - torch.linalg.matrix_norm(J.mean(1), ord=2)[:, None]).abs() <= tolerance[:, None]).all()


def test_repeated_singular_values():
    """J = c 1 at every state, where power iteration would have no gap to work with: the norm is |c| to rounding."""
    map = AdditiveMap(a=torch.full((1, 6), -0.7), W1=torch.zeros(1, 6, 4), h1=torch.zeros(1, 6), W2=torch.ones(1, 4, 6), h2=torch.zeros(1, 4))
    got = spectral_norms(pack(map), layout_of(map), torch.randn(1, 21, 6, generator=torch.Generator().manual_seed(0)), backend="cpu")
    torch.testing.assert_close(got, torch.full_like(got, 0.7), rtol=2 * 6 * torch.finfo(got.dtype).eps, atol=0)


@pytest.mark.parametrize("phi", ["relu", "tanh"])
def test_a_fit_has_the_bits_that_it_has_alone(phi):
    """On one thread and two, with more states than a block has, beside fits that are not finite."""
    map, states, _ = drawn(1, phi, "dense", 0, True, 3, 333, 5, 9, True)
    flat, lay, states = pack(map).float(), layout_of(map), states.float()
    flat[0] = float("nan")
    sequences = states.reshape(3, 3, 111, 5)
    before = numba.get_num_threads()
    try:
        for n in (1, min(2, before)):
            numba.set_num_threads(n)
            assert torch.equal(spectral_norms(flat, lay, states)[2:], spectral_norms(flat[2:], lay, states[2:]))
            assert torch.equal(mean_norms(flat, lay, sequences)[2:], mean_norms(flat[2:], lay, sequences[2:]))
    finally:
        numba.set_num_threads(before)
    assert torch.isnan(spectral_norms(flat, lay, states)[0]).all()


@pytest.mark.parametrize(("phi", "w2"), [("clipped", "dense"), ("basis", "centring")])
def test_backends_agree(phi, w2, monkeypatch):
    """The reference exactly as the kernel; power iteration from below (its own bound is tested in test_triton.py)."""
    map, states, u = drawn(3, phi, w2, 2, True, 2, 3, 4, 6, False)
    flat, lay = pack(map), layout_of(map)
    want = spectral_norms(flat, lay, states, u, backend="reference")
    torch.testing.assert_close(spectral_norms(flat, lay, states, u, backend="cpu"), want, rtol=1e-13, atol=0)
    interpret_additive(monkeypatch)
    got = spectral_norms(flat, lay, states, u, backend="triton")
    assert (got <= want * (1 + 1e-12)).all()
    torch.testing.assert_close(got, want, rtol=1e-2, atol=0)
    torch.testing.assert_close(mean_norms(flat, lay, states[:, None], u[:, None], backend="triton"), mean_norms(flat, lay, states[:, None], u[:, None]))


@pytest.mark.parametrize(("phi", "w2"), ALL_KINDS)
def test_a_map_comes_back_from_its_flat_vector(phi, w2):
    map = random_map(torch.Generator().manual_seed(0), phi, w2, 2, 4, 5, 2, True)
    back = map_of(pack(map), layout_of(map))
    assert (back.phi, back.w2) == (phi, w2)
    assert back.tensors().keys() == map.tensors().keys()
    assert all(torch.equal(value, map.tensors()[name]) for name, value in back.tensors().items())


def test_what_does_not_fit_is_said():
    map, states, u = drawn(0, "relu", "dense", 2, False, 2, 3, 4, 6, False)
    flat, lay = pack(map), layout_of(map)
    with pytest.raises(KernelError, match="depends on u"):
        spectral_norms(flat, lay, states)
    with pytest.raises(KernelError, match="2 fits first and 4 latent units last"):
        spectral_norms(flat, lay, states[..., :3], u)
    with pytest.raises(KernelError, match="states are torch.float32"):
        spectral_norms(flat, lay, states.float(), u)
