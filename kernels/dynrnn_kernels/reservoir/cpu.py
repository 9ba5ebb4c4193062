"""One sequence of a reservoir on a CPU, compiled. ``run.py`` says what the arrays are."""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.elementwise import tanh_in_place
from dynrnn_kernels.threads import meet

FIRST, END, READS, LINEAR, DENSE, MIXED, SHUFFLED = range(7)    # of a layer: its units, the first number of the state that it reads, whether phi is the
#                                                               identity, where its dense W and its mixing begin (-1: it has none), whether source is not


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


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
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
    and has the state for itself; the others' units it takes from the path, when all are done with the layer.

    Indices are unsigned, since loops over signed ones that may count from the end are not done in vector registers.
    """
    N, n, steady = np.uint64(b_out.size), keep.size, drive.shape[0] == 1
    state, v, old = begin.copy(), np.empty(n), np.empty(n)
    h, x = state[N:], state[:N]
    for t in range(path.shape[0]):
        now, row = drive[0 if steady else t], path[t]
        for k in range(layers.shape[0]):
            first, end, reads = np.uint64(layers[k, FIRST]), np.uint64(layers[k, END]), np.uint64(layers[k, READS])
            size = end - first
            mine = first + np.uint64(thread) * size // np.uint64(n_threads)
            stop = first + np.uint64(thread + 1) * size // np.uint64(n_threads)
            if layers[k, DENSE] >= 0:
                width = N + end - reads
                at = np.uint64(layers[k, DENSE])
                np.dot(dense[at : at + size * width].reshape((size, width)), state[reads : N + end], v[first:end])
            else:
                sparse_times(values, start, columns, state, v, mine, stop)
            for i in range(mine, stop):
                v[i] += now[i]
            if layers[k, LINEAR] == 0:
                tanh_in_place(v[mine:stop])
            if layers[k, MIXED] >= 0:
                at = np.uint64(layers[k, MIXED])
                np.dot(mixing[at : at + size * size].reshape((size, size)), h[first:end], old[first:end])
                for i in range(mine, stop):
                    row[N + i] = keep[i] * old[i] + gain[i] * v[i]
            elif layers[k, SHUFFLED] == 1:
                for i in range(mine, stop):
                    row[N + i] = keep[i] * h[source[i]] + gain[i] * v[i]
            else:
                for i in range(mine, stop):
                    row[N + i] = keep[i] * h[i] + gain[i] * v[i]
            meet(meeting, n_threads)
            for i in range(first, end):
                h[i] = row[N + i]
        x[:] = b_out
        read_out(W_out, h, x)
        for c in range(b_out.size):
            if thread == 0:
                row[c] = x[c]
            if t < data.shape[0] and data[t, c] == data[t, c]:
                x[c] = data[t, c]
    if thread == 0:
        last[:] = state
