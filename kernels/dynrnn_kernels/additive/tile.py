"""Products of small matrices with a chunk of ROWS batch rows, their sums held in vector registers, and copies of chunks.

BLAS spends as long on unpacking and dispatch as on the numbers at these sizes, and a plain loop is left to the compiler's luck; this
says the vectors to it. Either product loops once over what is summed and keeps a few vectors of sums; they differ in what a vector is.
A sum's order depends on its own numbers alone, not on the rows or matrices beside it. benchmarks/tile.py measures both against BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic    # which takes the argument ``typing`` away, unknown to type checkers
ROWS = 8
INDEX = ir.IntType(32)


def _multiply_add(builder: Any, x: Any, y: Any, total: Any) -> Any:
    """total + x y, with one rounding where the machine can."""
    return builder.fadd(builder.fmul(x, y, flags=("contract",)), total, flags=("contract",))


def _everywhere(builder: Any, number: Any, vector: Any) -> Any:
    """``number`` in every lane."""
    unset, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INDEX, ROWS), [INDEX(0)] * ROWS)
    return builder.shuffle_vector(builder.insert_element(unset, number, INDEX(0)), unset, first)


def _sums_over(builder: Any, count: Any, n_sums: int, vector: Any, step: Callable[[Any, list], list]) -> list:
    """A loop of ``count`` > 0 rounds; ``step(round, sums)`` returns the new sums. Returns the last ones."""
    before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    now, sums = builder.phi(count.type), [builder.phi(vector) for _ in range(n_sums)]
    new_sums = step(now, sums)
    following = builder.add(now, count.type(1))
    zero = ir.Constant(vector, [vector.element(0.0)] * vector.count)
    for phi, first, new in [(now, count.type(0), following), *((total, zero, new) for total, new in zip(sums, new_sums, strict=True))]:
        phi.add_incoming(first, before)
        phi.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    return new_sums


def _arrays(context: Any, builder: Any, signature: Any, args: Any, places: tuple[int, ...]) -> tuple[list, Any, int]:
    """The array arguments at ``places``, the type of a vector of their numbers, and the alignment of a number in bytes."""
    if any(signature.args[i].layout != "C" for i in places):
        raise TypeError("tiles take contiguous arrays")
    arrays = [context.make_array(signature.args[i])(context, builder, args[i]) for i in places]
    number = arrays[0].data.type.pointee
    return arrays, ir.VectorType(number, ROWS), 4 if isinstance(number, ir.FloatType) else 8


def _product_tile(height: int) -> Any:
    """A compiled function that fills ``height`` rows of out = A B from row ``first`` on. A vector is a row of B; each number of A meets one."""

    @intrinsic
    def tile(typing, A, first, B, out):
        def build(context, builder, signature, args):
            (left, right, result), vector, aligned = _arrays(context, builder, signature, args, (0, 2, 3))
            columns = builder.extract_value(right.shape, 0)
            rows = [builder.add(args[1], columns.type(r)) for r in range(height)]
            left_rows = [builder.gep(left.data, [builder.mul(row, columns)]) for row in rows]
            right_rows, out_rows = (builder.bitcast(array.data, vector.as_pointer()) for array in (right, result))

            def step(column, sums):
                row_of_B = builder.load(builder.gep(right_rows, [column]), align=aligned)
                spread = [_everywhere(builder, builder.load(builder.gep(left_row, [column])), vector) for left_row in left_rows]
                return [_multiply_add(builder, w, row_of_B, total) for w, total in zip(spread, sums, strict=True)]

            for row, total in zip(rows, _sums_over(builder, columns, height, vector, step), strict=True):
                builder.store(total, builder.gep(out_rows, [row]), align=aligned)
            return context.get_dummy_value()

        return types.void(A, first, B, out), build

    return tile


def _outer_tile(height: int, width: int) -> Any:
    """A compiled function that adds ``height`` x ``width`` entries of A B' to a flat out [rows of A, rows of B] from row ``i``, column ``j`` on.

    A vector is ROWS columns of a row of A or B; the lanes of each sum are added up in pairs at the end.
    """

    @intrinsic
    def tile(typing, A, i, B, j, out):
        def build(context, builder, signature, args):
            (left, right, result), vector, aligned = _arrays(context, builder, signature, args, (0, 2, 4))
            columns, out_width = builder.extract_value(right.shape, 1), builder.extract_value(right.shape, 0)
            rounds = builder.sdiv(columns, columns.type(ROWS))

            def vectors(array, first, count):
                rows = [builder.mul(builder.add(first, columns.type(r)), columns) for r in range(count)]
                return [builder.bitcast(builder.gep(array.data, [row]), vector.as_pointer()) for row in rows]

            left_rows, right_rows = vectors(left, args[1], height), vectors(right, args[3], width)

            def step(now, sums):
                x, y = ([builder.load(builder.gep(row, [now]), align=aligned) for row in rows] for rows in (left_rows, right_rows))
                return [_multiply_add(builder, x[r], y[c], sums[r * width + c]) for r in range(height) for c in range(width)]

            for place, total in enumerate(_sums_over(builder, rounds, height * width, vector, step)):
                lanes = ROWS
                while lanes > 1:
                    lanes //= 2
                    low, high = (ir.Constant(ir.VectorType(INDEX, lanes), [INDEX(start + k) for k in range(lanes)]) for start in (0, lanes))
                    unset = ir.Constant(total.type, ir.Undefined)
                    total = builder.fadd(builder.shuffle_vector(total, unset, low), builder.shuffle_vector(total, unset, high))
                row = builder.mul(builder.add(args[1], columns.type(place // width)), out_width)
                entry = builder.gep(result.data, [builder.add(row, builder.add(args[3], columns.type(place % width)))])
                builder.store(builder.fadd(builder.load(entry), builder.extract_element(total, INDEX(0))), entry)
            return context.get_dummy_value()

        return types.void(A, i, B, j, out), build

    return tile


def _row_copy() -> Any:
    """A compiled function that says into[row, first : first + ROWS] = source[row] in one load and one store."""

    @intrinsic
    def copy(typing, source, row, into, first):
        def build(context, builder, signature, args):
            (left, result), vector, aligned = _arrays(context, builder, signature, args, (0, 2))
            columns = builder.extract_value(result.shape, 1)
            start = builder.gep(left.data, [builder.mul(args[1], columns.type(ROWS))])
            end = builder.gep(result.data, [builder.add(builder.mul(args[1], columns), args[3])])
            values = builder.load(builder.bitcast(start, vector.as_pointer()), align=aligned)
            builder.store(values, builder.bitcast(end, vector.as_pointer()), align=aligned)
            return context.get_dummy_value()

        return types.void(source, row, into, first), build

    return copy


def _product_of_few(count: int) -> Any:
    """A compiled function out = A B for A of ``count`` columns: all of B stays in registers, and the loop is over A's rows. The sums of ``_product_tile``."""

    @intrinsic
    def product(typing, A, B, out):
        def build(context, builder, signature, args):
            (left, right, result), vector, aligned = _arrays(context, builder, signature, args, (0, 1, 2))
            n_rows = builder.extract_value(left.shape, 0)
            right_rows, out_rows = (builder.bitcast(array.data, vector.as_pointer()) for array in (right, result))
            rows_of_B = [builder.load(builder.gep(right_rows, [n_rows.type(c)]), align=aligned) for c in range(count)]

            def step(row, sums):
                start, total = builder.mul(row, n_rows.type(count)), ir.Constant(vector, [vector.element(0.0)] * ROWS)
                for c, row_of_B in enumerate(rows_of_B):
                    weight = builder.load(builder.gep(left.data, [builder.add(start, n_rows.type(c))]))
                    total = _multiply_add(builder, _everywhere(builder, weight, vector), row_of_B, total)
                builder.store(total, builder.gep(out_rows, [row]), align=aligned)
                return []

            _sums_over(builder, n_rows, 0, vector, step)
            return context.get_dummy_value()

        return types.void(A, B, out), build

    return product


@intrinsic
def _ten_sums_fit(typing, A):
    """Whether ten sums of A's numbers stay in registers: sixteen of 32 bytes on the smallest supported machines, 32 of 64 where there is AVX-512."""

    def build(context, builder, signature, args):
        wide = get_host_cpu_features().get("avx512f", False)
        return context.get_constant(types.boolean, signature.args[0].dtype.bitwidth == 32 or wide)

    return types.boolean(A), build


# what is not a multiple of ten, or of five where ten spill, is left to the lower ones
_product_10, _product_5, _product_4, _product_3, _product_2, _product_1 = (_product_tile(n) for n in (10, 5, 4, 3, 2, 1))
_few_1, _few_2, _few_3, _few_4 = (_product_of_few(n) for n in (1, 2, 3, 4))
_outer_5x2, _outer_4x2, _outer_3x2, _outer_2x2, _outer_1x2 = (_outer_tile(n, 2) for n in (5, 4, 3, 2, 1))
_outer_1x1 = _outer_tile(1, 1)
_copy_row = _row_copy()


@njit(cache=True, nogil=True)
def product(A, B, out):
    """out = A B for A [n, k], B [k, ROWS], out [n, ROWS], all contiguous. O(n k)."""
    n, k = A.shape
    if n == 0:
        return
    if k <= 4:
        if k == 3:
            _few_3(A, B, out)
        elif k == 2:
            _few_2(A, B, out)
        elif k == 4:
            _few_4(A, B, out)
        elif k == 1:
            _few_1(A, B, out)
        else:
            out[:] = 0
        return
    i = 0
    if _ten_sums_fit(A):
        while n - i >= 10:
            _product_10(A, i, B, out)
            i += 10
    while n - i >= 5:
        _product_5(A, i, B, out)
        i += 5
    if n - i == 4:
        _product_4(A, i, B, out)
    elif n - i == 3:
        _product_3(A, i, B, out)
    elif n - i == 2:
        _product_2(A, i, B, out)
    elif n - i == 1:
        _product_1(A, i, B, out)


@njit(cache=True, nogil=True)
def add_outer(A, B, out):
    """out += A B' for A [n, k], B [m, k] contiguous, out [n * m], k a multiple of ROWS and not 0. O(n m k)."""
    n, m = A.shape[0], B.shape[0]
    for j in range(0, m - 1, 2):
        i = 0
        while n - i >= 5:
            _outer_5x2(A, i, B, j, out)
            i += 5
        if n - i == 4:
            _outer_4x2(A, i, B, j, out)
        elif n - i == 3:
            _outer_3x2(A, i, B, j, out)
        elif n - i == 2:
            _outer_2x2(A, i, B, j, out)
        elif n - i == 1:
            _outer_1x2(A, i, B, j, out)
    if m % 2:
        for i in range(n):
            _outer_1x1(A, i, B, m - 1, out)


@njit(cache=True, nogil=True)
def place(source, into, first):
    """into[:, first : first + ROWS] = source [n, ROWS], both contiguous."""
    for row in range(source.shape[0]):
        _copy_row(source, row, into, first)
