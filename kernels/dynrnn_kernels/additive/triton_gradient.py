"""Gradients of the map's tensors and of its inputs, once the adjoint G and the forced states are there: no recurrence is left.

A program walks over its share of the packed rows with a block of BH hidden columns, whose weights and sums lie in registers. Products are sums
and outer products: dots that are exact in float32 keep whole rows of operands in each thread, and spill. Each share of the rows writes its own
partial sums, which the launcher adds in their order. Nothing of hidden size is stored.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS
from dynrnn_kernels.additive.triton_cells import activation, bias, relu, slope_of, step_of, tile_W1, tile_W2
from dynrnn_kernels.additive.triton_steps import values

CLIPPED, CLIPPED_BASIS = tl.constexpr(PHI_KINDS.index("clipped")), tl.constexpr(PHI_KINDS.index("clipped_basis"))
DENSE, CENTRING = tl.constexpr(W2_KINDS.index("dense")), tl.constexpr(W2_KINDS.index("centring"))


@triton.jit
def matrix(base, offset: tl.constexpr, i, k, n_rows: tl.constexpr, n_columns: tl.constexpr):
    """Rows i and columns k of the matrix at ``offset``; a number where there is none."""
    if offset >= 0:
        return tl.load(base + offset + i[:, None] * n_columns + k[None, :], mask=(i < n_rows)[:, None] & (k < n_columns)[None, :], other=0.0)
    else:
        return 0.0


@triton.jit
def keep(into, offset: tl.constexpr, i, k, value, n_rows: tl.constexpr, n_columns: tl.constexpr):
    """The store that goes with ``matrix``."""
    tl.store(into + offset + i[:, None] * n_columns + k[None, :], value, mask=(i < n_rows)[:, None] & (k < n_columns)[None, :])


@triton.jit
def hidden_at(n, zt_all, zt, x, W2, D, h2, j, lay: tl.constexpr):
    """v at row n for hidden columns j."""
    if lay.w2 == DENSE:
        v = tl.sum(W2 * zt[None, :], 1)
    else:
        v = tl.load(zt_all + n * lay.M + (lay.M - lay.H) + j, mask=j < lay.H, other=0.0)
    if lay.w2 == CENTRING:
        v -= tl.sum(zt, 0) / lay.M
    if lay.D >= 0:
        v += tl.sum(D * x[None, :], 1)
    return v + h2


@triton.jit
def inputs_at(u, n, k, lay: tl.constexpr):
    return tl.load(u + n * lay.K + k, mask=k < lay.K, other=0.0)


@triton.jit(do_not_specialize=["N", "per_split"])
def latent_gradient_kernel(zt_all, G_all, u, covered, partial, N, per_split, lay: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr):
    """Partial gradients of a, A, h1 and C; grid (splits, fits)."""
    f = tl.program_id(1).to(tl.int64)
    split = tl.program_id(0).to(tl.int64)
    m = tl.arange(0, BM)
    k = tl.arange(0, BK)
    kind: tl.constexpr = zt_all.dtype.element_ty
    sum_a, sum_h1 = tl.full((BM,), 0.0, kind), tl.full((BM,), 0.0, kind)
    if lay.A >= 0:
        sum_A = tl.full((BM, BM), 0.0, kind)
    if lay.C >= 0:
        sum_C = tl.full((BM, BK), 0.0, kind)
    for i in range(split * per_split, tl.minimum((split + 1) * per_split, N)):
        if tl.load(covered + i) != 0:
            n = f * N + i
            G, zt = values(G_all, n, m, lay), values(zt_all, n, m, lay)
            sum_a += G * zt
            sum_h1 += G
            if lay.A >= 0:
                sum_A += G[:, None] * zt[None, :]
            if lay.C >= 0:
                sum_C += G[:, None] * inputs_at(u, n, k, lay)[None, :]
    into = partial + (f * tl.num_programs(0) + split) * lay.size
    tl.store(into + lay.a + m, sum_a, mask=m < lay.M)
    tl.store(into + lay.h1 + m, sum_h1, mask=m < lay.M)
    if lay.A >= 0:
        keep(into, lay.A, m, m, sum_A, lay.M, lay.M)
    if lay.C >= 0:
        keep(into, lay.C, m, k, sum_C, lay.M, lay.K)


@triton.jit(do_not_specialize=["N", "per_split"])
def hidden_gradient_kernel(
    flat, zt_all, G_all, u, covered, partial, partial_slope, N, per_split,
    lay: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr, BASES: tl.constexpr,
):
    """Partial gradients of W1, W2, h2, D, slope and threshold; grid (splits, blocks of hidden columns, fits)."""
    f = tl.program_id(2).to(tl.int64)
    split = tl.program_id(0).to(tl.int64)
    base = flat + f * lay.size
    m = tl.arange(0, BM)
    k = tl.arange(0, BK)
    c = tl.arange(0, BASES)
    j = tl.program_id(1) * BH + tl.arange(0, BH)
    kind: tl.constexpr = flat.dtype.element_ty
    W1, W2, D, h2 = tile_W1(base, j, m, lay), tile_W2(base, j, m, lay), matrix(base, lay.D, j, k, lay.H, lay.K), bias(base, j, lay)
    sum_W1, sum_h2 = tl.full((BH, BM), 0.0, kind), tl.full((BH,), 0.0, kind)    # W1 transposed
    if lay.w2 == DENSE:
        sum_W2 = tl.full((BH, BM), 0.0, kind)
    if lay.D >= 0:
        sum_D = tl.full((BH, BK), 0.0, kind)
    if lay.slope >= 0:
        slope = tl.load(base + lay.slope + c, mask=c < lay.n_bases, other=0.0)
        threshold = matrix(base, lay.threshold, j, c, lay.H, lay.n_bases)
        sum_slope, sum_threshold = tl.full((BH, BASES), 0.0, kind), tl.full((BH, BASES), 0.0, kind)
    for i in range(split * per_split, tl.minimum((split + 1) * per_split, N)):
        if tl.load(covered + i) != 0:
            n = f * N + i
            G, zt, x = values(G_all, n, m, lay), values(zt_all, n, m, lay), inputs_at(u, n, k, lay)
            v = hidden_at(n, zt_all, zt, x, W2, D, h2, j, lay)
            q = tl.sum(W1 * G[None, :], 1)
            if lay.slope >= 0:                                                  # the bases lie in registers here: no loop over them
                over = v[:, None] - threshold
                term, rise = relu(over), step_of(over)
                if lay.phi == CLIPPED_BASIS:
                    term -= relu(v)[:, None]
                sum_slope += q[:, None] * term
                sum_threshold -= q[:, None] * slope[None, :] * rise
                if lay.phi == CLIPPED_BASIS:
                    rise -= step_of(v)[:, None]
                y = tl.sum(slope[None, :] * term, 1)
                r = q * tl.sum(slope[None, :] * rise, 1)
            else:
                y = activation(v, h2, base, j, lay)
                r = q * slope_of(v, h2, base, j, lay)
            sum_W1 += y[:, None] * G[None, :]
            if lay.w2 == DENSE:
                sum_W2 += r[:, None] * zt[None, :]
            if lay.D >= 0:
                sum_D += r[:, None] * x[None, :]
            if lay.phi == CLIPPED:
                sum_h2 += q * step_of(v)                                        # in relu(v - h2) the threshold cancels
            else:
                sum_h2 += r
    into = partial + (f * tl.num_programs(0) + split) * lay.size
    tl.store(into + lay.W1 + m[None, :] * lay.H + j[:, None], sum_W1, mask=(j < lay.H)[:, None] & (m < lay.M)[None, :])
    if lay.w2 == DENSE:
        keep(into, lay.W2, j, m, sum_W2, lay.H, lay.M)
    if lay.h2 >= 0:
        tl.store(into + lay.h2 + j, sum_h2, mask=j < lay.H)
    if lay.D >= 0:
        keep(into, lay.D, j, k, sum_D, lay.H, lay.K)
    if lay.slope >= 0:
        at = ((f * tl.num_programs(0) + split) * tl.num_programs(1) + tl.program_id(1)) * lay.n_bases
        tl.store(partial_slope + at + c, tl.sum(sum_slope, 0), mask=c < lay.n_bases)
        keep(into, lay.threshold, j, c, sum_threshold, lay.H, lay.n_bases)


@triton.jit(do_not_specialize=["N", "chunks"])
def input_gradient_kernel(
    flat, zt_all, G_all, u, covered, gu, N, chunks, lay: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BK: tl.constexpr,
):
    """gu = C' G + D' r at every packed row that a sequence covers; grid (blocks of rows, fits)."""
    f = tl.program_id(1).to(tl.int64)
    base = flat + f * lay.size
    m = tl.arange(0, BM)
    k = tl.arange(0, BK)
    place = tl.arange(0, ROWS)
    first = tl.program_id(0).to(tl.int64) * ROWS
    count = tl.minimum(N - first, ROWS)
    total = tl.full((ROWS, BK), 0.0, flat.dtype.element_ty)
    if lay.C >= 0:
        C = matrix(base, lay.C, m, k, lay.M, lay.K)
        for i in range(count):
            if tl.load(covered + first + i) != 0:
                got = tl.sum(C * values(G_all, f * N + first + i, m, lay)[:, None], 0)
                total += tl.where((place == i)[:, None], got[None, :], 0.0)
    if lay.D >= 0:
        for c in range(chunks):
            j = c * BH + tl.arange(0, BH)
            W1, W2, D, h2 = tile_W1(base, j, m, lay), tile_W2(base, j, m, lay), matrix(base, lay.D, j, k, lay.H, lay.K), bias(base, j, lay)
            for i in range(count):
                if tl.load(covered + first + i) != 0:
                    n = f * N + first + i
                    G, zt, x = values(G_all, n, m, lay), values(zt_all, n, m, lay), inputs_at(u, n, k, lay)
                    r = tl.sum(W1 * G[None, :], 1) * slope_of(hidden_at(n, zt_all, zt, x, W2, D, h2, j, lay), h2, base, j, lay)
                    total += tl.where((place == i)[:, None], tl.sum(D * r[:, None], 0)[None, :], 0.0)
    on = tl.load(covered + first + place, mask=place < count, other=0) != 0
    tl.store(gu + (f * N + first + place)[:, None] * lay.K + k[None, :], total, mask=on[:, None] & (k < lay.K)[None, :])
