"""Gradients of the map's tensors and of its inputs, once the unfolds' states and adjoints are there: no recurrence is left.

A program walks over its share of the packed rows with a block of BJ sources, whose synapses and sums lie in registers, and writes its own partial sums, which
the launcher adds in their order. q = dL/dleak = -p v', where v' is what the unfold ends with: the next one's start, or the prediction.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.ltc.triton_cells import MINUS_LN2, keep_synapses, of_row, opened, slopes, synapses, values


@triton.jit(do_not_specialize=["N", "n_share", "unfolds", "per_split"])
def unit_gradient_kernel(
    flat, out, states, pulls, share, covered, partial, N, n_share, unfolds, per_split, lay: tl.constexpr, BM: tl.constexpr, BJ: tl.constexpr,
):
    """Partial gradients of units and of the synapses between them; grid (splits, blocks of sources, fits)."""
    f = tl.program_id(2).to(tl.int64)
    split = tl.program_id(0).to(tl.int64)
    base = of_row(flat, f, lay)
    m = tl.arange(0, BM)
    j = tl.program_id(1) * BJ + tl.arange(0, BJ)
    kind: tl.constexpr = flat.dtype.element_ty
    scale, shift, w, wE = synapses(base + 3 * lay.P, j, m, lay.M, lay)
    sum_scale, sum_shift = tl.full((BJ, BM), 0.0, kind), tl.full((BJ, BM), 0.0, kind)
    sum_w, sum_wE = tl.full((BJ, BM), 0.0, kind), tl.full((BJ, BM), 0.0, kind)
    sum_cm, sum_leak, sum_pull = tl.full((BM,), 0.0, kind), tl.full((BM,), 0.0, kind), tl.full((BM,), 0.0, kind)
    for i in range(split * per_split, tl.minimum((split + 1) * per_split, N)):
        if tl.load(covered + i) != 0:
            n = f * N + i
            part = tl.load(share + f * n_share + tl.minimum(i, n_share - 1))
            new = values(out, n, m, lay)
            for back in range(unfolds):
                at = n * unfolds + unfolds - 1 - back
                v, p = values(states, at, m, lay), values(pulls, at, m, lay)
                v_j = tl.load(states + at * lay.M + j, mask=j < lay.M, other=0.0)
                q = -p * new
                s = opened(scale, shift, v_j)
                slope = slopes(s, w, wE, p, q)
                sum_scale += slope * v_j[:, None]
                sum_shift += slope
                sum_w += s * q[None, :]
                sum_wE += s * p[None, :]
                sum_cm += (p * v + q) * part
                sum_leak += q
                sum_pull += p
                new = v
    into = of_row(partial, f * tl.num_programs(0) + split, lay)
    keep_synapses(into + 3 * lay.P, j, m, lay.M, sum_scale * MINUS_LN2, sum_shift * MINUS_LN2, sum_w, sum_wE, lay)
    once = m < tl.where(tl.program_id(1) == 0, lay.P, 0)
    tl.store(into + m, sum_cm, mask=once)
    tl.store(into + lay.P + m, sum_leak, mask=once)
    tl.store(into + 2 * lay.P + m, sum_pull, mask=once)


@triton.jit(do_not_specialize=["N", "unfolds", "per_split"])
def input_gradient_kernel(
    flat, u, out, states, pulls, covered, gu, partial, N, unfolds, per_split, lay: tl.constexpr, BM: tl.constexpr, BJ: tl.constexpr,
):
    """Partial gradients of inputs' synapses, and gu of what they are open by; grid (splits, blocks of inputs, fits)."""
    f = tl.program_id(2).to(tl.int64)
    split = tl.program_id(0).to(tl.int64)
    base = of_row(flat, f, lay)
    m = tl.arange(0, BM)
    k = tl.program_id(1) * BJ + tl.arange(0, BJ)
    kind: tl.constexpr = flat.dtype.element_ty
    scale, shift, w, wE = synapses(base + (3 + 4 * lay.M) * lay.P, k, m, lay.K, lay)
    sum_scale, sum_shift = tl.full((BJ, BM), 0.0, kind), tl.full((BJ, BM), 0.0, kind)
    sum_w, sum_wE = tl.full((BJ, BM), 0.0, kind), tl.full((BJ, BM), 0.0, kind)
    for i in range(split * per_split, tl.minimum((split + 1) * per_split, N)):
        if tl.load(covered + i) != 0:
            n = f * N + i
            new = values(out, n, m, lay)
            p, q = tl.full((BM,), 0.0, kind), tl.full((BM,), 0.0, kind)         # inputs see the sums over a step's unfolds
            for back in range(unfolds):
                at = n * unfolds + unfolds - 1 - back
                one = values(pulls, at, m, lay)
                p += one
                q -= one * new
                new = values(states, at, m, lay)
            x = tl.load(u + n * lay.K + k, mask=k < lay.K, other=0.0)
            s = opened(scale, shift, x)
            slope = slopes(s, w, wE, p, q)
            sum_scale += slope * x[:, None]
            sum_shift += slope
            sum_w += s * q[None, :]
            sum_wE += s * p[None, :]
            tl.store(gu + n * lay.K + k, tl.sum(slope * scale, 1) * MINUS_LN2, mask=k < lay.K)
    into = of_row(partial, f * tl.num_programs(0) + split, lay)
    keep_synapses(into + (3 + 4 * lay.M) * lay.P, k, m, lay.K, sum_scale * MINUS_LN2, sum_shift * MINUS_LN2, sum_w, sum_wE, lay)
