"""The spectral norm of the Jacobian at every state by power iteration on J'J, in Triton; J is never formed.

One program has one state; an iteration costs four products with the weights, J = diag(a) + A + W1 diag(phi'(v)) W2 and its transpose.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dynrnn_kernels.additive.triton_cells import add_inputs, bias, column_of, hidden_of, latent_of, slope_of, tile_A, tile_W1, tile_W2, times, transposed_times
from dynrnn_kernels.additive.triton_steps import values

ONE = tl.constexpr(1)                                                           # a state is a vector here
EXACT = tl.constexpr("ieee")


@triton.jit
def slope_at(z, uk, base, W2, j, lay: tl.constexpr):
    """phi' at state z for the hidden columns j."""
    h2 = bias(base, j, lay)
    v = add_inputs(hidden_of(W2, z, lay, ONE, EXACT), base, j, (j >= 0) & (j < lay.H), uk, lay, lay.D) + h2
    return slope_of(v, h2, base, j, lay)


@triton.jit
def unit(x):
    """x / |x|, and zero for zero."""
    square = tl.sum(x * x, 0)
    return tl.where(square == 0, 0.0, x / tl.sqrt(tl.where(square == 0, 1.0, square)))


@triton.jit(do_not_specialize=["R", "n_iterations", "chunks"])
def norm_kernel(flat, states, u, start, out, R, n_iterations, chunks, lay: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, CHUNKED: tl.constexpr):
    """Fills out [F, R]; grid (states, fits). start [M] is the first vector."""
    f = tl.program_id(1).to(tl.int64)
    at = f * R + tl.program_id(0)
    base = flat + f * lay.size
    m = tl.arange(0, BM)
    j = column_of(tl.arange(0, BH), lay)
    uk = u + at * lay.K
    a, A = values(base + lay.a, 0, m, lay), tile_A(base, m, lay)
    z = values(states, at, m, lay)
    if not CHUNKED:
        W1, W2 = tile_W1(base, j, m, lay), tile_W2(base, j, m, lay)
        d = slope_at(z, uk, base, W2, j, lay)
    x = unit(values(start, 0, m, lay))
    y = x
    for _ in range(n_iterations):
        y = a * x                                                               # J x
        if lay.A >= 0:
            y += times(A, x, ONE, EXACT)
        if CHUNKED:
            for c in range(chunks):
                jc = j + c * BH
                W2 = tile_W2(base, jc, m, lay)
                p = slope_at(z, uk, base, W2, jc, lay) * hidden_of(W2, x, lay, ONE, EXACT)
                y += transposed_times(tile_W1(base, jc, m, lay), p, ONE, EXACT)
        else:
            y += transposed_times(W1, d * hidden_of(W2, x, lay, ONE, EXACT), ONE, EXACT)
        direction = unit(y)                                                     # apart, so that squares neither vanish nor overflow
        x = a * direction                                                       # J' J x
        if lay.A >= 0:
            x += transposed_times(A, direction, ONE, EXACT)
        if CHUNKED:
            for c in range(chunks):
                jc = j + c * BH
                W2 = tile_W2(base, jc, m, lay)
                q = slope_at(z, uk, base, W2, jc, lay) * times(tile_W1(base, jc, m, lay), direction, ONE, EXACT)
                x += latent_of(W2, q, lay, ONE, EXACT)
        else:
            x += latent_of(W2, d * times(W1, direction, ONE, EXACT), lay, ONE, EXACT)
        x = unit(x)
    tl.store(out + at, tl.sqrt(tl.sum(y * y, 0)))
