"""Sequences and maps whose codes are known exactly."""

import numpy as np
from numba import njit

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap

GOLDEN = (1 + 5**0.5) / 2
TENT = PiecewiseLinearMap(A=[2.0], W1=[[-4.0]], W2=[[1.0]], h1=[0.0], h2=[-0.5])
# x' = 1 - 1.7 |x| + y, y' = 0.5 x, with |x| = 2 relu(x) - x
LOZI = PiecewiseLinearMap(A=[[1.7, 1.0], [0.5, 0.0]], W1=[[-3.4], [0.0]], W2=[[1.0, 0.0]], h1=[1.0, 0.0], h2=[0.0])


@njit(cache=True)
def _walk(cumulative, u, start):
    out = np.empty(len(u), np.int64)
    now = start
    for t in range(len(u)):
        now = np.searchsorted(cumulative[now], u[t], side="right")
        out[t] = now
    return out


def chain(P, n, seed, start=0):
    """A path of the Markov chain with transition matrix P."""
    cumulative = np.cumsum(P, axis=1)
    cumulative[:, -1] = 1.0
    return _walk(cumulative, np.random.default_rng(seed).random(n), start)


def golden_mean(n, seed=0):
    """The chain of maximal entropy on sequences without 11: h = ln of the golden ratio."""
    return chain(np.array([[1 / GOLDEN, 1 - 1 / GOLDEN], [1.0, 0.0]]), n, seed)


@njit(cache=True)
def logistic(n, x=0.3):
    out = np.empty(n)
    for t in range(n):
        x = 4 * x * (1 - x)
        out[t] = x
    return out


@njit(cache=True)
def lozi(n):
    out = np.empty((n, 2))
    x, y = 0.1, 0.1
    for t in range(-100, n):
        x, y = 1 - 1.7 * abs(x) + y, 0.5 * x
        if t >= 0:
            out[t] = x, y
    return out
