"""Whole updates on a CPU, compiled: no Python between one update and the next.

Threads share out the fits, or the chunks of batch rows where there are fewer fits than threads. Partial gradients are added in the
order of their chunks either way, so the bits do not depend on the number of threads or on which other fits are trained beside.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from dynrnn_kernels.additive.cpu import ROWS, chunk_backward, chunk_forward, scratch_size, steps_per_block
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
    """The rows' windows with observation noise: x [T + 1, R, N], missing entries 0 and marked in seen; how many of T targets are seen."""
    steps, R, N = x.shape
    level = problem.noise_level[f]
    zero = x.dtype.type(0)
    count = 0
    for r in range(R):
        trial, start = windows[first + r, 0], windows[first + r, 1]
        for t in range(steps):
            for n in range(N):
                value = problem.data[trial, start + t, n]
                ok = value == value
                seen[t, r, n] = ok
                x[t, r, n] = value if ok else zero
                if ok and t > 0:
                    count += 1
    if noise.shape[0] > 0 and level > zero:
        for t in range(steps):
            for r in range(R):
                for n in range(N):
                    if seen[t, r, n]:
                        x[t, r, n] += level * noise[t, first + r, n]
    return count


@njit(cache=True, nogil=True)
def identity_targets(problem, f, theta, alpha, x, seen, z0, target, weight):
    """Observed units are forced where they were seen; the others start from L x."""
    T, R, M = target.shape
    N = x.shape[2]
    L = theta[problem.obs_weight : problem.obs_weight + (M - N) * N].reshape((M - N, N))
    zero = x.dtype.type(0)
    for t in range(T):
        pull = alpha * problem.gate[f, t]
        for r in range(R):
            for m in range(M):
                if m < N and seen[t, r, m]:
                    target[t, r, m] = x[t, r, m]
                    weight[t, r, m] = pull * problem.unit[m]
                else:
                    target[t, r, m] = zero
                    weight[t, r, m] = zero
    for r in range(R):
        for n in range(N):
            z0[r, n] = x[0, r, n] if seen[0, r, n] else problem.channel_mean[f, n]
        for m in range(M - N):
            total = zero
            for n in range(N):
                total += L[m, n] * z0[r, n]
            z0[r, N + m] = total


@njit(cache=True, nogil=True)
def affine_targets(problem, f, theta, inverse, alpha, x, seen, z0, target, weight):
    """All units are forced to pinv(B) (x - b); where channels are missing, to the pseudo-inverse of the rows seen if that is unique, else not at all."""
    T, R, M = target.shape
    N = x.shape[2]
    zero = x.dtype.type(0)
    bias = np.zeros(N, x.dtype)
    if problem.obs_bias >= 0:
        bias[:] = theta[problem.obs_bias : problem.obs_bias + N]
    centred = np.empty((T, R, N), x.dtype)
    for t in range(T):
        pull = alpha * problem.gate[f, t]
        for r in range(R):
            for n in range(N):
                centred[t, r, n] = x[t, r, n] - bias[n]
            for m in range(M):
                weight[t, r, m] = pull * problem.unit[m]
    np.dot(centred.reshape((T * R, N)), inverse.T, target.reshape((T * R, M)))
    start = np.empty((R, N), x.dtype)
    for r in range(R):
        for n in range(N):
            start[r, n] = (x[0, r, n] if seen[0, r, n] else problem.channel_mean[f, n]) - bias[n]
    np.dot(start, inverse.T, z0)
    if not problem.has_missing:
        return
    B = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
    rows = np.empty(N, np.int64)
    for r in range(R):
        for t in range(T):
            k = 0
            for n in range(N):
                if seen[t, r, n]:
                    rows[k] = n
                    k += 1
            if k == N:
                continue
            unique = k >= M
            if unique:
                part = np.empty((k, M), x.dtype)
                for i in range(k):
                    part[i] = B[rows[i]]
                partial, unique, _, _, _ = pseudo_inverse(part)
            for m in range(M):
                total = zero
                if unique:
                    for i in range(k):
                        total += partial[m, i] * centred[t, r, rows[i]]
                else:
                    weight[t, r, m] = zero
                target[t, r, m] = total


@njit(cache=True, nogil=True)
def identity_loss(x, seen, z, gz):
    """Sum of squared errors of the unforced predictions over what was seen; gz its gradient."""
    T, R, _ = gz.shape
    N = x.shape[2]
    two = x.dtype.type(2)
    gz[:] = 0
    total = 0.0
    for t in range(T):
        for r in range(R):
            for n in range(N):
                if seen[t + 1, r, n]:
                    error = z[t + 1, r, n] - x[t + 1, r, n]
                    total += error * error
                    gz[t, r, n] = two * error
    return total


@njit(cache=True, nogil=True)
def affine_loss(problem, theta, x, seen, z, gz, gobs):
    """The same through x = B z + b; gobs [N * M (+ N)] gets the gradient of B and b."""
    T, R, M = gz.shape
    N = x.shape[2]
    B = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
    states = z[1:].reshape((T * R, M))
    gx = np.empty((T * R, N), x.dtype)
    np.dot(states, B.T, gx)
    has_bias = problem.obs_bias >= 0
    two, zero = x.dtype.type(2), x.dtype.type(0)
    total = 0.0
    for t in range(T):
        for r in range(R):
            for n in range(N):
                i = t * R + r
                if seen[t + 1, r, n]:
                    error = gx[i, n] - x[t + 1, r, n]
                    if has_bias:
                        error += theta[problem.obs_bias + n]
                    total += error * error
                    gx[i, n] = two * error
                    if has_bias:
                        gobs[N * M + n] += two * error
                else:
                    gx[i, n] = zero
    np.dot(gx, B, gz.reshape((T * R, M)))
    product = np.empty((N, M), x.dtype)
    np.dot(gx.T, states, product)
    gobs[: N * M] += product.reshape(N * M)
    return total


@njit(cache=True, nogil=True)
def chunk_gradient(lay, problem, f, theta, flat, inverse, windows, noise, alpha, first, R, T, partial):
    """Add this chunk's sum of squared errors, count and unscaled gradient to partial = [map S | observation | loss]; return the count."""
    kind = theta.dtype
    N, M, K, H = problem.data.shape[2], lay.M, lay.K, lay.H
    x, seen = np.empty((T + 1, R, N), kind), np.empty((T + 1, R, N), np.bool_)
    z, zt, gz = np.empty((T + 1, R, M), kind), np.empty((T, R, M), kind), np.empty((T, R, M), kind)
    target, weight = np.empty((T, R, M), kind), np.empty((T, R, M), kind)
    u = np.empty((T, R, K), kind)
    count = gather(problem, f, windows, noise, first, x, seen)
    for r in range(R):
        trial, start = windows[first + r, 0], windows[first + r, 1]
        for t in range(T):
            for k in range(K):
                u[t, r, k] = problem.inputs[trial, start + t + 1, k]
    if problem.observation == AFFINE:
        affine_targets(problem, f, theta, inverse, alpha, x, seen, z[0], target, weight)
    else:
        identity_targets(problem, f, theta, alpha, x, seen, z[0], target, weight)
    hidden = np.empty((5, steps_per_block(R, H) * R, H), kind)
    chunk_forward(flat, lay, z, zt, target, weight, u, hidden[0, :R], hidden[1, :R], hidden[2, :R], np.empty((R, M), kind))
    S = lay.size
    if problem.observation == AFFINE:
        loss = affine_loss(problem, theta, x, seen, z, gz, partial[S:])
    else:
        loss = identity_loss(x, seen, z, gz)
    lam, none = np.empty((R, M), kind), np.empty((0, R, M), kind)
    chunk_backward(flat, lay, zt, weight, gz, u, lam, none, False, np.empty((T, R, K), kind), hidden, np.empty(scratch_size(lay, R), kind), partial[:S])
    if problem.observation != AFFINE:
        for r in range(R):
            for m in range(M - N):
                for n in range(N):
                    partial[S + m * N + n] += lam[r, N + m] * z[0, r, n]
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
        if radam_step(theta, grad, state.first[f], state.second[f], state.count[f], learning_rate, fresh):
            state.count[f] += 1
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


@njit(cache=True, nogil=True)
def prepare(lay, problem, theta, flat, inverse, U, s, Vt):
    """The map's flat vector and, for an affine decoder, its pseudo-inverse and singular vectors, from one fit's parameters."""
    for j in range(lay.size):
        flat[j] = theta[problem.fill[j]] if problem.fill[j] >= 0 else problem.constant[j]
    if problem.observation == AFFINE:
        N, M = problem.data.shape[2], lay.M
        decoder = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
        inverse[:], _, U[:], s[:], Vt[:] = pseudo_inverse(decoder)


@njit(cache=True, nogil=True)
def partial_gradient(lay, problem, state, draws, i, f, c, flat, inverse, T, partials, losses, counts):
    """Chunk c of fit f in update i."""
    B = draws.windows.shape[2]
    noise = draws.noise[i, f] if draws.noise.shape[0] > 0 else np.empty((0, B, problem.data.shape[2]), flat.dtype)
    first = c * ROWS
    partials[c] = 0
    losses[c], counts[c] = chunk_gradient(
        lay, problem, f, state.theta[f], flat, inverse, draws.windows[i, f], noise, draws.alpha[i, f], first, min(ROWS, B - first), T, partials[c]
    )


@njit(cache=True, nogil=True, parallel=True)
def run_updates_over(by_fit, lay, problem, state, draws, T, loss, norm):
    """See ``run_updates``. ``by_fit``: threads share out fits, each of which runs all its updates with no barrier; else chunks of each update."""
    n, F, B, _ = draws.windows.shape
    S, P = lay.size, state.theta.shape[1]
    N, M = problem.data.shape[2], lay.M
    kind = state.theta.dtype
    per_fit = (B + ROWS - 1) // ROWS
    partials = np.empty((F, per_fit, S + max(N * M + N, 1)), kind)
    losses, counts = np.empty((F, per_fit)), np.empty((F, per_fit), np.int64)
    flat = np.empty((F, S), kind)
    k = min(N, M)
    inverse = np.zeros((F, M, N), kind)
    U, s, Vt = np.zeros((F, N, k), kind), np.ones((F, k), kind), np.zeros((F, k, M), kind)
    grad, fresh = np.empty((F, P), kind), np.empty((F, 3, P), kind)
    loss[:], norm[:] = np.nan, np.nan
    if by_fit:
        for f in prange(F):
            for i in range(n):
                if state.active[f]:
                    prepare(lay, problem, state.theta[f], flat[f], inverse[f], U[f], s[f], Vt[f])
                    for c in range(per_fit):
                        partial_gradient(lay, problem, state, draws, i, f, c, flat[f], inverse[f], T, partials[f], losses[f], counts[f])
                    loss[i, f], norm[i, f] = fit_step(
                        lay, problem, state, f, partials[f], losses[f], counts[f], draws.learning_rate[i, f], U[f], s[f], Vt[f], grad[f], fresh[f]
                    )
        return
    for i in range(n):
        for f in range(F):
            if state.active[f]:
                prepare(lay, problem, state.theta[f], flat[f], inverse[f], U[f], s[f], Vt[f])
        for item in prange(F * per_fit):
            f, c = item // per_fit, item % per_fit
            if state.active[f]:
                partial_gradient(lay, problem, state, draws, i, f, c, flat[f], inverse[f], T, partials[f], losses[f], counts[f])
        for f in range(F):
            if state.active[f]:
                loss[i, f], norm[i, f] = fit_step(
                    lay, problem, state, f, partials[f], losses[f], counts[f], draws.learning_rate[i, f], U[f], s[f], Vt[f], grad[f], fresh[f]
                )


def run_updates(lay, problem, state, draws, T, loss, norm):
    """n updates of every active fit, in place; loss and norm [n, F] get each update's value, NaN for a stopped fit. See problem.py for the arguments."""
    F, B = draws.windows.shape[1:3]
    by_fit = get_num_threads() <= F or B <= ROWS
    run_updates_over(by_fit, lay, problem, state, draws, T, loss, norm)
