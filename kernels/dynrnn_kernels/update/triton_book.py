"""The whole numbers that the device keeps for each fit, a row [FIELDS] int64 of ``book``, and sums of what programs left behind."""

from __future__ import annotations

import triton
import triton.language as tl

NAMES = ("taken", "refused", "refused_in_row", "reason", "active", "update", "place")
FIELDS = tl.constexpr(len(NAMES))
TAKEN, REFUSED, IN_ROW, REASON, ACTIVE, UPDATE, PLACE = (tl.constexpr(i) for i in range(len(NAMES)))  # place: of the update in its block


@triton.jit
def total_of(base, count, BLOCK: tl.constexpr):
    """The sum of ``count`` numbers in float64, in an order that depends on their number alone."""
    i = tl.arange(0, BLOCK)
    total = tl.full((BLOCK,), 0.0, tl.float64)
    for first in range(0, count, BLOCK):
        total += tl.load(base + first + i, mask=first + i < count, other=0).to(tl.float64)
    return tl.sum(total, 0)


@triton.jit
def column_sums(base, count, stride, index, on, ROWS: tl.constexpr):
    """The sums of ``count`` rows, ``stride`` numbers apart, at columns ``index``; float64, in a fixed order."""
    s = tl.arange(0, ROWS)
    total = tl.full(index.shape, 0.0, tl.float64)
    for first in range(0, count, ROWS):
        row = (first + s).to(tl.int64)
        tile = tl.load(base + row[:, None] * stride + index[None, :], mask=(row < count)[:, None] & on[None, :], other=0.0)
        total += tl.sum(tile.to(tl.float64), 0)
    return total


@triton.jit
def is_finite(x):
    return tl.abs(x) < float("inf")                                             # false for NaN
