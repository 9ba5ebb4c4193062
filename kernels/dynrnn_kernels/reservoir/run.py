"""A reservoir ``h' = keep O h + gain tanh(W h + W_in x + D u + b)``, ``x' = W_out h' + b_out``, along one sequence, in float64.

    state = [x, h];  before each step x is the sample where there is one (forcing weight 1), else the prediction (weight 0)

It is the additive map of the state with forcing on x; what is gained here is that one sequence does not take eight lanes, that h alone is
carried through W, and that the tanh of all units is taken together. Cost O(values of W + n N) a step; memory O(n) beside the paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.reservoir import cpu

DENSE_FROM = 0.25       # share of entries that are not zero from which the dense product is faster: 0.12 to 0.35 ns a number, the sparse one 0.46 to 1.05


@dataclass(frozen=True)
class Weights:
    """One reservoir's arrays, float64. W_whole [n, N + n] = [W_in, W]; keep, gain, b [n]; the branch O as ``source`` [n] (O h)[i] = h[source[i]], or as
    ``mixing`` [n, n]; W_out [N, n] (no rows where there is none yet), b_out [N], D [n, K] or None."""

    W_whole: np.ndarray
    keep: np.ndarray
    gain: np.ndarray
    b: np.ndarray
    W_out: np.ndarray
    b_out: np.ndarray
    source: np.ndarray | None = None
    mixing: np.ndarray | None = None
    D: np.ndarray | None = None

    def prepared(self) -> tuple[np.ndarray, ...]:
        """What the compiled loop takes: W dense or by rows, the branch."""
        n, whole = len(self.b), np.ascontiguousarray(self.W_whole, dtype=np.float64)
        sparse = np.count_nonzero(whole) < DENSE_FROM * whole.size
        dense, rows = (whole[:0], cpu.by_rows(whole)) if sparse else (whole, cpu.by_rows(whole[:0]))
        source = np.arange(n) if self.source is None else np.asarray(self.source, dtype=np.int64)
        mixing = np.empty((0, 0)) if self.mixing is None else np.ascontiguousarray(self.mixing)
        return dense, *rows, mixing, source


def run(
    weights: Weights, state: np.ndarray, n_steps: int, data: np.ndarray | None = None, inputs: np.ndarray | None = None, *, prepared: tuple | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions x [n_steps, N] before forcing, states h [n_steps, n], and the state [N + n] after the last step.

    state : [x, h] before the first step, x as it was observed. data : [up to n_steps, N], row t the sample after step t, NaN where there is none; it takes
    the place of the prediction. inputs : [n_steps, K], row t acts in step t. prepared : ``weights.prepared()``, to save it over many calls.
    """
    N, n = len(weights.b_out), len(weights.b)
    data = np.empty((0, N)) if data is None else np.ascontiguousarray(data, dtype=np.float64)
    if state.shape != (N + n,) or data.ndim != 2 or data.shape[1] != N or len(data) > n_steps:
        raise KernelError(f"a state of shape ({N + n},) and at most {n_steps} samples of {N} channels are wanted, got {state.shape} and {data.shape}")
    drive = weights.b[None]
    if weights.D is not None:
        if inputs is None or inputs.shape != (n_steps, weights.D.shape[1]):
            raise KernelError(f"inputs of shape ({n_steps}, {weights.D.shape[1]}) are wanted, got {None if inputs is None else inputs.shape}")
        drive = inputs @ weights.D.T + weights.b
    x_path, h_path, now = np.empty((n_steps, N)), np.empty((n_steps, n)), np.array(state, dtype=np.float64)
    arrays = (*(prepared or weights.prepared()), weights.keep, weights.gain, np.ascontiguousarray(weights.W_out), weights.b_out)
    arrays = (*arrays, np.ascontiguousarray(drive), data, now, x_path, h_path)
    compiled: Any = cpu.run_sequence
    with one_blas_thread():
        compiled(*arrays)
    return x_path, h_path, now
