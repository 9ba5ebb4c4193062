"""Tangent vectors carried along orbits of the additive recurrence on a CPU, for ROWS states of one fit at once; J is never formed.

    z' = f(z),    q_j' = A q_j + W1 diag(phi'(v)) W2 q_j,    j = 1..k

Cost O(k M H) a state and step, as cheap as k + 1 steps of the map; every ``interval`` steps O(k^2 M) more for the frame. Beside the results a thread
holds 2 k M + O(H) vectors.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import activate, add_scaled, add_to, back_through, basis_of, matrix, spread
from dynrnn_kernels.additive.cpu_frames import orthonormalise
from dynrnn_kernels.additive.cpu_matrices import multiply, stored
from dynrnn_kernels.additive.cpu_norms import in_threads, lanes
from dynrnn_kernels.additive.cpu_steps import OF_A, OF_W1, OF_W2, hidden_drive
from dynrnn_kernels.additive.pattern import UNROLLED
from dynrnn_kernels.additive.tile import ROWS, product


@njit(cache=True, nogil=True)
def tangent_chunk(f, first, flat, lay, z_all, Q_all, pair_all, u, interval, distance, log_r, log_pair, widest, failed, path):
    """``tangent_of_thread`` for ROWS segments of one fit, from ``first`` on; lanes past the last repeat the first."""
    M, H, K = lay.M, lay.H, lay.K
    S, k, n_steps = z_all.shape[1], Q_all.shape[2], u.shape[2]
    n, pairs = min(ROWS, S - first), pair_all.shape[1] > 0
    W1, W2, A = stored(flat, lay.W1, lay.pattern, OF_W1), stored(flat, lay.W2, lay.pattern, OF_W2), stored(flat, lay.A, lay.pattern, OF_A)
    C, D = matrix(flat, lay.C, M, K), matrix(flat, lay.D, H, K)
    slope, threshold = basis_of(flat, lay)
    z, after, other, extra, a, h1, zero = (lanes(M, flat), lanes(M, flat), lanes(M, flat), lanes(M, flat), lanes(M, flat), lanes(M, flat), lanes(M, flat))
    p, phi, d, h2, ones, unused = lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H, flat)
    drive, Q, next_Q, work, logs = lanes(K, flat), lanes(k * M, flat), lanes(k * M, flat), lanes(k + 3, flat), lanes(k, flat)
    ring = np.empty(lay.pattern[UNROLLED] * ROWS, flat.dtype)
    width, pair_log = np.zeros(ROWS, flat.dtype), np.zeros(ROWS, flat.dtype)
    spread(flat[lay.a : lay.a + M], a)
    spread(flat[lay.h1 : lay.h1 + M], h1)
    h2[:] = 0
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + H], h2)
    ones[:], zero[:], logs[:], unused[:] = 1, 0, 0, 0
    for r in range(ROWS):
        row = first + r if r < n else first
        for m in range(M):
            z[m, r] = z_all[f, row, m]
            if pairs:
                other[m, r] = pair_all[f, row, m]
            for j in range(k):
                Q[j * M + m, r] = Q_all[f, row, j, m]
    wide, narrow = H * ROWS, M * ROWS
    p1, phi1, d1, h21, ones1, unused1 = p.reshape(wide), phi.reshape(wide), d.reshape(wide), h2.reshape(wide), ones.reshape(wide), unused.reshape(wide)
    a1, h11, zero1, extra1, z1 = a.reshape(narrow), h1.reshape(narrow), zero.reshape(narrow), extra.reshape(narrow), z.reshape(narrow)
    after1, other1 = after.reshape(narrow), other.reshape(narrow)
    u_fit, since = min(f, u.shape[0] - 1), 0
    for t in range(n_steps):
        for r in range(ROWS):
            row = min(first + r if r < n else first, u.shape[1] - 1)
            for i in range(K):
                drive[i, r] = u[u_fit, row, t, i]
        if path.shape[1] > 0 and first == 0:
            for m in range(M):
                path[f, t, m] = z[m, 0]
        for state in range(2 if pairs else 1):                                  # the orbit, then the one beside it
            now, now1 = (z, z1) if state == 0 else (other, other1)
            hidden_drive(lay.w2, W2, D, now, drive, ring, p)
            activate(lay.phi, slope, threshold, p1, h21, phi1)
            multiply(W1, phi, ring, after)
            add_scaled(a1, now1, h11, after1)
            if lay.A >= 0:
                multiply(A, now, ring, extra)
                add_to(extra1, after1)
            if lay.C >= 0:
                product(C, drive, extra)
                add_to(extra1, after1)
            now[:] = after
            if state == 0:
                d1[:] = p1
                back_through(lay.phi, slope, threshold, d1, h21, phi1, ones1, unused1)
        for j in range(k):
            q, out = Q[j * M : (j + 1) * M], next_Q[j * M : (j + 1) * M]
            hidden_drive(lay.w2, W2, D, q, drive[:0], ring, p)
            for i in range(p1.size):
                p1[i] *= d1[i]
            multiply(W1, p, ring, out)
            add_scaled(a1, q.reshape(narrow), zero1, out.reshape(narrow))
            if lay.A >= 0:
                multiply(A, q, ring, extra)
                add_to(extra1, out.reshape(narrow))
        Q, next_Q = next_Q, Q
        since += 1
        if since < interval and t < n_steps - 1:
            continue
        since = 0
        orthonormalise(Q, k, M, work, logs, width)
        for r in range(n):
            row = first + r
            widest[f, row] = max(widest[f, row], width[r])
            finite = True
            for m in range(M):
                finite &= np.isfinite(z[m, r])
            if not finite and failed[f, row] < 0:
                failed[f, row] = t
        if pairs:
            for r in range(ROWS):
                square = flat.dtype.type(0)
                for m in range(M):
                    square += (other[m, r] - z[m, r]) ** 2
                apart = np.sqrt(square)
                pair_log[r] += np.log(apart / distance) if apart > 0 else -np.inf
                for m in range(M):                                              # two orbits that met go on apart
                    other[m, r] = z[m, r] + ((other[m, r] - z[m, r]) * (distance / apart) if apart > 0 else distance * Q[m, r])
    for r in range(n):
        row = first + r
        for m in range(M):
            z_all[f, row, m] = z[m, r]
            if pairs:
                pair_all[f, row, m] = other[m, r]
            for j in range(k):
                Q_all[f, row, j, m] = Q[j * M + m, r]
        for j in range(k):
            log_r[f, row, j] += logs[j, r]
        if pairs:
            log_pair[f, row] += pair_log[r]


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
