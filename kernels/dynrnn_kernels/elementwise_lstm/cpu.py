"""An element-wise LSTM on a stream, compiled: forward traces, the gradient of each sample, and an Adam step every so many samples.

With a = (1 - f)(1 - z^2), b = (c[t-1] - z) f (1 - f), k = f + a w_z + b w_f and v = (c[t-1], 1, x), the traces of a unit are

    S_z <- k S_z + a v,    S_f <- k S_f + b v,    gradient += (dL/dc) S

The output gate sees c[t] and feeds nothing back, so that its gradient is that of the sample alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from dynrnn_kernels.columnar.arrays import ASKED, LARGEST, RESET, SKIP
from dynrnn_kernels.columnar.cpu import errors_of
from dynrnn_kernels.elementwise import tanh_in_place

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def cell(A, c, S, x, v, gates):
    """c and its traces, one sample on; the sum of squares of the traces. gates [n, 2] and v [D + 2] are scratch."""
    n, D = c.size, x.size
    v[1] = 1.0
    v[2:] = x
    for i in range(n):
        z, f = A[i, 0, 0] * c[i] + A[i, 0, 1], A[i, 1, 0] * c[i] + A[i, 1, 1]
        for d in range(D):
            z += A[i, 0, 2 + d] * x[d]
            f += A[i, 1, 2 + d] * x[d]
        gates[i, 0], gates[i, 1] = z, 0.5 * f
    tanh_in_place(gates.reshape(gates.size))
    size = 0.0
    for i in range(n):
        z, f = gates[i, 0], 0.5 + 0.5 * gates[i, 1]
        v[0] = c[i]
        a, b = (1 - f) * (1 - z * z), (c[i] - z) * f * (1 - f)
        k = f + a * A[i, 0, 0] + b * A[i, 1, 0]
        for j in range(D + 2):
            S[i, 0, j] = k * S[i, 0, j] + a * v[j]
            S[i, 1, j] = k * S[i, 1, j] + b * v[j]
            size += S[i, 0, j] * S[i, 0, j] + S[i, 1, j] * S[i, 1, j]
        c[i] = f * c[i] + (1 - f) * z
    return size


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def output(O, R, x, c, u, o, h, y):  # noqa: E741
    """Output gate, h and the readout y; u [1 + D + n] becomes (1, x, c)."""
    n, D = c.size, x.size
    u[0] = 1.0
    u[1 : 1 + D] = x
    u[1 + D :] = c
    for i in range(n):
        total = 0.0
        for j in range(u.size):
            total += O[i, j] * u[j]
        o[i] = 0.5 * total
    tanh_in_place(o)
    for i in range(n):
        o[i] = 0.5 + 0.5 * o[i]
        h[i] = o[i] * c[i]
    for p in range(y.size):
        total = R[p, n]
        for i in range(n):
            total += R[p, i] * h[i]
        y[p] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def gradient(O, R, S, c, u, o, h, err, dA, dO, dR, dc):  # noqa: E741
    """The sample's gradient is added to dA, dO, dR; err = - dL/dy."""
    n, first = c.size, u.size - c.size
    dc[:] = 0.0
    for i in range(n):
        dh = 0.0
        for p in range(err.size):
            dh -= err[p] * R[p, i]
            dR[p, i] -= err[p] * h[i]
        do = dh * c[i] * o[i] * (1 - o[i])
        dc[i] += dh * o[i]
        for j in range(u.size):
            dO[i, j] += do * u[j]
        for j in range(n):
            dc[j] += do * O[i, first + j]
    for p in range(err.size):
        dR[p, n] -= err[p]
    for i in range(n):
        for a in range(2):
            for j in range(S.shape[2]):
                dA[i, a, j] += dc[i] * S[i, a, j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def adam(theta, grad, first, second, step, rate, scale, clip):
    """One step on scale grad, whose norm is at most clip."""
    norm = 0.0
    for q in range(theta.size):
        norm += grad[q] * grad[q]
    norm = scale * math.sqrt(norm)
    if norm > clip:
        scale *= clip / norm
    size, root = rate / (1 - BETA1**step), math.sqrt(1 - BETA2**step)
    for q in range(theta.size):
        g = scale * grad[q]
        first[q] = BETA1 * first[q] + (1 - BETA1) * g
        second[q] = BETA2 * second[q] + (1 - BETA2) * g * g
        theta[q] -= size * first[q] / (np.sqrt(second[q]) / root + EPSILON)
    grad[:] = 0.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def run(state, settings, x, target, flags, y, loss):
    """All samples x [F or 1, T, D] of all fits with target [F or 1, T, P] and flags [F, T]; y [F, T, P] and loss [F, T] are written.

    Gives for each fit the first sample at which its traces had grown beyond all bounds, or T. Such samples are not used, and flagged SKIP; a reset ends it.
    """
    F, n = state.c.shape
    T, D = x.shape[1:]
    P = y.shape[2]
    one = 2 * n * (D + 2)
    two = one + n * (1 + D + n)
    stopped = np.full(F, T)
    v, gates, u, o, h, dc, err = np.empty(D + 2), np.empty((n, 2)), np.empty(1 + D + n), np.empty(n), np.empty(n), np.empty(n), np.empty(P)
    for fit in range(F):
        theta, grad, c, S = state.theta[fit], state.grad[fit], state.c[fit], state.S[fit]
        A, O, R = theta[:one].reshape((n, 2, D + 2)), theta[one:two].reshape((n, 1 + D + n)), theta[two:].reshape((P, n + 1))  # noqa: E741
        dA, dO, dR = grad[:one].reshape((n, 2, D + 2)), grad[one:two].reshape((n, 1 + D + n)), grad[two:].reshape((P, n + 1))
        for t in range(T):
            flag = flags[fit, t]
            if flag & RESET:
                c[:], S[:], state.size[fit] = 0, 0, 0
            bounded = state.size[fit] <= LARGEST**2
            if flag & SKIP or not bounded:
                if not bounded:
                    stopped[fit] = min(stopped[fit], t)
                flags[fit, t] |= SKIP
                y[fit, t], loss[fit, t] = np.nan, np.nan
                continue
            sample, asked = x[min(fit, x.shape[0] - 1), t], target[min(fit, target.shape[0] - 1), t]
            state.size[fit] = cell(A, c, S, sample, v, gates)
            output(O, R, sample, c, u, o, h, y[fit, t])
            told = errors_of(y[fit, t], asked, settings.kind, err)
            loss[fit, t] = told if flag & ASKED else np.nan
            if flag & ASKED:
                gradient(O, R, S, c, u, o, h, err, dA, dO, dR, dc)
                state.told[fit] += 1
            state.since[fit] += 1
            if state.since[fit] >= settings.every:
                if state.told[fit] > 0:
                    state.updates[fit] += 1
                    adam(theta, grad, state.first[fit], state.second[fit], state.updates[fit], settings.rate[fit], 1 / state.told[fit], settings.clip)
                state.since[fit] = state.told[fit] = 0
            state.seen[fit] += 1
    return stopped
