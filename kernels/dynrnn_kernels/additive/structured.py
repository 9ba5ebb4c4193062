"""Products of structured matrices with a chunk of ROWS batch rows, and their sums of outer products, as ``tile.py`` has them for dense ones.

A transposed product is the same function on transposed values: blocks [n, m, h], a sparse pattern by columns, channels [c_in, c_out, taps] with
negative shifts. A sum's order depends on its own numbers alone. benchmarks/structure.py measures all of it against the dense products.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from dynrnn_kernels.additive.tile import INDEX, ROWS, _arrays, _multiply_add, _sums_over, add_outer, product


def _gather_tile(width: int, height: int) -> Any:
    """A compiled function that adds values[k] x[at[k] + shift + r] over k to out[row + r], for r < ``height``.

    k runs over ``width`` x rounds places from ``first`` on, in ``width`` sums for each r.
    """

    @intrinsic
    def tile(typing, values, at, first, rounds, x, shift, out, row):
        def build(context, builder, signature, args):
            (numbers, places, right, result), vector, aligned = _arrays(context, builder, signature, args, (0, 1, 4, 6))
            right_rows, out_rows = (builder.bitcast(array.data, vector.as_pointer()) for array in (right, result))
            right_rows = builder.gep(right_rows, [args[5]])
            unset, everywhere = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INDEX, ROWS), [INDEX(0)] * ROWS)

            def step(now, sums):
                start, new = builder.add(args[2], builder.mul(now, now.type(width))), []
                for c in range(width):
                    k = builder.add(start, now.type(c))
                    weight = builder.insert_element(unset, builder.load(builder.gep(numbers.data, [k])), INDEX(0))
                    weight = builder.shuffle_vector(weight, unset, everywhere)
                    here = builder.gep(right_rows, [builder.load(builder.gep(places.data, [k]))])
                    for r in range(height):
                        from_x = builder.load(builder.gep(here, [now.type(r)]), align=aligned)
                        new.append(_multiply_add(builder, weight, from_x, sums[c * height + r]))
                return new

            sums = _sums_over(builder, args[3], width * height, vector, step)
            for r in range(height):
                parts = sums[r::height]
                while len(parts) > 1:
                    parts = [builder.fadd(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
                entry = builder.gep(out_rows, [builder.add(args[7], args[7].type(r))])
                builder.store(builder.fadd(builder.load(entry, align=aligned), parts[0]), entry, align=aligned)
            return context.get_dummy_value()

        return types.void(values, at, first, rounds, x, shift, out, row), build

    return tile


def _sampled_tile(width: int) -> Any:
    """A compiled function that adds A[row] . B[at[k] stride : at[k] stride + length] to out[k] for ``width`` k from ``first`` on.

    A [n, length], and B is read as one long row; length and stride are multiples of ROWS.
    """

    @intrinsic
    def tile(typing, A, row, B, at, stride, first, out):
        def build(context, builder, signature, args):
            (left, right, places, result), vector, aligned = _arrays(context, builder, signature, args, (0, 2, 3, 6))
            length = builder.extract_value(left.shape, 1)
            here = [builder.add(args[5], length.type(c)) for c in range(width)]

            def vectors(array, number):
                return builder.bitcast(builder.gep(array.data, [number]), vector.as_pointer())

            left_row = vectors(left, builder.mul(args[1], length))
            right_rows = [vectors(right, builder.mul(builder.load(builder.gep(places.data, [k])), args[4])) for k in here]

            def step(now, sums):
                x = builder.load(builder.gep(left_row, [now]), align=aligned)
                y = [builder.load(builder.gep(right_row, [now]), align=aligned) for right_row in right_rows]
                return [_multiply_add(builder, x, value, total) for value, total in zip(y, sums, strict=True)]

            for k, total in zip(here, _sums_over(builder, builder.sdiv(length, length.type(ROWS)), width, vector, step), strict=True):
                lanes = [builder.extract_element(total, INDEX(i)) for i in range(ROWS)]
                while len(lanes) > 1:
                    half = len(lanes) // 2
                    lanes = [builder.fadd(lanes[i], lanes[half + i]) for i in range(half)]
                entry = builder.gep(result.data, [k])
                builder.store(builder.fadd(builder.load(entry), lanes[0]), entry)
            return context.get_dummy_value()

        return types.void(A, row, B, at, stride, first, out), build

    return tile


_gather_4x1, _gather_1x1, _gather_1x10, _gather_1x3 = (_gather_tile(*size) for size in ((4, 1), (1, 1), (1, 10), (1, 3)))
_sampled_6, _sampled_1 = _sampled_tile(6), _sampled_tile(1)


@njit(cache=True, nogil=True)
def _add_sampled(A, row, B, at, stride, first, last, out):
    """out[k] += A[row] . B[at[k]] for first <= k < last, where B has a row every ``stride`` numbers."""
    k = first
    while last - k >= 6:
        _sampled_6(A, row, B, at, stride, k, out)
        k += 6
    while k < last:
        _sampled_1(A, row, B, at, stride, k, out)
        k += 1


@njit(cache=True, nogil=True)
def permutation_product(scale, source, x, out):
    """out[i] = scale[i] x[source[i]], or scale[0] for all; x and out [n, ROWS]. O(n)."""
    each = 1 if scale.size > 1 else 0
    for i in range(out.shape[0]):
        s, row = scale[i * each], source[i]
        for r in range(ROWS):
            out[i, r] = s * x[row, r]


@njit(cache=True, nogil=True)
def add_permutation_outer(A, B, source, one, out):
    """out[i] += A[i] . B[source[i]], or all of them to out[0] for ``one`` scale; A and B [n, k], k a multiple of ROWS and not 0. O(n k)."""
    for i in range(A.shape[0]):
        _sampled_1(A, i, B, source[i:], B.shape[1], 0, out if one else out[i:])


@njit(cache=True, nogil=True)
def block_product(blocks, n, x, out):
    """out = diag(blocks) x for n blocks below each other, [n h, m], x [n m, ROWS], out [n h, ROWS]. O(n h m)."""
    h, m = out.shape[0] // n, blocks.shape[1]
    for b in range(n):
        product(blocks[b * h : (b + 1) * h], x[b * m : (b + 1) * m], out[b * h : (b + 1) * h])


@njit(cache=True, nogil=True)
def add_block_outer(A, B, n, out):
    """out += the n diagonal blocks of A B' for A [n h, k], B [n m, k], out [n h m], k a multiple of ROWS and not 0. O(n h m k)."""
    h, m = A.shape[0] // n, B.shape[0] // n
    for b in range(n):
        add_outer(A[b * h : (b + 1) * h], B[b * m : (b + 1) * m], out[b * h * m :])


@njit(cache=True, nogil=True)
def sparse_product(values, start, columns, x, out):
    """out = S x, where row i of S has values[k] in columns[k] for start[i] <= k < start[i + 1]; x [m, ROWS], out [n, ROWS]. O(values)."""
    out[:] = 0
    for i in range(out.shape[0]):
        first, count = start[i], start[i + 1] - start[i]
        if count >= 4:
            _gather_4x1(values, columns, first, count // 4, x, 0, out, i)
        if count % 4 > 0:
            _gather_1x1(values, columns, first + count // 4 * 4, count % 4, x, 0, out, i)


@njit(cache=True, nogil=True)
def add_sparse_outer(A, B, start, columns, out):
    """out[k] += A[i] . B[columns[k]] for every place of the pattern; A [n, k], B [m, k], k a multiple of ROWS and not 0. O(values k)."""
    for i in range(A.shape[0]):
        _add_sampled(A, i, B, columns, B.shape[1], start[i], start[i + 1], out)


@njit(cache=True, nogil=True)
def unroll(x, n, first, longest, into):
    """Channels x [c_in n, k] from place ``first`` of the ring on, ``longest`` places each: into [c_in longest, k]."""
    for i in range(x.shape[0] // n):
        q = first
        for p in range(i * longest, (i + 1) * longest):
            for r in range(x.shape[1]):
                into[p, r] = x[i * n + q, r]
            q = q + 1 if q + 1 < n else 0


@njit(cache=True, nogil=True)
def circulant_product(values, windows, unrolled, n, out):
    """Circular convolution of channels: out[o, p] = sum over i and t of values[o, i, t] x[i, (p - shifts[t]) mod n].

    values [c_out, c_in taps]; out [c_out n, ROWS]; ``unrolled`` as ``unroll`` lays x [c_in n, ROWS] out, where the window of (i, t) begins at
    windows[i taps + t]. O(n taps c_in c_out).
    """
    out[:] = 0
    for o in range(values.shape[0]):
        weights, p = values[o], 0
        while n - p >= 10:
            _gather_1x10(weights, windows, 0, weights.size, unrolled, p, out, o * n + p)
            p += 10
        while n - p >= 3:
            _gather_1x3(weights, windows, 0, weights.size, unrolled, p, out, o * n + p)
            p += 3
        while p < n:
            _gather_1x1(weights, windows, 0, weights.size, unrolled, p, out, o * n + p)
            p += 1


@njit(cache=True, nogil=True)
def add_circulant_outer(A, unrolled, windows, n, out):
    """out[o, i, t] += sum over p of A[o, p] . B[i, (p - shifts[t]) mod n], for A [c_out n, k] and B [c_in n, k] unrolled; k as above.

    out [c_out, c_in taps]. A place and its columns are one long row, of which each tap sees a window. O(n taps c_in c_out k).
    """
    left, stride = A.reshape((A.shape[0] // n, n * A.shape[1])), A.shape[1]
    for o in range(out.shape[0]):
        _add_sampled(left, o, unrolled, windows, stride, 0, out.shape[1], out[o])
