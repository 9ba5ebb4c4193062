"""What a columnar network consists of. F fits, D inputs, K columns, G columns of the largest stage, P outputs.

A column reads v = (its own h[t-1], 1, inputs, features of earlier stages), the last two normalised: n = 2 + D + first numbers, ``first`` the first column of
its stage, and N = 2 + D + K - (columns of the last stage) at most. Its weights are the first 4 n numbers of a row of 4 N, gates i, f, g, o one after the other
(so that a loop over them is one); of a gate's n, index 0 is u, index 1 is b, and the rest is w of the equations. Traces lie likewise. Only
the columns that learn have traces: those of a finished stage are given up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TD, REGRESSION, CLASSIFICATION = range(3)
ASKED, RESET, SKIP = 1, 2, 4            # flags of a sample: it has a target; states and traces start from zero; it is not to be used
LARGEST = 1e30                          # of an input, a target, and the norm of all traces: squares of their products are finite still


class State(NamedTuple):
    """All that changes. The fit axis comes first."""

    W: np.ndarray         # [F, K, 4 N]
    h: np.ndarray         # [F, K]
    c: np.ndarray         # [F, K]
    C: np.ndarray         # [F, G, 4 N] dc/dW of the columns that learn
    H: np.ndarray         # [F, G, 4 N] dh/dW
    E: np.ndarray         # [F, G, 4 N] eligibility
    V: np.ndarray         # [F, G, 4 N] mean squares of what the weights are changed by
    mean: np.ndarray      # [F, D + K] of inputs and features
    var: np.ndarray       # [F, D + K]
    w: np.ndarray         # [F, P, K + 1] readout, its bias last
    e: np.ndarray         # [F, K + 1] its eligibility
    v: np.ndarray         # [F, P, K + 1]
    last: np.ndarray      # [F] prediction of the sample before
    size: np.ndarray      # [F] sum of squares of all traces
    pending: np.ndarray   # [F] int64: whether the sample before leads to the next
    seen: np.ndarray      # [F] int64: samples so far


class Settings(NamedTuple):
    """All that does not change."""

    kind: int             # TD, REGRESSION or CLASSIFICATION
    bounds: np.ndarray    # [S + 1] int64: stage s has the columns bounds[s] to bounds[s + 1]
    ends: np.ndarray      # [S] int64: the number of samples after which it is frozen, and the next begins
    rate: np.ndarray      # [F] step size of columns
    readout: np.ndarray   # [F] step size of the readout, before it is divided by the number of features
    gamma: float
    trace_decay: float    # gamma lambda
    beta: float           # of V
    decay: float          # of mean and var
    floor: float          # least variance


def by_gate(row: np.ndarray, n: int) -> np.ndarray:
    """The weights or traces of columns that read n numbers as [..., 4, n]; of one column, rows [4 N], a view."""
    return row[..., : 4 * n].reshape(*row.shape[:-1], 4, n)


def empty_state(n_fits: int, n_inputs: int, sizes: tuple[int, ...], n_outputs: int) -> State:
    """Weights and traces zero, variances and mean squares one."""
    F, D, K, P = n_fits, n_inputs, sum(sizes), n_outputs
    N, G = 2 + D + K - sizes[-1], max(sizes)
    row, readout = (F, G, 4 * N), (F, P, K + 1)
    return State(
        W=np.zeros((F, K, 4 * N)), h=np.zeros((F, K)), c=np.zeros((F, K)), C=np.zeros(row), H=np.zeros(row), E=np.zeros(row), V=np.ones(row),
        mean=np.zeros((F, D + K)), var=np.ones((F, D + K)), w=np.zeros(readout), e=np.zeros((F, K + 1)), v=np.ones(readout), last=np.zeros(F), size=np.zeros(F),
        pending=np.zeros(F, np.int64), seen=np.zeros(F, np.int64),
    )
