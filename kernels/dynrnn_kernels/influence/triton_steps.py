"""The influence recursion on a CUDA device, a block of time steps at a launch: what each step does, and then what it makes of the columns.

Steps do not wait for each other where states are known: ``terms_kernel`` has one step of one sequence a program. Columns do not need each other:
``influence_kernel`` has a block of columns of S of one sequence a program, which stays in registers over the steps of the launch.

Column q of E is one vector times one number, E[m, q] = L[m, q] x[x_q] y[y_q]. L stays as it is over time: row m alone for a number that acts on one state,
column h of W1 for one that acts within hidden unit h. x = (1, z~, u, phi, rises of the bases, what each slope adds to each state) and
y = (1, 0, dphi/dv, dphi/dh2) are what a step has; ``table`` says where each column finds its two and its L. A slope acts on all states by hidden units
that all differ: it has a column for each state, and their sum is its own.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.additive.map import PHI_KINDS
from dynrnn_kernels.additive.triton_cells import (
    CENTRING,
    DENSE,
    activation,
    add_inputs,
    bias,
    column_of,
    forced,
    hidden_of,
    relu,
    slope_of,
    step_of,
    tile_A,
    tile_W1,
    tile_W2,
    transposed_times,
)
from dynrnn_kernels.additive.triton_steps import values
from dynrnn_kernels.influence.cpu_step import FULL as FULL_J
from dynrnn_kernels.influence.cpu_step import LEAK as LEAK_J

CLIPPED, CLIPPED_BASIS = tl.constexpr(PHI_KINDS.index("clipped")), tl.constexpr(PHI_KINDS.index("clipped_basis"))
FULL, LEAK = tl.constexpr(FULL_J), tl.constexpr(LEAK_J)
ONE, EXACT = tl.constexpr(1), tl.constexpr("ieee")


@triton.jit
def through_hidden(J, d, W1, base, j, on, m, lay: tl.constexpr):
    """J' + W2' diag(d) W1' for a block of hidden columns; all of them unless W2 is dense, whose columns are loaded one by one, not kept beside W1."""
    if lay.w2 == DENSE:
        for n in range(lay.M):
            into = tl.load(base + lay.W2 + j * lay.M + n, mask=on, other=0.0)
            J = tl.where((m == n)[:, None], J + transposed_times(W1, d * into, ONE, EXACT)[None, :], J)
        return J
    else:
        own = d[:, None] * W1
        if lay.w2 == CENTRING:
            own -= (tl.sum(own, 0) / lay.M)[None, :]
        return J + own


@triton.jit(do_not_specialize=["B", "T", "first", "block", "chunks", "reset"])
def terms_kernel(
    flat, z0, z_all, target, weight, u, J_all, x_all, y_all, B, T, first, block, chunks, reset,
    lay: tl.constexpr, HOW: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BB: tl.constexpr, NX: tl.constexpr, NY: tl.constexpr,
):
    """J' [M, M] (row n is column n of J times what forcing kept of state n), x [NX] and y [NY] of step ``first`` + i; grid (steps, B, F)."""
    i, at = tl.program_id(0).to(tl.int64), tl.program_id(2).to(tl.int64) * B + tl.program_id(1)
    t = first + i
    n, row = at * T + t, at * block + i
    base, uk = flat + tl.program_id(2).to(tl.int64) * lay.size, u + n * lay.K
    m, e = tl.arange(0, BM), tl.arange(0, BB)
    real = m < lay.M
    w = values(weight, n, m, lay)
    z = tl.where(t > 0, values(z_all, tl.maximum(n - 1, 0), m, lay), values(z0, at, m, lay))
    zt = forced(z, values(target, n, m, lay), w)
    same = m[:, None] == m[None, :]
    J = tl.where(same, values(base + lay.a, 0, m, lay)[:, None], 0.0)
    if lay.A >= 0:
        J += tl.trans(tile_A(base, m, lay))
    into_x, into_y = x_all + row * NX, y_all + row * NY
    gained = tl.full((BB, BM), 0.0, zt.dtype)
    for c in range(chunks):
        j = column_of(tl.arange(0, BH), lay) + c * BH
        on = (j >= 0) & (j < lay.H)
        h2 = bias(base, j, lay)
        v = add_inputs(hidden_of(tile_W2(base, j, m, lay), zt, lay, ONE, EXACT), base, j, on, uk, lay, lay.D) + h2
        d = slope_of(v, h2, base, j, lay)
        d_bias = d
        if lay.phi == CLIPPED:
            d_bias = step_of(v)                                                 # in relu(v - h2) the bias cancels
        tl.store(into_x + 1 + lay.M + lay.K + j, activation(v, h2, base, j, lay), mask=on)
        tl.store(into_y + 2 + j, d, mask=on)
        tl.store(into_y + 2 + lay.H + j, d_bias, mask=on)
        W1 = tile_W1(base, j, m, lay)                                           # after these stores, so that W2 has left the registers
        if HOW != LEAK:
            J = through_hidden(J, d, W1, base, j, on, m, lay)
        for k in tl.range(0, lay.n_bases, loop_unroll_factor=1):
            over = v - tl.load(base + lay.threshold + j * lay.n_bases + k, mask=on, other=0.0)
            rise, term = -tl.load(base + lay.slope + k) * step_of(over), relu(over)
            if lay.phi == CLIPPED_BASIS:
                term -= relu(v)
            tl.store(into_x + 1 + lay.M + lay.K + lay.H + j * lay.n_bases + k, rise, mask=on)
            gained = tl.where((e == k)[:, None], gained + transposed_times(W1, tl.where(on, term, 0.0), ONE, EXACT)[None, :], gained)
    J *= (1 - w)[:, None]
    J = tl.where((reset > 0) & (t > 0) & (t % tl.maximum(reset, 1) == 0), 0.0, J)               # influence starts anew
    if HOW != FULL:
        J = tl.where(same, J, 0.0)
    tl.store(J_all + row * lay.M * lay.M + m[:, None] * lay.M + m[None, :], J, mask=real[:, None] & real[None, :])
    tl.store(into_x + 0 * m, 1.0, mask=m == 0)
    tl.store(into_x + 1 + m, zt, mask=real)
    for k in range(lay.K):
        tl.store(into_x + 1 + lay.M + k + 0 * m, tl.load(uk + k), mask=m == 0)
    tl.store(into_y + m, 1.0 - m, mask=m < 2)
    if lay.n_bases > 0:
        last = into_x + 1 + lay.M + lay.K + lay.H + lay.H * lay.n_bases
        tl.store(last + m[None, :] * lay.n_bases + e[:, None], gained, mask=(e < lay.n_bases)[:, None] & real[None, :])


@triton.jit(do_not_specialize=["B", "T", "Q", "first", "steps", "block"])
def influence_kernel(
    flat, table, J_all, x_all, y_all, gout, S_all, grad, B, T, Q, first, steps, block,
    lay: tl.constexpr, BM: tl.constexpr, BQ: tl.constexpr, NX: tl.constexpr, NY: tl.constexpr, UNROLLED: tl.constexpr,
):
    """S <- J S + E over ``steps`` steps, in place, and grad += gout' S at each; grid (blocks of columns, B, F)."""
    at = tl.program_id(2).to(tl.int64) * B + tl.program_id(1)
    m, q = tl.arange(0, BM), tl.program_id(0) * BQ + tl.arange(0, BQ)
    real, there = m < lay.M, q < Q
    x, y = tl.load(table + q, mask=there, other=0), tl.load(table + Q + q, mask=there, other=1)
    by = tl.load(table + 2 * Q + q, mask=there, other=0)                        # h of W1's column, or -1 - m of the one row
    W1 = flat + tl.program_id(2).to(tl.int64) * lay.size + lay.W1 + m[:, None] * lay.H + by[None, :]
    place, whole = S_all + (at * lay.M + m[:, None]) * Q + q[None, :], real[:, None] & there[None, :]
    L = tl.where(m[:, None] == -1 - by[None, :], 1.0, tl.load(W1, mask=whole & (by >= 0)[None, :], other=0.0))
    S, total = tl.load(place, mask=whole, other=0.0), tl.load(grad + at * Q + q, mask=there, other=0.0)
    for i in range(steps):
        row = at * block + i
        now = tl.load(x_all + row * NX + x) * tl.load(y_all + row * NY + y)
        out = L * now[None, :]
        if UNROLLED:                                                            # a thread has one row or a few of its columns: which, is known then
            for n in tl.static_range(lay.M):
                if n % 4 == 3:
                    tl.debug_barrier()                                          # or all of J is loaded ahead, and registers spilled for it
                out += values(J_all, row * lay.M + n, m, lay)[:, None] * tl.sum(tl.where((m == n)[:, None], S, 0.0), 0)[None, :]
        else:
            for n in range(lay.M):
                out += values(J_all, row * lay.M + n, m, lay)[:, None] * tl.sum(tl.where((m == n)[:, None], S, 0.0), 0)[None, :]
        S = out
        total += tl.sum(values(gout, at * T + first + i, m, lay)[:, None] * S, 0)
    tl.store(place, S, mask=whole)
    tl.store(grad + at * Q + q, total, mask=there)
