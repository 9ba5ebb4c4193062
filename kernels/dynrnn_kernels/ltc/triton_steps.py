"""The kernels of the recurrence in Triton: forward and the adjoint, each a loop over time inside one program, and what they need that waits for no state.

What inputs open does not depend on the state, and the unfolds of a step depend on nothing but predictions that are known when the reverse pass begins: both
are computed for all packed rows at once, so that the loops over time do the least. They load a step, or an unfold, ahead.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.ltc.triton_cells import MINUS_LN2, at_units, capacities, of_row, opened, slopes, synapses, unfold, values


@triton.jit
def forced(z, x, w):
    """z + w (x - z). A target of weight zero may be NaN and is not read."""
    return tl.where(w == 0, z, z + w * (x - z))


@triton.jit(do_not_specialize=["N", "per_split", "chunks"])
def fixed_kernel(flat, u, fixed, N, per_split, chunks, lay: tl.constexpr, BM: tl.constexpr, BJ: tl.constexpr):
    """Fills fixed [F, N, 2, M]: pull and leak of the leak itself and of inputs, which do not change within a step. Grid (splits, fits)."""
    f = tl.program_id(1).to(tl.int64)
    split = tl.program_id(0).to(tl.int64)
    base = of_row(flat, f, lay)
    m = tl.arange(0, BM)
    for i in range(split * per_split, tl.minimum((split + 1) * per_split, N)):
        n = f * N + i
        pull = tl.load(base + 2 * lay.P + m, mask=m < lay.P, other=0.0)
        leak = tl.load(base + lay.P + m, mask=m < lay.P, other=0.0)
        for one in range(chunks):
            k = one * BJ + tl.arange(0, BJ)
            scale, shift, w, wE = synapses(base + (3 + 4 * lay.M) * lay.P, k, m, lay.K, lay)
            s = opened(scale, shift, tl.load(u + n * lay.K + k, mask=k < lay.K, other=0.0))
            pull += tl.sum(wE * s, 0)
            leak += tl.sum(w * s, 0)
        tl.store(fixed + 2 * n * lay.M + m, pull, mask=m < lay.M)
        tl.store(fixed + (2 * n + 1) * lay.M + m, leak, mask=m < lay.M)


@triton.jit(do_not_specialize=["B", "N", "n_fixed", "n_share", "unfolds", "chunks"])
def forward_kernel(
    flat, z0, target, weight, fixed, share, rows, out, B, N, n_fixed, n_share, unfolds, chunks,
    lay: tl.constexpr, BM: tl.constexpr, BJ: tl.constexpr, CHUNKED: tl.constexpr,
):
    """Fills out with the unforced predictions z[1..T] of a sequence; grid (sequences, fits). share [F, n_share] is unfolds / dt."""
    f = tl.program_id(1).to(tl.int64)
    b = tl.program_id(0).to(tl.int64)
    base = of_row(flat, f, lay)
    start, T = tl.load(rows + 2 * b), tl.load(rows + 2 * b + 1)
    m = tl.arange(0, BM)
    cm = capacities(base, m, lay)
    scale, shift, w, wE = 0.0, 0.0, 0.0, 0.0
    if not CHUNKED:
        scale, shift, w, wE = synapses(base + 3 * lay.P, m, m, lay.M, lay)
    z = values(z0, f * B + b, m, lay)
    x, by = values(target, f * N + start, m, lay), values(weight, f * N + start, m, lay)
    at = 2 * (f * n_fixed + tl.minimum(start, n_fixed - 1))
    pull, leak = values(fixed, at, m, lay), values(fixed, at + 1, m, lay)
    part = tl.load(share + f * n_share + tl.minimum(start, n_share - 1))
    for t in range(T):
        after = start + tl.minimum(t + 1, T - 1)                                # these loads do not wait for the state
        x_after, by_after = values(target, f * N + after, m, lay), values(weight, f * N + after, m, lay)
        at = 2 * (f * n_fixed + tl.minimum(after, n_fixed - 1))
        pull_after, leak_after = values(fixed, at, m, lay), values(fixed, at + 1, m, lay)
        part_after = tl.load(share + f * n_share + tl.minimum(after, n_share - 1))
        z = forced(z, x, by)
        c = cm * part
        for _ in range(unfolds):
            z, _below = unfold(z, c, pull, leak, scale, shift, w, wE, base, m, chunks, lay, BJ, CHUNKED)
        tl.store(out + (f * N + start + t) * lay.M + m, z, mask=m < lay.M)
        x, by, pull, leak, part = x_after, by_after, pull_after, leak_after, part_after


@triton.jit(do_not_specialize=["N", "n_fixed", "n_share", "unfolds", "per_split", "chunks"])
def unfolds_kernel(
    flat, zt, fixed, share, states, below, N, n_fixed, n_share, unfolds, per_split, chunks,
    lay: tl.constexpr, BM: tl.constexpr, BJ: tl.constexpr, CHUNKED: tl.constexpr,
):
    """Fills states and below [F, N, unfolds, M]: what each unfold starts from, and its denominators' inverses, from forced states zt [F, N, M]. Grid
    (splits, fits)."""
    f = tl.program_id(1).to(tl.int64)
    split = tl.program_id(0).to(tl.int64)
    base = of_row(flat, f, lay)
    m = tl.arange(0, BM)
    cm = capacities(base, m, lay)
    scale, shift, w, wE = 0.0, 0.0, 0.0, 0.0
    if not CHUNKED:
        scale, shift, w, wE = synapses(base + 3 * lay.P, m, m, lay.M, lay)
    for i in range(split * per_split, tl.minimum((split + 1) * per_split, N)):
        n = f * N + i
        at = 2 * (f * n_fixed + tl.minimum(i, n_fixed - 1))
        pull, leak = values(fixed, at, m, lay), values(fixed, at + 1, m, lay)
        c = cm * tl.load(share + f * n_share + tl.minimum(i, n_share - 1))
        v = values(zt, n, m, lay)
        for k in range(unfolds):
            tl.store(states + (n * unfolds + k) * lay.M + m, v, mask=m < lay.M)
            v, under = unfold(v, c, pull, leak, scale, shift, w, wE, base, m, chunks, lay, BJ, CHUNKED)
            tl.store(below + (n * unfolds + k) * lay.M + m, under, mask=m < lay.M)


@triton.jit(do_not_specialize=["B", "N", "n_share", "unfolds", "chunks"])
def adjoint_kernel(
    flat, weight, share, rows, out, gout, states, below, pulls, gz0, gtarget, B, N, n_share, unfolds, chunks,
    lay: tl.constexpr, BM: tl.constexpr, BJ: tl.constexpr, CHUNKED: tl.constexpr,
):
    """From the last step back: fills pulls [F, N, unfolds, M], p = dL/dpull of each unfold, gz0 and gtarget; grid (sequences, fits)."""
    f = tl.program_id(1).to(tl.int64)
    b = tl.program_id(0).to(tl.int64)
    base = of_row(flat, f, lay)
    start, T = tl.load(rows + 2 * b), tl.load(rows + 2 * b + 1)
    first = f * N + start
    m = tl.arange(0, BM)
    cm = capacities(base, m, lay)
    if not CHUNKED:
        scale, shift, w, wE = synapses(base + 3 * lay.P, m, m, lay.M, lay)
    n = first + T - 1
    by, g, new = values(weight, n, m, lay), values(gout, n, m, lay), values(out, n, m, lay)
    part = tl.load(share + f * n_share + tl.minimum(start + T - 1, n_share - 1))
    at = n * unfolds + unfolds - 1
    v, under = values(states, at, m, lay), values(below, at, m, lay)
    lam = tl.full((BM,), 0.0, g.dtype)
    for after in range(T):
        t = T - 1 - after
        n = first + t
        before = tl.maximum(t - 1, 0)
        by_before, g_before, new_before = values(weight, first + before, m, lay), values(gout, first + before, m, lay), values(out, first + before, m, lay)
        part_before = tl.load(share + f * n_share + tl.minimum(start + before, n_share - 1))
        c = cm * part
        g += lam
        for back in range(unfolds):
            at = n * unfolds + unfolds - 1 - back
            v_before = values(states, tl.maximum(at - 1, first * unfolds), m, lay)                      # of the unfold before: the last of the step before
            under_before = values(below, tl.maximum(at - 1, first * unfolds), m, lay)
            p = g * under
            q = -p * new
            tl.store(pulls + at * lay.M + m, p, mask=m < lay.M)
            g = p * c
            if CHUNKED:
                for one in range(chunks):
                    j = one * BJ + tl.arange(0, BJ)
                    scale_j, shift_j, w_j, wE_j = synapses(base + 3 * lay.P, j, m, lay.M, lay)
                    s = opened(scale_j, shift_j, tl.load(states + at * lay.M + j, mask=j < lay.M, other=0.0))
                    g += at_units(tl.sum(slopes(s, w_j, wE_j, p, q) * scale_j, 1), j, m) * MINUS_LN2
            else:
                s = opened(scale, shift, v)
                g += tl.sum(slopes(s, w, wE, p, q) * scale, 1) * MINUS_LN2
            new, v, under = v, v_before, under_before
        tl.store(gtarget + n * lay.M + m, tl.where(by == 0, 0.0, by * g), mask=m < lay.M)                # the adjoint may be inf where nothing forces
        lam = tl.where(by == 1, 0.0, g - by * g)
        by, g, new, part = by_before, g_before, new_before, part_before
    tl.store(gz0 + (f * B + b) * lay.M + m, lam, mask=m < lay.M)
