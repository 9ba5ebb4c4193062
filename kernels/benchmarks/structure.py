"""What would a native kernel for structured matrices save, beside the dense tile on the same matrix written out, on one core? Prints a table.

    python kernels/benchmarks/structure.py [--quick]

Every column is (time of the dense product) / (time of the native one), both in float32 and in turns: for the product with a chunk
of 8 rows, for the transposed product, for the sum of outer products over a block of the reverse pass, and for an update, where a step
takes the product twice (once in the reverse pass), the transposed product once and its share of the sum of outer products.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from timing import header, number, ratio, row, title

from dynrnn_kernels.additive.structured import (
    add_block_outer,
    add_circulant_outer,
    add_sparse_outer,
    block_product,
    circulant_product,
    ring_windows,
    sparse_product,
    unroll,
)
from dynrnn_kernels.additive.tile import ROWS, add_outer, product

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
def of_blocks(blocks, x, out, n):
    for _ in range(n):
        block_product(blocks, x, out)


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
def of_channels(values, windows, shifts, x, size, unrolled, out, n):
    for _ in range(n):
        unroll(x, shifts, size, unrolled)
        circulant_product(values, windows, unrolled, size, out)


@njit(nogil=True)
def outer_of_channels(A, B, windows, shifts, size, unrolled, out, n):
    for _ in range(n):
        unroll(B, shifts, size, unrolled)
        add_circulant_outer(A, unrolled, windows, size, out)


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
    values, x, A = floats(count, side, side), floats(size, ROWS), floats(size, STEPS * ROWS)
    one = (of_blocks, (values, x, np.empty_like(x)))
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


def channels(count: int, places: int, taps: int) -> None:
    """Wave-RNN: shifts around 0, or all places."""
    size, shifts = count * places, np.arange(taps) - taps // 2
    longest, windows = count * (places + taps - 1), ring_windows(shifts, count, places)
    x, A, values = floats(size, ROWS), floats(size, STEPS * ROWS), floats(count, count * taps)
    one = (of_channels, (values, windows, shifts, x, places, floats(longest, ROWS), np.empty_like(x)))
    outer = (outer_of_channels, (A, A.copy(), windows, shifts, places, floats(longest, STEPS * ROWS), np.zeros_like(values)))
    report(f"{count} channels x {places}, {taps} taps", size, taps / places, one, one, outer)


def main() -> None:
    print(header() + "\n")
    print(title("structure", "size", "entries", "dense product [us]", "product", "transposed", "outer", "update"))
    for count, side in ((2, 16), (8, 16), (16, 32), (32, 32)):
        blocks(count, side)
    for size in (100, 300, 1000):
        sparse(size, 0.1)
    sparse(512, 0.033)
    for count, places, taps in ((1, 100, 3), (6, 100, 3), (16, 256, 3), (27, 100, 3), (1, 100, 100), (1, 500, 500), (5, 100, 100)):
        channels(count, places, taps)


if __name__ == "__main__":
    main()
