"""Tangent vectors carried along orbits of the additive recurrence on a CPU, for ROWS states of one fit at once.

    z' = f(z),    q_j' = A q_j + W1 diag(phi'(v)) W2 q_j,    j = 1..k

Cost O(k M H) a state and step, as cheap as k + 1 steps of the map; every ``interval`` steps O(k^2 M) more for the frame. J is not formed, except where that is
cheaper: with few units and most of the exponents it is one product of phi'(v) with the table of W1[m, h] W2[h, n], M^2 H instead of 2 k M H.
Beside the results a thread holds 2 k M + O(H) vectors, and the table.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import W2_CENTRING, W2_DENSE, activate, add_scaled, add_to, basis_of, matrix, spread, unit_slopes
from dynrnn_kernels.additive.cpu_frames import orthonormalise, put_away
from dynrnn_kernels.additive.cpu_matrices import multiply, stored
from dynrnn_kernels.additive.cpu_norms import dense_A, in_threads, lanes, written_W2
from dynrnn_kernels.additive.cpu_steps import OF_A, OF_W1, OF_W2, hidden_drive
from dynrnn_kernels.additive.lanes import dots
from dynrnn_kernels.additive.pattern import DENSE, UNROLLED
from dynrnn_kernels.additive.tile import ROWS, product

TABLE = 8_192       # numbers of the table at most, which should stay in the cache next to the core


@njit(cache=True, nogil=True)
def table_of_pairs(flat, lay, W1, W2, k):
    """W1[m, h] W2[h, n] as [M * M, H], so that a product with phi' gives J without its constant part; empty where vectors go through W2 and W1 instead."""
    M, H = lay.M, lay.H
    whole = (lay.w2 == W2_DENSE or lay.w2 == W2_CENTRING) and M < 2 * k and M * M * H <= TABLE
    for form in (W1.form, W2.form):
        whole &= form == DENSE
    if lay.A >= 0:
        whole &= stored(flat, lay.A, lay.pattern, OF_A).form == DENSE
    if not whole:
        return np.empty((0, H), flat.dtype)
    out, V = np.empty((M * M, H), flat.dtype), written_W2(flat, lay)
    for m in range(M):
        for n in range(M):
            for h in range(H):
                out[m * M + n, h] = W1.values[m, h] * V[h, n]
    return out


@njit(cache=True, nogil=True)
def move_frame(Q, J, k, M, out):
    """out [k * M, ROWS] = J q of every vector, J [M * M, ROWS]."""
    for j in range(k):
        dots(J, 0, M, 1, Q, j * M, M, out, j * M, M)


@njit(cache=True, nogil=True, error_model="numpy")
def renew_pair(z, other, Q, distance, growth):
    """growth [ROWS] *= how far the orbit beside has gone, in distances; it comes back to one distance. Two orbits that met go on apart, along q_1."""
    for r in range(ROWS):
        square = z.dtype.type(0)
        for m in range(z.shape[0]):
            square += (other[m, r] - z[m, r]) ** 2
        apart = np.sqrt(square)
        back, along = distance / apart, z.dtype.type(0)
        if apart == 0:
            back, along = z.dtype.type(0), distance
        growth[r] *= apart / distance
        for m in range(z.shape[0]):
            other[m, r] = z[m, r] + (back * (other[m, r] - z[m, r]) + along * Q[m, r])


@njit(cache=True, nogil=True)
def tangent_chunk(f, first, flat, lay, z_all, Q_all, pair_all, u, interval, distance, log_r, log_pair, widest, failed, path):
    """``tangent_of_thread`` for ROWS segments of one fit, from ``first`` on; lanes past the last repeat the first."""
    M, H, K = lay.M, lay.H, lay.K
    S, k, n_steps = z_all.shape[1], Q_all.shape[2], u.shape[2]
    n, pairs = min(ROWS, S - first), pair_all.shape[1] > 0
    W1, W2, A = stored(flat, lay.W1, lay.pattern, OF_W1), stored(flat, lay.W2, lay.pattern, OF_W2), stored(flat, lay.A, lay.pattern, OF_A)
    C, D = matrix(flat, lay.C, M, K), matrix(flat, lay.D, H, K)
    slope, threshold = basis_of(flat, lay)
    table = table_of_pairs(flat, lay, W1, W2, k)
    formed = table.shape[0] > 0
    J, constant = lanes(table.shape[0], flat), lanes(table.shape[0], flat)
    if formed:
        spread(dense_A(flat, lay), constant)
    states = 2 if pairs else 1                                                  # vectors that are moved: the orbit, the one beside it, the frame
    X, Y = lanes((states + k) * M, flat), lanes((states + k) * M, flat)
    extra, a, h1, zero = lanes(M, flat), lanes(M, flat), lanes(M, flat), lanes(M, flat)
    p, phi, d, h2, drive = lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(K, flat)
    work, logs, growth = lanes(k + 5, flat), lanes(k + 1, flat), lanes(k + 1, flat)    # the last row is the pair's
    ring = np.empty(lay.pattern[UNROLLED] * ROWS, flat.dtype)
    ratio = np.ones(ROWS, flat.dtype)
    spread(flat[lay.a : lay.a + M], a)
    spread(flat[lay.h1 : lay.h1 + M], h1)
    h2[:] = 0
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + H], h2)
    zero[:], logs[:], growth[:] = 0, 0, 1
    for r in range(ROWS):
        row = first + r if r < n else first
        for m in range(M):
            X[m, r] = z_all[f, row, m]
            if pairs:
                X[M + m, r] = pair_all[f, row, m]
            for j in range(k):
                X[(states + j) * M + m, r] = Q_all[f, row, j, m]
    wide, narrow = H * ROWS, M * ROWS
    p1, phi1, d1, h21, X1, Y1 = p.reshape(wide), phi.reshape(wide), d.reshape(wide), h2.reshape(wide), X.reshape(X.size), Y.reshape(Y.size)
    a1, h11, zero1, extra1, J1, constant1 = (
        a.reshape(narrow), h1.reshape(narrow), zero.reshape(narrow), extra.reshape(narrow), J.reshape(J.size), constant.reshape(J.size),
    )
    u_fit, since = min(f, u.shape[0] - 1), 0
    for t in range(n_steps):
        for r in range(ROWS):
            row = min(first + r if r < n else first, u.shape[1] - 1)
            for i in range(K):
                drive[i, r] = u[u_fit, row, t, i]
        if path.shape[1] > 0 and first == 0:
            for m in range(M):
                path[f, t, m] = X[m, 0]
        for i in range(states if formed else states + k):
            now, after = X[i * M : (i + 1) * M], Y[i * M : (i + 1) * M]
            now1, after1, moves = X1[i * narrow : (i + 1) * narrow], Y1[i * narrow : (i + 1) * narrow], i < states
            hidden_drive(lay.w2, W2, D, now, drive if moves else drive[:0], ring, p)
            if moves:
                activate(lay.phi, slope, threshold, p1, h21, phi1)
                if i == 0:
                    unit_slopes(lay.phi, slope, threshold, p1, h21, phi1, d1)
            else:
                for h in range(wide):
                    phi1[h] = p1[h] * d1[h]
            multiply(W1, phi, ring, after)
            add_scaled(a1, now1, h11 if moves else zero1, after1)
            if lay.A >= 0:
                multiply(A, now, ring, extra)
                add_to(extra1, after1)
            if lay.C >= 0 and moves:
                product(C, drive, extra)
                add_to(extra1, after1)
        if formed:
            product(table, d, J)
            add_to(constant1, J1)
            move_frame(X[states * M :], J, k, M, Y[states * M :])
        X, Y, X1, Y1 = Y, X, Y1, X1
        since += 1
        if since < interval and t < n_steps - 1:
            continue
        since = 0
        orthonormalise(X[states * M :], k, M, work, growth, logs, ratio)
        for r in range(n):
            finite = True
            for m in range(M):
                finite &= np.isfinite(X[m, r])
            if not finite and failed[f, first + r] < 0:
                failed[f, first + r] = t
        if pairs:
            renew_pair(X[:M], X[M : 2 * M], X[2 * M : 3 * M], distance, growth[k])
            put_away(growth, logs, k)
    for r in range(n):
        row = first + r
        for m in range(M):
            z_all[f, row, m] = X[m, r]
            if pairs:
                pair_all[f, row, m] = X[M + m, r]
            for j in range(k):
                Q_all[f, row, j, m] = X[(states + j) * M + m, r]
        for j in range(k):
            log_r[f, row, j] += logs[j, r] + np.log(growth[j, r])
        widest[f, row] = max(widest[f, row], np.log(ratio[r]))
        if pairs:
            log_pair[f, row] += logs[k, r] + np.log(growth[k, r])


@njit(cache=True, nogil=True)
def tangent_of_thread(thread, n_threads, flats, lay, z, Q, pair, u, interval, distance, log_r, log_pair, widest, failed, path):
    """Every n_threads-th chunk of segments; ``tangent.carry`` says what the arrays are."""
    per_fit = (z.shape[1] + ROWS - 1) // ROWS
    for item in range(thread, z.shape[0] * per_fit, n_threads):
        f = item // per_fit
        tangent_chunk(f, item % per_fit * ROWS, flats[f], lay, z, Q, pair, u, interval[f], distance[f], log_r, log_pair, widest, failed, path)


def carry(flats, lay, z, Q, pair, u, interval, distance, log_r, log_pair, widest, failed, path):
    """All fits and segments on threads; arrays are C-contiguous and of one dtype."""
    in_threads(tangent_of_thread, z.shape[0] * -(-z.shape[1] // ROWS), flats, lay, z, Q, pair, u, interval, distance, log_r, log_pair, widest, failed, path)
