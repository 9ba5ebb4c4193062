"""The sum of squared errors of the unforced predictions over what was seen, and its derivative by the latent states.

Squares are added in float64, block of samples by block; blocks are added by whoever reads them, in their order. Missing entries are NaN in x,
and neither they nor what is predicted there enter anything.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def errors(prediction, x, on):
    """prediction - x where x was seen, else 0; and where it was."""
    seen = on & (x == x)
    return tl.where(seen, prediction - x, 0.0), seen


@triton.jit(do_not_specialize=["B", "T"])
def identity_loss_kernel(x, z, gz, losses, counts, B, T, M: tl.constexpr, N: tl.constexpr, BR: tl.constexpr, BM: tl.constexpr):
    """gz [F, B T, M], losses and counts [F, blocks]; grid (blocks of samples, fits)."""
    f = tl.program_id(1).to(tl.int64)
    block = f * tl.num_programs(0) + tl.program_id(0)
    i = tl.program_id(0) * BR + tl.arange(0, BR)
    m = tl.arange(0, BM)
    there = (i < B * T)[:, None] & (m < M)[None, :]
    observed = there & (m < N)[None, :]
    after = (f * B + i // T) * (T + 1) + i % T + 1                              # the division in 32 bits, all else in 64
    at = (f * B * T + i)[:, None] * M + m[None, :]
    sample = tl.load(x + after[:, None] * N + m[None, :], mask=observed, other=0.0)
    error, seen = errors(tl.load(z + at, mask=observed, other=0.0), sample, observed)
    tl.store(gz + at, 2 * error, mask=there)
    square = error.to(tl.float64)
    tl.store(losses + block, tl.sum(square * square))
    tl.store(counts + block, tl.sum(seen.to(tl.int32)))


@triton.jit(do_not_specialize=["B", "T", "P", "start"])
def affine_loss_kernel(
    theta, x, z, gz, partial, losses, counts, B, T, P, start,
    M: tl.constexpr, N: tl.constexpr, BIASED: tl.constexpr, BR: tl.constexpr, BM: tl.constexpr,
):
    """The same through x = B z + b; partial [F, blocks, N M (+ N)] gets the derivatives by B and b."""
    f = tl.program_id(1).to(tl.int64)
    block = f * tl.num_programs(0) + tl.program_id(0)
    i = tl.program_id(0) * BR + tl.arange(0, BR)
    m = tl.arange(0, BM)
    there = i < B * T
    on = there[:, None] & (m < M)[None, :]
    after = (f * B + i // T) * (T + 1) + i % T + 1
    at = (f * B * T + i)[:, None] * M + m[None, :]
    base = theta + f * P + start
    into = partial + block * (N * M + (N if BIASED else 0))
    state = tl.load(z + at, mask=on, other=0.0)
    back = tl.full((BR, BM), 0.0, state.dtype)
    loss, count = tl.full((BR,), 0.0, tl.float64), tl.full((BR,), 0, tl.int32)
    for n in range(N):
        row = tl.load(base + n * M + m, mask=m < M, other=0.0)
        prediction = tl.sum(state * row[None, :], 1)
        if BIASED:
            prediction += tl.load(base + N * M + n)
        error, seen = errors(prediction, tl.load(x + after * N + n, mask=there, other=0.0), there)
        loss += error.to(tl.float64) * error.to(tl.float64)
        count += seen.to(tl.int32)
        slope = 2 * error
        back += slope[:, None] * row[None, :]
        tl.store(into + n * M + m, tl.sum(tl.where(seen[:, None], slope[:, None] * state, 0.0), 0), mask=m < M)
        if BIASED:
            tl.store(into + N * M + n, tl.sum(slope, 0))
    tl.store(gz + at, back, mask=on)
    tl.store(losses + block, tl.sum(loss, 0))
    tl.store(counts + block, tl.sum(count, 0))
