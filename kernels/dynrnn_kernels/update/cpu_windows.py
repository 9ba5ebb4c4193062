"""What a window of the data says in a block of steps: samples, what was seen, where the state starts and what it is forced to."""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import spread
from dynrnn_kernels.additive.tile import ROWS, product
from dynrnn_kernels.update.problem import AFFINE


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
def gather(problem, f, windows, noise, first, begin, x, seen):
    """The rows' samples from ``begin`` on with observation noise: x [steps + 1, N, ROWS] with missing entries 0, seen (1 or 0) likewise.

    Rows past the batch repeat the chunk's first one. Returns how many entries were seen after the first sample, in rows of the batch.
    """
    samples, N, _ = x.shape
    B = windows.shape[0]
    level = problem.noise_level[f]
    noisy = noise.shape[0] > 0 and level > 0
    zero, one = x.dtype.type(0), x.dtype.type(1)
    seen[:] = one
    count = 0
    for r in range(ROWS):
        row = first + r if first + r < B else first
        start = windows[row, 1] + begin
        sequence = problem.data[windows[row, 0], start : start + samples]
        for t in range(samples):
            for n in range(N):
                x[t, n, r] = sequence[t, n]
        if noisy:
            for t in range(samples):
                for n in range(N):
                    x[t, n, r] += level * noise[begin + t, row, n]
        missing = 0
        if problem.has_missing:
            for t in range(samples):
                for n in range(N):
                    if x[t, n, r] != x[t, n, r]:
                        x[t, n, r], seen[t, n, r] = zero, zero
                        if t > 0:
                            missing += 1
        if first + r < B:
            count += (samples - 1) * N - missing
    return count


@njit(cache=True, nogil=True)
def gather_inputs(problem, windows, first, begin, u):
    """u [steps, K, ROWS]: the inputs that act in the steps from ``begin`` on."""
    for r in range(ROWS):
        row = first + r if first + r < windows.shape[0] else first
        trial, start = windows[row, 0], windows[row, 1] + begin
        for t in range(u.shape[0]):
            for k in range(u.shape[1]):
                u[t, k, r] = problem.inputs[trial, start + t + 1, k]


@njit(cache=True, nogil=True)
def first_state(problem, f, theta, inverse, x, seen, z):
    """z [M, ROWS] from the window's first sample x [N, ROWS], with the channel's mean where that is missing."""
    N, M = x.shape[0], z.shape[0]
    start = np.empty((N, ROWS), x.dtype)
    for n in range(N):
        bias = theta[problem.obs_bias + n] if problem.obs_bias >= 0 else x.dtype.type(0)
        for r in range(ROWS):
            start[n, r] = (x[n, r] if seen[n, r] > 0 else problem.channel_mean[f, n]) - bias
    if problem.observation == AFFINE:
        product(inverse, start, z)
        return
    L = theta[problem.obs_weight : problem.obs_weight + (M - N) * N].reshape((M - N, N))
    z[:N] = start
    for m in range(M - N):
        for r in range(ROWS):
            total = x.dtype.type(0)
            for n in range(N):
                total += L[m, n] * start[n, r]
            z[N + m, r] = total


@njit(cache=True, nogil=True)
def identity_targets(problem, f, alpha, begin, x, seen, target, weight):
    """Observed units are forced where they were seen."""
    T, M, _ = target.shape
    N = x.shape[1]
    zero = x.dtype.type(0)
    if M > N:
        target[:, N:] = zero
        weight[:, N:] = zero
    size = N * ROWS
    unit = np.empty((N, ROWS), x.dtype)
    spread(problem.unit[:N], unit)
    unit1, x1, seen1 = unit.reshape(size), x.reshape((x.shape[0], size)), seen.reshape((x.shape[0], size))
    target1, weight1 = target.reshape((T, M * ROWS)), weight.reshape((T, M * ROWS))
    for t in range(T):
        pull = alpha * problem.gate[f, begin + t]
        to, w, value, known = target1[t], weight1[t], x1[t], seen1[t]
        for i in range(size):
            to[i] = value[i]
        for i in range(size):
            w[i] = pull * unit1[i] * known[i]


@njit(cache=True, nogil=True)
def affine_targets(problem, f, theta, inverse, alpha, begin, x, seen, target, weight):
    """All units are forced to pinv(B) (x - b); where channels are missing, to the pseudo-inverse of the rows seen if that is unique, else not at all."""
    T, M, _ = target.shape
    N = x.shape[1]
    zero = x.dtype.type(0)
    centred = np.empty((N, ROWS), x.dtype)
    B = theta[problem.obs_weight : problem.obs_weight + N * M].reshape((N, M))
    rows = np.empty(N, np.int64)
    for t in range(T):
        for n in range(N):
            bias = theta[problem.obs_bias + n] if problem.obs_bias >= 0 else zero
            for r in range(ROWS):
                centred[n, r] = x[t, n, r] - bias
        product(inverse, centred, target[t])
        pull = alpha * problem.gate[f, begin + t]
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
