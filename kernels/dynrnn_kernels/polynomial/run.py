"""A polynomial map along one sequence, compiled: driven by samples where there are any, by its own predictions where not. float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dynrnn_kernels.polynomial.map import PolynomialMap


@njit(cache=True, nogil=True, error_model="numpy")
def run_sequence(W, b, table, increment, drive, data, z, path):
    """path[t] is the line after step t, its first sample as predicted; where data[t] is there, it takes the prediction's place before the next step."""
    N, M, K = b.size, z.size, drive.shape[1]
    entries, old = np.ones(M + K + 1), np.empty(M)
    for t in range(path.shape[0]):
        entries[:M] = z
        if K > 0:
            entries[M : M + K] = drive[t]
        old[:] = z
        for i in range(M - 1, N - 1, -1):
            z[i] = z[i - N]
        for c in range(N):
            z[c] = b[c] + (old[c] if increment else 0.0)
        for p in range(table.shape[0]):
            value = 1.0
            for k in range(table.shape[1]):
                value *= entries[table[p, k]]
            for c in range(N):
                z[c] += W[c, p] * value
        path[t] = z
        for c in range(N):
            if t < data.shape[0] and data[t, c] == data[t, c]:
                z[c] = data[t, c]


def run(
    map: PolynomialMap, fit: int, state: np.ndarray, n_steps: int, data: np.ndarray | None = None, inputs: np.ndarray | None = None,
    path: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Lines of samples after each step, the newest as predicted [n_steps, M], and the line [M] after the last.

    state : the line before the first step. data [up to n_steps, N], NaN where there is none, takes the place of predictions; inputs [n_steps, K].
    path : where the first result goes.
    """
    W, b = (x[fit].detach().numpy() for x in (map.W, map.b))
    path, now = np.empty((n_steps, map.latent_dim)) if path is None else path, np.array(state, dtype=np.float64)
    drive = np.empty((n_steps, 0)) if inputs is None else np.ascontiguousarray(inputs, dtype=np.float64)
    data = np.empty((0, len(b))) if data is None else np.ascontiguousarray(data, dtype=np.float64)
    compiled: Any = run_sequence
    compiled(np.ascontiguousarray(W), np.ascontiguousarray(b), map.table.numpy(), map.increment, drive, data, now, path)
    return path, now
