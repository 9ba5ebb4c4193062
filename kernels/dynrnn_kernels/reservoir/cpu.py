"""One sequence of a reservoir on a CPU, compiled. ``run.py`` says what the arrays are."""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.elementwise import tanh_in_place
from dynrnn_kernels.threads import meet

FIRST, END, READS, LINEAR, DENSE, MIXED = range(6)   # of a layer: its units, the first number of the state that it reads, whether phi is the identity,
#                                                      where its dense W and its mixing begin (-1: it has none)


@njit(cache=True, nogil=True)
def count_rows(W):
    """Where each row's numbers that are not zero start among those of all rows, and where the last ends."""
    start = np.zeros(W.shape[0] + 1, np.uint64)
    for i in range(W.shape[0]):
        count = 0
        for j in range(W.shape[1]):
            count += W[i, j] != 0
        start[i + 1] = start[i] + np.uint64(count)
    return start


@njit(cache=True, nogil=True)
def fill_rows(W, start, shift, values, columns):
    """Those numbers, and their columns plus ``shift``. In a tenth of the time of scipy's way."""
    for i in range(W.shape[0]):
        k = start[i]
        for j in range(W.shape[1]):
            if W[i, j] != 0:
                values[k], columns[k] = W[i, j], j + shift
                k += np.uint64(1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def sparse_times(values, start, columns, x, out, first, end):
    """out[i] = row i of S times x for first <= i < end, row i being values[k] in columns[k], start[i] <= k < start[i + 1].

    start and columns are unsigned, since signed ones would be asked at each number whether they count from the end. A row's sum does not depend on the others.
    """
    for i in range(first, end):
        total = 0.0
        for k in range(start[i], start[i + 1]):
            total += values[k] * x[columns[k]]
        out[i] = total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def read_out(W_out, h, x):
    """x += W_out h."""
    for c in range(W_out.shape[0]):
        total = 0.0
        for i in range(h.size):
            total += W_out[c, i] * h[i]
        x[c] += total


@njit(cache=True, nogil=True, error_model="numpy")
def run_sequence(
    thread, n_threads, meeting, layers, dense, values, start, columns, mixing, source, keep, gain, W_out, b_out, drive, data, begin, path, last
):
    """Layer by layer, each with the layers before it as they are after this step and itself as it is before. A thread takes its share of a layer's units
    and has the state for itself; the others' units it takes from the path, when all are done with the layer."""
    N, n = b_out.size, keep.size
    state, v, old = begin.copy(), np.empty(n), np.empty(n)
    h, x = state[N:], state[:N]
    for t in range(path.shape[0]):
        now = drive[t if drive.shape[0] > 1 else 0]
        for layer in layers:
            first, end, reads = layer[FIRST], layer[END], layer[READS]
            mine, stop = first + thread * (end - first) // n_threads, first + (thread + 1) * (end - first) // n_threads
            if layer[DENSE] >= 0:
                width = N + end - reads
                W = dense[layer[DENSE] : layer[DENSE] + (end - first) * width].reshape((end - first, width))
                np.dot(W, state[reads : N + end], v[first:end])
            else:
                sparse_times(values, start, columns, state, v, mine, stop)
            for i in range(mine, stop):
                v[i] += now[i]
            if layer[LINEAR] == 0:
                tanh_in_place(v[mine:stop])
            if layer[MIXED] >= 0:
                size = end - first
                np.dot(mixing[layer[MIXED] : layer[MIXED] + size * size].reshape((size, size)), h[first:end], old[first:end])
            else:
                for i in range(mine, stop):
                    old[i] = h[source[i]]
            row = path[t]
            for i in range(mine, stop):
                row[N + i] = keep[i] * old[i] + gain[i] * v[i]
            meet(meeting, n_threads)
            for i in range(first, end):
                h[i] = row[N + i]
        for c in range(N):
            x[c] = b_out[c]
        read_out(W_out, h, x)
        for c in range(N):
            if thread == 0:
                path[t, c] = x[c]
            if t < data.shape[0] and data[t, c] == data[t, c]:
                x[c] = data[t, c]
    if thread == 0:
        last[:] = state
