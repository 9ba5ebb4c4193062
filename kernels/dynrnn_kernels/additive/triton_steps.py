"""The two recurrent kernels in Triton: forward, and the adjoint of the reverse pass; each a loop over time inside one program.

A program has one sequence (ROWS = 1: products are sums in registers) or a block of ROWS (products are dots). With CHUNKED the hidden axis is
taken in blocks of BH whose weights are loaded again at each step; else BH covers it and the weights stay. The number of chunks is a
run-time number: a loop that the compiler may unroll has its loads moved out of the loop over time, and spills.
Loads that would pass an end are clamped to it, so that values stay finite; only stores are masked.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.additive.triton_cells import (
    activation,
    add_inputs,
    bias,
    column_of,
    forced,
    hidden_of,
    latent_of,
    slope_of,
    tile_A,
    tile_W1,
    tile_W2,
    times,
    transposed_times,
    upright,
)


@triton.jit
def values(pointer, n, m, lay: tl.constexpr):
    """The latent vector(s) at packed row(s) n of an [.., M] array."""
    return tl.load(pointer + n * lay.M + m, mask=m < lay.M, other=0.0)


@triton.jit
def storable(m, there, now, lay: tl.constexpr, ROWS: tl.constexpr):
    """What may be stored: real units, and in a block of sequences those that are ``there`` and not past their end. One sequence always is."""
    if ROWS == 1:
        return m < lay.M
    else:
        return (m < lay.M) & there & now


@triton.jit
def drive(zt, uk, base, W1, W2, hidden, lay: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr):
    """W1 phi(W2 zt + D u + h2) for a block of hidden columns."""
    h2 = bias(base, hidden, lay)
    v = hidden_of(W2, zt, lay, ROWS, PRECISION)
    v = add_inputs(v, base, hidden, (hidden >= 0) & (hidden < lay.H), uk, lay, lay.D) + h2
    return transposed_times(W1, activation(v, h2, base, hidden, lay), ROWS, PRECISION)


@triton.jit
def pull(zt, G, uk, base, W1, W2, hidden, lay: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr):
    """W2' [phi'(v) * W1' G] for a block of hidden columns: what comes back through them."""
    h2 = bias(base, hidden, lay)
    v = hidden_of(W2, zt, lay, ROWS, PRECISION)
    v = add_inputs(v, base, hidden, (hidden >= 0) & (hidden < lay.H), uk, lay, lay.D) + h2
    return latent_of(W2, times(W1, G, ROWS, PRECISION) * slope_of(v, h2, base, hidden, lay), lay, ROWS, PRECISION)


@triton.jit(do_not_specialize=["B", "N", "chunks"])
def forward_kernel(
    flat, z0, target, weight, u, rows, out, B, N, chunks,
    lay: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, CHUNKED: tl.constexpr, PRECISION: tl.constexpr,
):
    """Fills out with the unforced predictions z[1..T]; grid (blocks of sequences, fits)."""
    f = tl.program_id(1).to(tl.int64)
    base = flat + f * lay.size
    b = tl.program_id(0).to(tl.int64) * ROWS
    there = b < B
    T = tl.load(rows + 2 * b + 1)
    length = T
    if ROWS > 1:
        b = b + tl.arange(0, ROWS)
        T = tl.max(tl.load(rows + 2 * tl.minimum(b, B - 1) + 1), 0)
        b = b[None, :]
        there = b < B
        b = tl.minimum(b, B - 1)
        length = tl.load(rows + 2 * b + 1)
    first = f * N + tl.load(rows + 2 * b)
    units = tl.arange(0, BM)
    m = upright(units, ROWS)
    j = column_of(tl.arange(0, BH), lay)
    a, h1, A = values(base + lay.a, 0, m, lay), values(base + lay.h1, 0, m, lay), tile_A(base, units, lay)
    if not CHUNKED:
        W1, W2 = tile_W1(base, j, units, lay), tile_W2(base, j, units, lay)
    z = values(z0, f * B + b, m, lay)
    x, w = values(target, first, m, lay), values(weight, first, m, lay)
    for t in range(T):
        n = first + tl.minimum(t, length - 1)
        after = first + tl.minimum(t + 1, length - 1)                          # a step ahead: these loads do not wait for the state
        x_after, w_after = values(target, after, m, lay), values(weight, after, m, lay)
        zt = forced(z, x, w)
        z = a * zt + h1
        if lay.A >= 0:
            z += times(A, zt, ROWS, PRECISION)
        z = add_inputs(z, base, m, m < lay.M, u + n * lay.K, lay, lay.C)
        if CHUNKED:
            for c in range(chunks):
                jc = j + c * BH
                W1, W2 = tile_W1(base, jc, units, lay), tile_W2(base, jc, units, lay)
                z += drive(zt, u + n * lay.K, base, W1, W2, upright(jc, ROWS), lay, ROWS, PRECISION)
        else:
            z += drive(zt, u + n * lay.K, base, W1, W2, upright(j, ROWS), lay, ROWS, PRECISION)
        tl.store(out + n * lay.M + m, z, mask=storable(m, there, t < length, lay, ROWS))
        x, w = x_after, w_after


@triton.jit(do_not_specialize=["B", "N", "chunks"])
def adjoint_kernel(
    flat, z0, target, weight, u, rows, out, gout, G_all, zt_all, gz0, gtarget, covered, B, N, chunks,
    lay: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, CHUNKED: tl.constexpr, PRECISION: tl.constexpr,
):
    """From the last step back: fills G (the total derivative by each prediction), the forced states, gz0 and gtarget, and marks packed rows
    that a sequence covers. v is computed again from stored states, which does not wait for the adjoint."""
    f = tl.program_id(1).to(tl.int64)
    base = flat + f * lay.size
    b = tl.program_id(0).to(tl.int64) * ROWS
    there = b < B
    T = tl.load(rows + 2 * b + 1)
    length = T
    if ROWS > 1:
        b = b + tl.arange(0, ROWS)
        T = tl.max(tl.load(rows + 2 * tl.minimum(b, B - 1) + 1), 0)
        b = b[None, :]
        there = b < B
        b = tl.minimum(b, B - 1)
        length = tl.load(rows + 2 * b + 1)
    start = tl.load(rows + 2 * b)
    first = f * N + start
    units = tl.arange(0, BM)
    m = upright(units, ROWS)
    j = column_of(tl.arange(0, BH), lay)
    a, A = values(base + lay.a, 0, m, lay), tile_A(base, units, lay)
    if not CHUNKED:
        W1, W2 = tile_W1(base, j, units, lay), tile_W2(base, j, units, lay)
    z_first = values(z0, f * B + b, m, lay)
    last = tl.minimum(T, length) - 1
    x, w, g = values(target, first + last, m, lay), values(weight, first + last, m, lay), values(gout, first + last, m, lay)
    z = values(out, first + tl.maximum(last - 1, 0), m, lay)
    lam = tl.full(x.shape, 0.0, x.dtype)
    kept = tl.full(x.shape, 0.0, x.dtype)                                                     # 1 - w[t+1]; nothing follows the last prediction
    for s in range(T):
        t = T - 1 - s
        n = first + tl.minimum(t, length - 1)
        on = storable(m, there, t < length, lay, ROWS)
        before = tl.minimum(tl.maximum(t - 1, 0), length - 1)                  # the step before, loaded a step ahead
        x_before, w_before, g_before = values(target, first + before, m, lay), values(weight, first + before, m, lay), values(gout, first + before, m, lay)
        z_before = values(out, first + tl.maximum(before - 1, 0), m, lay)
        zt = forced(tl.where(t > 0, z, z_first), x, w)
        G = g + kept * lam
        lam = a * G
        if lay.A >= 0:
            lam += transposed_times(A, G, ROWS, PRECISION)
        if CHUNKED:
            for c in range(chunks):
                jc = j + c * BH
                W1, W2 = tile_W1(base, jc, units, lay), tile_W2(base, jc, units, lay)
                lam += pull(zt, G, u + n * lay.K, base, W1, W2, upright(jc, ROWS), lay, ROWS, PRECISION)
        else:
            lam += pull(zt, G, u + n * lay.K, base, W1, W2, upright(j, ROWS), lay, ROWS, PRECISION)
        lam = tl.where(t < length, lam, 0.0)
        kept = 1 - w
        tl.store(G_all + n * lay.M + m, G, mask=on)
        tl.store(zt_all + n * lay.M + m, zt, mask=on)
        tl.store(gtarget + n * lay.M + m, tl.where(w == 0, 0.0, w * lam), mask=on)
        tl.store(covered + n - f * N + 0 * m, 1, mask=on & (m == 0))
        x, w, g, z = x_before, w_before, g_before, z_before
    tl.store(gz0 + (f * B + b) * lay.M + m, kept * lam, mask=storable(m, there, there, lay, ROWS))
