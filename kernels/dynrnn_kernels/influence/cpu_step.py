"""One step of an additive map with the influence of its numbers on its state, compiled.

    S' = J S + E,    J = A + W1 diag(phi') W2 at the forced state,    E = what a number changes in this step alone

S [M, Q] has a column for every number of the flat vector, and may have more behind them, with E = 0: those of the state that the sequence began with.
O(M^2 Q): a column never needs another one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS

RELU, CLIPPED, BASIS, CLIPPED_BASIS, TANH, _ = range(len(PHI_KINDS))
DENSE, CENTRING = W2_KINDS.index("dense"), W2_KINDS.index("centring")
FULL, DIAGONAL, LEAK = 0, 1, 2      # of J, what carries influence on: all, its diagonal, or a and the diagonal of A alone
BY_BLAS = 8                         # states from which on a library's matrix product is faster than rows added up here


@njit(cache=True, nogil=True, error_model="numpy")
def units(lay, flat, z, u, p, phi, d, d_bias):
    """Of every hidden unit [H]: what enters it, its output, and the slopes of that by what enters and by h2."""
    M, H, K = lay.M, lay.H, lay.K
    mean = z.mean() if lay.w2 == CENTRING else 0.0
    for h in range(H):
        total = flat[lay.h2 + h] if lay.h2 >= 0 else 0.0
        if lay.w2 == DENSE:
            for m in range(M):
                total += flat[lay.W2 + h * M + m] * z[m]
        else:
            total += z[M - H + h] - mean
        if lay.D >= 0:
            for k in range(K):
                total += flat[lay.D + h * K + k] * u[k]
        p[h] = total
    for h in range(H):
        x, on = p[h], 1.0 if p[h] > 0 else 0.0
        if lay.phi == RELU:
            phi[h], d[h], d_bias[h] = x * on, on, on
        elif lay.phi == CLIPPED:
            without = x - flat[lay.h2 + h]
            also = 1.0 if without > 0 else 0.0
            phi[h], d[h], d_bias[h] = x * on - without * also, on - also, on
        elif lay.phi == TANH:
            phi[h] = np.tanh(x)
            d[h] = 1 - phi[h] * phi[h]
            d_bias[h] = d[h]
        elif lay.phi == BASIS or lay.phi == CLIPPED_BASIS:
            phi[h], d[h] = 0.0, 0.0
            for n in range(lay.n_bases):
                slope, beyond = flat[lay.slope + n], x - flat[lay.threshold + h * lay.n_bases + n]
                if beyond > 0:
                    phi[h] += slope * beyond
                    d[h] += slope
                if lay.phi == CLIPPED_BASIS and x > 0:
                    phi[h] -= slope * x
                    d[h] -= slope
            d_bias[h] = d[h]
        else:
            phi[h], d[h], d_bias[h] = x, 1.0, 1.0
        if x != x:
            phi[h] = x                                                          # NaN stays


@njit(cache=True, nogil=True)
def state_after(lay, flat, z, u, phi, after):
    """The next state [M]."""
    M, H, K = lay.M, lay.H, lay.K
    for m in range(M):
        total = flat[lay.a + m] * z[m] + flat[lay.h1 + m]
        for h in range(H):
            total += flat[lay.W1 + m * H + h] * phi[h]
        if lay.A >= 0:
            for n in range(M):
                total += flat[lay.A + m * M + n] * z[n]
        if lay.C >= 0:
            for k in range(K):
                total += flat[lay.C + m * K + k] * u[k]
        after[m] = total


@njit(cache=True, nogil=True)
def carrying(lay, flat, d, kept, how, J):
    """J [M, M] times what forcing kept of each state, kept [M]; or the part of it that ``how`` carries influence on by."""
    M, H = lay.M, lay.H
    J[:] = 0
    for m in range(M):
        J[m, m] = flat[lay.a + m]
        if lay.A >= 0:
            for n in range(M):
                J[m, n] += flat[lay.A + m * M + n]
        if how == LEAK:
            continue
        share = 0.0
        for h in range(H):
            weight = flat[lay.W1 + m * H + h] * d[h]
            if lay.w2 == DENSE:
                for n in range(M):
                    J[m, n] += weight * flat[lay.W2 + h * M + n]
            else:
                J[m, M - H + h] += weight
                share += weight
        if lay.w2 == CENTRING:
            for n in range(M):
                J[m, n] -= share / M
    for m in range(M):
        for n in range(M):
            J[m, n] = J[m, n] * kept[n] if how == FULL or m == n else 0.0


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
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


@njit(cache=True, nogil=True)
def add_immediate(lay, flat, z, u, p, phi, d, d_bias, S):
    """S += E: each number's effect within this step."""
    M, H, K, n_bases = lay.M, lay.H, lay.K, lay.n_bases
    for m in range(M):
        row = S[m]
        row[lay.a + m] += z[m]
        row[lay.h1 + m] += 1
        for h in range(H):
            row[lay.W1 + m * H + h] += phi[h]
        if lay.A >= 0:
            for n in range(M):
                row[lay.A + m * M + n] += z[n]
        if lay.C >= 0:
            for k in range(K):
                row[lay.C + m * K + k] += u[k]
        for h in range(H):
            out = flat[lay.W1 + m * H + h]
            weight = out * d[h]
            if lay.h2 >= 0:
                row[lay.h2 + h] += out * d_bias[h]
            if lay.W2 >= 0:
                for n in range(M):
                    row[lay.W2 + h * M + n] += weight * z[n]
            if lay.D >= 0:
                for k in range(K):
                    row[lay.D + h * K + k] += weight * u[k]
            for n in range(n_bases):
                beyond, above = p[h] - flat[lay.threshold + h * n_bases + n], max(p[h], 0.0) if lay.phi == CLIPPED_BASIS else 0.0
                row[lay.slope + n] += out * (max(beyond, 0.0) - above)
                if beyond > 0:
                    row[lay.threshold + h * n_bases + n] -= out * flat[lay.slope + n]


@njit(cache=True, nogil=True)
def influence_step(lay, flat, z, kept, u, how, scratch, J, S, spare, after):
    """From the forced state z [M], of which forcing kept the share ``kept`` [M]: the next state into ``after``, S's successor into ``spare``.

    scratch [4, H]. Callers swap S and spare.
    """
    p, phi, d, d_bias = scratch[0], scratch[1], scratch[2], scratch[3]
    units(lay, flat, z, u, p, phi, d, d_bias)
    state_after(lay, flat, z, u, phi, after)
    carrying(lay, flat, d, kept, how, J)
    multiplied(J, S, spare)
    add_immediate(lay, flat, z, u, p, phi, d, d_bias, spare)
