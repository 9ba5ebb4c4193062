"""What the device draws: Philox against its published numbers, windows against whole-number arithmetic, and statistics of both.

Each statistic may lie 4.9 standard errors off (a chi-square at its quantile of 1 - 1e-6): a right generator fails once in a million keys,
and the key is fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("triton")

import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from dynrnn_kernels.update.problem import AFFINE
from tests.kernels.device_problem import KEY, device_update, random_problem
from tests.kernels.interpreter import DEVICE, interpret_triton_itself, interpreted

kernels = interpreted(DEVICE)
window_of = kernels.draw_kernel.fn.__globals__["window_of"]
FALSE_ALARM, ERRORS = 1e-6, 4.9


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    interpret_triton_itself(monkeypatch)


def philox(counter: np.ndarray, key: int) -> np.ndarray:
    """Philox4x32-10 of counters [n, 4] (Salmon et al. 2011, doi:10.1145/2063384.2063405)."""
    c = counter.astype(np.uint64)
    k0, k1, mask = key & 0xFFFFFFFF, key >> 32, np.uint64(0xFFFFFFFF)
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * c[:, 0], np.uint64(0xCD9E8D57) * c[:, 2]
        c = np.stack([(second >> 32) ^ c[:, 1] ^ np.uint64(k0), second & mask, (first >> 32) ^ c[:, 3] ^ np.uint64(k1), first & mask], 1)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def windows_of(ends: np.ndarray, key: int, fit: int, update: int, B: int) -> np.ndarray:
    """(trial, first sample) of each row, in Python's whole numbers."""
    words = philox(np.array([[b, update, fit, 1] for b in range(B)]), key)
    which = np.array([(((int(high) << 32) + int(low)) * int(ends[-1])) >> 64 for high, low in words[:, :2]])
    trial = np.searchsorted(ends, which, side="right")
    return np.stack([trial, which - np.r_[0, ends][trial]], 1)


def test_philox_gives_its_published_numbers():
    for word, want in ((0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"), (0xFFFFFFFF, "408f276d 41c83b0e a20bc7c6 6d5451fd")):
        assert " ".join(f"{x:08x}" for x in philox(np.full((1, 4), word), word * (2**32 + 1))[0]) == want


def test_the_device_draws_windows_from_philox():
    """Exactly, in trials of which one is too short for any window."""
    map, problem, state, _ = random_problem(1, "relu", "dense", T=2)
    ends = np.array([7, 7, 9, 20])
    for update in (0, 2**31 + 5):
        mine = device_update(kernels, map, problem, state, ends, 5, np.array([3, 2**31 + 11]), first_update=update)
        kernels.launch_draws(mine.arrays)
        for k, fit in enumerate((3, 2**31 + 11)):
            np.testing.assert_array_equal(mine.arrays.windows[k].numpy(), windows_of(ends, KEY, fit, update, 5))


def probe(key, ends, out, n_trials, depth, B):
    for b in range(B):
        trial, start = window_of(tl.load(key), tl.load(key) * 0 + 3, tl.load(key) * 0 + 9, tl.load(key) * 0 + b, ends, n_trials, depth)
        tl.store(out + 2 * b, trial)
        tl.store(out + 2 * b + 1, start)


def test_windows_of_the_longest_recordings():
    """As many windows as are allowed: no product overflows."""
    ends = np.array([5, 2**31 + 7, 2**31 + 7, 2**32 - 1])
    key, out = torch.tensor([KEY - 2**64]), torch.zeros(20, 2, dtype=torch.int64)
    InterpretedFunction(probe)[(1,)](key, torch.tensor(ends), out, 4, 3, 20)
    np.testing.assert_array_equal(out.numpy(), windows_of(ends, KEY, 3, 9, 20))


def test_windows_are_uniform_and_fits_draw_their_own():
    ends, n = np.array([7, 7, 9, 20]), 20_000
    counts = []
    for fit in (0, 1):
        drawn = windows_of(ends, KEY, fit, 4, n)
        counts.append(np.r_[0, ends][drawn[:, 0]] + drawn[:, 1])
        frequency = np.bincount(counts[-1], minlength=20)
        assert ((frequency - n / 20) ** 2 / (n / 20)).sum() < stats.chi2.isf(FALSE_ALARM, 19)
    pairs = np.bincount(20 * counts[0] + counts[1], minlength=400)
    assert ((pairs - n / 400) ** 2 / (n / 400)).sum() < stats.chi2.isf(FALSE_ALARM, 399)


def noise(update: int) -> np.ndarray:
    """Two fits' noise in one update, [fit, T + 1 times B times N]."""
    map, problem, state, _ = random_problem(1, "relu", "identity", M=3, N=7, observation=AFFINE, T=300)
    still = problem._replace(data=np.zeros((1, 400, 7)), inputs=np.zeros((1, 400, 0)), noise_level=np.ones(2))
    mine = device_update(kernels, map, still, state, np.array([50]), 3, np.array([3, 11]), first_update=update)
    kernels.launch_draws(mine.arrays)
    return mine.arrays.x.reshape(2, -1).numpy()


def test_noise_is_standard_normal_and_never_the_same():
    """Moments, and correlations between fits, between updates, between neighbours, and with the words that windows are drawn from."""
    now, later = noise(0), noise(1)
    n = now.shape[1]
    for x in (*now, *later):
        assert abs(x.mean()) < ERRORS / n**0.5
        assert abs(x.var() - 1) < ERRORS * (2 / n) ** 0.5
        assert abs((x**3).mean()) < ERRORS * (15 / n) ** 0.5
        assert abs((x**4).mean() - 3) < ERRORS * (96 / n) ** 0.5
        assert stats.kstest(x, "norm").pvalue > FALSE_ALARM
    words = philox(np.stack([np.arange(n), 0 * np.arange(n), 3 + 0 * np.arange(n), 1 + 0 * np.arange(n)], 1), KEY)[:, 0] / 2**32 - 0.5
    for a, b in ((now[0], now[1]), (now[0], later[0]), (now[0, 1:], now[0, :-1]), (now[0, 7:], now[0, :-7]), (now[0], 12**0.5 * words)):
        assert abs((a * b).mean()) < ERRORS / len(a) ** 0.5
    assert np.array_equal(now, noise(0))


def test_decoders_against_an_independent_decomposition():
    """Pseudo-inverse and penalty of random decoders of both shapes, one of them short of rank, against NumPy's SVD."""
    rng = np.random.default_rng(0)
    for N, M in ((1, 1), (2, 5), (5, 2), (4, 4), (7, 3)):
        map, problem, state, ends = random_problem(2, "relu", "identity", M=M, N=N, observation=AFFINE, condition=True, T=2)
        B = rng.standard_normal((2, N, M))
        if min(N, M) > 2:
            B[0, :, 0] = 2 * B[0, :, 1]
        state.theta[:, problem.obs_weight :] = B.reshape(2, -1)
        a = device_update(kernels, map, problem, state, ends, 2).arrays
        kernels.launch_draws(a)
        kernels.launch_targets(a)
        for k in range(2):
            want = np.linalg.pinv(B[k], rcond=1e-8)
            np.testing.assert_allclose(a.inverse[k].numpy(), want, rtol=0, atol=1e-10 * np.abs(want).max())   # eps times the Gram matrix's condition, below 1e5
        leaf = torch.tensor(B[1], requires_grad=True)                           # fit 0 has no penalty
        s = torch.linalg.svdvals(leaf)
        value = float(problem.condition[1]) * (1 - s[0] / (s[-1] + 1e-8)) ** 2
        value.backward()
        np.testing.assert_allclose(a.penalty[1].numpy(), value.detach().numpy(), rtol=1e-10, atol=1e-20)
        np.testing.assert_allclose(a.penalty_gradient[1].reshape(N, M).numpy(), leaf.grad, rtol=1e-9, atol=1e-10)
        assert (a.penalty_gradient[0] == 0).all()
