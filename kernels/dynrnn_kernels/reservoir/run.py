"""Reservoirs along one sequence, in float64: layers ``h' = keep O h + gain phi(W r + D u + b)``, ``x' = W_out h' + b_out`` of all layers' units h.

    state = [x, h of layer 1, ..., h of layer L];  before each step x is the sample where there is one (forcing weight 1), else the prediction (weight 0)

r is a stretch of the state that ends with the layer's own units: those of layers before it as they are after this step, its own as they are before it. A
single reservoir reads [x, h], a deep one's layer l [h of l - 1, h of l], units that follow a linear memory [x, m, h].

It is the additive map of the state (a chain of them) with forcing on x; what is gained here is that one sequence does not take eight lanes, that h alone is
carried through W, and that the tanh of all units is taken together. Cost O(values of W + n N) a step; memory O(n) beside the paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads

from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.reservoir import cpu
from dynrnn_kernels.threads import in_threads

DENSE_FROM = 0.25       # share of entries that are not zero from which the dense product is faster: 0.12 to 0.35 ns a number, the sparse one 0.37 to 1
SHARED_FROM = 60_000    # numbers of sparse W from which two threads share a step, whose meeting takes some microseconds where a core is not idle


@dataclass(frozen=True)
class Layer:
    """One layer's arrays, float64, n units. W [n, width] times the stretch of the state from ``reads`` to the layer's last unit; keep, gain, b [n]; the
    branch O as ``source`` [n] (O h)[i] = h[source[i]], or as ``mixing`` [n, n], or the identity; D [n, K] or None; phi is tanh or, if ``linear``, the
    identity."""

    W: np.ndarray
    keep: np.ndarray
    gain: np.ndarray
    b: np.ndarray
    reads: int = 0
    source: np.ndarray | None = None
    mixing: np.ndarray | None = None
    D: np.ndarray | None = None
    linear: bool = False


class Prepared(NamedTuple):
    """What the compiled loop takes, and whether a step can be shared by threads without changing a bit."""

    arrays: tuple[np.ndarray, ...]
    shared: bool


class Stack:
    """Arrays one after the other in a flat one."""

    def __init__(self, dtype: Any = np.float64):
        self.dtype, self.parts, self.size = dtype, [], 0

    def add(self, part: np.ndarray) -> None:
        self.parts.append(np.ravel(part))
        self.size += part.size

    def array(self) -> np.ndarray:
        return self.parts[0] if len(self.parts) == 1 else np.concatenate([np.empty(0, self.dtype), *self.parts])


@dataclass(frozen=True)
class Weights:
    """Layers, the first nearest to x; W_out [N, n] (no rows where there is none yet), b_out [N]."""

    layers: tuple[Layer, ...]
    W_out: np.ndarray
    b_out: np.ndarray

    @property
    def n_units(self) -> int:
        """Of all layers."""
        return sum(len(layer.b) for layer in self.layers)

    def prepared(self) -> Prepared:
        """W dense or by rows, branches."""
        N, first, table = len(self.b_out), 0, []
        dense, mixing, rows, source = Stack(), Stack(), Stack(), []
        starts, columns = [np.zeros(1, np.uint64)], Stack(np.uint16 if N + self.n_units <= 2**16 else np.uint32)   # what is read in each step
        for layer in self.layers:
            n, W = len(layer.b), np.ascontiguousarray(layer.W, dtype=np.float64)
            end = first + n
            if W.shape != (n, N + end - layer.reads):
                raise KernelError(f"a layer of {n} units that reads from {layer.reads} on has W of shape {(n, N + end - layer.reads)}, got {W.shape}")
            start = cpu.count_rows(W)
            sparse = int(start[-1]) < DENSE_FROM * W.size
            at = (-1 if sparse else dense.size, -1 if layer.mixing is None else mixing.size)
            table.append([first, end, layer.reads, int(layer.linear), *at, int(layer.source is not None)])
            starts.append(start[1:] * np.uint64(sparse) + np.uint64(rows.size))
            if sparse:
                values, places = np.empty(start[-1]), np.empty(start[-1], columns.dtype)
                cpu.fill_rows(W, start, layer.reads, values, places)
                rows.add(values)
                columns.add(places)
            else:
                dense.add(W)
            if layer.mixing is not None:
                mixing.add(layer.mixing)
            source.append(first + (np.arange(n) if layer.source is None else np.asarray(layer.source, dtype=np.int64)))
            first = end
        keep, gain = (np.concatenate([np.broadcast_to(getattr(layer, name), layer.b.shape) for layer in self.layers]) for name in ("keep", "gain"))
        arrays = (np.array(table), dense.array(), rows.array(), np.concatenate(starts), columns.array(), mixing.array(), np.concatenate(source), keep, gain)
        return Prepared(arrays, rows.size >= SHARED_FROM and not dense.size and not mixing.size)

    def drive(self, n_steps: int, inputs: np.ndarray | None) -> np.ndarray:
        """D u + b of all units in each step [n_steps, n], or b alone [1, n]."""
        b = np.concatenate([layer.b for layer in self.layers])
        if all(layer.D is None for layer in self.layers):
            return b[None]
        K = next(layer.D.shape[1] for layer in self.layers if layer.D is not None)
        D = np.concatenate([np.zeros((len(layer.b), K)) if layer.D is None else layer.D for layer in self.layers])
        if inputs is None or inputs.shape != (n_steps, D.shape[1]):
            raise KernelError(f"inputs of shape ({n_steps}, {D.shape[1]}) are wanted, got {None if inputs is None else inputs.shape}")
        return np.ascontiguousarray(inputs @ D.T + b)


def run(
    weights: Weights, state: np.ndarray, n_steps: int, data: np.ndarray | None = None, inputs: np.ndarray | None = None, *,
    prepared: Prepared | None = None, path: np.ndarray | None = None, share: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions before forcing and units after each step [n_steps, N + n], and the state [N + n] after the last step.

    state : [x, h] before the first step, x as it was observed. data : [up to n_steps, N], row t the sample after step t, NaN where there is none; it takes
    the place of the prediction. inputs : [n_steps, K], row t acts in step t. prepared : ``weights.prepared()``, to save it over many calls. path : where
    the first result goes. share : whether threads may share a step where that pays; results are the same to the bit.
    """
    N, n = len(weights.b_out), weights.n_units
    data = np.empty((0, N)) if data is None else np.ascontiguousarray(data, dtype=np.float64)
    if state.shape != (N + n,) or data.ndim != 2 or data.shape[1] != N or len(data) > n_steps:
        raise KernelError(f"a state of shape ({N + n},) and at most {n_steps} samples of {N} channels are wanted, got {state.shape} and {data.shape}")
    prepared = prepared or weights.prepared()
    path, last = np.empty((n_steps, N + n)) if path is None else path, np.empty(N + n)
    arrays = (*prepared.arrays, np.ascontiguousarray(weights.W_out), weights.b_out, weights.drive(n_steps, inputs), data)
    arrays = (*arrays, np.array(state, dtype=np.float64), path, last)
    compiled: Any = cpu.run_sequence
    with one_blas_thread():
        in_threads(compiled, 2 if share and prepared.shared else 1, np.zeros(2, np.int64), *arrays)
    return path, last


def at_once(jobs: Sequence[Callable[[], Any]]) -> None:
    """Runs of sequences side by side on as many threads as there are."""
    if len(jobs) < 2 or get_num_threads() < 2:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(get_num_threads()) as pool, one_blas_thread():
        for done in [pool.submit(job) for job in jobs]:
            done.result()
