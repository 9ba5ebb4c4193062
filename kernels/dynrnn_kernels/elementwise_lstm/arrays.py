"""What an element-wise LSTM consists of. F fits, D inputs, n units, P outputs; a fit's parameters are one vector of Q numbers.

    A [n, 2, D + 2]       candidate z and forget gate f of a unit, on (c[t-1], 1, x): index 0 is w, 1 is b
    O [n, 1 + D + n]      output gate, on (1, x, c[t])
    R [P, n + 1]          readout, on (h, 1)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """All that changes. The fit axis comes first."""

    theta: np.ndarray     # [F, Q]
    grad: np.ndarray      # [F, Q] sum over the asked samples since the last update
    first: np.ndarray     # [F, Q] Adam's moments
    second: np.ndarray    # [F, Q]
    c: np.ndarray         # [F, n]
    S: np.ndarray         # [F, n, 2, D + 2] dc/dA
    size: np.ndarray      # [F] sum of squares of S
    told: np.ndarray      # [F] int64: samples with a target since the last update
    since: np.ndarray     # [F] int64: samples since the last update
    updates: np.ndarray   # [F] int64
    seen: np.ndarray      # [F] int64: samples so far


class Settings(NamedTuple):
    """All that does not change."""

    kind: int             # REGRESSION or CLASSIFICATION of dynrnn_kernels.columnar
    rate: np.ndarray      # [F]
    every: int            # samples from one update to the next
    clip: float           # largest norm of a gradient, inf for none


def n_parameters(D: int, n: int, P: int) -> int:
    return 2 * n * (D + 2) + n * (1 + D + n) + P * (n + 1)


def parts(theta: np.ndarray, D: int, n: int, P: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, O and R of vectors theta [..., Q], as views."""
    one, two = 2 * n * (D + 2), 2 * n * (D + 2) + n * (1 + D + n)
    lead = theta.shape[:-1]
    return theta[..., :one].reshape(*lead, n, 2, D + 2), theta[..., one:two].reshape(*lead, n, 1 + D + n), theta[..., two:].reshape(*lead, P, n + 1)


def empty_state(n_fits: int, D: int, n: int, P: int) -> State:
    F, Q = n_fits, n_parameters(D, n, P)
    theta, grad, first, second = (np.zeros((F, Q)) for _ in range(4))
    told, since, updates, seen = (np.zeros(F, np.int64) for _ in range(4))
    return State(theta, grad, first, second, np.zeros((F, n)), np.zeros((F, n, 2, D + 2)), np.zeros(F), told, since, updates, seen)
