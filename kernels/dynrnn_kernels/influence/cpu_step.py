"""One step of an additive map with the influence of its numbers on its state, compiled.

    S' = J S + E,    J = A + W1 diag(phi') W2 at the forced state,    E = what a number changes in this step alone

S [M, Q] has the columns that ``cols`` (a Columns) says, and may have more behind them, with E = 0: those of the state that the sequence began with.
O(M^2 Q): a column never needs another one. W2, D and threshold lie turned (``turned``), so that all long loops go along the hidden units.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS
from dynrnn_kernels.elementwise import tanh_in_place

RELU, CLIPPED, BASIS, CLIPPED_BASIS, TANH, _ = range(len(PHI_KINDS))
DENSE, CENTRING = W2_KINDS.index("dense"), W2_KINDS.index("centring")
FULL, DIAGONAL, LEAK = 0, 1, 2      # of J, what carries influence on: all, its diagonal, or a and the diagonal of A alone
BY_BLAS = 8                         # states from which on a library's matrix product is faster than rows added up here


def turned(lay: Layout) -> np.ndarray:
    """Which number of the flat vector lies at each place here, [size]."""
    order = np.arange(lay.size)
    for start, width in ((lay.W2, lay.M), (lay.D, lay.K), (lay.threshold, lay.n_bases)):
        if start >= 0:
            n = lay.H * width
            order[start : start + n] = start + np.arange(n).reshape(lay.H, width).T.ravel()
    return order


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def units(lay, flat, z, u, p, phi, d, d_bias):
    """Of every hidden unit [H]: what enters it, its output, and the slopes of that by what enters and by h2."""
    M, H, K = lay.M, lay.H, lay.K
    for h in range(H):
        p[h] = flat[lay.h2 + h] if lay.h2 >= 0 else 0.0
    if lay.w2 == DENSE:
        for m in range(M):
            x, row = z[m], flat[lay.W2 + m * H : lay.W2 + (m + 1) * H]
            for h in range(H):
                p[h] += row[h] * x
    else:
        mean = z.mean() if lay.w2 == CENTRING else 0.0
        for h in range(H):
            p[h] += z[M - H + h] - mean
    if lay.D >= 0:
        for k in range(K):
            x, row = u[k], flat[lay.D + k * H : lay.D + (k + 1) * H]
            for h in range(H):
                p[h] += row[h] * x
    if lay.phi == RELU:
        for h in range(H):
            on = 1.0 if p[h] > 0 else 0.0
            phi[h], d[h], d_bias[h] = p[h] * on, on, on
    elif lay.phi == CLIPPED:
        bias = flat[lay.h2 : lay.h2 + H]
        for h in range(H):
            without = p[h] - bias[h]
            on, also = 1.0 if p[h] > 0 else 0.0, 1.0 if without > 0 else 0.0
            phi[h], d[h], d_bias[h] = p[h] * on - without * also, on - also, on
    elif lay.phi == TANH:
        phi[:] = p
        tanh_in_place(phi)
        for h in range(H):
            d[h] = 1 - phi[h] * phi[h]
            d_bias[h] = d[h]
    elif lay.phi == BASIS or lay.phi == CLIPPED_BASIS:
        phi[:], d[:] = 0, 0
        for n in range(lay.n_bases):
            slope, edge = flat[lay.slope + n], flat[lay.threshold + n * H : lay.threshold + (n + 1) * H]
            for h in range(H):
                on = 1.0 if p[h] > edge[h] else 0.0
                also = 1.0 if lay.phi == CLIPPED_BASIS and p[h] > 0 else 0.0
                phi[h] += slope * ((p[h] - edge[h]) * on - p[h] * also)
                d[h] += slope * (on - also)
        d_bias[:] = d
    else:
        phi[:], d[:], d_bias[:] = p, 1, 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def state_after(lay, flat, z, u, phi, after):
    """The next state [M]."""
    M, H, K = lay.M, lay.H, lay.K
    for m in range(M):
        total, row = 0.0, flat[lay.W1 + m * H : lay.W1 + (m + 1) * H]
        for h in range(H):
            total += row[h] * phi[h]
        total += flat[lay.a + m] * z[m] + flat[lay.h1 + m]
        if lay.A >= 0:
            for n in range(M):
                total += flat[lay.A + m * M + n] * z[n]
        if lay.C >= 0:
            for k in range(K):
                total += flat[lay.C + m * K + k] * u[k]
        after[m] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def carrying(lay, cols, flat, d, kept, how, weight, J):
    """J [M, M] times what forcing kept of each state, kept [M]; or the part of it that ``how`` carries influence on by. weight [H] is scratch."""
    M, H = lay.M, lay.H
    for m in range(M):
        for n in range(M):
            J[m, n] = flat[lay.A + m * M + n] if lay.A >= 0 else 0.0
        J[m, m] += flat[lay.a + m]
        if how == LEAK:
            continue
        if cols.own and lay.w2 == DENSE:
            x = flat[lay.W1 + m * H + m] * d[m]
            for n in range(M):
                J[m, n] += x * flat[lay.W2 + n * H + m]
            continue
        row, share = flat[lay.W1 + m * H : lay.W1 + (m + 1) * H], 0.0
        for h in range(H):
            weight[h] = row[h] * d[h]
            share += weight[h]
        if lay.w2 == DENSE:
            for n in range(M):
                total, into = 0.0, flat[lay.W2 + n * H : lay.W2 + (n + 1) * H]
                for h in range(H):
                    total += weight[h] * into[h]
                J[m, n] += total
        else:
            for h in range(H):
                J[m, M - H + h] += weight[h]
        if lay.w2 == CENTRING:
            for n in range(M):
                J[m, n] -= share / M
    for m in range(M):
        for n in range(M):
            J[m, n] = J[m, n] * kept[n] if how == FULL or m == n else 0.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def multiplied(J, S, out):
    """out = J S."""
    M, Q = S.shape
    if M >= BY_BLAS:
        np.dot(J, S, out)
        return
    for m in range(M):
        row = out[m]
        first = J[m, 0]
        for q in range(Q):
            row[q] = first * S[0, q]
        for n in range(1, M):
            x = J[m, n]
            for q in range(Q):
                row[q] += x * S[n, q]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def add_immediate(lay, cols, flat, z, u, p, phi, d, d_bias, weight, S):
    """S += E: each number's effect within this step. weight [H] is scratch."""
    M, H, K = lay.M, lay.H, lay.K
    for m in range(M):
        row, out = S[m], flat[lay.W1 + m * H : lay.W1 + (m + 1) * H]
        if cols.a >= 0:
            row[cols.a + m] += z[m]
        if cols.h1 >= 0:
            row[cols.h1 + m] += 1
        if cols.W1 >= 0:
            own = row[cols.W1 + m * H : cols.W1 + (m + 1) * H]
            for h in range(H):
                own[h] += phi[h]
        if cols.A >= 0:
            for n in range(M):
                row[cols.A + m * M + n] += z[n]
        if cols.C >= 0:
            for k in range(K):
                row[cols.C + m * K + k] += u[k]
        first, end = (m, m + 1) if cols.own else (0, H)                         # of the hidden units that act on this state
        for h in range(first, end):
            weight[h] = out[h] * d[h]
        if cols.h2 >= 0:
            for h in range(first, end):
                row[cols.h2 + h] += out[h] * d_bias[h]
        if cols.W2 >= 0:
            for n in range(M):
                own, x = row[cols.W2 + n * H : cols.W2 + (n + 1) * H], z[n]
                for h in range(first, end):
                    own[h] += weight[h] * x
        if cols.D >= 0:
            for k in range(K):
                own, x = row[cols.D + k * H : cols.D + (k + 1) * H], u[k]
                for h in range(first, end):
                    own[h] += weight[h] * x
        for n in range(lay.n_bases):
            edge, slope = flat[lay.threshold + n * H : lay.threshold + (n + 1) * H], flat[lay.slope + n]
            for h in range(first, end):
                above = max(p[h], 0.0) if lay.phi == CLIPPED_BASIS else 0.0
                if cols.slope >= 0:
                    row[cols.slope + n] += out[h] * (max(p[h] - edge[h], 0.0) - above)
                if cols.threshold >= 0 and p[h] > edge[h]:
                    row[cols.threshold + n * H + h] -= out[h] * slope


@njit(cache=True, nogil=True, error_model="numpy")
def influence_step(lay, cols, flat, z, kept, u, how, scratch, J, S, spare, after):
    """From the forced state z [M], of which forcing kept the share ``kept`` [M]: the next state into ``after``, S's successor into ``spare``.

    flat [size] is turned; scratch [5, H]. Callers swap S and spare.
    """
    p, phi, d, d_bias, weight = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    units(lay, flat, z, u, p, phi, d, d_bias)
    state_after(lay, flat, z, u, phi, after)
    carrying(lay, cols, flat, d, kept, how, weight, J)
    multiplied(J, S, spare)
    add_immediate(lay, cols, flat, z, u, p, phi, d, d_bias, weight, spare)
