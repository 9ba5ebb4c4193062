"""The additive recurrence on a CPU: Numba, with BLAS calls inside the loop over time and threads over (fit, batch rows) outside it.

A chunk is up to ROWS batch rows of one fit. Its arrays are time-major, [T, rows, M], so that every step is one contiguous block.
How a batch is cut into chunks depends on its size alone, and gradients of chunks are added in their order: results do not
depend on the number of threads or of fits. README.md in this folder has the derivation of the reverse pass.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, get_thread_id, njit, prange

ROWS = 16
RELU, CLIPPED, BASIS, CLIPPED_BASIS, TANH, IDENTITY = range(6)
W2_DENSE, W2_IDENTITY, W2_SELECTION, W2_CENTRING = range(4)


@njit(cache=True, nogil=True, inline="always")
def matrix(flat, offset, rows, columns):
    return flat[offset : offset + rows * columns].reshape((rows, columns))


@njit(cache=True, nogil=True)
def hidden_drive(flat, lay, zt, u, p, pu):
    """p = W2 zt + D u, for n rows at once (h2 is added by the activation, which the clipped phi needs without it)."""
    n, M, H = zt.shape[0], lay.M, lay.H
    if lay.w2 == W2_DENSE:
        np.dot(zt, matrix(flat, lay.W2, H, M).T, p)
    elif lay.w2 == W2_CENTRING:
        for r in range(n):
            total = zt.dtype.type(0)
            for m in range(M):
                total += zt[r, m]
            total /= zt.dtype.type(M)
            for m in range(M):
                p[r, m] = zt[r, m] - total
    else:
        for r in range(n):
            for h in range(H):
                p[r, h] = zt[r, M - H + h]
    if lay.D >= 0:
        np.dot(u, matrix(flat, lay.D, H, lay.K).T, pu)
        for r in range(n):
            for h in range(H):
                p[r, h] += pu[r, h]


@njit(cache=True, nogil=True)
def activate(flat, lay, p, phi):
    """phi(p + h2) for n rows."""
    n, H = p.shape
    zero = p.dtype.type(0)
    if lay.phi == CLIPPED:
        h2 = flat[lay.h2 : lay.h2 + H]
        for r in range(n):
            for h in range(H):
                phi[r, h] = max(p[r, h] + h2[h], zero) - max(p[r, h], zero)
        return
    if lay.h2 >= 0:
        h2 = flat[lay.h2 : lay.h2 + H]
        for r in range(n):
            for h in range(H):
                p[r, h] += h2[h]
    if lay.phi == RELU:
        for r in range(n):
            for h in range(H):
                phi[r, h] = max(p[r, h], zero)
    elif lay.phi == TANH:
        for r in range(n):
            for h in range(H):
                phi[r, h] = np.tanh(p[r, h])
    elif lay.phi == IDENTITY:
        phi[:] = p
    else:
        slope = flat[lay.slope : lay.slope + lay.n_bases]
        threshold = matrix(flat, lay.threshold, H, lay.n_bases)
        for r in range(n):
            for h in range(H):
                v = p[r, h]
                total = zero
                for b in range(lay.n_bases):
                    total += slope[b] * max(v - threshold[h, b], zero)
                if lay.phi == CLIPPED_BASIS:
                    base = max(v, zero)
                    for b in range(lay.n_bases):
                        total -= slope[b] * base
                phi[r, h] = total


@njit(cache=True, nogil=True)
def chunk_forward(flat, lay, z, zt, target, weight, u, p, pu, phi, extra):
    """Fill z[1..T] and zt[0..T-1] from z[0]. Shapes: z [T+1, R, M]; zt, target, weight [T, R, M]; u [T, R, K]; p, pu, phi [R, H]; extra [R, M]."""
    T, R, M = zt.shape
    H = lay.H
    a, h1 = flat[lay.a : lay.a + M], flat[lay.h1 : lay.h1 + M]
    W1T = matrix(flat, lay.W1, M, H).T
    zero = z.dtype.type(0)
    for t in range(T):
        now, forced, after = z[t], zt[t], z[t + 1]
        for r in range(R):
            for m in range(M):
                w = weight[t, r, m]
                forced[r, m] = now[r, m] + w * (target[t, r, m] - now[r, m]) if w != zero else now[r, m]
        hidden_drive(flat, lay, forced, u[t], p, pu)
        activate(flat, lay, p, phi)
        np.dot(phi, W1T, after)
        for r in range(R):
            for m in range(M):
                after[r, m] += a[m] * forced[r, m] + h1[m]
        if lay.A >= 0:
            np.dot(forced, matrix(flat, lay.A, M, M).T, extra)
            after += extra
        if lay.C >= 0:
            np.dot(u[t], matrix(flat, lay.C, M, lay.K).T, extra)
            after += extra


@njit(cache=True, nogil=True)
def activation_slopes(flat, lay, p, phi, d, d2):
    """phi, its slope d = dphi/dp and d2 = dphi/dh2 (the same but for the clipped phi), for n rows; h2 is added to p where phi needs p alone no more."""
    n, H = p.shape
    zero, one = p.dtype.type(0), p.dtype.type(1)
    if lay.phi == CLIPPED:
        h2 = flat[lay.h2 : lay.h2 + H]
        for r in range(n):
            for h in range(H):
                x = p[r, h]
                v = x + h2[h]
                phi[r, h] = max(v, zero) - max(x, zero)
                d2[r, h] = one if v > zero else zero
                d[r, h] = d2[r, h] - (one if x > zero else zero)
        return
    activate(flat, lay, p, phi)
    if lay.phi == RELU:
        for r in range(n):
            for h in range(H):
                d[r, h] = one if p[r, h] > zero else zero
    elif lay.phi == TANH:
        for r in range(n):
            for h in range(H):
                d[r, h] = one - phi[r, h] * phi[r, h]
    elif lay.phi == IDENTITY:
        d[:] = one
    else:
        slope = flat[lay.slope : lay.slope + lay.n_bases]
        threshold = matrix(flat, lay.threshold, H, lay.n_bases)
        for r in range(n):
            for h in range(H):
                v = p[r, h]
                base = one if (lay.phi == CLIPPED_BASIS and v > zero) else zero
                total = zero
                for b in range(lay.n_bases):
                    total += slope[b] * ((one if v > threshold[h, b] else zero) - base)
                d[r, h] = total


@njit(cache=True, nogil=True)
def basis_gradient(flat, lay, v, q, grad):
    """Add the gradients of slopes and thresholds, where q = dL/dphi."""
    n, H = v.shape
    zero = v.dtype.type(0)
    slope = flat[lay.slope : lay.slope + lay.n_bases]
    threshold = matrix(flat, lay.threshold, H, lay.n_bases)
    gslope = grad[lay.slope : lay.slope + lay.n_bases]
    gthreshold = matrix(grad, lay.threshold, H, lay.n_bases)
    for r in range(n):
        for h in range(H):
            x, g = v[r, h], q[r, h]
            base = max(x, zero) if lay.phi == CLIPPED_BASIS else zero
            for b in range(lay.n_bases):
                over = x - threshold[h, b]
                gslope[b] += g * (max(over, zero) - base)
                if over > zero:
                    gthreshold[h, b] -= g * slope[b]


@njit(cache=True, nogil=True)
def steps_per_block(rows, hidden):
    """Steps whose hidden activations are held at once in the reverse pass: about 64k numbers, so that they stay in the cache."""
    return max(1, min(64, 65536 // (rows * hidden)))


@njit(cache=True, nogil=True)
def add_product(left, right, scratch, offset, grad):
    """grad[offset:] += (left' right), row by row."""
    rows, columns = left.shape[1], right.shape[1]
    product = scratch[: rows * columns].reshape((rows, columns))
    np.dot(left.T, right, product)
    grad[offset : offset + rows * columns] += scratch[: rows * columns]


@njit(cache=True, nogil=True)
def add_columns(rows, offset, grad):
    """grad[offset:] += sum over rows."""
    for r in range(rows.shape[0]):
        for m in range(rows.shape[1]):
            grad[offset + m] += rows[r, m]


@njit(cache=True, nogil=True)
def chunk_backward(flat, lay, zt, weight, gz, u, lam, gforced, keep_gforced, gu, hidden, scratch, grad):
    """Reverse pass of ``chunk_forward``; adds to ``grad`` (flat, like the map), leaves dL/dz[0] in ``lam``.

    gz [T, R, M] comes in as dL/dz[1..T] of the loss alone and leaves as the total adjoint. gforced [T, R, M] gets dL/dzt where
    ``keep_gforced``; gu [T, R, K] gets dL/du where K > 0. hidden [5, n, H] holds the block's hidden activations; no hidden-sized array spans all of time.
    """
    T, R, M = zt.shape
    H, K = lay.H, lay.K
    a = flat[lay.a : lay.a + M]
    W1 = matrix(flat, lay.W1, M, H)
    one = zt.dtype.type(1)
    block = steps_per_block(R, H)
    extra = scratch[: R * M].reshape((R, M))
    lam[:] = 0
    last = T
    while last > 0:
        first = max(0, last - block)
        n = (last - first) * R
        p, phi, d, d2, q = hidden[0, :n], hidden[1, :n], hidden[2, :n], hidden[3, :n], hidden[4, :n]
        states = zt[first:last].reshape((n, M))
        inputs = u[first:last].reshape((n, K))
        hidden_drive(flat, lay, states, inputs, p, q)
        activation_slopes(flat, lay, p, phi, d, d2)
        for t in range(last - 1, first - 1, -1):
            g = gz[t]
            if t + 1 < T:
                for r in range(R):
                    for m in range(M):
                        g[r, m] += (one - weight[t + 1, r, m]) * lam[r, m]
            k = (t - first) * R
            qt = q[k : k + R]
            np.dot(g, W1, qt)                                                  # dL/dphi; slopes are applied below, phi's own parameters want it bare
            dt = p[k : k + R]
            if lay.phi < BASIS or lay.phi > CLIPPED_BASIS:
                for r in range(R):                                             # p is free here: it takes dL/dp
                    for h in range(H):
                        dt[r, h] = qt[r, h] * d[k + r, h]
            else:
                basis_gradient(flat, lay, dt, qt, grad)
                for r in range(R):
                    for h in range(H):
                        dt[r, h] = qt[r, h] * d[k + r, h]
            if lay.w2 == W2_DENSE:
                np.dot(dt, matrix(flat, lay.W2, H, M), lam)
            elif lay.w2 == W2_CENTRING:
                for r in range(R):
                    total = zt.dtype.type(0)
                    for h in range(H):
                        total += dt[r, h]
                    total /= zt.dtype.type(M)
                    for m in range(M):
                        lam[r, m] = dt[r, m] - total
            else:
                lam[:] = 0
                for r in range(R):
                    for h in range(H):
                        lam[r, M - H + h] = dt[r, h]
            for r in range(R):
                for m in range(M):
                    lam[r, m] += a[m] * g[r, m]
            if lay.A >= 0:
                np.dot(g, matrix(flat, lay.A, M, M), extra)
                lam += extra
            if keep_gforced:
                gforced[t] = lam
        adjoints = gz[first:last].reshape((n, M))
        add_product(adjoints, phi, scratch, lay.W1, grad)
        add_columns(adjoints, lay.h1, grad)
        for r in range(n):
            for m in range(M):
                grad[lay.a + m] += adjoints[r, m] * states[r, m]
        if lay.A >= 0:
            add_product(adjoints, states, scratch, lay.A, grad)
        if lay.w2 == W2_DENSE:
            add_product(p, states, scratch, lay.W2, grad)
        if lay.h2 >= 0:
            if lay.phi == CLIPPED:
                for r in range(n):
                    for h in range(H):
                        grad[lay.h2 + h] += q[r, h] * d2[r, h]
            else:
                add_columns(p, lay.h2, grad)
        if lay.C >= 0:
            add_product(adjoints, inputs, scratch, lay.C, grad)
        if lay.D >= 0:
            add_product(p, inputs, scratch, lay.D, grad)
        if K > 0:
            gu_block = gu[first:last].reshape((n, K))
            gu_block[:] = 0
            more = scratch[: n * K].reshape((n, K))
            if lay.C >= 0:
                np.dot(adjoints, matrix(flat, lay.C, M, K), gu_block)
            if lay.D >= 0:
                np.dot(p, matrix(flat, lay.D, H, K), more)
                gu_block += more
        last = first
    for r in range(R):
        for m in range(M):
            lam[r, m] *= one - weight[0, r, m]


@njit(cache=True, nogil=True)
def scratch_size(lay, rows):
    """Numbers that ``chunk_backward`` wants of scratch: the largest of its products."""
    block = steps_per_block(rows, lay.H) * rows
    return max(lay.M * lay.H, lay.M * lay.M, rows * lay.M, (lay.M + lay.H) * lay.K, block * lay.K)


@njit(cache=True, nogil=True)
def time_major(source, row, n_rows, into):
    """into[t, r] = source[row + r, t]."""
    for t in range(into.shape[0]):
        for r in range(n_rows):
            for m in range(into.shape[2]):
                into[t, r, m] = source[row + r, t, m]


@njit(cache=True, nogil=True, parallel=True)
def forward(flat, lay, z0, target, weight, u, out):
    """All fits: z0 [F, B, M], target and weight [F, B, T, M] (any strides), u [F, B, T, K], out [F, B, T, M]."""
    F, B, T, M = out.shape
    per_fit = (B + ROWS - 1) // ROWS
    for item in prange(F * per_fit):
        f, first = item // per_fit, (item % per_fit) * ROWS
        R = min(ROWS, B - first)
        kind = out.dtype
        z, zt = np.empty((T + 1, R, M), kind), np.empty((T, R, M), kind)
        tm_target, tm_weight, tm_u = np.empty((T, R, M), kind), np.empty((T, R, M), kind), np.empty((T, R, lay.K), kind)
        time_major(target[f], first, R, tm_target)
        time_major(weight[f], first, R, tm_weight)
        time_major(u[f], first, R, tm_u)
        for r in range(R):
            for m in range(M):
                z[0, r, m] = z0[f, first + r, m]
        hidden = np.empty((3, R, lay.H), kind)
        chunk_forward(flat[f], lay, z, zt, tm_target, tm_weight, tm_u, hidden[0], hidden[1], hidden[2], np.empty((R, M), kind))
        for r in range(R):
            for t in range(T):
                for m in range(M):
                    out[f, first + r, t, m] = z[t + 1, r, m]


@njit(cache=True, nogil=True, parallel=True)
def backward(flat, lay, z0, target, weight, u, out, gout, gz0, gtarget, gu, grad):
    """Reverse of ``forward``: fills gz0 [F, B, M], gtarget [F, B, T, M], gu [F, B, T, K] and grad [F, size]."""
    F, B, T, M = out.shape
    per_fit = (B + ROWS - 1) // ROWS
    partial = np.zeros((F * per_fit, lay.size), out.dtype)
    for item in prange(F * per_fit):
        f, first = item // per_fit, (item % per_fit) * ROWS
        R = min(ROWS, B - first)
        kind = out.dtype
        zt, gz, gforced = np.empty((T, R, M), kind), np.empty((T, R, M), kind), np.empty((T, R, M), kind)
        tm_weight, tm_u, tm_gu = np.empty((T, R, M), kind), np.empty((T, R, lay.K), kind), np.empty((T, R, lay.K), kind)
        time_major(weight[f], first, R, tm_weight)
        time_major(u[f], first, R, tm_u)
        time_major(gout[f], first, R, gz)
        for t in range(T):
            for r in range(R):
                for m in range(M):
                    now = z0[f, first + r, m] if t == 0 else out[f, first + r, t - 1, m]
                    w = tm_weight[t, r, m]
                    zt[t, r, m] = now + w * (target[f, first + r, t, m] - now) if w != 0 else now
        lam = np.empty((R, M), kind)
        hidden = np.empty((5, steps_per_block(R, lay.H) * R, lay.H), kind)
        chunk_backward(flat[f], lay, zt, tm_weight, gz, tm_u, lam, gforced, True, tm_gu, hidden, np.empty(scratch_size(lay, R), kind), partial[item])
        for r in range(R):
            for m in range(M):
                gz0[f, first + r, m] = lam[r, m]
            for t in range(T):
                for m in range(M):
                    gtarget[f, first + r, t, m] = gforced[t, r, m] * tm_weight[t, r, m]
                for k in range(lay.K):
                    gu[f, first + r, t, k] = tm_gu[t, r, k]
    for f in range(F):
        for c in range(per_fit):
            grad[f] += partial[f * per_fit + c]


def thread_count() -> int:
    """Threads that the parallel loops will use."""
    return get_num_threads()


__all__ = [
    "ROWS", "backward", "chunk_backward", "chunk_forward", "forward", "get_thread_id", "scratch_size", "steps_per_block", "thread_count",
]
