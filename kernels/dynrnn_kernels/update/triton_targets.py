"""Forcing targets, their weights and the first states, from windows x [F, B, T + 1, N] in which NaN means missing.

Packed as the recurrence wants them: target and weight [F, B T, M], z0 [F, B, M]. A missing entry has weight zero; a missing first sample
starts from its channel's mean.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.update.triton_book import FIELDS, PLACE
from dynrnn_kernels.update.triton_decoder import decoder_row, diagonalise, rank_floor


@triton.jit
def strength(book, alpha, f):
    """alpha of this update, from the block's table [n, F]."""
    return tl.load(alpha + tl.load(book + f * FIELDS + PLACE) * tl.num_programs(2) + f)


@triton.jit(do_not_specialize=["B", "T", "P", "start"])
def identity_target_kernel(
    book, alpha, gate, unit, channel_mean, theta, x, target, weight, z0, B, T, P, start,
    M: tl.constexpr, N: tl.constexpr, BT: tl.constexpr, BN: tl.constexpr, BL: tl.constexpr,
):
    """Observed units are forced where they were seen, the others start from L x (L at ``start`` of theta); grid (rows, blocks of samples, fits).

    Units without a target keep the zeros that target and weight were made with.
    """
    f = tl.program_id(2).to(tl.int64)
    row = f * B + tl.program_id(0)
    t = (tl.program_id(1) * BT + tl.arange(0, BT)).to(tl.int64)
    n = tl.arange(0, BN)
    on = (t < T)[:, None] & (n < N)[None, :]
    value = tl.load(x + (row * (T + 1) + t)[:, None] * N + n[None, :], mask=on, other=0.0)
    pull = strength(book, alpha, f) * tl.load(gate + f * T + t, mask=t < T, other=0.0)[:, None] * tl.load(unit + n, mask=n < N, other=0.0)[None, :]
    at = (row * T + t)[:, None] * M + n[None, :]
    tl.store(target + at, value, mask=on)
    tl.store(weight + at, tl.where(value == value, pull, 0.0), mask=on)
    if tl.program_id(1) == 0:
        sample = tl.load(x + row * (T + 1) * N + n, mask=n < N, other=0.0)
        sample = tl.where(sample == sample, sample, tl.load(channel_mean + f * N + n, mask=n < N, other=0.0))
        tl.store(z0 + row * M + n, sample, mask=n < N)
        if M > N:
            i = tl.arange(0, BL)
            there = i < M - N
            L = tl.load(theta + f * P + start + i[:, None] * N + n[None, :], mask=there[:, None] & (n < N)[None, :], other=0.0)
            tl.store(z0 + row * M + N + i, tl.sum(L * sample[None, :], 1), mask=there)


@triton.jit
def centred(x, bias, n, on, BIASED: tl.constexpr):
    """x - b of channel n at the places x points to."""
    value = tl.load(x + n, mask=on, other=0.0)
    if BIASED:
        value -= tl.load(bias + n)
    return value


@triton.jit(do_not_specialize=["B", "T", "P", "start"])
def affine_target_kernel(
    book, alpha, gate, unit, channel_mean, theta, inverse, x, target, weight, z0, B, T, P, start,
    M: tl.constexpr, N: tl.constexpr, BIASED: tl.constexpr, BR: tl.constexpr, BM: tl.constexpr,
):
    """All units are forced to pinv(B) (x - b); B lies at ``start`` of theta and b behind it. Grid (blocks of samples, 1, fits).

    Where a channel is missing the target is that of zeros in its place, which ``partly_seen_kernel`` corrects.
    """
    f = tl.program_id(2).to(tl.int64)
    i = tl.program_id(0) * BR + tl.arange(0, BR)                                # divided in 32 bits, all else in 64
    m = tl.arange(0, BM)
    there = i < B * T
    b, t = i // T, i % T
    bias = theta + f * P + start + N * M
    pointer = x + ((f * B + b) * (T + 1) + t) * N
    kind: tl.constexpr = x.dtype.element_ty
    goal, first = tl.full((BR, BM), 0.0, kind), tl.full((BR, BM), 0.0, kind)
    for n in range(N):
        value = centred(pointer, bias, n, there, BIASED)
        instead = tl.load(channel_mean + f * N + n)
        if BIASED:
            instead -= tl.load(bias + n)
        column = tl.load(inverse + (f * M + m) * N + n, mask=m < M, other=0.0)
        goal += tl.where(value == value, value, 0.0)[:, None] * column[None, :]
        first += tl.where(value == value, value, instead)[:, None] * column[None, :]
    on = there[:, None] & (m < M)[None, :]
    pull = strength(book, alpha, f) * tl.load(gate + f * T + t, mask=there, other=0.0)[:, None] * tl.load(unit + m, mask=m < M, other=0.0)[None, :]
    at = (f * B * T + i)[:, None] * M + m[None, :]
    tl.store(target + at, goal, mask=on)
    tl.store(weight + at, pull, mask=on)
    tl.store(z0 + (f * B + b)[:, None] * M + m[None, :], first, mask=on & (t == 0)[:, None])


@triton.jit(do_not_specialize=["B", "T", "P", "start"])
def partly_seen_kernel(
    theta, x, target, weight, B, T, P, start, M: tl.constexpr, N: tl.constexpr, BIASED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):
    """Samples with missing channels: the target is the pseudo-inverse of the rows of B that were seen, where these have full column rank;
    else the sample is not forced. Grid (samples, 1, fits); a program whose sample is complete ends at once."""
    f = tl.program_id(2).to(tl.int64)
    i = tl.program_id(0)
    n = tl.arange(0, BN)
    pointer = x + ((f * B + i // T) * (T + 1) + i % T) * N
    sample = tl.load(pointer + n, mask=n < N, other=0.0)
    seen = tl.sum(tl.where((sample == sample) & (n < N), 1, 0), 0)
    if seen < N:
        m = tl.arange(0, BM)
        base, bias = theta + f * P + start, theta + f * P + start + N * M
        at = (f * B * T + i) * M + m
        goal, unique = tl.full((BM,), 0.0, tl.float64), seen < 0
        if seen >= M:
            gram, moment = tl.full((BM, BM), 0.0, tl.float64), tl.full((BM,), 0.0, tl.float64)
            for c in range(N):
                value = centred(pointer, bias, c, True, BIASED)
                row = decoder_row(base, c, m, M, N, False)
                row = tl.where(value == value, row, 0.0)
                gram += row[:, None] * row[None, :]
                moment += row * tl.where(value == value, value, 0.0)
            roots, vectors = diagonalise(gram, M, BM)
            floor = rank_floor(roots, N, M, M, x.dtype.element_ty == tl.float64)
            unique = tl.min(tl.where(m < M, roots, float("inf")), 0) > floor
            along = tl.sum(vectors * moment[None, :], 1) / tl.where(roots > floor, roots, 1.0)
            goal = tl.sum(vectors * along[:, None], 0)
        tl.store(target + at, tl.where(unique, goal, 0.0), mask=m < M)
        if not unique:
            tl.store(weight + at, goal * 0, mask=m < M)
