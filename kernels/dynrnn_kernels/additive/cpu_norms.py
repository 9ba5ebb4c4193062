"""Spectral norms of the Jacobian at many states on a CPU: J = A + W1 diag(phi') W2 of ROWS states at once, then a direct method for each.

Where phi has only kinks, J changes from state to state by the few units that crossed one. So J of ROWS states that follow each other is
that of the state before them plus the units whose slope differs from there: cost O(M^2) a unit and state instead of O(M^2 H); a state in
the linear region of the one before has its norm. Every BLOCK states it starts afresh from A, which bounds what rounding adds up to.
Memory is O(M^2 + M H) a thread.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import (
    BASIS,
    CLIPPED,
    CLIPPED_BASIS,
    RELU,
    W2_CENTRING,
    W2_DENSE,
    W2_IDENTITY,
    W2_SELECTION,
    activate,
    basis_of,
    matrix,
    spread,
    unit_slopes,
)
from dynrnn_kernels.additive.cpu_matrices import Matrix
from dynrnn_kernels.additive.cpu_singular import largest_singular_values, work_rows
from dynrnn_kernels.additive.cpu_steps import hidden_drive
from dynrnn_kernels.additive.lanes import spread_rows
from dynrnn_kernels.additive.pattern import DENSE
from dynrnn_kernels.additive.tile import ROWS, product
from dynrnn_kernels.threads import in_threads

BLOCK = 128     # states a work item; a multiple of ROWS
LINE = 64       # bytes of a cache line; vectors that straddle two cost a third more


@njit(cache=True, nogil=True)
def lanes(rows, like):
    """Uninitialised [rows, ROWS] that starts at a cache line."""
    raw = np.empty(rows * ROWS + LINE // like.itemsize, like.dtype)
    first = (LINE - np.int64(raw.ctypes.data) % LINE) // raw.itemsize
    return raw[first : first + rows * ROWS].reshape((rows, ROWS))


@njit(cache=True, nogil=True)
def dense_A(flat, lay):
    """A with its diagonal, flat [M * M]."""
    M = lay.M
    out = np.zeros(M * M, flat.dtype)
    if lay.A >= 0:
        for i in range(M * M):
            out[i] = flat[lay.A + i]
    for m in range(M):
        out[m * M + m] += flat[lay.a + m]
    return out


@njit(cache=True, nogil=True)
def written_W2(flat, lay):
    """W2 [H, M], written out where it is the centring."""
    if lay.w2 != W2_CENTRING:
        return matrix(flat, lay.W2, lay.H, lay.M)
    out = np.empty((lay.H, lay.M), flat.dtype)
    for h in range(lay.H):
        for m in range(lay.M):
            out[h, m] = (1.0 if h == m else 0.0) - 1 / lay.M
    return out


@njit(cache=True, nogil=True)
def constants(flat, lay):
    """What ``slopes`` wants of each map, once: h2 and scratch, [2, H * ROWS]."""
    rows = lanes(2 * lay.H, flat)
    rows[:] = 0
    if lay.h2 >= 0:
        spread(flat[lay.h2 : lay.h2 + lay.H], rows[: lay.H])
    return rows.reshape((2, lay.H * ROWS))


@njit(cache=True, nogil=True)
def slopes(flat, lay, W2, D, states, u, hidden, z, drive, d):
    """d [H, ROWS] = phi' at up to ROWS states [n, M]; lanes past n repeat the first. hidden comes from ``constants``; z [M, ROWS], drive [K, ROWS] scratch."""
    n = states.shape[0]
    for r in range(ROWS):
        row = r if r < n else 0
        for m in range(lay.M):
            z[m, r] = states[row, m]
        for k in range(lay.K):
            drive[k, r] = u[row, k]
    hidden_drive(lay.w2, Matrix(DENSE, W2, np.empty(0, np.int64)), D, z, drive, z[:0], d)
    slope, threshold = basis_of(flat, lay)
    x = d.reshape(d.size)
    activate(lay.phi, slope, threshold, x, hidden[0], hidden[1])
    unit_slopes(lay.phi, slope, threshold, x, hidden[0], hidden[1], x)


@njit(cache=True, nogil=True)
def jacobians(flat, lay, W2, d, base, at, chosen, left, right, change, weighted, J):
    """J [M * M, ROWS] at slopes d [H, ROWS], from the Jacobian ``base`` [M * M] at slopes ``at`` [H]; the rest is scratch."""
    M, H = lay.M, lay.H
    W1 = matrix(flat, lay.W1, M, H)
    if lay.w2 == W2_SELECTION or lay.w2 == W2_IDENTITY:                        # here base is A and at is 0
        free = M - H
        W1_flat = W1.reshape(M * H)
        for m in range(M):
            if free > 0:
                spread(base[m * M : m * M + free], J[m * M : m * M + free])
            if H > 0:
                spread_rows(base, m * M + free, W1_flat, m * H, d, J, m * M + free, H)
        return
    n = 0
    for h in range(H):
        differs = False
        for r in range(ROWS):
            differs |= d[h, r] != at[h]
        if differs:
            chosen[n] = h
            for r in range(ROWS):
                change[n, r] = d[h, r] - at[h]
            n += 1
    units, nothing = right[: M * (n + 1)].reshape((M, n + 1)), right[M * (H + 1) :]
    for i in range(n):
        for m in range(M):
            units[m, i] = W2[chosen[i], m]
            left[m * H + i] = W1[m, chosen[i]]
    factors = weighted[: n + 1]
    for r in range(ROWS):
        factors[n, r] = 1                                                      # the column after the units is base
    for m in range(M):
        if n > 0:
            spread_rows(nothing, 0, left, m * H, change, factors, 0, n)
        for k in range(M):
            units[k, n] = base[m * M + k]
        product(units, factors, J[m * M : (m + 1) * M])


@njit(cache=True, nogil=True, inline="always")
def norms_block(item, flats, lay, states, u, given, out):
    """Norms at the states of one block; where ``given`` [F, R, H] is not empty it has the slopes, and states are not looked at."""
    per_fit = (out.shape[1] + BLOCK - 1) // BLOCK
    f, first = item // per_fit, item % per_fit * BLOCK
    flat, M, H = flats[f], lay.M, lay.H
    count = min(BLOCK, out.shape[1] - first)
    W2, D = written_W2(flat, lay), matrix(flat, lay.D, H, lay.K)
    base, at = dense_A(flat, lay), np.zeros(H, flat.dtype)
    keeps = (lay.w2 == W2_DENSE or lay.w2 == W2_CENTRING) and (lay.phi == RELU or lay.phi == CLIPPED or lay.phi == BASIS or lay.phi == CLIPPED_BASIS)
    d, waiting, change, weighted, hidden = lanes(H, flat), lanes(H, flat), lanes(H, flat), lanes(H + 1, flat), constants(flat, lay)
    z, drive, J, work, result = lanes(M, flat), lanes(lay.K, flat), lanes(M * M, flat), lanes(work_rows(M), flat), lanes(1, flat)[0]
    chosen, left, right = np.empty(H, np.int64), np.empty(M * H, flat.dtype), np.zeros(M * (H + 1) + H, flat.dtype)
    last, region, values = np.empty(H, flat.dtype), np.empty(BLOCK, np.int64), np.empty(BLOCK + ROWS, flat.dtype)
    found, solved, filled = 0, 0, 0
    for start in range(0, count, ROWS):
        n = min(ROWS, count - start)
        if given.shape[1] > 0:
            for h in range(H):
                for r in range(n):
                    d[h, r] = given[f, first + start + r, h]
        else:
            slopes(flat, lay, W2, D, states[f, first + start : first + start + n], u[f, first + start : first + start + n], hidden, z, drive, d)
        for lane in range(n):
            same = found > 0
            for h in range(H):
                same &= d[h, lane] == last[h]
            if not same:
                for h in range(H):
                    last[h] = waiting[h, filled] = d[h, lane]
                filled += 1
                found += 1
            region[start + lane] = found - 1
            if filled == ROWS or (filled > 0 and start + lane == count - 1):
                for h in range(H):
                    for r in range(filled, ROWS):
                        waiting[h, r] = waiting[h, 0]
                jacobians(flat, lay, W2, waiting, base, at, chosen, left, right, change, weighted, J)
                if keeps:
                    for i in range(M * M):
                        base[i] = J[i, ROWS - 1]
                    for h in range(H):
                        at[h] = waiting[h, ROWS - 1]
                largest_singular_values(J, M, work, result)
                for r in range(ROWS):
                    values[solved + r] = result[r]
                solved, filled = solved + ROWS, 0
    for i in range(count):
        out[f, first + i] = values[region[i]]


@njit(cache=True, nogil=True)
def norms_of_thread(thread, n_threads, flats, lay, states, u, given, out):
    """Every n_threads-th block."""
    for item in range(thread, out.shape[0] * ((out.shape[1] + BLOCK - 1) // BLOCK), n_threads):
        norms_block(item, flats, lay, states, u, given, out)


def norms(flats, lay, states, u, given, out):
    """out [F, R] = ||J||_2 at states [F, R, M] with inputs u [F, R, K], or at the slopes given [F, R, H]; flats [F, size], all contiguous."""
    in_threads(norms_of_thread, out.shape[0] * -(-out.shape[1] // BLOCK), flats, lay, states, u, given, out)


@njit(cache=True, nogil=True)
def mean_slopes_of_thread(thread, n_threads, flats, lay, states, u, out):
    """Of every n_threads-th sequence; sums in float64, lane by lane."""
    F, B, T, _ = states.shape
    total = np.empty((lay.H, ROWS))
    for item in range(thread, F * B, n_threads):
        f, b = item // B, item % B
        flat, H = flats[f], lay.H
        W2, D, hidden = matrix(flat, lay.W2, H, lay.M), matrix(flat, lay.D, H, lay.K), constants(flat, lay)
        d, z, drive = lanes(H, flat), lanes(lay.M, flat), lanes(lay.K, flat)
        total[:] = 0
        for start in range(0, T, ROWS):
            n = min(ROWS, T - start)
            slopes(flat, lay, W2, D, states[f, b, start : start + n], u[f, b, start : start + n], hidden, z, drive, d)
            for h in range(H):
                for r in range(n):
                    total[h, r] += d[h, r]
        for h in range(H):
            mean = 0.0
            for r in range(ROWS):
                mean += total[h, r] / T
            out[f, b, h] = mean


def mean_slopes(flats, lay, states, u, out):
    """out [F, B, H] = the mean of phi' over the states [F, B, T, M] of each sequence."""
    in_threads(mean_slopes_of_thread, out.shape[0] * out.shape[1], flats, lay, states, u, out)
