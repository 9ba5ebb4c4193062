"""Device functions that all Triton kernels share: phi and its slope, the hidden axis, products, the forced state.

A state is [BM] where one program has one sequence, and [BM, ROWS] where it has a block of them; hidden values are [BH] or [BH, ROWS]. Both
are written once: indices of units come in the shape that broadcasts against the values. Sizes are padded to powers of two, padding holds
zeros. Everything that ``lay`` (a Layout) says is known at compile time; lengths and numbers of sequences never are.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS

RELU, CLIPPED, BASIS, CLIPPED_BASIS, TANH, IDENTITY = (tl.constexpr(i) for i in range(len(PHI_KINDS)))
DENSE, CENTRING = tl.constexpr(W2_KINDS.index("dense")), tl.constexpr(W2_KINDS.index("centring"))


@triton.jit
def upright(x, ROWS: tl.constexpr):
    """x [n], one entry a unit, in the shape that broadcasts against values: [n], or [n, 1] for a block of sequences."""
    if ROWS == 1:
        return x
    else:
        return x[:, None]


@triton.jit
def column_of(h, lay: tl.constexpr):
    """Which column of W1 hidden position ``h`` stands for.

    Unless W2 is dense, the hidden axis lies over the latent one, so that v = z needs no product and no shift: a selection of the last H
    of M units has columns -(M - H)..H - 1, and those below zero are absent.
    """
    if lay.w2 == DENSE:
        return h
    else:
        return h - (lay.M - lay.H)


@triton.jit
def tile_W1(base, j, m, lay: tl.constexpr):
    """W1 transposed, [BH, BM], for columns j."""
    return tl.load(base + lay.W1 + m[None, :] * lay.H + j[:, None], mask=(j >= 0)[:, None] & (j < lay.H)[:, None] & (m < lay.M)[None, :], other=0.0)


@triton.jit
def tile_W2(base, j, m, lay: tl.constexpr):
    """W2 [BH, BM]; a number where it is not dense, since it is not used then."""
    if lay.w2 == DENSE:
        return tl.load(base + lay.W2 + j[:, None] * lay.M + m[None, :], mask=(j < lay.H)[:, None] & (m < lay.M)[None, :], other=0.0)
    else:
        return 0.0


@triton.jit
def tile_A(base, m, lay: tl.constexpr):
    """A [BM, BM] without its diagonal's share a; a number where there is none."""
    if lay.A >= 0:
        return tl.load(base + lay.A + m[:, None] * lay.M + m[None, :], mask=(m < lay.M)[:, None] & (m < lay.M)[None, :], other=0.0)
    else:
        return 0.0


@triton.jit
def bias(base, j, lay: tl.constexpr):
    """h2 in the shape of j; zero where there is none."""
    if lay.h2 >= 0:
        return tl.load(base + lay.h2 + j, mask=(j >= 0) & (j < lay.H), other=0.0)
    else:
        return 0.0


@triton.jit
def times(W, x, ROWS: tl.constexpr, PRECISION: tl.constexpr):
    """W x, for W [p, q] and x [q] (a sum) or [q, ROWS] (a dot)."""
    if ROWS == 1:
        return tl.sum(W * x[None, :], 1)
    else:
        return tl.dot(W, x, input_precision=PRECISION, out_dtype=x.dtype)


@triton.jit
def transposed_times(W, x, ROWS: tl.constexpr, PRECISION: tl.constexpr):
    """W' x, for W [p, q] and x [p] or [p, ROWS]."""
    if ROWS == 1:
        return tl.sum(W * x[:, None], 0)
    else:
        return tl.dot(tl.trans(W), x, input_precision=PRECISION, out_dtype=x.dtype)


@triton.jit
def hidden_of(W2, z, lay: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr):
    """W2 z, whatever the tag."""
    if lay.w2 == DENSE:
        return times(W2, z, ROWS, PRECISION)
    elif lay.w2 == CENTRING:
        return z - tl.sum(z, 0) / lay.M
    else:
        return z


@triton.jit
def latent_of(W2, r, lay: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr):
    """W2' r, whatever the tag."""
    if lay.w2 == DENSE:
        return transposed_times(W2, r, ROWS, PRECISION)
    elif lay.w2 == CENTRING:
        return r - tl.sum(r, 0) / lay.M
    else:
        return r


@triton.jit
def add_inputs(y, base, i, on, u, lay: tl.constexpr, offset: tl.constexpr):
    """y + W u for the matrix W [., K] at ``offset``, rows i; ``u`` points to the first input. Nothing where the map has no such matrix."""
    if offset >= 0:
        for k in range(lay.K):
            y += tl.load(base + offset + i * lay.K + k, mask=on, other=0.0) * tl.load(u + k)
    return y


@triton.jit
def forced(z, x, w):
    """z + w (x - z). A target of weight zero may be NaN and is not read."""
    return tl.where(w == 0, z, z + w * (x - z))


@triton.jit
def relu(v):
    return tl.maximum(v, 0.0, propagate_nan=tl.PropagateNan.ALL)               # a state that has diverged must show it


@triton.jit
def tanh(v):
    """Lambert's continued fraction below 1/2, to an ulp, and exponentials above: neither cancels, in either precision."""
    s = v * v
    small = v * (135135 + s * (17325 + s * (378 + s))) / (135135 + s * (62370 + s * (3150 + s * 28)))
    e = tl.exp(-2 * tl.abs(v))
    large = (1 - e) / (1 + e)
    return tl.where(s < 0.25, small, tl.where(v < 0, -large, large))


@triton.jit
def activation(v, h2, base, j, lay: tl.constexpr):
    """phi(v), zero at hidden positions that stand for no unit."""
    on = (j >= 0) & (j < lay.H)
    if lay.phi == RELU:
        y = relu(v)
    elif lay.phi == CLIPPED:
        y = relu(v) - relu(v - h2)
    elif lay.phi == TANH:
        y = tanh(v)
    elif lay.phi == IDENTITY:
        y = v
    else:
        y = tl.full(v.shape, 0.0, v.dtype)
        for i in tl.range(0, lay.n_bases, loop_unroll_factor=1):
            term = relu(v - tl.load(base + lay.threshold + j * lay.n_bases + i, mask=on, other=0.0))
            if lay.phi == CLIPPED_BASIS:
                term -= relu(v)
            y += tl.load(base + lay.slope + i) * term
    return tl.where(on, y, 0.0)


@triton.jit
def step_of(v):
    """1 where v > 0, else 0: the slope at a kink is that of its left side."""
    return tl.where(v > 0, 1.0, 0.0).to(v.dtype)


@triton.jit
def slope_of(v, h2, base, j, lay: tl.constexpr):
    """phi'(v), zero at hidden positions that stand for no unit."""
    on = (j >= 0) & (j < lay.H)
    if lay.phi == RELU:
        y = step_of(v)
    elif lay.phi == CLIPPED:
        y = step_of(v) - step_of(v - h2)
    elif lay.phi == TANH:
        y = tanh(v)
        y = 1 - y * y
    elif lay.phi == IDENTITY:
        y = tl.full(v.shape, 1.0, v.dtype)
    else:
        y = tl.full(v.shape, 0.0, v.dtype)
        for i in tl.range(0, lay.n_bases, loop_unroll_factor=1):
            term = step_of(v - tl.load(base + lay.threshold + j * lay.n_bases + i, mask=on, other=0.0))
            if lay.phi == CLIPPED_BASIS:
                term -= step_of(v)
            y += tl.load(base + lay.slope + i) * term
    return tl.where(on, y, 0.0)
