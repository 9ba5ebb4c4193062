"""What every update draws, on the device: windows uniform over all that fit into the trials, and observation noise.

Counter-based: Philox4x32-10 with a 64-bit key, and a counter of (position, update, fit, purpose), 32 bits each. So every number is a pure
function of these; fits, updates and purposes never share one, and nothing is carried from one update to the next but the update's number.
A window's number is floor(r * total / 2^64) for a uniform r of 64 bits: with fewer than 2^32 windows in all, no probability is off by more
than a relative 2^-32. Noise is Box-Muller in float32 (Triton's own), with tails cut off at 5.7 standard deviations.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.update.triton_book import FIELDS, UPDATE

WINDOWS, NOISE = tl.constexpr(1), tl.constexpr(2)                              # purposes


@triton.jit
def random_words(key, fit, update, position, purpose: tl.constexpr):
    """Four words of 32 bits for each position."""
    c0 = position.to(tl.uint32)
    return tl.philox(key, c0, c0 * 0 + update.to(tl.uint32), c0 * 0 + fit.to(tl.uint32), c0 * 0 + purpose)


@triton.jit
def window_of(key, fit, update, b, ends, n_trials, depth):
    """(trial, first sample) of row b. ``ends`` [trials] int64 counts the windows up to each trial's end; 2^depth > trials."""
    high, low, _, _ = random_words(key, fit, update, b, WINDOWS)
    total = tl.load(ends + n_trials - 1).to(tl.uint64)
    which = ((high.to(tl.uint64) * total + ((low.to(tl.uint64) * total) >> 32)) >> 32).to(tl.int64)
    trial = which * 0                                                           # the number of ends up to ``which``, by bisection
    for i in range(depth):
        further = trial + (1 << (depth - 1 - i))
        passed = (further <= n_trials) & (tl.load(ends + tl.minimum(further, n_trials) - 1) <= which)
        trial = tl.where(passed, further, trial)
    before = tl.load(ends + tl.maximum(trial - 1, 0))
    return trial, which - tl.where(trial > 0, before, 0)


@triton.jit(do_not_specialize=["n_trials", "depth", "n_time", "B", "T"])
def draw_kernel(
    book, key, fit_numbers, ends, data, inputs, noise_level, windows, x, u, n_trials, depth, n_time, B, T,
    N: tl.constexpr, K: tl.constexpr, NOISY: tl.constexpr, BT: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):
    """Fills windows [F, B, 2], x [F, B, T + 1, N] with noise and NaN where missing, and u [F, B, T, K]; grid (rows, blocks of samples, fits)."""
    f = tl.program_id(2).to(tl.int64)
    b = tl.program_id(0).to(tl.int64)
    row = f * B + b
    word, fit, update = tl.load(key), tl.load(fit_numbers + f), tl.load(book + f * FIELDS + UPDATE)
    trial, start = window_of(word, fit, update, b, ends, n_trials, depth)
    if tl.program_id(1) == 0:
        tl.store(windows + 2 * row, trial)
        tl.store(windows + 2 * row + 1, start)
    t = (tl.program_id(1) * BT + tl.arange(0, BT)).to(tl.int64)
    n = tl.arange(0, BN)
    on = (t <= T)[:, None] & (n < N)[None, :]
    first = trial * n_time + start
    value = tl.load(data + (first + t)[:, None] * N + n[None, :], mask=on, other=0.0)
    at = t[:, None] * N + n[None, :]
    if NOISY:
        p, q, _, _ = random_words(word, fit, update, b * (T + 1) * N + at, NOISE)
        normal, _ = tl.pair_uniform_to_normal(tl.uint_to_uniform_float(p), tl.uint_to_uniform_float(q))
        value += tl.load(noise_level + f) * normal.to(value.dtype)
    tl.store(x + row * (T + 1) * N + at, value, mask=on)
    if K > 0:
        k = tl.arange(0, BK)
        on = (t < T)[:, None] & (k < K)[None, :]
        drive = tl.load(inputs + (first + t + 1)[:, None] * K + k[None, :], mask=on, other=0.0)   # the input at t + 1 acts in the step to t + 1
        tl.store(u + row * T * K + t[:, None] * K + k[None, :], drive, mask=on)
