"""What columnar networks are compared with: a dense LSTM whose gradient is backpropagated through the last k samples only, and a linear predictor without
memory.

Both learn by the same TD(lambda), with the same normalisation of inputs and features and the same steps, so that the way of getting dy/dweights is all that
differs.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


def operations(n: int, D: int, k: int) -> int:
    """Multiplications a sample, counted as for columns: activation 1, k outer products, k - 1 products with the transposed recurrence, change 6, eligibility
    2 a weight; 9 a weight of the readout. Roots and quotients, one a weight, are not counted on either side."""
    N = n + 1 + D
    return 4 * n * N * (1 + k + 6 + 2) + (k - 1) * 4 * n * n + 9 * (n + 1)


def units_for(wanted: int, D: int, k: int) -> int:
    """The smallest number of units that takes at least the wanted operations."""
    return next(n for n in range(1, 10_000) if operations(n, D, k) >= wanted)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def backward(W, w, scale, v, gates, cells, t, k, grad, dh, dc, d):
    """grad = dy/dW through the last k samples; rings v [k, N], gates [k, 4, n], cells [k, 2, n] (c before and after) hold them."""
    n = dh.size
    grad[:] = 0.0
    for i in range(n):
        dh[i], dc[i] = w[i] * scale[i], 0.0
    for back in range(min(k, t + 1)):
        r = (t - back) % k
        for i in range(n):
            a, f, g, o = gates[r, 0, i], gates[r, 1, i], gates[r, 2, i], gates[r, 3, i]
            s = math.tanh(cells[r, 1, i])
            d[3, i] = dh[i] * s * o * (1 - o)
            dc[i] += dh[i] * o * (1 - s * s)
            d[0, i] = dc[i] * g * a * (1 - a)
            d[1, i] = dc[i] * cells[r, 0, i] * f * (1 - f)
            d[2, i] = dc[i] * a * (1 - g * g)
            dc[i] *= f
        dh[:] = 0.0
        for gate in range(4):
            for i in range(n):
                x = d[gate, i]
                for j in range(v.shape[1]):
                    grad[gate, i, j] += x * v[r, j]
                for j in range(n):
                    dh[j] += x * W[gate, i, j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def predict(W, w, x, cumulant, rate, k, gamma, td_lambda, beta, decay, floor, y):
    """y [T] of one stream x [T, D], learned as it comes. W [4, n, n + 1 + D] on (h, 1, x~); without units, n = 0, the features are the normalised inputs."""
    T, D = x.shape
    n, K = W.shape[1], w.size - 1
    mean, var = np.zeros(D + n), np.ones(D + n)
    h, c, phi, e, sq = np.zeros(n), np.zeros(n), np.ones(K + 1), np.zeros(K + 1), np.ones(K + 1)
    E, V, grad = np.zeros(W.shape), np.ones(W.shape), np.zeros(W.shape)
    v, gates, cells = np.zeros((k, n + 1 + D)), np.zeros((k, 4, n)), np.zeros((k, 2, n))
    dh, dc, d, scale = np.zeros(n), np.zeros(n), np.zeros((4, n)), np.zeros(n)
    for t in range(T):
        r = t % k
        v[r, :n], v[r, n], cells[r, 0] = h, 1.0, c
        for j in range(D):
            mean[j] = decay * mean[j] + (1 - decay) * x[t, j]
            var[j] = decay * var[j] + (1 - decay) * (x[t, j] - mean[j]) ** 2
            v[r, n + 1 + j] = (x[t, j] - mean[j]) / math.sqrt(max(var[j], floor))
        for i in range(n):
            for gate in range(4):
                total = 0.0
                for j in range(v.shape[1]):
                    total += W[gate, i, j] * v[r, j]
                gates[r, gate, i] = math.tanh(total) if gate == 2 else 1 / (1 + math.exp(-total))
            c[i] = gates[r, 1, i] * c[i] + gates[r, 0, i] * gates[r, 2, i]
            h[i] = gates[r, 3, i] * math.tanh(c[i])
            m = D + i
            mean[m] = decay * mean[m] + (1 - decay) * h[i]
            var[m] = decay * var[m] + (1 - decay) * (h[i] - mean[m]) ** 2
            scale[i] = 1 / math.sqrt(max(var[m], floor))
            phi[i] = (h[i] - mean[m]) * scale[i]
        cells[r, 1] = c
        if n == 0:
            phi[:D] = v[r, 1:]
        y[t] = np.sum(w * phi)
        backward(W, w, scale, v, gates, cells, t, k, grad, dh, dc, d)
        delta = cumulant[t] + gamma * y[t] - y[t - 1] if t else 0.0
        for gate in range(4):
            for i in range(n):
                for j in range(v.shape[1]):
                    if t:
                        change = delta * E[gate, i, j]
                        V[gate, i, j] = beta * V[gate, i, j] + (1 - beta) * change * change
                        W[gate, i, j] += rate * change / (math.sqrt(V[gate, i, j]) + 1e-8)
                    E[gate, i, j] = gamma * td_lambda * E[gate, i, j] + grad[gate, i, j]
        for m in range(K + 1):
            if t:
                change = delta * e[m]
                sq[m] = beta * sq[m] + (1 - beta) * change * change
                w[m] += rate / K * change / (math.sqrt(sq[m]) + 1e-8)
            e[m] = gamma * td_lambda * e[m] + phi[m]
