"""Tangent vectors carried along orbits of the additive recurrence on a CPU, for ROWS states of one fit at once.

    z' = f(z),    q_j' = A q_j + W1 diag(phi'(v)) W2 q_j,    j = 1..k

Cost O(k M H) a state and step, as cheap as k + 1 steps of the map; every ``interval`` steps O(k^2 M) more for the frame. J is not formed, except where that is
cheaper, with most of the exponents: with few units as one product of phi'(v) with the table of W1[m, h] W2[h, n], M^2 H instead of 2 k M H; with many as
the product of the columns of W1 and the rows of W2 whose slope is not zero, a part of the units where phi is made of pieces.
Beside the results a thread holds 2 k M + O(H) vectors, and the table or O(M H + M^2) numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import CLIPPED, RELU, W2_CENTRING, W2_DENSE, activate, add_scaled, add_to, basis_of, matrix, spread, unit_slopes
from dynrnn_kernels.additive.cpu_matrices import multiply, stored
from dynrnn_kernels.additive.cpu_norms import dense_A, lanes, written_W2
from dynrnn_kernels.additive.cpu_segments import end_interval, give_segments, take_drive, take_segments
from dynrnn_kernels.additive.cpu_steps import OF_A, OF_W1, OF_W2, hidden_drive
from dynrnn_kernels.additive.cpu_units import by_coordinate, by_lane, move_by_units, units_scratch
from dynrnn_kernels.additive.lanes import dots
from dynrnn_kernels.additive.pattern import DENSE, UNROLLED
from dynrnn_kernels.additive.tile import ROWS, product
from dynrnn_kernels.threads import in_threads

TABLE = 8_192       # numbers of the table at most, which should stay in the cache next to the core
BY_VECTORS, BY_TABLE, BY_UNITS = range(3)


@njit(cache=True, nogil=True)
def route_of(flat, lay, W1, W2, k):
    """Which of the three ways to move the frame is cheapest, by the map's form and sizes and by k alone."""
    dense = (lay.w2 == W2_DENSE or lay.w2 == W2_CENTRING) and W1.form == DENSE and W2.form == DENSE
    if lay.A >= 0:
        dense &= stored(flat, lay.A, lay.pattern, OF_A).form == DENSE
    if dense and lay.M < 2 * k and lay.M * lay.M * lay.H <= TABLE:
        return BY_TABLE
    worth = lay.M < 2 * k or lay.phi == RELU or lay.phi == CLIPPED
    return BY_UNITS if dense and worth and k >= ROWS else BY_VECTORS


@njit(cache=True, nogil=True)
def table_of_pairs(W1, W2):
    """W1[m, h] W2[h, n] as [M * M, H], so that a product with phi' gives J without its constant part."""
    M, H = W1.shape
    out = np.empty((M * M, H), W1.dtype)
    for m in range(M):
        for n in range(M):
            for h in range(H):
                out[m * M + n, h] = W1[m, h] * W2[h, n]
    return out


@njit(cache=True, nogil=True)
def move_by_jacobian(Q, J, k, M, out):
    """out [k * M, ROWS] = J q of every vector, J [M * M, ROWS]."""
    for j in range(k):
        dots(J, 0, M, 1, Q, j * M, M, out, j * M, M)


@njit(cache=True, nogil=True)
def move_by_vectors(lay, W1, W2, D, A, a, d, Q, k, ring, hidden, extra, out):
    """out [k * M, ROWS] = J q, vector by vector through W2 and W1; ``hidden`` [H, ROWS] and ``extra`` [M, ROWS] are scratch."""
    M, hidden1, extra1 = lay.M, hidden.reshape(hidden.size), extra.reshape(extra.size)
    none, out1, Q1, nothing = hidden[:0], out.reshape(out.size), Q.reshape(Q.size), np.zeros(extra.size, extra.dtype)
    for j in range(k):
        now, after = Q[j * M : (j + 1) * M], out[j * M : (j + 1) * M]
        now1, after1 = Q1[j * M * ROWS : (j + 1) * M * ROWS], out1[j * M * ROWS : (j + 1) * M * ROWS]
        hidden_drive(lay.w2, W2, D, now, none, ring, hidden)
        for h in range(hidden.size):
            hidden1[h] *= d[h]
        multiply(W1, hidden, ring, after)
        add_scaled(a, now1, nothing, after1)
        if lay.A >= 0:
            multiply(A, now, ring, extra)
            add_to(extra1, after1)


@njit(cache=True, nogil=True, inline="always")
def tangent_chunk(f, first, flat, lay, z_all, Q_all, pair_all, u, interval, distance, log_r, log_pair, widest, failed, path):
    """``tangent_of_thread`` for ROWS segments of one fit, from ``first`` on; lanes past the last repeat the first."""
    M, H, K = lay.M, lay.H, lay.K
    S, k, n_steps = z_all.shape[1], Q_all.shape[2], u.shape[2]
    n, pairs = min(ROWS, S - first), pair_all.shape[1] > 0
    W1, W2, A = stored(flat, lay.W1, lay.pattern, OF_W1), stored(flat, lay.W2, lay.pattern, OF_W2), stored(flat, lay.A, lay.pattern, OF_A)
    C, D = matrix(flat, lay.C, M, K), matrix(flat, lay.D, H, K)
    slope, threshold = basis_of(flat, lay)
    route = route_of(flat, lay, W1, W2, k)
    table, by_units = route == BY_TABLE, route == BY_UNITS
    A_whole, W2_whole = np.empty((0, 0), flat.dtype), W2.values
    if route != BY_VECTORS:                                                     # else A may be stored by its structure, as fewer numbers
        A_whole, W2_whole = dense_A(flat, lay).reshape((M, M)), written_W2(flat, lay)
    pairs_of_weights = table_of_pairs(W1.values, W2_whole) if table else np.empty((0, H), flat.dtype)
    J, constant = lanes(M * M if table else 0, flat), lanes(M * M if table else 0, flat)
    if table:
        spread(A_whole.reshape(A_whole.size), constant)
    W1_turned = W1.values.T.copy() if by_units else np.empty((0, M), flat.dtype)
    scratch = units_scratch(M if by_units else 0, H if by_units else 0, flat)
    frames = lanes((k + ROWS - 1) // ROWS * ROWS * M if by_units else 0, flat)
    states = 2 if pairs else 1                                                  # the orbit, and the one beside it
    X, Y, Q, R = lanes(states * M, flat), lanes(states * M, flat), lanes(k * M, flat), lanes(0 if by_units else k * M, flat)
    extra, a, h1 = lanes(M, flat), lanes(M, flat), lanes(M, flat)
    p, phi, d, h2, drive = lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(K, flat)
    work, logs, growth = lanes(k + 5, flat), lanes(k + 1, flat), lanes(k + 1, flat)    # the last row is the pair's
    ring = np.empty(lay.pattern[UNROLLED] * ROWS, flat.dtype)
    ratio = np.ones(ROWS, flat.dtype)
    spread(flat[lay.a : lay.a + M], a)
    spread(flat[lay.h1 : lay.h1 + M], h1)
    h2[:] = 0
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + H], h2)
    logs[:], growth[:] = 0, 1
    take_segments(f, first, n, z_all, Q_all, pair_all, X, Q)
    if by_units:
        by_lane(Q, k, M, frames)
    wide, narrow = H * ROWS, M * ROWS
    p1, phi1, d1, h21, X1, Y1 = p.reshape(wide), phi.reshape(wide), d.reshape(wide), h2.reshape(wide), X.reshape(X.size), Y.reshape(Y.size)
    a1, h11, extra1, J1, constant1 = a.reshape(narrow), h1.reshape(narrow), extra.reshape(narrow), J.reshape(J.size), constant.reshape(J.size)
    since = 0
    for t in range(n_steps):
        take_drive(f, first, n, u, t, drive)
        if path.shape[1] > 0 and first == 0:
            for m in range(M):
                path[f, t, m] = X[m, 0]
        for i in range(states):
            now, after = X[i * M : (i + 1) * M], Y[i * M : (i + 1) * M]
            now1, after1 = X1[i * narrow : (i + 1) * narrow], Y1[i * narrow : (i + 1) * narrow]
            hidden_drive(lay.w2, W2, D, now, drive, ring, p)
            activate(lay.phi, slope, threshold, p1, h21, phi1)
            if i == 0:
                unit_slopes(lay.phi, slope, threshold, p1, h21, phi1, d1)
            multiply(W1, phi, ring, after)
            add_scaled(a1, now1, h11, after1)
            if lay.A >= 0:
                multiply(A, now, ring, extra)
                add_to(extra1, after1)
            if lay.C >= 0:
                product(C, drive, extra)
                add_to(extra1, after1)
        X, Y, X1, Y1 = Y, X, Y1, X1
        if by_units:
            move_by_units(W1_turned, W2_whole, A_whole, lay.A < 0, d, k, scratch, frames)
        else:
            if table:
                product(pairs_of_weights, d, J)
                add_to(constant1, J1)
                move_by_jacobian(Q, J, k, M, R)
            else:
                move_by_vectors(lay, W1, W2, D, A, a1, d1, Q, k, ring, p, extra, R)
            Q, R = R, Q
        since += 1
        if since < interval and t < n_steps - 1:
            continue
        since = 0
        if by_units:
            by_coordinate(frames, k, M, Q)
        end_interval(t, X, Q, k, distance, work, growth, logs, ratio, failed[f, first : first + n])
        if by_units:
            by_lane(Q, k, M, frames)
    give_segments(f, first, n, X, Q, growth, logs, ratio, z_all, Q_all, pair_all, log_r, log_pair, widest)


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
