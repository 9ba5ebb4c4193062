"""Whole updates on a CPU, compiled: no Python between one update and the next.

Threads share out the fits, or the chunks of batch rows where there are fewer fits than threads. Partial gradients are added in the
order of their chunks either way, so the bits do not depend on the number of threads or on which other fits are trained beside.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange

from dynrnn_kernels.additive.cpu import chunk_backward, chunk_forward, spread, work_size
from dynrnn_kernels.additive.tile import ROWS, add_outer, place, product
from dynrnn_kernels.radam.cpu import radam_step
from dynrnn_kernels.update.problem import AFFINE, BAD_GRADIENT, BAD_STEP


@njit(cache=True, nogil=True)
def pseudo_inverse(B):
    """pinv(B) [M, N], whether B has full column rank, its extreme singular values and their vectors."""
    U, s, Vt = np.linalg.svd(B, False)
    floor = s[0] * B.dtype.type(max(B.shape) * np.finfo(B.dtype).eps)
    inverse = np.zeros((B.shape[1], B.shape[0]), B.dtype)
    rank = 0
    for i in range(s.shape[0]):
        if s[i] > floor:
            rank += 1
            for m in range(B.shape[1]):
                for n in range(B.shape[0]):
                    inverse[m, n] += Vt[i, m] / s[i] * U[n, i]
    return inverse, rank == B.shape[1], U, s, Vt


@njit(cache=True, nogil=True)
def gather(problem, f, windows, noise, first, x, seen):
    """The rows' windows with observation noise: x [T + 1, N, ROWS] with missing entries 0, seen (1 or 0) likewise; how many of the targets are seen.

    Rows past the batch repeat the chunk's first one; their targets are not counted.
    """
    steps, N, _ = x.shape
    B = windows.shape[0]
    level = problem.noise_level[f]
    noisy = noise.shape[0] > 0 and level > 0
    zero, one = x.dtype.type(0), x.dtype.type(1)
    seen[:] = one
    count = 0
    for r in range(ROWS):
        row = first + r if first + r < B else first
        sequence = problem.data[windows[row, 0], windows[row, 1] : windows[row, 1] + steps]
        for t in range(steps):
            for n in range(N):
                x[t, n, r] = sequence[t, n]
        if noisy:
            for t in range(steps):
                for n in range(N):
                    x[t, n, r] += level * noise[t, row, n]
        missing = 0
        if problem.has_missing:
            for t in range(steps):
                for n in range(N):
                    if x[t, n, r] != x[t, n, r]:
                        x[t, n, r], seen[t, n, r] = zero, zero
                        if t > 0:
                            missing += 1
        if first + r < B:
            count += (steps - 1) * N - missing
    return count


@njit(cache=True, nogil=True)
def identity_targets(problem, f, theta, alpha, x, seen, z0, target, weight):
    """Observed units are forced where they were seen; the others start from L x."""
    T, M, _ = target.shape
    N = x.shape[1]
    L = theta[problem.obs_weight : problem.obs_weight + (M - N) * N].reshape((M - N, N))
    zero = x.dtype.type(0)
    if M > N:
        target[:, N:] = zero
        weight[:, N:] = zero
    size = N * ROWS
    unit = np.empty((N, ROWS), x.dtype)
    spread(problem.unit[:N], unit)
    unit1, x1, seen1 = unit.reshape(size), x.reshape((T + 1, size)), seen.reshape((T + 1, size))
    target1, weight1 = target.reshape((T, M * ROWS)), weight.reshape((T, M * ROWS))
    for t in range(T):
        pull = alpha * problem.gate[f, t]
        to, w, value, known = target1[t], weight1[t], x1[t], seen1[t]
        for i in range(size):
            to[i] = value[i]
        for i in range(size):
            w[i] = pull * unit1[i] * known[i]
    for n in range(N):
        for r in range(ROWS):
            z0[n, r] = x[0, n, r] if seen[0, n, r] > zero else problem.channel_mean[f, n]
    for m in range(M - N):
        for r in range(ROWS):
            total = zero
            for n in range(N):
                total += L[m, n] * z0[n, r]
            z0[N + m, r] = total


@njit(cache=True, nogil=True)
def affine_targets(problem, f, theta, inverse, alpha, x, seen, z0, target, weight):
    """All units are forced to pinv(B) (x - b); where channels are missing, to the pseudo-inverse of the rows seen if that is unique, else not at all."""
    T, M, _ = target.shape
    N = x.shape[1]
    zero = x.dtype.type(0)
    centred, start = np.empty((N, ROWS), x.dtype), np.empty((N, ROWS), x.dtype)
    B = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
    rows = np.empty(N, np.int64)
    for t in range(T):
        for n in range(N):
            bias = theta[problem.obs_bias + n] if problem.obs_bias >= 0 else zero
            for r in range(ROWS):
                centred[n, r] = x[t, n, r] - bias
                if t == 0:
                    start[n, r] = (x[0, n, r] if seen[0, n, r] > zero else problem.channel_mean[f, n]) - bias
        product(inverse, centred, target[t])
        if t == 0:
            product(inverse, start, z0)
        pull = alpha * problem.gate[f, t]
        for m in range(M):
            for r in range(ROWS):
                weight[t, m, r] = pull * problem.unit[m]
        if not problem.has_missing:
            continue
        for r in range(ROWS):
            k = 0
            for n in range(N):
                if seen[t, n, r] > zero:
                    rows[k] = n
                    k += 1
            if k == N:
                continue
            unique = k >= M
            partial = inverse
            if unique:
                part = np.empty((k, M), x.dtype)
                for i in range(k):
                    part[i] = B[rows[i]]
                partial, unique, _, _, _ = pseudo_inverse(part)
            for m in range(M):
                total = zero
                if unique:
                    for i in range(k):
                        total += partial[m, i] * centred[rows[i], r]
                else:
                    weight[t, m, r] = zero
                target[t, m, r] = total


@njit(cache=True, nogil=True)
def squared_error(prediction, x, seen, error, sums):
    """error = (prediction - x) where seen, over flat arrays; its squares are added to sums [ROWS] by row, in float64."""
    for i in range(x.size):
        error[i] = (prediction[i] - x[i]) * seen[i]
    for first in range(0, x.size, ROWS):
        for r in range(ROWS):
            sums[r] += np.float64(error[first + r]) * np.float64(error[first + r])


@njit(cache=True, nogil=True)
def identity_loss(x, seen, z, R, gz):
    """Sum of squared errors of the unforced predictions over what was seen in the first R rows; gz [T, M, ROWS] its gradient."""
    T, M, _ = gz.shape
    N = x.shape[1]
    size = N * ROWS
    x1, seen1, z1, gz1 = x.reshape((T + 1, size)), seen.reshape((T + 1, size)), z.reshape((T + 1, M * ROWS)), gz.reshape((T, M * ROWS))
    sums, two = np.zeros(ROWS), x.dtype.type(2)
    gz[:] = 0
    for t in range(T):
        g = gz1[t]
        squared_error(z1[t + 1, :size], x1[t + 1], seen1[t + 1], g[:size], sums)
        for i in range(size):
            g[i] *= two
    gz[:, :, R:] = 0
    return sums[:R].sum()


@njit(cache=True, nogil=True)
def affine_loss(problem, theta, x, seen, z, R, gz, gobs):
    """The same through x = B z + b; gobs [N * M (+ N)] gets the gradient of B and b."""
    T, M, _ = gz.shape
    N = x.shape[1]
    B = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
    BT = B.T.copy()
    block = max(1, min(T, 4096 // (ROWS * max(M, N))))
    gx = np.empty((N, ROWS), x.dtype)
    all_gx, all_z = np.zeros((N, block * ROWS), x.dtype), np.zeros((M, block * ROWS), x.dtype)
    has_bias = problem.obs_bias >= 0
    two, zero = x.dtype.type(2), x.dtype.type(0)
    total = 0.0
    for t in range(T):
        product(B, z[t + 1], gx)
        for n in range(N):
            bias = theta[problem.obs_bias + n] if has_bias else zero
            for r in range(ROWS):
                if r < R and seen[t + 1, n, r] > zero:
                    error = gx[n, r] + bias - x[t + 1, n, r]
                    total += error * error
                    gx[n, r] = two * error
                    if has_bias:
                        gobs[N * M + n] += two * error
                else:
                    gx[n, r] = zero
        product(BT, gx, gz[t])
        k = t % block
        place(gx, all_gx, k * ROWS)
        place(z[t + 1], all_z, k * ROWS)
        if k == block - 1 or t == T - 1:
            if k < block - 1:
                all_gx[:, (k + 1) * ROWS :] = 0
            add_outer(all_gx, all_z, gobs)
    return total


@njit(cache=True, nogil=True)
def chunk_size(lay, N, T):
    """Numbers of scratch that ``chunk_gradient`` wants. It is kept from update to update: fresh pages cost as much as a quarter of a small update."""
    return ((2 * N + lay.M) * (T + 1) + (4 * lay.M + 2 * lay.K) * T) * ROWS + work_size(lay)


@njit(cache=True, nogil=True)
def chunk_gradient(lay, problem, f, theta, flat, inverse, windows, noise, alpha, first, R, T, scratch, partial):
    """Add this chunk's unscaled gradient to partial = [map S | observation]; return its sum of squared errors and their count."""
    kind = theta.dtype
    N, M, K, H, S = problem.data.shape[2], lay.M, lay.K, lay.H, lay.size
    sequences = scratch[: 2 * (T + 1) * N * ROWS].reshape((2, T + 1, N, ROWS))
    x, seen = sequences[0], sequences[1]
    end = sequences.size
    z = scratch[end : end + (T + 1) * M * ROWS].reshape((T + 1, M, ROWS))
    end += z.size
    states = scratch[end : end + 4 * T * M * ROWS].reshape((4, T, M, ROWS))
    zt, gz, target, weight = states[0], states[1], states[2], states[3]
    end += states.size
    drives = scratch[end : end + 2 * T * K * ROWS].reshape((2, T, K, ROWS))
    u, gu = drives[0], drives[1]
    work = scratch[end + drives.size :]
    count = gather(problem, f, windows, noise, first, x, seen)
    if K > 0:
        for r in range(ROWS):
            row = first + r if r < R else first
            trial, start = windows[row, 0], windows[row, 1]
            for t in range(T):
                for k in range(K):
                    u[t, k, r] = problem.inputs[trial, start + t + 1, k]
    if problem.observation == AFFINE:
        affine_targets(problem, f, theta, inverse, alpha, x, seen, z[0], target, weight)
    else:
        identity_targets(problem, f, theta, alpha, x, seen, z[0], target, weight)
    chunk_forward(flat, lay, z, zt, target, weight, u, work[: 3 * H * ROWS].reshape((3, H, ROWS)))
    if problem.observation == AFFINE:
        loss = affine_loss(problem, theta, x, seen, z, R, gz, partial[S:])
    else:
        loss = identity_loss(x, seen, z, R, gz)
    lam, none = np.empty((M, ROWS), kind), np.empty((0, M, ROWS), kind)
    chunk_backward(flat, lay, zt, weight, gz, u, lam, none, False, gu, work, partial[:S])
    if problem.observation != AFFINE:
        for m in range(M - N):
            for n in range(N):
                for r in range(R):
                    partial[S + m * N + n] += lam[N + m, r] * z[0, n, r]
    return loss, count


@njit(cache=True, nogil=True)
def condition_penalty(weight, U, s, Vt, gB):
    """weight (1 - s_max / (s_min + 1e-8))^2 and its gradient, added to gB [N, M]."""
    low = s[-1] + 1e-8
    ratio = s[0] / low
    slope = -2.0 * weight * (1.0 - ratio)
    k = s.shape[0] - 1
    for n in range(gB.shape[0]):
        for m in range(gB.shape[1]):
            gB[n, m] += slope * (U[n, 0] * Vt[0, m] / low - s[0] / (low * low) * U[n, k] * Vt[k, m])
    return weight * (1.0 - ratio) ** 2


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
    shapes = [(F, S), (F, M, N), (F, N, k), (F, k), (F, k, M), (F, P), (F, 3, P), (n_threads, chunk_size(lay, N, T))]
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
def fits_of_thread(thread, n_threads, lay, problem, state, draws, T, buffers, loss, norm):
    """All updates of every n_threads-th fit."""
    for f in range(thread, state.theta.shape[0], n_threads):
        for i in range(draws.windows.shape[0]):
            if state.active[f]:
                begin(lay, problem, state, f, buffers)
                for c in range(buffers.losses.shape[1]):
                    partial_gradient(lay, problem, state, draws, i, f, c, T, buffers, thread)
                finish(lay, problem, state, draws, i, f, buffers, loss, norm)


@njit(cache=True, nogil=True)
def chunks_of_thread(thread, n_threads, lay, problem, state, draws, i, T, buffers):
    """Partial gradients of every n_threads-th chunk in update i."""
    F, chunks = buffers.losses.shape
    for item in range(thread, F * chunks, n_threads):
        f, c = item // chunks, item % chunks
        if state.active[f]:
            partial_gradient(lay, problem, state, draws, i, f, c, T, buffers, thread)


@njit(cache=True, nogil=True, inline="always")
def begin_all(lay, problem, state, buffers):
    for f in range(state.theta.shape[0]):
        if state.active[f]:
            begin(lay, problem, state, f, buffers)


@njit(cache=True, nogil=True, inline="always")
def finish_all(lay, problem, state, draws, i, buffers, loss, norm):
    for f in range(state.theta.shape[0]):
        if state.active[f]:
            finish(lay, problem, state, draws, i, f, buffers, loss, norm)


@njit(cache=True, nogil=True, parallel=True)
def run_chunks(n_threads, lay, problem, state, draws, T, buffers, loss, norm):
    """Threads share out the chunks of each update."""
    for i in range(draws.windows.shape[0]):
        begin_all(lay, problem, state, buffers)
        for thread in prange(n_threads):
            chunks_of_thread(thread, n_threads, lay, problem, state, draws, i, T, buffers)
        finish_all(lay, problem, state, draws, i, buffers, loss, norm)


def run_updates(lay, problem, state, draws, T, loss, norm):
    """n updates of every active fit, in place; loss and norm [n, F] get each update's value, NaN for a stopped fit. See problem.py for the arguments."""
    F, B = draws.windows.shape[1:3]
    n_threads = get_num_threads()
    loss[:], norm[:] = np.nan, np.nan
    buffers = make_buffers(lay, problem, state, B, T, n_threads)
    if n_threads > F and B > ROWS:
        run_chunks(n_threads, lay, problem, state, draws, T, buffers, loss, norm)
        return
    # plain threads: the compiled code holds no GIL, and a parallel region would compile all of it several times over
    with ThreadPoolExecutor(n_threads) as pool:
        jobs = [pool.submit(fits_of_thread, k, n_threads, lay, problem, state, draws, T, buffers, loss, norm) for k in range(n_threads)]
        for job in jobs:
            job.result()
