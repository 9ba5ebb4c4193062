"""Whole updates on a CPU, compiled: no Python between one update and the next.

Threads share out the fits, or the chunks of batch rows where there are fewer fits than threads. Partial gradients are added in the
order of their chunks either way, so the bits do not depend on the number of threads or on which other fits are trained beside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit

from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.radam.cpu import radam_step
from dynrnn_kernels.threads import in_threads, meet
from dynrnn_kernels.update.cpu_chunk import chunk_gradient, chunk_numbers
from dynrnn_kernels.update.cpu_loss import condition_penalty
from dynrnn_kernels.update.cpu_windows import pseudo_inverse
from dynrnn_kernels.update.problem import AFFINE, BAD_GRADIENT, BAD_STEP


@njit(cache=True, nogil=True)
def fit_step(lay, problem, state, f, partials, losses, counts, learning_rate, U, s, Vt, grad, fresh):
    """Add up the chunks, add regularisers, clip, and take the step or refuse it. Returns the loss (with regularisers) and the gradient's norm."""
    theta = state.theta[f]
    S, P = lay.size, theta.shape[0]
    N, M = problem.data.shape[2], lay.M
    grad[:] = 0
    loss, count = 0.0, 0
    for c in range(partials.shape[0]):
        loss += losses[c]
        count += counts[c]
        partial = partials[c]
        for j in range(S):
            if problem.fill[j] >= 0:
                grad[problem.fill[j]] += partial[j]
        n_obs = (M - N) * N if problem.observation != AFFINE else N * M
        for j in range(n_obs):
            grad[problem.obs_weight + j] += partial[S + j]
        if problem.obs_bias >= 0:
            for n in range(N):
                grad[problem.obs_bias + n] += partial[S + n_obs + n]
    if count > 0:
        scale = theta.dtype.type(1.0 / count)
        loss /= count
        for i in range(P):
            grad[i] *= scale
    for i in range(P):
        gap = theta[i] - problem.decay_to[i]
        loss += problem.decay[f, i] * gap * gap
        grad[i] += theta.dtype.type(2) * problem.decay[f, i] * gap
    if problem.observation == AFFINE and problem.condition[f] > 0:
        loss += condition_penalty(problem.condition[f], U, s, Vt, grad[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M)))
    squares = 0.0
    for i in range(P):
        grad[i] *= problem.trainable[i]
        squares += float(grad[i]) * float(grad[i])
    norm = np.sqrt(squares)
    reason = 0
    if not (np.isfinite(norm) and np.isfinite(loss)):
        reason = BAD_GRADIENT
    else:
        if norm > problem.clip[f]:
            shrink = theta.dtype.type(problem.clip[f] / norm)
            for i in range(P):
                grad[i] *= shrink
        if radam_step(theta, grad, state.first[f], state.second[f], state.taken[f], learning_rate, fresh):
            state.taken[f] += 1
            state.refused_in_row[f] = 0
        else:
            reason = BAD_STEP
    if reason > 0:
        state.reason[f] = reason
        state.refused[f] += 1
        state.refused_in_row[f] += 1
        if state.refused_in_row[f] >= problem.max_refused:
            state.active[f] = False
    return loss, norm


@njit(cache=True, nogil=True, inline="always")
def prepare(lay, problem, theta, flat, inverse, U, s, Vt):
    """The map's flat vector and, for an affine decoder, its pseudo-inverse and singular vectors, from one fit's parameters."""
    for j in range(lay.size):
        flat[j] = theta[problem.fill[j]] if problem.fill[j] >= 0 else problem.constant[j]
    if problem.observation == AFFINE:
        N, M = problem.data.shape[2], lay.M
        decoder = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
        inverse[:], _, U[:], s[:], Vt[:] = pseudo_inverse(decoder)


class Buffers(NamedTuple):
    """Scratch of a call. Made outside compiled code, where each allocation would become a parallel region of its own."""

    partials: np.ndarray   # [F, chunks, S + observation]
    losses: np.ndarray     # [F, chunks]
    counts: np.ndarray     # [F, chunks]
    flat: np.ndarray       # [F, S]
    inverse: np.ndarray    # [F, M, N] pseudo-inverse of B
    U: np.ndarray          # [F, N, k], s [F, k], Vt [F, k, M]: singular vectors and values of B
    s: np.ndarray
    Vt: np.ndarray
    grad: np.ndarray       # [F, P]
    fresh: np.ndarray      # [F, 3, P]
    scratch: np.ndarray    # [threads, numbers]


def make_buffers(lay, problem, state, B, T, n_threads):
    F, P = state.theta.shape
    S, M, N, kind = lay.size, lay.M, problem.data.shape[2], state.theta.dtype
    chunks, k = -(-B // ROWS), min(N, M)
    per_chunk = chunk_numbers(lay, N, T, min(B, ROWS), problem.observation == AFFINE and problem.has_missing)
    shapes = [(F, S), (F, M, N), (F, N, k), (F, k), (F, k, M), (F, P), (F, 3, P), (n_threads, per_chunk)]
    partials = np.empty((F, chunks, S + max(N * M + N, 1)), kind)
    return Buffers(partials, np.empty((F, chunks)), np.empty((F, chunks), np.int64), *[np.zeros(shape, kind) for shape in shapes])


@njit(cache=True, nogil=True, inline="always")
def partial_gradient(lay, problem, state, draws, i, f, c, T, buffers, thread):
    """Chunk c of fit f in update i."""
    B = draws.windows.shape[2]
    flat = buffers.flat[f]
    noise = draws.noise[i, f] if draws.noise.shape[0] > 0 else np.empty((0, B, problem.data.shape[2]), flat.dtype)
    first = c * ROWS
    partial = buffers.partials[f, c]
    partial[:] = 0
    buffers.losses[f, c], buffers.counts[f, c] = chunk_gradient(
        lay, problem, f, state.theta[f], flat, buffers.inverse[f], draws.windows[i, f], noise, draws.alpha[i, f], first, min(ROWS, B - first), T,
        buffers.scratch[thread], partial,
    )


@njit(cache=True, nogil=True, inline="always")
def begin(lay, problem, state, f, buffers):
    prepare(lay, problem, state.theta[f], buffers.flat[f], buffers.inverse[f], buffers.U[f], buffers.s[f], buffers.Vt[f])


@njit(cache=True, nogil=True, inline="always")
def finish(lay, problem, state, draws, i, f, buffers, loss, norm):
    loss[i, f], norm[i, f] = fit_step(
        lay, problem, state, f, buffers.partials[f], buffers.losses[f], buffers.counts[f], draws.learning_rate[i, f],
        buffers.U[f], buffers.s[f], buffers.Vt[f], buffers.grad[f], buffers.fresh[f],
    )


@njit(cache=True, nogil=True)
def updates_of_thread(thread, n_threads, lay, problem, state, draws, T, buffers, loss, norm, meeting):
    """All updates of every n_threads-th fit; with fewer fits than threads every n_threads-th chunk of each update, which the first thread begins and ends."""
    F, chunks = buffers.losses.shape
    n_updates = draws.windows.shape[0]
    if n_threads <= F:
        for f in range(thread, F, n_threads):
            for i in range(n_updates):
                if state.active[f]:
                    begin(lay, problem, state, f, buffers)
                    for c in range(chunks):
                        partial_gradient(lay, problem, state, draws, i, f, c, T, buffers, thread)
                    finish(lay, problem, state, draws, i, f, buffers, loss, norm)
        return
    for i in range(n_updates):
        for f in range(F if thread == 0 else 0):
            if state.active[f]:
                begin(lay, problem, state, f, buffers)
        meet(meeting, n_threads)
        for item in range(thread, F * chunks, n_threads):
            f, c = item // chunks, item % chunks
            if state.active[f]:
                partial_gradient(lay, problem, state, draws, i, f, c, T, buffers, thread)
        meet(meeting, n_threads)
        for f in range(F if thread == 0 else 0):
            if state.active[f]:
                finish(lay, problem, state, draws, i, f, buffers, loss, norm)


def run_updates(lay, problem, state, draws, T, loss, norm):
    """n updates of every active fit, in place; loss and norm [n, F] get each update's value, NaN for a stopped fit. See problem.py for the arguments."""
    F, B = draws.windows.shape[1:3]
    n_threads = min(get_num_threads(), F * -(-B // ROWS))                       # as many as share the work
    loss[:], norm[:] = np.nan, np.nan
    buffers = make_buffers(lay, problem, state, B, T, n_threads)
    in_threads(updates_of_thread, n_threads, lay, problem, state, draws, T, buffers, loss, norm, np.zeros(2, np.int64))
