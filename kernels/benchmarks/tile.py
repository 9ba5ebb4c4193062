"""How fast are the register tiles of the additive kernel, beside the same products through BLAS, on one core? Prints a table.

    python kernels/benchmarks/tile.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import njit
from timing import header

from dynrnn_kernels.additive.tile import ROWS, add_outer, product
from dynrnn_kernels.blas import one_blas_thread

SIZES = [(3, 50), (50, 3), (20, 100), (100, 20), (5, 250), (250, 5), (20, 20), (200, 200)]


@njit(nogil=True)
def ours_product(A, B, out, n):
    for _ in range(n):
        product(A, B, out)


@njit(nogil=True)
def blas_product(A, B, out, n):
    for _ in range(n):
        np.dot(A, B, out)


@njit(nogil=True)
def ours_outer(A, B, out, n):
    for _ in range(n):
        add_outer(A, B, out)


@njit(nogil=True)
def blas_outer(A, B, out, n):
    for _ in range(n):
        out += np.dot(A, B.T).reshape(out.size)


def speed(run: Callable, operands: tuple, operations: int) -> float:
    """GFLOP/s, the best of ten runs of about a millisecond."""
    n = max(1, 20_000_000 // operations)
    run(*operands, n)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        run(*operands, n)
        times.append(time.perf_counter() - began)
    return operations * n / min(times) / 1e9


def main() -> None:
    g = np.random.default_rng(0)
    print(header() + "\n")
    print("| rows | columns | product [GFLOP/s] | BLAS | ratio | sum of outer products | BLAS | ratio |\n|---|---|---|---|---|---|---|---|")
    for n, k in SIZES:
        A, B, C, D = (g.standard_normal(s).astype(np.float32) for s in ((n, k), (k, ROWS), (n, 20 * ROWS), (k, 20 * ROWS)))
        out, total = np.zeros((n, ROWS), np.float32), np.zeros(n * k, np.float32)
        with one_blas_thread():
            a, b = (speed(f, (A, B, out), 2 * n * k * ROWS) for f in (ours_product, blas_product))
            c, d = (speed(f, (C, D, total), 2 * n * k * 20 * ROWS) for f in (ours_outer, blas_outer))
        print(f"| {n} | {k} | {a:.0f} | {b:.0f} | {a / b:.1f}x | {c:.0f} | {d:.0f} | {c / d:.1f}x |")


if __name__ == "__main__":
    main()
