"""Piecewise-linear maps that tests share: random ones, and the Lozi map; published.py has numbers."""

import numpy as np

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap


def relu_map(rng, M, H, gain=1.0, A=None):
    A = rng.uniform(-0.9, 0.9, M) if A is None else A
    return PiecewiseLinearMap(A, gain * rng.standard_normal((M, H)), rng.standard_normal((H, M)), rng.standard_normal(M), rng.standard_normal(H))


def clipped_map(rng, M, H, gain=1.0, A=None):
    one = relu_map(rng, M, H, gain, A)
    return PiecewiseLinearMap(
        one.A, np.hstack([one.W1, -one.W1]), np.vstack([one.W2, one.W2]), one.h1, np.concatenate([one.h2, np.zeros(H)]), bounded=True
    )


def lozi(a=1.7, b=0.5):
    """x' = 1 - a |x| + y, y' = b x, with |x| = 2 relu(x) - x."""
    return PiecewiseLinearMap([[a, 1.0], [b, 0.0]], [[-2 * a], [0.0]], [[1.0, 0.0]], [1.0, 0.0], [0.0])
