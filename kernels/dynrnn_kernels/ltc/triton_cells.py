"""Device functions that the Triton kernels of this recurrence share: synapses, the sigmoid, an unfold.

A program has one sequence, or one packed row. Numbers of units are [BM], synapses [BJ, BM]: sources down, targets across, as they are packed. Padding
holds zeros, and cm = 1. With CHUNKED sources come in blocks of BJ, whose synapses are loaded at each unfold; else BJ = BM and they stay in registers. The
number of blocks and that of unfolds are run-time numbers: a loop that the compiler may unroll has its loads moved out, and spills.
"""

from __future__ import annotations

import triton
import triton.language as tl

MINUS_LN2 = tl.constexpr(-0.6931471805599453)


@triton.jit
def of_row(flat, i, lay: tl.constexpr):
    """Where row i of an array of packed maps begins."""
    return flat + i * ((3 + 4 * lay.M + 4 * lay.K) * lay.P)


@triton.jit
def values(pointer, n, m, lay: tl.constexpr):
    """Numbers of the units m at row n of an [.., M] array."""
    return tl.load(pointer + n * lay.M + m, mask=m < lay.M, other=0.0)


@triton.jit
def capacities(base, m, lay: tl.constexpr):
    return tl.load(base + m, mask=m < lay.P, other=1.0)


@triton.jit
def synapses(into, j, m, n_sources, lay: tl.constexpr):
    """Scale, shift, w and w E [BJ, BM] of synapses from j to m; ``into`` points to those of the first source."""
    at = into + (4 * j)[:, None] * lay.P + m[None, :]
    on = (j < n_sources)[:, None] & (m < lay.P)[None, :]
    scale, shift = tl.load(at, mask=on, other=0.0), tl.load(at + lay.P, mask=on, other=0.0)
    return scale, shift, tl.load(at + 2 * lay.P, mask=on, other=0.0), tl.load(at + 3 * lay.P, mask=on, other=0.0)


@triton.jit
def keep_synapses(into, j, m, n_sources, scale, shift, w, wE, lay: tl.constexpr):
    """The store that goes with ``synapses``."""
    at = into + (4 * j)[:, None] * lay.P + m[None, :]
    on = (j < n_sources)[:, None] & (m < lay.P)[None, :]
    tl.store(at, scale, mask=on)
    tl.store(at + lay.P, shift, mask=on)
    tl.store(at + 2 * lay.P, w, mask=on)
    tl.store(at + 3 * lay.P, wE, mask=on)


@triton.jit
def opened(scale, shift, v):
    """How far synapses are open, s = 1 / (1 + 2^(scale v + shift)) [BJ, BM], at their sources' states v [BJ]; NaN stays."""
    return 1 / (1 + tl.exp2(scale * v[:, None] + shift))


@triton.jit
def of_sources(x, j, m):
    """x [BM] at units j."""
    return tl.sum(tl.where(j[:, None] == m[None, :], x[None, :], 0.0), 1)


@triton.jit
def at_units(x, j, m):
    """x [BJ], of units j, in its places of [BM]."""
    return tl.sum(tl.where(j[:, None] == m[None, :], x[:, None], 0.0), 0)


@triton.jit
def unfold(v, c, pull, leak, scale, shift, w, wE, base, m, chunks, lay: tl.constexpr, BJ: tl.constexpr, CHUNKED: tl.constexpr):
    """(c v + pull) / (c + leak), and 1 / (c + leak): pull and leak come without the units' synapses."""
    if CHUNKED:
        for one in range(chunks):
            j = one * BJ + tl.arange(0, BJ)
            scale_j, shift_j, w_j, wE_j = synapses(base + 3 * lay.P, j, m, lay.M, lay)
            s = opened(scale_j, shift_j, of_sources(v, j, m))
            pull += tl.sum(wE_j * s, 0)
            leak += tl.sum(w_j * s, 0)
    else:
        s = opened(scale, shift, v)
        pull += tl.sum(wE * s, 0)
        leak += tl.sum(w * s, 0)
    below = 1 / (c + leak)
    return (c * v + pull) * below, below


@triton.jit
def slopes(s, w, wE, p, q):
    """dL/d(scale v + shift), but for the factor -ln 2, from p = dL/dpull and q = dL/dleak."""
    return (wE * p[None, :] + w * q[None, :]) * (s - s * s)
