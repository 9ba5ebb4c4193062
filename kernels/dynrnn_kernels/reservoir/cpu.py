"""One sequence of a reservoir on a CPU, compiled. ``run.py`` says what the arrays are."""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.elementwise import tanh_in_place


@njit(cache=True, nogil=True)
def by_rows(W):
    """The numbers of W that are not zero, row by row: values, where each row starts and the last ends, columns. In a tenth of the time of scipy's way."""
    start = np.zeros(W.shape[0] + 1, np.uint64)
    for i in range(W.shape[0]):
        count = 0
        for j in range(W.shape[1]):
            count += W[i, j] != 0
        start[i + 1] = start[i] + np.uint64(count)
    values, columns = np.empty(start[-1]), np.empty(start[-1], np.uint32)
    for i in range(W.shape[0]):
        k = start[i]
        for j in range(W.shape[1]):
            if W[i, j] != 0:
                values[k], columns[k] = W[i, j], j
                k += np.uint64(1)
    return values, start, columns


@njit(cache=True, nogil=True, fastmath={"contract"})
def sparse_times(values, start, columns, x, out):
    """out = S x, row i of S being values[k] in columns[k], start[i] <= k < start[i + 1].

    Four sums, since one would wait for itself; start and columns are unsigned, since signed ones would be asked at each number whether they count from the end.
    """
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for i in range(out.size):
        first, last = start[i], start[i + 1]
        rounds, k, a, b, c, d = (last - first) // 4, first, 0.0, 0.0, 0.0, 0.0
        for _ in range(rounds):
            a += values[k] * x[columns[k]]
            b += values[k + one] * x[columns[k + one]]
            c += values[k + two] * x[columns[k + two]]
            d += values[k + three] * x[columns[k + three]]
            k += np.uint64(4)
        while k < last:
            a += values[k] * x[columns[k]]
            k += one
        out[i] = (a + b) + (c + d)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def read_out(W_out, h, x):
    """x += W_out h."""
    for c in range(W_out.shape[0]):
        total = 0.0
        for i in range(h.size):
            total += W_out[c, i] * h[i]
        x[c] += total


@njit(cache=True, nogil=True)
def run_sequence(W, values, start, columns, mixing, source, keep, gain, W_out, b_out, drive, data, state, x_path, h_path):
    N, n = x_path.shape[1], h_path.shape[1]
    h, x, v, old = state[N:], state[:N], np.empty(n), np.empty(n)
    dense, mixed, rows = W.shape[0] > 0, mixing.shape[0] > 0, drive.shape[0]
    for t in range(h_path.shape[0]):
        if dense:
            np.dot(W, state, v)
        else:
            sparse_times(values, start, columns, state, v)
        now = drive[t if rows > 1 else 0]
        for i in range(n):
            v[i] += now[i]
        tanh_in_place(v)
        if mixed:
            np.dot(mixing, h, old)
        else:
            for i in range(n):
                old[i] = h[source[i]]
        for i in range(n):
            h[i] = keep[i] * old[i] + gain[i] * v[i]
            h_path[t, i] = h[i]
        for c in range(N):
            x[c] = b_out[c]
        read_out(W_out, h, x)
        for c in range(N):
            x_path[t, c] = x[c]
            if t < data.shape[0] and data[t, c] == data[t, c]:
                x[c] = data[t, c]
