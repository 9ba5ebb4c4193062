"""The additive recurrence on a CPU: Numba, with products in registers (tile.py) inside the loop over time and threads over (fit, batch rows) outside it.

A chunk is ROWS batch rows of one fit; its arrays are [T, units, ROWS], so that every step is one contiguous block and loops over rows
have a length that the compiler knows. A chunk that a batch does not fill repeats its first row, without a gradient. How a batch is cut
depends on its size alone, and gradients of chunks are added in their order: results do not depend on the number of threads or of
fits. README.md in this folder has the derivation of the reverse pass.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from dynrnn_kernels.additive.tile import ROWS, add_outer, place, product

BLOCK_NUMBERS = 16384  # hidden activations held at once in the reverse pass, so that they stay in the cache
RELU, CLIPPED, BASIS, CLIPPED_BASIS, TANH, IDENTITY = range(6)
W2_DENSE, W2_IDENTITY, W2_SELECTION, W2_CENTRING = range(4)


@njit(cache=True, nogil=True)
def matrix(flat, offset, rows, columns):
    """A tensor of the map, empty where it has none. Reshaping costs as much as a small product: keep it out of loops over time."""
    if offset < 0:
        return flat[:0].reshape((0, columns))
    return flat[offset : offset + rows * columns].reshape((rows, columns))


@njit(cache=True, nogil=True)
def hidden_drive(w2, W2, D, zt, u, p):
    """p = W2 zt + D u (h2 is added by the activation, since the clipped phi needs p without it, too). zt [M, ROWS], u [K, ROWS], p [H, ROWS]."""
    M, H = zt.shape[0], p.shape[0]
    if w2 == W2_DENSE:
        product(W2, zt, p)
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
def spread(vector, out):
    """out[i, r] = vector[i]: a bias for every row of the chunk, so that loops below run over one long array."""
    for i in range(out.shape[0]):
        for r in range(ROWS):
            out[i, r] = vector[i]


@njit(cache=True, nogil=True)
def activate(kind, slope, threshold, x, b, y):
    """y = phi(p + h2) over flat [H * ROWS] arrays: x is p, b is h2 spread over the rows. After it, x includes h2 unless phi is clipped."""
    zero = x.dtype.type(0)
    if kind == CLIPPED:
        for i in range(x.size):
            y[i] = max(x[i] + b[i], zero) - max(x[i], zero)
        return
    if kind == RELU:
        for i in range(x.size):
            x[i] += b[i]
        for i in range(x.size):
            y[i] = max(x[i], zero)
    elif kind == TANH:
        for i in range(x.size):
            x[i] += b[i]
            y[i] = np.tanh(x[i])
    elif kind == IDENTITY:
        for i in range(x.size):
            x[i] += b[i]
            y[i] = x[i]
    else:
        for i in range(x.size):
            x[i] += b[i]
            base = max(x[i], zero) if kind == CLIPPED_BASIS else zero
            value = zero
            for n in range(slope.size):
                value += slope[n] * (max(x[i] - threshold[i // ROWS, n], zero) - base)
            y[i] = value


@njit(cache=True, nogil=True)
def back_through(kind, slope, threshold, x, b, y, q, total):
    """From q = dL/dphi: x becomes dL/dp, and dL/dh2 is added to total; x and y come as ``activate`` leaves them."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if kind == CLIPPED:
        for i in range(x.size):
            upper = q[i] if x[i] + b[i] > zero else zero
            lower = q[i] if x[i] > zero else zero
            total[i] += upper
            x[i] = upper - lower
    elif kind == RELU:
        for i in range(x.size):
            x[i] = q[i] if x[i] > zero else zero
            total[i] += x[i]
    elif kind == TANH:
        for i in range(x.size):
            x[i] = q[i] * (one - y[i] * y[i])
            total[i] += x[i]
    elif kind == IDENTITY:
        for i in range(x.size):
            x[i] = q[i]
            total[i] += x[i]
    else:
        for i in range(x.size):
            base = one if kind == CLIPPED_BASIS and x[i] > zero else zero
            rise = zero
            for n in range(slope.size):
                rise += slope[n] * ((one if x[i] > threshold[i // ROWS, n] else zero) - base)
            x[i] = q[i] * rise
            total[i] += x[i]


@njit(cache=True, nogil=True)
def force(now, weight, target, forced):
    """forced = now + weight (target - now), over flat arrays."""
    for i in range(now.size):
        forced[i] = now[i] + weight[i] * (target[i] - now[i])


@njit(cache=True, nogil=True)
def add_scaled(scale, x, shift, out):
    """out += scale x + shift, over flat arrays."""
    for i in range(x.size):
        out[i] += scale[i] * x[i] + shift[i]


@njit(cache=True, nogil=True)
def add_times(x, y, out):
    """out += x y, over flat arrays."""
    for i in range(x.size):
        out[i] += x[i] * y[i]


@njit(cache=True, nogil=True)
def add_to(x, out):
    """out += x, over flat arrays."""
    for i in range(x.size):
        out[i] += x[i]


@njit(cache=True, nogil=True)
def bias_of(flat, lay, rows):
    """h2 spread over the rows of a chunk, zero where there is none: [H * ROWS]."""
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + lay.H], rows)
    else:
        rows[:] = 0
    return rows.reshape(rows.size)


@njit(cache=True, nogil=True)
def basis_of(flat, lay):
    """Slopes [n_bases] and thresholds [H, n_bases], empty where phi is no basis."""
    return flat[max(lay.slope, 0) : max(lay.slope, 0) + lay.n_bases], matrix(flat, lay.threshold, lay.H, lay.n_bases)


@njit(cache=True, nogil=True)
def chunk_forward(flat, lay, z, zt, target, weight, u, hidden):
    """Fill z[1..T] and zt[0..T-1] from z[0]. z [T + 1, M, ROWS]; zt, target, weight [T, M, ROWS]; u [T, K, ROWS]; hidden [3 or more, H, ROWS] scratch.

    Targets of weight zero must be finite.
    """
    T, M, _ = zt.shape
    H, K, size = lay.H, lay.K, M * ROWS
    kind = z.dtype
    W1, W2, A = matrix(flat, lay.W1, M, H), matrix(flat, lay.W2, H, M), matrix(flat, lay.A, M, M)
    C, D = matrix(flat, lay.C, M, K), matrix(flat, lay.D, H, K)
    slope, threshold = basis_of(flat, lay)
    p, phi = hidden[0], hidden[1]
    x, y, b = p.reshape(p.size), phi.reshape(phi.size), bias_of(flat, lay, hidden[2])
    a, h1, extra = np.empty((M, ROWS), kind), np.empty((M, ROWS), kind), np.empty((M, ROWS), kind)
    spread(flat[lay.a : lay.a + M], a)
    spread(flat[lay.h1 : lay.h1 + M], h1)
    a1, h11, extra1 = a.reshape(size), h1.reshape(size), extra.reshape(size)
    z1, zt1, target1, weight1 = z.reshape((T + 1, size)), zt.reshape((T, size)), target.reshape((T, size)), weight.reshape((T, size))
    for t in range(T):
        force(z1[t], weight1[t], target1[t], zt1[t])
        hidden_drive(lay.w2, W2, D, zt[t], u[t], p)
        activate(lay.phi, slope, threshold, x, b, y)
        product(W1, phi, z[t + 1])
        add_scaled(a1, zt1[t], h11, z1[t + 1])
        if lay.A >= 0:
            product(A, zt[t], extra)
            add_to(extra1, z1[t + 1])
        if lay.C >= 0:
            product(C, u[t], extra)
            add_to(extra1, z1[t + 1])


@njit(cache=True, nogil=True)
def basis_gradient(kind, slope, threshold, x, q, gslope, gthreshold):
    """Add the gradients of slopes and thresholds, where x = p + h2 and q = dL/dphi, flat [H * ROWS]."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        base = max(x[i], zero) if kind == CLIPPED_BASIS else zero
        for n in range(slope.size):
            over = x[i] - threshold[i // ROWS, n]
            gslope[n] += q[i] * (max(over, zero) - base)
            if over > zero:
                gthreshold[i // ROWS, n] -= q[i] * slope[n]


@njit(cache=True, nogil=True)
def steps_per_block(H):
    """Steps whose hidden activations are held at once in the reverse pass: at least 8, since sums over fewer columns are slow."""
    return max(8, min(64, BLOCK_NUMBERS // max(ROWS * H, 1)))


@njit(cache=True, nogil=True)
def work_size(lay):
    """Numbers of scratch that ``chunk_backward`` wants."""
    return 5 * lay.H * ROWS + (2 * lay.M + lay.K + 2 * lay.H) * steps_per_block(lay.H) * ROWS


@njit(cache=True, nogil=True)
def add_rows(source, offset, grad):
    """grad[offset:] += sum over the rows of the chunk."""
    for m in range(source.shape[0]):
        for r in range(ROWS):
            grad[offset + m] += source[m, r]


@njit(cache=True, nogil=True)
def chunk_backward(flat, lay, zt, weight, gz, u, lam, gforced, keep_gforced, gu, work, grad):
    """Reverse pass of ``chunk_forward``; adds to ``grad`` (flat, like the map), leaves dL/dz[0] in ``lam`` [M, ROWS].

    gz [T, M, ROWS] comes in as dL/dz[1..T] of the loss alone and leaves as the total adjoint. gforced [T, M, ROWS] gets dL/dzt where
    ``keep_gforced``; gu [T, K, ROWS] gets dL/du. work [work_size] is scratch. No hidden-sized array spans more than a block of steps.
    """
    T, M, _ = zt.shape
    H, K, size = lay.H, lay.K, M * ROWS
    kind = zt.dtype
    one = kind.type(1)
    W1T, W2, A = matrix(flat, lay.W1, M, H).T.copy(), matrix(flat, lay.W2, H, M), matrix(flat, lay.A, M, M)
    W2T, AT = W2.T.copy(), A.T.copy()
    D, CT = matrix(flat, lay.D, H, K), matrix(flat, lay.C, M, K).T.copy()
    DT = D.T.copy()
    slope, threshold = basis_of(flat, lay)
    gslope, gthreshold = basis_of(grad, lay)
    basis = lay.phi == BASIS or lay.phi == CLIPPED_BASIS
    wide = 5 * H * ROWS
    hidden = work[:wide].reshape((5, H, ROWS))
    p, phi, q, sum_h2 = hidden[0], hidden[1], hidden[3], hidden[4]
    x, y, b, dphi = p.reshape(p.size), phi.reshape(p.size), bias_of(flat, lay, hidden[2]), q.reshape(p.size)
    sum_h2[:] = 0
    sum_h21 = sum_h2.reshape(p.size)
    sum_a, sum_h1, extra, a = np.zeros((M, ROWS), kind), np.zeros((M, ROWS), kind), np.empty((M, ROWS), kind), np.empty((M, ROWS), kind)
    spread(flat[lay.a : lay.a + M], a)
    sum_a1, sum_h11, extra1, a1, lam1 = sum_a.reshape(size), sum_h1.reshape(size), extra.reshape(size), a.reshape(size), lam.reshape(size)
    kept, nothing, through_D = np.empty(size, kind), np.zeros(size, kind), np.empty((K, ROWS), kind)
    gz1, zt1, weight1 = gz.reshape((T, size)), zt.reshape((T, size)), weight.reshape((T, size))
    through_D1, gu1 = through_D.reshape(K * ROWS), gu.reshape((T, K * ROWS))
    block = steps_per_block(H)
    n = block * ROWS
    blocks = work[wide : wide + (2 * M + K + 2 * H) * n].reshape((2 * M + K + 2 * H, n))
    all_g, all_z, all_u = blocks[:M], blocks[M : 2 * M], blocks[2 * M : 2 * M + K]
    all_phi, all_p = blocks[2 * M + K : 2 * M + K + H], blocks[2 * M + K + H :]
    lam[:] = 0
    last = T
    while last > 0:
        first = max(0, last - block)
        if last - first < block:                                                # the block before the first step is short: the rest adds nothing
            blocks[:] = 0
        for t in range(last - 1, first - 1, -1):
            if t + 1 < T:
                w = weight1[t + 1]
                for i in range(size):
                    kept[i] = one - w[i]
                add_times(kept, lam1, gz1[t])
            hidden_drive(lay.w2, W2, D, zt[t], u[t], p)
            activate(lay.phi, slope, threshold, x, b, y)
            product(W1T, gz[t], q)                                              # dL/dphi
            if basis:
                basis_gradient(lay.phi, slope, threshold, x, dphi, gslope, gthreshold)
            back_through(lay.phi, slope, threshold, x, b, y, dphi, sum_h21)     # p takes dL/dp
            add_to(gz1[t], sum_h11)
            add_times(gz1[t], zt1[t], sum_a1)
            k = (t - first) * ROWS
            place(gz[t], all_g, k)
            place(phi, all_phi, k)
            if lay.w2 == W2_DENSE or lay.A >= 0:
                place(zt[t], all_z, k)
            if lay.w2 == W2_DENSE or lay.D >= 0:
                place(p, all_p, k)
            if K > 0:
                place(u[t], all_u, k)
                gu[t] = 0
                if lay.C >= 0:
                    product(CT, gz[t], gu[t])
                if lay.D >= 0:
                    product(DT, p, through_D)
                    add_to(through_D1, gu1[t])
            if lay.w2 == W2_DENSE:
                product(W2T, p, lam)
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
            add_scaled(a1, gz1[t], nothing, lam1)
            if lay.A >= 0:
                product(AT, gz[t], extra)
                add_to(extra1, lam1)
            if keep_gforced:
                gforced[t] = lam
        add_outer(all_g, all_phi, grad[lay.W1 :])
        if lay.A >= 0:
            add_outer(all_g, all_z, grad[lay.A :])
        if lay.w2 == W2_DENSE:
            add_outer(all_p, all_z, grad[lay.W2 :])
        if lay.C >= 0:
            add_outer(all_g, all_u, grad[lay.C :])
        if lay.D >= 0:
            add_outer(all_p, all_u, grad[lay.D :])
        last = first
    add_rows(sum_a, lay.a, grad)
    add_rows(sum_h1, lay.h1, grad)
    if lay.h2 >= 0:
        add_rows(sum_h2, lay.h2, grad)
    for m in range(M):
        for r in range(ROWS):
            lam[m, r] *= one - weight[0, m, r]


@njit(cache=True, nogil=True)
def rows_of(item, rows):
    """Of chunk ``item`` over all fits: fit, first sequence, sequences, steps of the longest."""
    per_fit = (rows.shape[0] + ROWS - 1) // ROWS
    first = item % per_fit * ROWS
    count = min(ROWS, rows.shape[0] - first)
    steps = 0
    for r in range(first, first + count):
        steps = max(steps, rows[r, 1])
    return item // per_fit, first, count, steps


@njit(cache=True, nogil=True)
def take(source, rows, first, count, past, into):
    """into[t, m, r] = sample t of sequence first + r, ``past`` after its end; a chunk that is not full repeats its first sequence."""
    value = into.dtype.type(past)
    for r in range(ROWS):
        row = first + r if r < count else first
        start, length = rows[row, 0], rows[row, 1]
        for t in range(into.shape[0]):
            for m in range(into.shape[1]):
                into[t, m, r] = source[start + t, m] if t < length else value


@njit(cache=True, nogil=True)
def give(source, rows, first, count, into):
    """The reverse of ``take``: what lies past a sequence's end is dropped."""
    for r in range(count):
        start, length = rows[first + r, 0], rows[first + r, 1]
        for t in range(length):
            for m in range(source.shape[1]):
                into[start + t, m] = source[t, m, r]


@njit(cache=True, nogil=True)
def take_forcing(target, weight, rows, first, count, targets, weights):
    """Targets and weights of a chunk. A target of weight zero may be anything, NaN included: it becomes 0. A state past the end of its
    sequence is held at 0 (weight 1, target 0), so that it stays finite."""
    take(target, rows, first, count, 0, targets)
    take(weight, rows, first, count, 1, weights)
    zero = weights.dtype.type(0)
    w, x = weights.reshape(weights.size), targets.reshape(targets.size)
    for i in range(w.size):
        if w[i] == zero:
            x[i] = zero


@njit(cache=True, nogil=True)
def forward_chunk(item, flat, lay, z0, target, weight, u, rows, out):
    f, first, count, T = rows_of(item, rows)
    M, kind = out.shape[2], out.dtype
    z, zt = np.empty((T + 1, M, ROWS), kind), np.empty((T, M, ROWS), kind)
    targets, weights, inputs = np.empty((T, M, ROWS), kind), np.empty((T, M, ROWS), kind), np.empty((T, lay.K, ROWS), kind)
    take_forcing(target[f], weight[f], rows, first, count, targets, weights)
    take(u[f], rows, first, count, 0, inputs)
    for r in range(ROWS):
        for m in range(M):
            z[0, m, r] = z0[f, first + r if r < count else first, m]
    chunk_forward(flat[f], lay, z, zt, targets, weights, inputs, np.empty((3, lay.H, ROWS), kind))
    give(z[1:], rows, first, count, out[f])


@njit(cache=True, nogil=True)
def backward_chunk(item, flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partial):
    f, first, count, T = rows_of(item, rows)
    M, kind = out.shape[2], out.dtype
    zt, gz, gforced = np.empty((T, M, ROWS), kind), np.empty((T, M, ROWS), kind), np.empty((T, M, ROWS), kind)
    targets, weights = np.empty((T, M, ROWS), kind), np.empty((T, M, ROWS), kind)
    inputs, ginputs = np.empty((T, lay.K, ROWS), kind), np.empty((T, lay.K, ROWS), kind)
    take_forcing(target[f], weight[f], rows, first, count, targets, weights)
    take(u[f], rows, first, count, 0, inputs)
    take(gout[f], rows, first, count, 0, gz)
    gz[:, :, count:] = 0
    for r in range(ROWS):
        row = first + r if r < count else first
        start, length = rows[row, 0], rows[row, 1]
        for t in range(T):
            for m in range(M):
                now = z0[f, row, m] if t == 0 else (out[f, start + t - 1, m] if t <= length else kind.type(0))
                zt[t, m, r] = now + weights[t, m, r] * (targets[t, m, r] - now)
    lam = np.empty((M, ROWS), kind)
    chunk_backward(flat[f], lay, zt, weights, gz, inputs, lam, gforced, True, ginputs, np.empty(work_size(lay), kind), partial)
    for r in range(count):
        for m in range(M):
            gz0[f, first + r, m] = lam[m, r]
    for t in range(T):
        for m in range(M):
            for r in range(ROWS):
                gforced[t, m, r] *= weights[t, m, r]
    give(gforced, rows, first, count, gtarget[f])
    give(ginputs, rows, first, count, gu[f])


@njit(cache=True, nogil=True, parallel=True)
def forward(flat, lay, z0, target, weight, u, rows, out):
    """All fits and sequences, packed: flat [F, size], z0 [F, B, M], target, weight and out [F, N, M], u [F, N, K]; rows [B, 2] are first sample and length.

    Its loop calls one plain function, which compiles faster.
    """
    for item in prange(out.shape[0] * ((rows.shape[0] + ROWS - 1) // ROWS)):
        forward_chunk(item, flat, lay, z0, target, weight, u, rows, out)


@njit(cache=True, nogil=True, parallel=True)
def backward_partials(flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partials):
    for item in prange(partials.shape[0]):
        backward_chunk(item, flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partials[item])


def backward(flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, grad):
    """Reverse of ``forward``: fills gz0 [F, B, M], gtarget [F, N, M], gu [F, N, K] and grad [F, size], whose chunks are added in their order."""
    per_fit = -(-rows.shape[0] // ROWS)
    partials = np.zeros((len(flat) * per_fit, lay.size), out.dtype)
    backward_partials(flat, lay, z0, target, weight, u, rows, out, gout, gz0, gtarget, gu, partials)
    for c in range(per_fit):
        grad += partials[c::per_fit]
