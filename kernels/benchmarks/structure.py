"""What do native products of structured matrices save, beside the same matrix written out, on one core? Prints two tables.

    python kernels/benchmarks/structure.py [--quick] [--updates]         # --updates: the second table alone

Products: every column is (time of the dense product) / (time of the native one), both in float32 and in turns: for the product with a chunk
of 8 rows, for the transposed product, for the sum of outer products over a block of the reverse pass, and for all that a step of an update
takes: the product twice (once in the reverse pass), the transposed product once and its share of the sum of outer products.

Whole updates: z' = c phi(W2 z + h2) + h1 with c a Scalar, so the dense map has two dense matrices. Both ways train the same few parameters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numba import njit
from peers import make_draws, make_problem, series
from timing import Run, header, number, ratio, row, title
from timing import in_turns as runs_in_turns

from dynrnn_kernels.additive import AdditiveMap, Block, Circulant, Scalar, Sparse, Structure
from dynrnn_kernels.additive.layout import cpu_layout, pack, unpack
from dynrnn_kernels.additive.pattern import storage
from dynrnn_kernels.additive.structured import (
    add_block_outer,
    add_circulant_outer,
    add_sparse_outer,
    block_product,
    circulant_product,
    sparse_product,
    unroll,
)
from dynrnn_kernels.additive.tile import ROWS, add_outer, product
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.update import State, run_updates

STEPS = 8                                      # of a block of the reverse pass, as cpu.steps_per_block has it for many hidden units
TURNS, SECONDS = (2, 0.0001) if "--quick" in sys.argv else (15, 0.01)
Call = tuple[Callable, tuple]                  # function of (operands, repeats)


@njit(nogil=True)
def dense_product(W, x, out, n):
    for _ in range(n):
        product(W, x, out)


@njit(nogil=True)
def dense_outer(A, B, out, n):
    for _ in range(n):
        add_outer(A, B, out)


@njit(nogil=True)
def of_blocks(blocks, count, x, out, n):
    for _ in range(n):
        block_product(blocks, count, x, out)


@njit(nogil=True)
def outer_of_blocks(A, B, count, out, n):
    for _ in range(n):
        add_block_outer(A, B, count, out)


@njit(nogil=True)
def of_sparse(values, start, columns, x, out, n):
    for _ in range(n):
        sparse_product(values, start, columns, x, out)


@njit(nogil=True)
def outer_of_sparse(A, B, start, columns, out, n):
    for _ in range(n):
        add_sparse_outer(A, B, start, columns, out)


@njit(nogil=True)
def of_channels(values, index, x, size, unrolled, out, n):
    for _ in range(n):
        unroll(x, size, index[0], index[1], unrolled)
        circulant_product(values, index[2:], unrolled, size, out)


@njit(nogil=True)
def outer_of_channels(A, B, index, size, unrolled, out, n):
    for _ in range(n):
        unroll(B, size, index[0], index[1], unrolled)
        add_circulant_outer(A, unrolled, index[2:], size, out)


def in_turns(*calls: Call) -> list[float]:
    """Seconds of each, the medians over turns of about SECONDS."""
    repeats = []
    for run, operands in calls:
        run(*operands, 1)
        began = time.perf_counter()
        run(*operands, 5)
        repeats.append(max(1, int(5 * SECONDS / (time.perf_counter() - began))))
    times = np.empty((TURNS, len(calls)))
    for turn in range(TURNS):
        for k, (run, operands) in enumerate(calls):
            began = time.perf_counter()
            run(*operands, repeats[k])
            times[turn, k] = (time.perf_counter() - began) / repeats[k]
    return np.median(times, 0).tolist()


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def report(name: str, size: int, share: float, apply: Call, back: Call, outer: Call) -> None:
    """One row: the native calls against the dense ones for a square matrix of ``size``."""
    W, x, A = floats(size, size), floats(size, ROWS), floats(size, STEPS * ROWS)
    dense = [(dense_product, (W, x, np.empty_like(x))), (dense_outer, (A, A.copy(), np.zeros(size * size, np.float32)))]
    d, o, p, t, s = in_turns(*dense, apply, back, outer)
    update = ratio(3 * d + o / STEPS, 2 * p + t + s / STEPS)
    print(row(name, size, number(100 * share, 2, " %"), number(1e6 * d), ratio(d, p), ratio(d, t), ratio(o, s), update), flush=True)


def blocks(count: int, side: int) -> None:
    size = count * side
    values, x, A = floats(count * side, side), floats(size, ROWS), floats(size, STEPS * ROWS)
    one = (of_blocks, (values, count, x, np.empty_like(x)))
    report(f"{count} blocks of {side}", size, 1 / count, one, one, (outer_of_blocks, (A, A.copy(), count, np.zeros(values.size, np.float32))))


def sparse(size: int, density: float) -> None:
    rows, columns = (np.ascontiguousarray(i) for i in np.nonzero(np.random.default_rng(1).random((size, size)) < density))
    values, x, A = floats(rows.size), floats(size, ROWS), floats(size, STEPS * ROWS)

    def product_of(index: np.ndarray, other: np.ndarray) -> Call:
        start = np.r_[0, np.cumsum(np.bincount(index, minlength=size))]
        return of_sparse, (values, start, other, x, np.empty_like(x))

    order = np.argsort(columns, kind="stable")
    start: Any = np.r_[0, np.cumsum(np.bincount(rows, minlength=size))]
    outer = (outer_of_sparse, (A, A.copy(), start, columns, np.zeros_like(values)))
    report(f"sparse, density {density}", size, density, product_of(rows, columns), product_of(columns[order], rows[order]), outer)


def ring(count: int, places: int, taps: int) -> Circulant:
    return Circulant(torch.tensor(0.1 * floats(1, count, count, taps)), places, tuple(range(-(taps // 2), taps - taps // 2)))


def channels(count: int, places: int, taps: int) -> None:
    """Wave-RNN: shifts around 0, or all places."""
    size = count * places
    index = storage(ring(count, places, taps))[3].numpy()
    longest, x, A, values = count * int(index[1]), floats(size, ROWS), floats(size, STEPS * ROWS), floats(count, count * taps)
    one = (of_channels, (values, index, x, places, floats(longest, ROWS), np.empty_like(x)))
    outer = (outer_of_channels, (A, A.copy(), index, places, floats(longest, STEPS * ROWS), np.zeros_like(values)))
    report(f"{count} channels x {places}, {taps} taps", size, taps / places, one, one, outer)


def updates(name: str, W2: Structure, T: int, B: int = 16) -> None:
    """One row: a whole update, native and written out."""
    M = W2.shape[1]
    map = AdditiveMap(a=None, W1=Scalar(torch.full((1, 1), 0.5), M), h1=torch.zeros(1, M), W2=W2, h2=torch.zeros(1, M))
    x = series(M, 4 * T + 1)
    problem, fresh = make_problem(map, x, T)
    places = unpack(torch.arange(1.0, 1 + fresh.theta.shape[1], dtype=torch.float64)[None], map)

    def run_of(way: AdditiveMap, of_entries: torch.Tensor) -> Run:
        fill = of_entries[0].numpy().astype(np.int64) - 1
        lay, given = cpu_layout(way), problem._replace(fill=fill, constant=np.zeros(fill.size, np.float32))
        state, g = State(*(part.copy() for part in fresh)), np.random.default_rng(1)

        def run(n: int) -> tuple[float, float]:
            loss, draws = np.empty((n, 1)), make_draws(g, n, 1, M, B, T, x)
            with one_blas_thread():
                began = time.perf_counter()
                run_updates(lay, given, state, draws, T, loss, np.empty((n, 1)))
                took = time.perf_counter() - began
            if state.refused.any():
                raise FloatingPointError("a step was refused, so these times mean nothing: training diverged")
            return took / n, float(loss[0, 0])

        return run

    ways = {"native": run_of(map, pack(places)), "written out": run_of(map.written_out(), pack(places.written_out()))}
    times = runs_in_turns(ways, *((0.02, 2) if "--quick" in sys.argv else (0.3, 9)))
    native, dense = times["native"], times["written out"]
    apart, spread = abs(native.first_loss / dense.first_loss - 1), max(native.spread, dense.spread)
    print(row(name, M, number(dense.ms), number(native.ms), ratio(dense.ms, native.ms), f"{apart:.0e}", f"{100 * spread:.0f} %"), flush=True)


def scattered(size: int, density: float) -> Sparse:
    rows, columns = np.nonzero(np.random.default_rng(1).random((size, size)) < density)
    return Sparse(torch.tensor(0.1 * floats(1, rows.size)), torch.tensor(rows), torch.tensor(columns), size, size)


def main() -> None:
    print(header() + "\n")
    if "--updates" not in sys.argv:
        products()
    T = 20 if "--quick" in sys.argv else 100
    numba.set_num_threads(1)
    print(title("W2", "size", "update, written out [ms]", "native [ms]", "ratio", "first losses apart", "quartiles apart"))
    updates("8 blocks of 16", Block(torch.tensor(0.1 * floats(1, 8, 16, 16))), T)
    updates("sparse, density 0.1", scattered(100, 0.1), T)
    updates("sparse, density 0.033", scattered(512, 0.033), T)
    updates("1 channel x 100, 3 taps", ring(1, 100, 3), T)
    updates("6 channels x 100, 3 taps", ring(6, 100, 3), T)


def products() -> None:
    print(title("structure", "size", "entries", "dense product [us]", "product", "transposed", "outer", "all of a step"))
    for count, side in ((2, 16), (8, 16), (16, 32), (32, 32)):
        blocks(count, side)
    for size in (100, 300, 1000):
        sparse(size, 0.1)
    sparse(512, 0.033)
    for count, places, taps in ((1, 100, 3), (6, 100, 3), (16, 256, 3), (27, 100, 3), (1, 100, 100), (1, 500, 500), (5, 100, 100)):
        channels(count, places, taps)
    print()


if __name__ == "__main__":
    main()
