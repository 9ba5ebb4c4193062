"""How the variables of a block store are laid out along the dim that grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError
from dynrnn.results._dataset import check_name
from dynrnn.results._metadata import ITEM_BYTES

CHUNK_BYTES = 2**20
BUFFER_BYTES = 64 * 2**20


class Layout:
    """Dims of one variable, the axis that grows, and its shape for any number of steps."""

    def __init__(self, dims: Sequence[str], axis: int, dtype: np.dtype, sizes: Sequence[int]) -> None:
        self.dims, self.axis, self.dtype, self._sizes = tuple(dims), axis, dtype, tuple(sizes)

    def shape(self, steps: int) -> tuple[int, ...]:
        return (*self._sizes[: self.axis], steps, *self._sizes[self.axis + 1 :])

    def at(self, start: int, stop: int) -> tuple[slice, ...]:
        """The index of steps start to stop."""
        return (slice(None),) * self.axis + (slice(start, stop),) + (slice(None),) * (len(self.dims) - self.axis - 1)

    @property
    def step_bytes(self) -> int:
        return math.prod(self.shape(1)) * self.dtype.itemsize

    def describe(self) -> str:
        return "(" + ", ".join("any" if i == self.axis else str(size) for i, size in enumerate(self._sizes)) + ")"


def make_layout(name: str, dims: Sequence[str], dtype: Any, append_dim: str, lengths: Mapping[str, int]) -> Layout:
    """The layout of one entry of a template; ArgumentError if its dims or dtype cannot be stored or a length is not known."""
    check_name(name, "variable")
    kind = np.dtype(dtype).newbyteorder("=")
    if kind.name not in ITEM_BYTES:
        raise ArgumentError(f"template[{name!r}] has dtype {kind}; blocks hold bool, integers, floats, complex64 and complex128.")
    if isinstance(dims, str) or append_dim not in dims or len(set(dims)) != len(dims):
        raise ArgumentError(f"template[{name!r}] has dims {dims!r}; give a sequence of distinct names with {append_dim!r} among them.")
    for dim in dims:
        check_name(dim, "dimension")
        if dim != append_dim and dim not in lengths:
            raise ArgumentError(f"the length of dim {dim!r} of template[{name!r}] is not known. Give it in coords or sizes.")
    return Layout(dims, list(dims).index(append_dim), kind, [0 if dim == append_dim else lengths[dim] for dim in dims])


def default_chunk_steps(layout: Mapping[str, Layout], n_steps: int | None) -> int:
    """Steps in a chunk: 1 MiB for the smallest array with more than the one dim, as long as all buffers together stay within 64 MiB."""
    rows = [max(1, item.step_bytes) for item in layout.values()]
    arrays = [max(1, item.step_bytes) for item in layout.values() if len(item.dims) > 1] or rows
    steps = max(1, min(-(-CHUNK_BYTES // min(arrays)), BUFFER_BYTES // sum(rows)))
    return steps if n_steps is None else max(1, min(steps, n_steps))
