"""Gradients of forced windows of additive maps by accumulation forwards, compiled: what backpropagation gives, with nothing kept but the influence."""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.influence.columns import TENSORS, columns_of, has_own_units
from dynrnn_kernels.influence.cpu_step import influence_step, turned
from dynrnn_kernels.threads import in_threads


@njit(cache=True, nogil=True, error_model="numpy")
def window(lay, cols, flat, z0, z, target, weight, u, gout, how, reset, grad):
    """One sequence: grad [cols.size + M] becomes the derivative by the numbers that have columns, and by z0, of sum(gout z).

    z0 [M]; z, target, weight, gout [T, M]; u [T, K]. Influence starts anew every ``reset`` steps, never for 0.
    """
    M, T, size = lay.M, z.shape[0], cols.size
    Q = size + M
    S, spare, J, scratch = np.zeros((M, Q)), np.empty((M, Q)), np.empty((M, M)), np.empty((5, lay.H))
    now, kept, after = np.empty(M), np.empty(M), np.empty(M)
    grad[:] = 0
    for m in range(M):
        S[m, size + m] = 1
    for t in range(T):
        if reset > 0 and t > 0 and t % reset == 0:
            S[:] = 0
        for m in range(M):
            before = z0[m] if t == 0 else z[t - 1, m]
            w = weight[t, m]
            now[m] = before if w == 0 else before + w * (target[t, m] - before)
            kept[m] = 1 - w
        influence_step(lay, cols, flat, now, kept, u[t], how, scratch, J, S, spare, after)
        S, spare = spare, S
        for m in range(M):
            g = gout[t, m]
            if g != 0:
                for q in range(Q):
                    grad[q] += g * S[m, q]


@njit(cache=True, nogil=True, error_model="numpy")
def windows_of_thread(thread, n_threads, lay, cols, flats, z0, z, target, weight, u, gout, how, reset, grads):
    """Every n_threads-th sequence; arrays have the axes fit and sequence in front."""
    B = z0.shape[1]
    for item in range(thread, z0.shape[0] * B, n_threads):
        f, b = item // B, item % B
        window(lay, cols, flats[f], z0[f, b], z[f, b], target[f, b], weight[f, b], u[f, b], gout[f, b], how, reset, grads[f, b])


def gradients(lay, flats, z0, z, target, weight, u, gout, how, reset, wanted=TENSORS):
    """Of all sequences, [F, B, size + M]; float64, C-contiguous. Zero by tensors that are not ``wanted``."""
    F, B, M = z0.shape
    order, (cols, places) = turned(lay), columns_of(lay, wanted, has_own_units(lay, flats == 0))
    grads = np.empty((F, B, cols.size + M))
    in_threads(windows_of_thread, F * B, lay, cols, np.ascontiguousarray(flats[:, order]), z0, z, target, weight, u, gout, how, reset, grads)
    out = np.zeros((F, B, lay.size + M))
    out[:, :, order[places]] = grads[:, :, : cols.size]
    out[:, :, lay.size :] = grads[:, :, cols.size :]
    return out
