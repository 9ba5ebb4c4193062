"""Tangent vectors along orbits on a CUDA device: one program carries a segment's state and k vectors in registers, J is never formed.

    z' = f(z),    q_j' = A q_j + W1 diag(phi'(v)) W2 q_j,    j = 1..k

The frame [BK, BM] is a tile; a vector is taken out of it, multiplied, and put back, at O(k M) beside the O(M H) of its product. A dense A is loaded
again at each step, and with CHUNKED so are the other weights, a block of rows or hidden columns at a time, once for all vectors. Frames are made
orthonormal by Gram-Schmidt, twice (cpu_frames.py says what a dead direction is). Sums have a fixed order; nothing depends on other segments or fits.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dynrnn_kernels.additive.config import Config, check_fits
from dynrnn_kernels.additive.cpu_frames import DEAD
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.triton import DENSE, TANH, choose, launch, padded, positions
from dynrnn_kernels.additive.triton_cells import add_inputs, column_of, hidden_of, tile_W1, tile_W2, times, transposed_times
from dynrnn_kernels.additive.triton_norms import slope_at
from dynrnn_kernels.additive.triton_steps import drive, values
from dynrnn_kernels.errors import KernelError

ONE, EXACT, TINY = tl.constexpr(1), tl.constexpr("ieee"), tl.constexpr(DEAD)
MOST_NUMBERS = {torch.float32: 8192, torch.float64: 4096}                       # of a padded frame: two of them lie in the registers of a program


@triton.jit
def vector_of(Q, j, i):
    """Row j of the frame."""
    return tl.sum(tl.where((i == j)[:, None], Q, 0.0), 0)


@triton.jit
def with_vector(Q, j, i, q):
    return tl.where((i == j)[:, None], q[None, :], Q)


@triton.jit
def without_those_before(Q, q, j, i):
    """q less its share along rows 0 to j - 1, twice."""
    for _ in tl.static_range(2):
        along = tl.where(i < j, tl.sum(Q * q[None, :], 1), 0.0)
        q = q - tl.sum(along[:, None] * Q, 0)
    return q


@triton.jit
def completion(Q, j, i, m, lay: tl.constexpr):
    """A unit vector orthogonal to rows 0 to j - 1: from the first axis of which enough is left, and the mean of that over axes is (M - j) / M."""
    left = 1 - tl.sum(tl.where((i < j)[:, None], Q * Q, 0.0), 0)
    axis = tl.min(tl.where((left * lay.M >= 0.5 * (lay.M - j)) & (m < lay.M), m, lay.M), 0)
    q = without_those_before(Q, tl.where(m == axis, 1.0, 0.0).to(Q.dtype), j, i)
    return q / tl.sqrt(tl.sum(q * q, 0))


@triton.jit
def orthonormal(Q, logs, k, i, m, lay: tl.constexpr):
    """The frame, sums of logarithms and ln of the longest over the shortest live vector."""
    longest, shortest = tl.full((), 0.0, Q.dtype), tl.full((), float("inf"), Q.dtype)
    for j in range(k):
        q = vector_of(Q, j, i)
        before = tl.sqrt(tl.sum(q * q, 0))
        q = without_those_before(Q, q, j, i)
        length = tl.sqrt(tl.sum(q * q, 0))
        longest = tl.maximum(longest, length)
        if length <= TINY * tl.maximum(before, longest):                        # not for NaN
            logs = tl.where(i == j, float("-inf"), logs)
            q = completion(Q, j, i, m, lay)
        else:
            logs = tl.where(i == j, logs + tl.log(length), logs)
            shortest = tl.minimum(shortest, length)
            q = q / length
        Q = with_vector(Q, j, i, q)
    live = shortest <= longest
    return Q, logs, tl.where(live, tl.log(tl.where(live, longest / tl.where(live, shortest, 1.0), 1.0)), 0.0)


@triton.jit
def pushed(Q, out, k, i, d, W1, W2, lay: tl.constexpr):
    """out + W1 diag(d) W2 q for every vector q of the frame, for a block of hidden columns."""
    for j in range(k):
        y = transposed_times(W1, d * hidden_of(W2, vector_of(Q, j, i), lay, ONE, EXACT), ONE, EXACT)
        out = tl.where((i == j)[:, None], out + y[None, :], out)
    return out


@triton.jit
def rows_of_A(base, r, m, lay: tl.constexpr):
    return tl.load(base + lay.A + r[:, None] * lay.M + m[None, :], mask=(r < lay.M)[:, None] & (m < lay.M)[None, :], other=0.0)


@triton.jit
def times_rows(A, z, r, m):
    """A z for some rows r of A, at their places in [BM]."""
    return tl.sum(tl.where(r[:, None] == m[None, :], times(A, z, ONE, EXACT)[:, None], 0.0), 0)


@triton.jit(do_not_specialize=["S", "k", "n_steps", "u_fits", "u_segments", "chunks", "blocks"])
def tangent_kernel(
    flat, z_all, Q_all, pair_all, u, interval, distance, log_r, log_pair, widest, failed, path, S, k, n_steps, u_fits, u_segments, chunks, blocks,
    lay: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr, BA: tl.constexpr, CHUNKED: tl.constexpr, PAIR: tl.constexpr, PATH: tl.constexpr,
):
    """All of ``tangent.carry`` for one segment of one fit, in place; grid (segments, fits)."""
    f, s = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    at = f * S + s
    base = flat + f * lay.size
    m, i = tl.arange(0, BM), tl.arange(0, BK)
    j = column_of(tl.arange(0, BH), lay)
    real = m < lay.M
    place, whole = Q_all + at * k * lay.M + i[:, None] * lay.M + m[None, :], (i < k)[:, None] & real[None, :]
    a, h1 = values(base + lay.a, 0, m, lay), values(base + lay.h1, 0, m, lay)
    if not CHUNKED:
        W1, W2 = tile_W1(base, j, m, lay), tile_W2(base, j, m, lay)
    z, Q = values(z_all, at, m, lay), tl.load(place, mask=whole, other=0.0)
    other = z
    if PAIR:
        other = values(pair_all, at, m, lay)
    every, apart = tl.load(interval + f), tl.load(distance + f)
    first = u + (tl.minimum(f, u_fits - 1) * u_segments + tl.minimum(s, u_segments - 1)) * n_steps * lay.K
    logs, pair_log, width = tl.full((BK,), 0.0, z.dtype), tl.full((), 0.0, z.dtype), tl.full((), 0.0, z.dtype)
    broken, since = tl.full((), -1, tl.int64), tl.full((), 0, tl.int64)
    for t in range(n_steps):
        ut = first + t * lay.K
        if PATH:
            tl.store(path + (f * n_steps + t) * lay.M + m, z, mask=real & (s + 0 * m == 0))
        after, beside, moved = add_inputs(a * z + h1, base, m, real, ut, lay, lay.C), other, a[None, :] * Q
        if PAIR:
            beside = add_inputs(a * other + h1, base, m, real, ut, lay, lay.C)
        if lay.A >= 0:
            for c in range(blocks):
                r = c * BA + tl.arange(0, BA)
                A = rows_of_A(base, r, m, lay)
                after += times_rows(A, z, r, m)
                if PAIR:
                    beside += times_rows(A, other, r, m)
                for v in range(k):
                    moved = tl.where((i == v)[:, None], moved + times_rows(A, vector_of(Q, v, i), r, m)[None, :], moved)
        if CHUNKED:
            for c in range(chunks):
                jc = j + c * BH
                W1, W2 = tile_W1(base, jc, m, lay), tile_W2(base, jc, m, lay)
                after += drive(z, ut, base, W1, W2, jc, lay, ONE, EXACT)
                if PAIR:
                    beside += drive(other, ut, base, W1, W2, jc, lay, ONE, EXACT)
                moved = pushed(Q, moved, k, i, slope_at(z, ut, base, W2, jc, lay), W1, W2, lay)
        else:
            after += drive(z, ut, base, W1, W2, j, lay, ONE, EXACT)
            if PAIR:
                beside += drive(other, ut, base, W1, W2, j, lay, ONE, EXACT)
            moved = pushed(Q, moved, k, i, slope_at(z, ut, base, W2, j, lay), W1, W2, lay)
        z, other, Q = after, beside, moved
        since += 1
        if (since >= every) | (t == n_steps - 1):
            since = tl.full((), 0, tl.int64)
            Q, logs, spread = orthonormal(Q, logs, k, i, m, lay)
            width = tl.maximum(width, spread)
            finite = tl.min(tl.where(z - z == 0, 1, 0), 0)
            broken = tl.where((finite == 0) & (broken < 0), t, broken)
            if PAIR:
                gap = other - z
                length = tl.sqrt(tl.sum(gap * gap, 0))
                two = length > 0                                                # orbits that met go on apart
                length = tl.where(two, length, 1.0)
                pair_log = tl.where(two, pair_log + tl.log(length / apart), float("-inf"))
                other = z + tl.where(two, gap * (apart / length), apart * vector_of(Q, 0, i))
    tl.store(z_all + at * lay.M + m, z, mask=real)
    tl.store(place, Q, mask=whole)
    tl.store(log_r + at * k + i, logs, mask=i < k)
    tl.store(widest + at, width)
    tl.store(failed + at, broken)
    if PAIR:
        tl.store(pair_all + at * lay.M + m, other, mask=real)
        tl.store(log_pair + at, pair_log)


def choose_tangent(lay: Layout, k: int, dtype: torch.dtype) -> Config:
    """Weights in registers while they fit beside two frames, else in chunks, as found by compiling. KernelError for what has no room at all."""
    BM, BK, wide, double = padded(lay.M), padded(k), padded(positions(lay)), dtype == torch.float64
    choose(lay, 1, 1, dtype)                                                    # refuses an M that is too large
    if BM * BK > MOST_NUMBERS[dtype]:
        raise KernelError(
            f"{k} tangent vectors of M = {lay.M} units do not fit the registers in {dtype}: padded to powers of two they hold {BM * BK:,} numbers, and "
            f"{MOST_NUMBERS[dtype]:,} do. Carry fewer vectors, or name backend 'cpu' or 'reference'."
        )
    room = (2048 if double else 4096) // (2 if lay.phi == TANH or lay.n_bases else 1)
    warp = 256 if double else 512                                               # numbers of a tile that it holds
    frames = max(1, BM * BK // warp)
    if lay.w2 == DENSE and BM * wide > room:
        return Config("stream", 1, max(1, room // 4 // BM), 8)
    return Config("lane", 1, wide, min(8, max(frames, BM * wide // warp)))


def carry(
    flat: Tensor, lay: Layout, z: Tensor, Q: Tensor, pair: Tensor, u: Tensor, interval: Tensor, distance: Tensor, log_r: Tensor, log_pair: Tensor,
    widest: Tensor, failed: Tensor, path: Tensor, config: Config | None = None,
) -> None:
    """``tangent.carry`` of all fits and segments, in place; all contiguous, of one dtype and device but interval [F] and failed [F, S], int64."""
    F, S, k, _ = Q.shape
    check_fits(F)
    config = config or choose_tangent(lay, k, Q.dtype)
    BM = padded(lay.M)
    rows = min(BM, max(1, 512 // BM))                                           # of A at once
    sizes: dict[str, Any] = dict(
        lay=lay, BM=BM, BH=config.hidden, BK=padded(k), BA=rows, CHUNKED=config.kernel == "stream", PAIR=pair.shape[1] > 0, PATH=path.shape[1] > 0,
    )
    numbers = S, k, u.shape[2], u.shape[0], u.shape[1], triton.cdiv(positions(lay), config.hidden), triton.cdiv(lay.M, rows)
    arrays = flat, z, Q, pair, u, interval, distance, log_r, log_pair, widest, failed, path
    launch(tangent_kernel, (S, F), *arrays, *numbers, **sizes, warps=config.warps)
