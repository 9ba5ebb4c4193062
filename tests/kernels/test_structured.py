"""Compiled products of structured matrices against the written-out ones, at every remainder of their tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynrnn_kernels.additive import Block, Circulant, Permutation, Sparse
from dynrnn_kernels.additive.pattern import storage
from dynrnn_kernels.additive.structured import (
    add_block_outer,
    add_circulant_outer,
    add_permutation_outer,
    add_sparse_outer,
    block_product,
    circulant_product,
    permutation_product,
    sparse_product,
    unroll,
)
from dynrnn_kernels.additive.tile import ROWS

DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])    # eps times sqrt of the longest sum, margin 10
COLUMNS = 3 * ROWS


def close(got, want, tolerance):
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=20 * tolerance)


def random(g, dtype, *shapes):
    return [g.standard_normal(shape).astype(dtype) for shape in shapes]


def dense(structure):
    return structure.dense()[0].numpy()


@DTYPES
@pytest.mark.parametrize(("n", "h", "m"), [(1, 1, 1), (3, 4, 7), (2, 13, 5), (5, 3, 1)])
def test_blocks(n, h, m, dtype, tolerance):
    g = np.random.default_rng(0)
    blocks, x, r = random(g, dtype, (n, h, m), (n * m, ROWS), (n * h, ROWS))
    W = dense(Block(torch.tensor(blocks)[None]))
    out, back = np.full((n * h, ROWS), np.nan, dtype), np.full((n * m, ROWS), np.nan, dtype)
    block_product(blocks.reshape(n * h, m), n, x, out)
    block_product(np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(n * m, h), n, r, back)
    close(out, W @ x, tolerance)
    close(back, W.T @ r, tolerance)
    A, B, total = random(g, dtype, (n * h, COLUMNS), (n * m, COLUMNS), (n * h * m,))
    want = total.reshape(n, h, m) + np.stack([(A @ B.T)[b * h : (b + 1) * h, b * m : (b + 1) * m] for b in range(n)])
    add_block_outer(A, B, n, total)
    close(total.reshape(n, h, m), want, tolerance)


@DTYPES
@pytest.mark.parametrize(("n", "m", "density"), [(1, 1, 1.0), (7, 5, 0.0), (23, 31, 0.15), (9, 40, 0.6), (3, 17, 1.0)])
def test_sparse(n, m, density, dtype, tolerance):
    """Rows of every count of entries, none among them."""
    g = np.random.default_rng(1)
    rows, columns = (np.ascontiguousarray(x) for x in np.nonzero(g.random((n, m)) < density))
    (values,) = random(g, dtype, (rows.size,))
    start = np.r_[0, np.cumsum(np.bincount(rows, minlength=n))]
    W = dense(Sparse(torch.tensor(values)[None], torch.tensor(rows), torch.tensor(columns), n, m))
    x, r = random(g, dtype, (m, ROWS), (n, ROWS))
    out, back = np.full((n, ROWS), np.nan, dtype), np.full((m, ROWS), np.nan, dtype)
    sparse_product(values, start, columns, x, out)
    close(out, W @ x, tolerance)
    order = np.argsort(columns, kind="stable")
    by_column = np.r_[0, np.cumsum(np.bincount(columns, minlength=m))]
    sparse_product(values[order], by_column, rows[order], r, back)
    close(back, W.T @ r, tolerance)
    A, B, total = random(g, dtype, (n, COLUMNS), (m, COLUMNS), (rows.size,))
    want = total + (A @ B.T)[rows, columns]
    add_sparse_outer(A, B, start, columns, total)
    close(total, want, tolerance)


RINGS = [(1, 1, 1, [0]), (2, 3, 5, [-1, 0, 1]), (4, 1, 3, [0, 1, 2]), (6, 11, 4, [7]), (2, 1, 24, [-30, 0, 5, 17])]


@DTYPES
@pytest.mark.parametrize(("c_out", "c_in", "n", "shifts"), RINGS)
def test_circulant(c_out, c_in, n, shifts, dtype, tolerance):
    g = np.random.default_rng(2)
    taps = len(shifts)
    values, x, r = random(g, dtype, (c_out, c_in, taps), (c_in * n, ROWS), (c_out * n, ROWS))
    ring = Circulant(torch.tensor(values)[None], n, tuple(shifts))
    W = dense(ring)

    def unrolled(x, index):
        into = np.full((x.shape[0] // n * index[1], x.shape[1]), np.nan, dtype)
        unroll(x, n, index[0], index[1], into)
        return into

    def apply(ring, x):
        _, rows, columns, index = storage(ring)
        index, out = index.numpy(), np.full((rows * n, ROWS), np.nan, dtype)
        circulant_product(np.ascontiguousarray(ring.values).reshape(rows, columns), index[2:], unrolled(x, index), n, out)
        return out

    close(apply(ring, x), W @ x, tolerance)
    close(apply(ring.transposed(), r), W.T @ r, tolerance)
    A, B, total = random(g, dtype, (c_out * n, COLUMNS), (c_in * n, COLUMNS), (c_out, c_in, taps))
    outer, p = (A @ B.T).reshape(c_out, n, c_in, n), np.arange(n)
    want = total + np.stack([outer[:, p, :, (p - s) % n].sum(0) for s in shifts], 2)
    index = storage(ring)[3].numpy()
    add_circulant_outer(A, unrolled(B, index), index[2:], n, total.reshape(c_out, -1))
    close(total, want, n**0.5 * tolerance)


@DTYPES
@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("n", [1, 7, 12])
def test_permutations(n, one, dtype, tolerance):
    g = np.random.default_rng(3)
    scale, source = random(g, dtype, (1 if one else n,))[0], g.permutation(n)
    W = dense(Permutation(torch.tensor(scale)[None], torch.tensor(source)))
    (x,), out = random(g, dtype, (n, ROWS)), np.full((n, ROWS), np.nan, dtype)
    permutation_product(scale, source, x, out)
    close(out, W @ x, tolerance)
    A, B, total = random(g, dtype, (n, COLUMNS), (n, COLUMNS), scale.shape)
    each = (A * B[source]).sum(1)
    want = total + (each.sum() if one else each)
    add_permutation_outer(A, B, source, one, total)
    close(total, want, n**0.5 * tolerance)
