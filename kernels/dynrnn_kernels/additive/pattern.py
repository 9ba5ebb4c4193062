"""Which structures compiled CPU code multiplies as they are, and the integers that tell it how.

``pattern`` is one int64 array. It begins with HEAD numbers for each of W1, W1', W2, W2', A, A': the form, rows and columns of the stored
values, and where the index and the order begin. Then one number, of rows to unroll rings in; then what was pointed at:

    form         values as stored       index
    DENSE        [n, m]
    BLOCK        [n_blocks h, m]        n_blocks
    SPARSE       [1, k], row by row     start of each row and the end, [n + 1]; columns [k]
    CIRCULANT    [c_out, c_in taps]     first place, places to unroll, window of each (channel, tap) therein [c_in taps]
    PERMUTATION  [1, n or 1]            source [n]; a Scalar is one, too

Values of a transpose are those of the matrix itself in the order [values].
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.additive.structure import Block, Circulant, Permutation, Scalar, Sparse, Structure

DENSE, BLOCK, SPARSE, CIRCULANT, PERMUTATION = range(5)
MATRICES = ("W1", "W2", "A")
HEAD, UNROLLED = 5, 30
# smallest matrix, and largest part of its entries that a structure may have, that pay, by benchmarks/structure.py
LEAST_ENTRIES = 512
LARGEST_SHARE = {Scalar: 1.0, Permutation: 1.0, Block: 0.5, Sparse: 0.2, Circulant: 0.2}


def stays(part: Tensor | Structure) -> bool:
    """Whether compiled CPU code takes it as it is, and not written out: a rule by form and sizes alone."""
    if not isinstance(part, Structure):
        return False
    _, n, m = part.shape
    return n * m >= LEAST_ENTRIES and part.terms <= LARGEST_SHARE[type(part)] * n * m


def compact(map: AdditiveMap) -> AdditiveMap:
    """The map as compiled CPU code takes it: a [F, M], structures that pay as they are, sparse ones row by row, and the others written out."""
    parts = {name: part for name, part in map.parts().items() if name != "a" and isinstance(part, Structure)}
    return replace(map, **{name: by_rows(part) if stays(part) else part.dense() for name, part in parts.items()} | {"a": map.diagonal()})


def by_rows(structure: Structure) -> Structure:
    """The same matrix with its values in the order in which they are stored."""
    if not isinstance(structure, Sparse):
        return structure
    order = structure.row_order()
    return replace(structure, values=structure.values[:, order], rows=structure.rows[order], columns=structure.columns[order])


def storage(matrix: Tensor | Structure) -> tuple[int, int, int, Tensor]:
    """Form, rows, columns and index; a sparse matrix comes by rows."""
    _, n, m = matrix.shape
    if isinstance(matrix, Block):
        return BLOCK, n, matrix.values.shape[3], torch.tensor([matrix.values.shape[1]])
    if isinstance(matrix, Sparse):
        start = torch.searchsorted(matrix.rows, torch.arange(n + 1))
        return SPARSE, 1, matrix.rows.numel(), torch.cat([start, matrix.columns])
    if isinstance(matrix, Circulant):
        _, out, into, taps = matrix.values.shape
        half = (matrix.size - 1) // 2
        shifts = [(s + half) % matrix.size - half for s in matrix.places]             # the shortest way around the ring
        longest = matrix.size + max(shifts) - min(shifts)
        windows = torch.arange(into)[:, None] * longest + max(shifts) - torch.tensor(shifts)
        return CIRCULANT, out, into * taps, torch.cat([torch.tensor([-max(shifts) % matrix.size, longest]), windows.flatten()])
    if isinstance(matrix, Permutation):
        return PERMUTATION, 1, matrix.values.shape[1], matrix.source
    if isinstance(matrix, Scalar):
        return PERMUTATION, 1, 1, torch.arange(n)
    return DENSE, n, m, torch.empty(0, dtype=torch.int64)


def _sides(structure: Structure) -> list[tuple[Structure, Tensor]]:
    """As they are stored: the matrix, and its transpose with the places of the matrix's values as values, which are its order."""
    given = by_rows(structure)
    places = torch.arange(given.parameters_per_fit).reshape(1, *given.values.shape[1:])
    turned = by_rows(given.with_values(places).transposed())
    return [(given, places.flatten()[:0]), (turned, turned.values.flatten())]


def pattern(map: AdditiveMap) -> Tensor:
    """The integers of ``map`` as the module's first lines have them, int64."""
    head: list[int] = []
    rest: list[Tensor] = []
    end, unrolled = UNROLLED + 1, 0
    for name in MATRICES:
        matrix = getattr(map, name)
        if matrix is None:
            head += [DENSE, 0, 0, end, end] * 2
        elif not stays(matrix):
            _, n, m = matrix.shape
            head += [DENSE, n, m, end, end, DENSE, m, n, end, end]
        else:
            for side, order in _sides(matrix):
                form, n, m, index = storage(side)
                head += [form, n, m, end, end + index.numel()]
                rest += [index, order]
                end += index.numel() + order.numel()
                if isinstance(side, Circulant):
                    unrolled = max(unrolled, side.values.shape[2] * int(index[1]))
    return torch.cat([torch.tensor([*head, unrolled]), *rest])
