"""Matrices of an ensemble that are mostly zeros, as the structure that the compiled kernels take as it is."""

from __future__ import annotations

from torch import Tensor

from dynrnn_kernels.additive import Sparse
from dynrnn_kernels.additive.pattern import LARGEST_SHARE, LEAST_ENTRIES


def sparse_where_it_pays(matrix: Tensor) -> Tensor | Sparse:
    """``matrix`` [F, n, m] by its places that are not zero in some fit, where these are few enough."""
    _, n, m = matrix.shape
    rows, columns = (matrix != 0).any(0).nonzero(as_tuple=True)
    if not 0 < len(rows) <= LARGEST_SHARE[Sparse] * n * m or n * m < LEAST_ENTRIES:
        return matrix
    return Sparse(matrix[:, rows, columns], rows, columns, n, m)
