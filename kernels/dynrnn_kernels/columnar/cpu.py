"""Columnar networks on a stream, compiled: nothing is kept of a sample but traces, so that memory does not depend on the stream's length.

With p a weight of gate a and v_j what it multiplies, the traces of a column are (all factors but v_j are common to a gate or to the column)

    C_p <- f C_p + (c[t-1] f' u_f + i g' u_g + g i' u_i) H_p + x_a v_j,     x_i = g i', x_f = c[t-1] f', x_g = i g', x_o = 0
    H_p <- o (1 - tanh^2 c) C_p + tanh(c) o' u_o H_p + [a = o] tanh(c) o' v_j

A sample is: statistics and features stage by stage, prediction, its error, and then for each weight its traces, its change and its eligibility in one pass.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.columnar.arrays import ASKED, CLASSIFICATION, LARGEST, RESET, SKIP, TD
from dynrnn_kernels.elementwise import tanh_in_place

EPSILON = 1e-8


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def normalise(value, mean, var, k, decay, floor, learns):
    if learns:
        mean[k] = decay * mean[k] + (1.0 - decay) * value
        var[k] = decay * var[k] + (1.0 - decay) * (value - mean[k]) ** 2
    return (value - mean[k]) / np.sqrt(max(var[k], floor))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def features(W, h, c, v, gates, squashed, before, first, end, n):
    """h and c of the columns first to end, which read n numbers of v; gates [K, 4], tanh c [K] and the old h and c, ``before`` [K, 2], are kept."""
    pre = gates[first:end]
    for k in range(first, end):
        before[k, 0], before[k, 1] = h[k], c[k]
        v[0] = h[k]
        for a in range(4):
            total = 0.0
            for j in range(n):
                total += W[k, a * n + j] * v[j]
            gates[k, a] = total if a == 2 else 0.5 * total          # a sigmoid is a tanh: s(x) = (1 + tanh(x / 2)) / 2
    tanh_in_place(pre.reshape(pre.size))
    for k in range(first, end):
        for a in (0, 1, 3):
            gates[k, a] = 0.5 + 0.5 * gates[k, a]
        c[k] = gates[k, 1] * c[k] + gates[k, 0] * gates[k, 2]
        squashed[k] = c[k]
    tanh_in_place(squashed[first:end])
    for k in range(first, end):
        h[k] = gates[k, 3] * squashed[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def trace(W, C, H, E, V, v, drive, gates, s, before, n, credit, error, step, beta, trace_decay, td, learns):
    """Traces of one column forward, and its weights changed by error E (TD) or credit H. The sum of squares of its traces. drive [4 N] is scratch."""
    i, f, g, o = gates[0], gates[1], gates[2], gates[3]
    v[0], c = before[0], before[1]
    i_, f_, g_, o_ = i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)
    to_C = c * f_ * W[n] + i * g_ * W[2 * n] + g * i_ * W[0]
    C_to_H, to_H = o * (1 - s * s), s * o_ * W[3 * n]
    for gate in range(4):
        own = g * i_ if gate == 0 else c * f_ if gate == 1 else i * g_ if gate == 2 else 0.0
        for j in range(n):
            drive[gate * n + j] = own * v[j]
    for j in range(4 * n):
        C[j] = f * C[j] + to_C * H[j] + drive[j]
        H[j] = C_to_H * C[j] + to_H * H[j]
    for j in range(n):
        H[3 * n + j] += s * o_ * v[j]
    if learns:
        factor, source = (error, E) if td else (credit, H)
        for j in range(4 * n):
            change = factor * source[j]
            square = beta * V[j] + (1.0 - beta) * change * change
            V[j] = square
            W[j] += step * change / (np.sqrt(square) + EPSILON)
    size = 0.0
    if td:
        for j in range(4 * n):
            E[j] = trace_decay * E[j] + credit * H[j]
            size += E[j] * E[j]
    for j in range(4 * n):
        size += C[j] * C[j] + H[j] * H[j]
    return size


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def errors_of(y, target, kind, err):
    """err = - dloss/dy and the loss: half the squared error, or the cross entropy of a softmax, which y becomes."""
    loss = 0.0
    if kind == CLASSIFICATION:
        top = y.max()
        total = 0.0
        for p in range(y.size):
            y[p] = np.exp(y[p] - top)
            total += y[p]
        for p in range(y.size):
            y[p] /= total
            err[p] = target[p] - y[p]
            if target[p] != 0:
                loss -= target[p] * np.log(max(y[p], 1e-300))
    else:
        for p in range(y.size):
            err[p] = target[p] - y[p]
            loss += 0.5 * err[p] * err[p]
    return loss


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def run(state, settings, x, target, flags, y, loss):
    """All samples x [F or 1, T, D] of all fits with target [F or 1, T, P] and flags [F, T]; y [F, T, P] and loss [F, T] are written.

    Gives for each fit the first sample at which its traces had grown beyond all bounds, or T. Such samples are not used, and flagged SKIP; a reset ends it.
    """
    F, K = state.h.shape
    T, D = x.shape[1:]
    P, S, td = y.shape[2], settings.ends.size, settings.kind == TD
    stopped = np.full(F, T)
    v, feature, drive = np.empty(state.W.shape[2] // 4), np.empty(K + 1), np.empty(state.W.shape[2])
    gates, squashed, before, err = np.empty((K, 4)), np.empty(K), np.empty((K, 2)), np.empty(P)
    v[1] = 1.0
    for fit in range(F):
        W, h, c, mean, var = state.W[fit], state.h[fit], state.c[fit], state.mean[fit], state.var[fit]
        C, H, E, V, w, e, sq = state.C[fit], state.H[fit], state.E[fit], state.V[fit], state.w[fit], state.e[fit], state.v[fit]
        for t in range(T):
            flag, now = flags[fit, t], state.seen[fit]
            if flag & RESET:
                h[:], c[:], C[:], H[:], E[:], e[:] = 0, 0, 0, 0, 0, 0
                state.size[fit], state.pending[fit] = 0, 0
            bounded = state.size[fit] <= LARGEST**2
            if flag & SKIP or not bounded:
                if not bounded:
                    stopped[fit] = min(stopped[fit], t)
                flags[fit, t] |= SKIP
                y[fit, t], loss[fit, t], state.pending[fit] = np.nan, np.nan, 0
                continue
            s = 0
            while s < S - 1 and now >= settings.ends[s]:
                s += 1
            first, end = settings.bounds[s], settings.bounds[s + 1]
            grows = now < settings.ends[s]
            if s > 0 and now == settings.ends[s - 1]:
                C[:], H[:], E[:], V[:] = 0, 0, 0, 1
            sample, asked = x[min(fit, x.shape[0] - 1), t], target[min(fit, target.shape[0] - 1), t]
            for d in range(D):
                v[2 + d] = normalise(sample[d], mean, var, d, settings.decay, settings.floor, s == 0 and grows)
            for stage in range(s + 1):
                start, stop = settings.bounds[stage], settings.bounds[stage + 1]
                features(W, h, c, v, gates, squashed, before, start, stop, 2 + D + start)
                for k in range(start, stop):
                    feature[k] = normalise(h[k], mean, var, D + k, settings.decay, settings.floor, stage == s and grows)
                    if stage < s:
                        v[2 + D + k] = feature[k]
            prediction = y[fit, t]
            for p in range(P):
                total = w[p, K]
                for k in range(end):
                    total += w[p, k] * feature[k]
                prediction[p] = total
            learns = flag & ASKED != 0
            if td:
                learns = learns and state.pending[fit] != 0
                err[0] = asked[0] + settings.gamma * prediction[0] - state.last[fit] if learns else 0.0
                loss[fit, t] = 0.5 * err[0] * err[0] if learns else np.nan
                state.last[fit] = prediction[0]
            else:
                told = errors_of(prediction, asked, settings.kind, err)
                loss[fit, t] = told if learns else np.nan
            if grows:
                size = 0.0
                for k in range(first, end):
                    credit = 0.0
                    if td:
                        credit = w[0, k]
                    elif learns:
                        for p in range(P):
                            credit += err[p] * w[p, k]
                    credit /= np.sqrt(max(var[D + k], settings.floor))
                    q = k - first
                    size += trace(
                        W[k], C[q], H[q], E[q], V[q], v, drive, gates[k], squashed[k], before[k], 2 + D + first, credit, err[0], settings.rate[fit],
                        settings.beta, settings.trace_decay, td, learns,
                    )
                state.size[fit] = size
            step = settings.readout[fit] / end
            for p in range(P):
                for m in range(end + 1):
                    k = m if m < end else K                     # the bias lies last
                    value = feature[k] if m < end else 1.0
                    if learns:
                        change = err[p] * (e[k] if td else value)
                        sq[p, k] = settings.beta * sq[p, k] + (1.0 - settings.beta) * change * change
                        w[p, k] += step * change / (np.sqrt(sq[p, k]) + EPSILON)
                    if td:
                        e[k] = settings.trace_decay * e[k] + value
            state.pending[fit] = 1
            state.seen[fit] = now + 1
    return stopped
