"""One RAdam step of one fit, compiled. The truth beside it is torch.optim.RAdam, to which it is equal to rounding."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@njit(cache=True, nogil=True, error_model="numpy")
def radam_step(theta, grad, first, second, count, learning_rate, fresh):
    """Apply one step in place if all that it would write is finite; say whether it did.

    theta, grad, first, second [P]; ``count`` is the number of steps taken before; fresh [3, P] is scratch. The rectification
    and both bias corrections are computed in float64, as torch does, and rounded once.
    """
    t = count + 1
    bias1, bias2 = 1.0 - BETA1**t, 1.0 - BETA2**t
    rho_inf = 2.0 / (1.0 - BETA2) - 1.0
    rho = rho_inf - 2.0 * t * BETA2**t / bias2
    kind = theta.dtype.type
    b1, b2, c1, c2 = kind(BETA1), kind(BETA2), kind(1.0 - BETA1), kind(1.0 - BETA2)
    rectified = rho > 5.0
    scale = learning_rate / bias1
    if rectified:
        scale *= math.sqrt((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)) * math.sqrt(bias2)
    size, epsilon = kind(scale), kind(EPSILON)
    new_theta, new_first, new_second = fresh[0], fresh[1], fresh[2]
    for i in range(theta.shape[0]):                                             # without a condition, so that it is done in vectors
        m = b1 * first[i] + c1 * grad[i]
        v = b2 * second[i] + c2 * grad[i] * grad[i]
        new_first[i], new_second[i] = m, v
    if rectified:
        for i in range(theta.shape[0]):
            new_theta[i] = theta[i] - size * new_first[i] / (np.sqrt(new_second[i]) + epsilon)
    else:
        for i in range(theta.shape[0]):
            new_theta[i] = theta[i] - size * new_first[i]
    bad = 0
    for i in range(theta.shape[0]):
        bad += 0 if np.isfinite(new_theta[i]) and np.isfinite(new_first[i]) and np.isfinite(new_second[i]) else 1
    finite = bad == 0
    if finite:
        theta[:], first[:], second[:] = new_theta, new_first, new_second
    return finite
