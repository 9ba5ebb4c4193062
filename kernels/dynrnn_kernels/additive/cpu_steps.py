"""Forward and reverse passes of the additive recurrence over a block of steps, for a chunk of ROWS batch rows.

A caller computes the steps of a chunk block by block: it prepares forcing targets, weights and inputs of a block, so that they need
not be held for the whole sequence; of that, only the states are. README.md in this folder has the derivation of the reverse pass.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import (
    BASIS,
    CLIPPED_BASIS,
    W2_CENTRING,
    W2_DENSE,
    activate,
    add_rows,
    add_scaled,
    add_times,
    add_to,
    back_through,
    basis_gradient,
    basis_of,
    force,
    matrix,
    spread,
)
from dynrnn_kernels.additive.cpu_matrices import Matrix, add_gradient, multiply, stored, transposed
from dynrnn_kernels.additive.pattern import HEAD, UNROLLED
from dynrnn_kernels.additive.tile import ROWS, add_outer, place, product

OF_W1, OF_W2, OF_A = 0, 2, 4  # places in the pattern
BLOCK_NUMBERS = 16384  # hidden activations held at once in the reverse pass, so that they stay in the cache


class Scratch(NamedTuple):
    """What a chunk's passes work in, for ``block`` steps at a time: nothing here grows with the length of a sequence."""

    flat: np.ndarray       # [size] the map
    hidden: np.ndarray     # [5, H, ROWS]: W2 zt + .., phi, h2, dL/dphi, sum of dL/dh2
    latent: np.ndarray     # [6, M, ROWS]: a, h1, sum of dL/da, sum of dL/dh1, share of a product, 1 - weight of the step after
    W1T: Matrix            # the transposes, empty where the map has no such tensor
    W2T: Matrix
    AT: Matrix
    CT: np.ndarray
    DT: np.ndarray
    columns: np.ndarray    # [2 M + K + 2 H, block * ROWS]: both factors of every gradient's outer products
    lam: np.ndarray        # [M, ROWS] adjoint of the forced state
    ring: np.ndarray       # unrolled channels of a convolution, for a step or a block


@njit(cache=True, nogil=True)
def steps_per_block(H):
    """Steps that are computed before the next block is prepared: at least 8, since sums over fewer columns are slow."""
    return max(8, min(64, BLOCK_NUMBERS // max(ROWS * H, 1)))


@njit(cache=True, nogil=True)
def scratch_size(lay):
    """Numbers that ``start_chunk`` wants."""
    values = (lay.M + lay.H) * lay.K
    for side in (OF_W1, OF_W2, OF_A):
        values += lay.pattern[side * HEAD + 1] * lay.pattern[side * HEAD + 2]
    return (5 * lay.H + 7 * lay.M) * ROWS + values + (2 * lay.M + lay.K + 2 * lay.H + lay.pattern[UNROLLED]) * steps_per_block(lay.H) * ROWS


@njit(cache=True, nogil=True)
def transpose(flat, offset, rows, columns, work):
    """The transpose of a tensor of the map, put into ``work``; empty where there is none."""
    source = matrix(flat, offset, rows, columns)
    out = work[: source.size].reshape((columns, source.shape[0]))
    for i in range(source.shape[0]):
        for j in range(columns):
            out[j, i] = source[i, j]
    return out


@njit(cache=True, nogil=True)
def start_chunk(flat, lay, work):
    """Scratch for a chunk, forward and backward, made of work [scratch_size]."""
    M, H, K = lay.M, lay.H, lay.K
    end = 5 * H * ROWS
    hidden = work[:end].reshape((5, H, ROWS))
    latent = work[end : end + 6 * M * ROWS].reshape((6, M, ROWS))
    end += 6 * M * ROWS
    lam = work[end : end + M * ROWS].reshape((M, ROWS))
    end += M * ROWS
    W1T = transposed(flat, lay.W1, lay.pattern, OF_W1, work[end:])
    end += W1T.values.size
    W2T = transposed(flat, lay.W2, lay.pattern, OF_W2, work[end:])
    end += W2T.values.size
    AT = transposed(flat, lay.A, lay.pattern, OF_A, work[end:])
    end += AT.values.size
    CT = transpose(flat, lay.C, M, K, work[end:])
    end += M * K
    DT = transpose(flat, lay.D, H, K, work[end:])
    end += H * K
    wide = steps_per_block(H) * ROWS
    columns = work[end : end + (2 * M + K + 2 * H) * wide].reshape((2 * M + K + 2 * H, wide))
    ring = work[end + columns.size :]
    hidden[2:5], latent[:], lam[:] = 0, 0, 0
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + H], hidden[2])
    spread(flat[lay.a : lay.a + M], latent[0])
    spread(flat[lay.h1 : lay.h1 + M], latent[1])
    return Scratch(flat, hidden, latent, W1T, W2T, AT, CT, DT, columns, lam, ring)


@njit(cache=True, nogil=True, inline="always")
def hidden_drive(w2, W2, D, zt, u, ring, p):
    """p = W2 zt + D u (h2 is added by the activation, since the clipped phi needs p without it, too). zt [M, ROWS], u [K, ROWS], p [H, ROWS]."""
    M, H = zt.shape[0], p.shape[0]
    if w2 == W2_DENSE:
        multiply(W2, zt, ring, p)
    elif w2 == W2_CENTRING:
        part = zt.dtype.type(1.0 / M)
        for r in range(ROWS):
            total = zt.dtype.type(0)
            for m in range(M):
                total += zt[m, r]
            for m in range(M):
                p[m, r] = zt[m, r] - total * part
    else:
        for h in range(H):
            for r in range(ROWS):
                p[h, r] = zt[M - H + h, r]
    for k in range(u.shape[0]):
        for h in range(D.shape[0]):
            for r in range(ROWS):
                p[h, r] += D[h, k] * u[k, r]


@njit(cache=True, nogil=True)
def block_forward(lay, scratch, z, zt, target, weight, u):
    """Fill z[1..n] and zt[0..n-1] from z[0]. z [n + 1, M, ROWS]; zt, target, weight [n, M, ROWS]; u [n, K, ROWS].

    Targets of weight zero must be finite.
    """
    n, M, _ = zt.shape
    H, K, size, flat = lay.H, lay.K, M * ROWS, scratch.flat
    W1, W2 = stored(flat, lay.W1, lay.pattern, OF_W1), stored(flat, lay.W2, lay.pattern, OF_W2)
    A = stored(flat, lay.A, lay.pattern, OF_A)
    C, D = matrix(flat, lay.C, M, K), matrix(flat, lay.D, H, K)
    slope, threshold = basis_of(flat, lay)
    p, phi, extra = scratch.hidden[0], scratch.hidden[1], scratch.latent[4]
    x, y, b = p.reshape(p.size), phi.reshape(p.size), scratch.hidden[2].reshape(p.size)
    a1, h11, extra1 = scratch.latent[0].reshape(size), scratch.latent[1].reshape(size), extra.reshape(size)
    z1, zt1, target1, weight1 = z.reshape((n + 1, size)), zt.reshape((n, size)), target.reshape((n, size)), weight.reshape((n, size))
    for t in range(n):
        force(z1[t], weight1[t], target1[t], zt1[t])
        hidden_drive(lay.w2, W2, D, zt[t], u[t], scratch.ring, p)
        activate(lay.phi, slope, threshold, x, b, y)
        multiply(W1, phi, scratch.ring, z[t + 1])
        add_scaled(a1, zt1[t], h11, z1[t + 1])
        if lay.A >= 0:
            multiply(A, zt[t], scratch.ring, extra)
            add_to(extra1, z1[t + 1])
        if lay.C >= 0:
            product(C, u[t], extra)
            add_to(extra1, z1[t + 1])


@njit(cache=True, nogil=True)
def block_backward(lay, scratch, zt, weight, gz, u, gforced, gu, grad):
    """Reverse of ``block_forward``, called from the last block to the first; adds to ``grad`` (flat, like the map).

    zt, weight [n, M, ROWS], u [n, K, ROWS]. gz [n, M, ROWS] comes in as the derivative of the loss alone by the block's predictions and leaves
    as the total adjoint. gforced [n, M, ROWS] gets dL/dzt, gu [n, K, ROWS] dL/du; either may be of length 0, and is then left out.
    """
    n, M, _ = zt.shape
    H, K, size, flat = lay.H, lay.K, M * ROWS, scratch.flat
    kind = zt.dtype
    one = kind.type(1)
    W1, W2 = stored(flat, lay.W1, lay.pattern, OF_W1), stored(flat, lay.W2, lay.pattern, OF_W2)
    A = stored(flat, lay.A, lay.pattern, OF_A)
    D = matrix(flat, lay.D, H, K)
    slope, threshold = basis_of(flat, lay)
    gslope, gthreshold = basis_of(grad, lay)
    basis = lay.phi == BASIS or lay.phi == CLIPPED_BASIS
    p, phi, q, lam, extra = scratch.hidden[0], scratch.hidden[1], scratch.hidden[3], scratch.lam, scratch.latent[4]
    x, y, b, dphi, sum_h2 = p.reshape(p.size), phi.reshape(p.size), scratch.hidden[2].reshape(p.size), q.reshape(p.size), scratch.hidden[4].reshape(p.size)
    latent = scratch.latent.reshape((6, size))
    a, sum_a, sum_h1, extra1, kept, lam1 = latent[0], latent[2], latent[3], latent[4], latent[5], lam.reshape(size)
    nothing, through_D = np.zeros(size, kind), np.empty((K, ROWS), kind)
    gz1, zt1, weight1 = gz.reshape((n, size)), zt.reshape((n, size)), weight.reshape((n, size))
    through_D1, gu1 = through_D.reshape(K * ROWS), gu.reshape((gu.shape[0], K * ROWS))
    columns = scratch.columns
    all_g, all_z, all_u = columns[:M], columns[M : 2 * M], columns[2 * M : 2 * M + K]
    all_phi, all_p = columns[2 * M + K : 2 * M + K + H], columns[2 * M + K + H :]
    if n * ROWS < columns.shape[1]:                                             # a short block: the rest adds nothing
        columns[:] = 0
    for t in range(n - 1, -1, -1):
        add_times(kept, lam1, gz1[t])
        hidden_drive(lay.w2, W2, D, zt[t], u[t], scratch.ring, p)
        activate(lay.phi, slope, threshold, x, b, y)
        multiply(scratch.W1T, gz[t], scratch.ring, q)                           # dL/dphi
        if basis:
            basis_gradient(lay.phi, slope, threshold, x, dphi, gslope, gthreshold)
        back_through(lay.phi, slope, threshold, x, b, y, dphi, sum_h2)          # p takes dL/dp
        add_to(gz1[t], sum_h1)
        add_times(gz1[t], zt1[t], sum_a)
        k = t * ROWS
        place(gz[t], all_g, k)
        place(phi, all_phi, k)
        if lay.w2 == W2_DENSE or lay.A >= 0:
            place(zt[t], all_z, k)
        if lay.w2 == W2_DENSE or lay.D >= 0:
            place(p, all_p, k)
        if K > 0:
            place(u[t], all_u, k)
        if gu.shape[0] > 0:
            gu[t] = 0
            if lay.C >= 0:
                product(scratch.CT, gz[t], gu[t])
            if lay.D >= 0:
                product(scratch.DT, p, through_D)
                add_to(through_D1, gu1[t])
        if lay.w2 == W2_DENSE:
            multiply(scratch.W2T, p, scratch.ring, lam)
        elif lay.w2 == W2_CENTRING:
            part = kind.type(1.0 / M)
            for r in range(ROWS):
                total = kind.type(0)
                for h in range(H):
                    total += p[h, r]
                for m in range(M):
                    lam[m, r] = p[m, r] - total * part
        else:
            lam[:] = 0
            for h in range(H):
                for r in range(ROWS):
                    lam[M - H + h, r] = p[h, r]
        add_scaled(a, gz1[t], nothing, lam1)
        if lay.A >= 0:
            multiply(scratch.AT, gz[t], scratch.ring, extra)
            add_to(extra1, lam1)
        if gforced.shape[0] > 0:
            gforced[t] = lam
        w = weight1[t]
        for i in range(size):
            kept[i] = one - w[i]
    add_gradient(W1, all_g, all_phi, scratch.ring, grad[lay.W1 :])
    if lay.A >= 0:
        add_gradient(A, all_g, all_z, scratch.ring, grad[lay.A :])
    if lay.w2 == W2_DENSE:
        add_gradient(W2, all_p, all_z, scratch.ring, grad[lay.W2 :])
    if lay.C >= 0:
        add_outer(all_g, all_u, grad[lay.C :])
    if lay.D >= 0:
        add_outer(all_p, all_u, grad[lay.D :])


@njit(cache=True, nogil=True)
def finish_chunk(lay, scratch, grad):
    """After the first block: adds the sums over time to ``grad``; scratch.lam becomes dL/dz[0]."""
    add_rows(scratch.latent[2], lay.a, grad)
    add_rows(scratch.latent[3], lay.h1, grad)
    if lay.h2 >= 0:
        add_rows(scratch.hidden[4], lay.h2, grad)
    scratch.lam[:] *= scratch.latent[5]
