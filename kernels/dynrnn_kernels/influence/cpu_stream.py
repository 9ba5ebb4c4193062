"""Learning from a stream, compiled: one sample after the other, the state, its influence and the parameters always up to date.

Sample t is predicted from the state as forcing left it at t - 1 and the input of t; then it is compared, counted into the gradient, and forces the state.
Every ``every`` samples the optimiser makes a step. Parameters of the influence are then those of several moments: with small steps a small error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from dynrnn_kernels.influence.cpu_step import influence_step
from dynrnn_kernels.radam.cpu import radam_step
from dynrnn_kernels.threads import in_threads
from dynrnn_kernels.update.problem import AFFINE

STARTED, GATHERED, SINCE_RESET, TAKEN, REFUSED, LOST = range(6)     # places in ``counts``


class Stream(NamedTuple):
    """What stays as it is. float64; S is the size of the flat vector of the map written out, P that of the parameters, Q the number of columns of influence."""

    fill: np.ndarray         # [S] int64: the parameter that each entry of the map, turned, is, -1 for a constant
    constant: np.ndarray     # [S]
    column: np.ndarray       # [Q] int64: the parameter of each column, -1 for a constant
    observation: int         # IDENTITY | AFFINE
    obs_weight: int          # offset in the parameters of L [M-N, N] or B [N, M]; -1 without
    obs_bias: int            # offset of b [N], -1 without
    trainable: np.ndarray    # [P] 0 for entries that stay as they are
    unit: np.ndarray         # [M] 1 for units that may be forced
    clip: np.ndarray         # [F] largest gradient norm
    forgetting: np.ndarray   # [F] what a step leaves of the influence
    how: int                 # FULL | DIAGONAL | LEAK
    reset: int               # steps after which influence starts anew, 0 for never
    every: int               # samples between two steps of the optimiser
    plain: bool              # gradient descent in place of RAdam


class StreamState(NamedTuple):
    """Changed in place; all that a stream needs to go on."""

    theta: np.ndarray        # [F, P]
    first: np.ndarray        # [F, P] moments of RAdam
    second: np.ndarray       # [F, P]
    now: np.ndarray          # [F, M] the state as forcing left it
    kept: np.ndarray         # [F, M] what forcing left of it
    influence: np.ndarray    # [F, M, Q]
    grad: np.ndarray         # [F, P] gathered since the last step
    counts: np.ndarray       # [F, 6] int64


@njit(cache=True, nogil=True, error_model="numpy")
def encoded(fixed, theta, x, inverse, now):
    """now [M] = the state of a sample alone, missing channels at their mean."""
    N, M = x.shape[0], now.shape[0]
    if fixed.observation == AFFINE:
        for m in range(M):
            now[m] = 0.0
            for n in range(N):
                b = theta[fixed.obs_bias + n] if fixed.obs_bias >= 0 else 0.0
                now[m] += inverse[m, n] * ((0.0 if np.isnan(x[n]) else x[n]) - b)
        return
    for n in range(N):
        now[n] = 0.0 if np.isnan(x[n]) else x[n]
    for m in range(N, M):
        now[m] = 0.0
        for n in range(N):
            now[m] += theta[fixed.obs_weight + (m - N) * N + n] * now[n]


@njit(cache=True, nogil=True, error_model="numpy")
def filled(fixed, theta, flat):
    for j in range(flat.shape[0]):
        flat[j] = theta[fixed.fill[j]] if fixed.fill[j] >= 0 else fixed.constant[j]


@njit(cache=True, nogil=True, error_model="numpy")
def inverted(fixed, theta, N, M):
    """pinv(B) of an affine decoder, [M, N], else nothing."""
    if fixed.observation != AFFINE:
        return np.zeros((0, 0))
    return np.linalg.pinv(theta[fixed.obs_weight : fixed.obs_weight + N * M].copy().reshape((N, M)))


@njit(cache=True, nogil=True, error_model="numpy")
def compared(fixed, theta, z, x, g, grad, prediction):
    """Prediction [N] of the state z, its mean squared error over what was seen, its derivative by z into g, by the decoder into grad. NaN if none was."""
    N, M = x.shape[0], z.shape[0]
    affine, seen, loss = fixed.observation == AFFINE, 0, 0.0
    for n in range(N):
        seen += 0 if np.isnan(x[n]) else 1
    g[:] = 0
    for n in range(N):
        value = z[n] if not affine else (theta[fixed.obs_bias + n] if fixed.obs_bias >= 0 else 0.0)
        if affine:
            for m in range(M):
                value += theta[fixed.obs_weight + n * M + m] * z[m]
        prediction[n] = value
        if np.isnan(x[n]):
            continue
        error = value - x[n]
        loss += error * error / seen
        by = 2 * error / seen
        if not affine:
            g[n] += by
            continue
        for m in range(M):
            g[m] += by * theta[fixed.obs_weight + n * M + m]
            grad[fixed.obs_weight + n * M + m] += by * z[m]
        if fixed.obs_bias >= 0:
            grad[fixed.obs_bias + n] += by
    return loss if seen > 0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def averaged(grad, trainable, by):
    """grad [P] times ``by`` where it is trained; its square."""
    squares = 0.0
    for i in range(grad.shape[0]):
        grad[i] *= trainable[i] * by
        squares += grad[i] * grad[i]
    return squares


@njit(cache=True, nogil=True, error_model="numpy")
def stepped(fixed, f, rate, state, fresh):
    """A step of the optimiser with what was gathered; whether it was made. A gradient or step that is not finite is refused."""
    grad, theta, counts = state.grad[f], state.theta[f], state.counts[f]
    norm = np.sqrt(averaged(grad, fixed.trainable, 1.0 / counts[GATHERED]))
    made = np.isfinite(norm)
    if made:
        if norm > fixed.clip[f]:
            grad *= fixed.clip[f] / norm
        if fixed.plain:
            for i in range(grad.shape[0]):
                theta[i] -= rate * grad[i]
        else:
            made = radam_step(theta, grad, state.first[f], state.second[f], counts[TAKEN], rate, fresh)
    counts[TAKEN] += 1 if made else 0
    counts[REFUSED] += 0 if made else 1
    counts[GATHERED] = 0
    grad[:] = 0
    return made


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def owed(g, S, total):
    """total [Q] = g S."""
    total[:] = 0
    for m in range(g.shape[0]):
        by = g[m]
        if by != 0:
            for q in range(total.shape[0]):
                total[q] += by * S[m, q]


@njit(cache=True, nogil=True, error_model="numpy")
def one_stream(f, lay, cols, fixed, state, x, u, alpha, rate, restart, prediction, loss):
    """Samples x [T, N] and inputs u [T, K] of one fit; alpha, rate [T]; restart [T]: a new series begins here. Into prediction [T, N] and loss [T]."""
    T, N, M, Q = x.shape[0], x.shape[1], lay.M, cols.size
    theta, now, kept, counts, grad = state.theta[f], state.now[f], state.kept[f], state.counts[f], state.grad[f]
    flat, J, scratch, z, g, carried = np.empty(lay.size), np.empty((M, M)), np.empty((5, lay.H)), np.empty(M), np.empty(M), np.empty(M)
    S, spare, total, fresh = state.influence[f].copy(), np.empty((M, Q)), np.empty(Q), np.empty((3, theta.shape[0]))
    filled(fixed, theta, flat)
    inverse = inverted(fixed, theta, N, M)
    for t in range(T):
        if restart[t] or counts[STARTED] == 0:
            encoded(fixed, theta, x[t], inverse, now)
            S[:] = 0
            kept[:] = 1
            counts[STARTED], counts[SINCE_RESET] = 1, 0
            prediction[t], loss[t] = np.nan, np.nan
            continue
        if fixed.reset > 0 and counts[SINCE_RESET] == fixed.reset:
            S[:] = 0
            counts[SINCE_RESET] = 0
        counts[SINCE_RESET] += 1
        for m in range(M):
            carried[m] = kept[m] * fixed.forgetting[f]
        influence_step(lay, cols, flat, now, carried, u[t], fixed.how, scratch, J, S, spare, z)
        S, spare = spare, S
        loss[t] = compared(fixed, theta, z, x[t], g, grad, prediction[t])
        owed(g, S, total)
        size = total.sum() + z.sum()
        if not np.isfinite(size):                                               # the state, or what it owes to some number, has left all bounds
            counts[LOST] += 1
            grad[:] = 0
            counts[GATHERED], counts[SINCE_RESET] = 0, 0
            encoded(fixed, theta, x[t], inverse, now)
            S[:] = 0
            kept[:] = 1
            continue
        for q in range(Q):
            if fixed.column[q] >= 0:
                grad[fixed.column[q]] += total[q]
        if np.isfinite(loss[t]):
            counts[GATHERED] += 1
        if counts[GATHERED] >= fixed.every and stepped(fixed, f, rate[t], state, fresh):
            filled(fixed, theta, flat)
            inverse = inverted(fixed, theta, N, M)
        whole = True
        for n in range(N):
            whole &= not np.isnan(x[t, n])
        for m in range(M):
            w = alpha[t] * fixed.unit[m]
            target = 0.0
            if fixed.observation == AFFINE:
                w = w if whole else 0.0                                         # a part of the channels leaves the state open
                if w > 0:
                    for n in range(N):
                        b = theta[fixed.obs_bias + n] if fixed.obs_bias >= 0 else 0.0
                        target += inverse[m, n] * (x[t, n] - b)
            elif m < N and not np.isnan(x[t, m]):
                target = x[t, m]
            else:
                w = 0.0
            now[m] = z[m] + w * (target - z[m]) if w > 0 else z[m]
            kept[m] = 1 - w
    state.influence[f][:] = S


@njit(cache=True, nogil=True, error_model="numpy")
def streams_of_thread(thread, n_threads, lay, cols, fixed, state, x, u, alpha, rate, restart, prediction, loss):
    """Every n_threads-th fit; alpha, rate [F, T], prediction [F, T, N], loss [F, T]."""
    for f in range(thread, state.theta.shape[0], n_threads):
        one_stream(f, lay, cols, fixed, state, x, u, alpha[f], rate[f], restart, prediction[f], loss[f])


def run_stream(lay, cols, fixed, state, x, u, alpha, rate, restart, prediction, loss):
    """All fits along the same samples. O(T M^2 Q) a fit, and O(M Q) memory whatever T."""
    in_threads(streams_of_thread, len(state.theta), lay, cols, fixed, state, x, u, alpha, rate, restart, prediction, loss)
