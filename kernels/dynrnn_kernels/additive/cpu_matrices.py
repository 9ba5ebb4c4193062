"""The matrices of the map as the loop over time multiplies them: dense, or by one of the structures that ``pattern.py`` lists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from dynrnn_kernels.additive.cpu_cells import matrix
from dynrnn_kernels.additive.pattern import BLOCK, CIRCULANT, DENSE, HEAD, SPARSE
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
from dynrnn_kernels.additive.tile import add_outer, product


class Matrix(NamedTuple):
    """W1, W2 or A, or the transpose of one."""

    form: int
    values: np.ndarray  # as stored, [rows, columns], empty where the map has no such matrix
    places: np.ndarray  # integers of the form, and more after them


@njit(cache=True, nogil=True)
def stored(flat, offset, pattern, side):
    """A matrix of the map by its place in the pattern, where it is ``side``."""
    head = side * HEAD
    return Matrix(pattern[head], matrix(flat, offset, pattern[head + 1], pattern[head + 2]), pattern[pattern[head + 3] :])


@njit(cache=True, nogil=True)
def transposed(flat, offset, pattern, side, work):
    """The transpose of the matrix at ``side``, its values put into ``work``."""
    head = (side + 1) * HEAD
    source = matrix(flat, offset, pattern[head + 2], pattern[head + 1])
    out, index = work[: source.size].reshape((pattern[head + 1], source.size // max(pattern[head + 1], 1))), pattern[pattern[head + 3] :]
    if pattern[head] == DENSE:
        for i in range(source.shape[0]):
            for j in range(source.shape[1]):
                out[j, i] = source[i, j]
    else:
        new, order = work[: source.size], pattern[pattern[head + 4] :]
        for k in range(source.size):
            new[k] = flat[offset + order[k]]
    return Matrix(pattern[head], out, index)


@njit(cache=True, nogil=True)
def structured_product(form, values, index, x, ring, out):
    """out = W x for a matrix that is not dense; ring is scratch for what ``unroll`` makes."""
    if form == BLOCK:
        block_product(values, index[0], x, out)
    elif form == SPARSE:
        sparse_product(values[0], index, index[out.shape[0] + 1 :], x, out)
    elif form == CIRCULANT:
        n, longest = out.shape[0] // values.shape[0], index[1]
        unrolled = ring[: x.shape[0] // n * longest * x.shape[1]].reshape((x.shape[0] // n * longest, x.shape[1]))
        unroll(x, n, index[0], longest, unrolled)
        circulant_product(values, index[2:], unrolled, n, out)
    else:
        permutation_product(values[0], index, x, out)


@njit(cache=True, nogil=True, inline="always")
def multiply(W, x, ring, out):
    """out = W x; x [m, ROWS], out [n, ROWS]. Inlined, since a call with a Matrix costs as much as a small product."""
    if W.form == DENSE:
        product(W.values, x, out)
    else:
        structured_product(W.form, W.values, W.places, x, ring, out)


@njit(cache=True, nogil=True)
def add_gradient(W, A, B, ring, out):
    """Add to out the sums of A B' at the places of W's values; A [n, k], B [m, k], k a multiple of ROWS and not 0, out flat."""
    if W.form == DENSE:
        add_outer(A, B, out)
    elif W.form == BLOCK:
        add_block_outer(A, B, W.places[0], out)
    elif W.form == SPARSE:
        add_sparse_outer(A, B, W.places, W.places[A.shape[0] + 1 :], out)
    elif W.form == CIRCULANT:
        c_out = W.values.shape[0]
        n, longest = A.shape[0] // c_out, W.places[1]
        unrolled = ring[: B.shape[0] // n * longest * B.shape[1]].reshape((B.shape[0] // n * longest, B.shape[1]))
        unroll(B, n, W.places[0], longest, unrolled)
        add_circulant_outer(A, unrolled, W.places[2:], n, out[: W.values.size].reshape((c_out, W.values.shape[1])))
    else:
        add_permutation_outer(A, B, W.places, W.values.size == 1, out)
