"""The loss of a block's predictions and its gradient; the penalty on the decoder's condition number."""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.tile import ROWS, add_outer, place, product


@njit(cache=True, nogil=True)
def squared_error(prediction, x, seen, error, sums):
    """error = (prediction - x) where seen, over flat arrays; its squares are added to sums [ROWS] by row, in float64."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        error[i] = prediction[i] - x[i] if seen[i] > zero else zero             # no product: a prediction where nothing was seen may be inf
    for first in range(0, x.size, ROWS):
        for r in range(ROWS):
            sums[r] += np.float64(error[first + r]) * np.float64(error[first + r])


@njit(cache=True, nogil=True)
def identity_loss(x, seen, z, R, gz):
    """Sum of squared errors of the predictions z [n, M, ROWS] of x [n, N, ROWS] over what was seen in the first R rows; gz [n, M, ROWS] its gradient."""
    n, M, _ = gz.shape
    N = x.shape[1]
    size = N * ROWS
    x1, seen1, z1, gz1 = x.reshape((n, size)), seen.reshape((n, size)), z.reshape((n, M * ROWS)), gz.reshape((n, M * ROWS))
    sums, two = np.zeros(ROWS), x.dtype.type(2)
    gz[:] = 0
    for t in range(n):
        g = gz1[t]
        squared_error(z1[t, :size], x1[t], seen1[t], g[:size], sums)
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
    gx = np.empty((N, ROWS), x.dtype)
    all_gx, all_z = np.empty((N, T * ROWS), x.dtype), np.empty((M, T * ROWS), x.dtype)
    has_bias = problem.obs_bias >= 0
    two, zero = x.dtype.type(2), x.dtype.type(0)
    total = 0.0
    for t in range(T):
        product(B, z[t], gx)
        for n in range(N):
            bias = theta[problem.obs_bias + n] if has_bias else zero
            for r in range(ROWS):
                if r < R and seen[t, n, r] > zero:
                    error = gx[n, r] + bias - x[t, n, r]
                    total += error * error
                    gx[n, r] = two * error
                    if has_bias:
                        gobs[N * M + n] += two * error
                else:
                    gx[n, r] = zero
        product(BT, gx, gz[t])
        place(gx, all_gx, t * ROWS)
        place(z[t], all_z, t * ROWS)
    add_outer(all_gx, all_z, gobs)
    return total


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
