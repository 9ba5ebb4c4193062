"""Linear algebra on ROWS small matrices at once, one in each lane of a vector: arrays are [entries, ROWS], each row one vector register.

The products of tile.py share one matrix between the lanes; here every lane has its own.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, njit, types

from dynrnn_kernels.additive.tile import ROWS, _arrays, _everywhere, _multiply_add, _sums_over

intrinsic: Any = extending.intrinsic    # which takes the argument ``typing`` away, unknown to type checkers
POINTS = 3     # shifts tried at once: as many chains of divisions as hide each other's latency; each pass shrinks a bracket four times


def _of_vector(builder: Any, name: str, vector: Any) -> Any:
    """LLVM's function ``name`` on vectors."""
    full = f"llvm.{name}.v{vector.count}{vector.element.intrinsic_name}"
    return builder.module.globals.get(full) or ir.Function(builder.module, ir.FunctionType(vector, [vector]), full)


def _dot_tile(height: int) -> Any:
    """A compiled function: out[k + t] = sum_c X[i + t * apart + c * stride] Y[j + c] for t < ``height``, c < count."""

    @intrinsic
    def tile(typing, X, i, apart, stride, Y, j, count, out, k):
        def build(context, builder, signature, args):
            (left, right, result), vector, aligned = _arrays(context, builder, signature, args, (0, 4, 7))
            x, y, into = (builder.bitcast(array.data, vector.as_pointer()) for array in (left, right, result))
            starts = [builder.add(args[1], builder.mul(args[2], args[1].type(t))) for t in range(height)]

            def step(c, sums):
                step_y = builder.load(builder.gep(y, [builder.add(args[5], c)]), align=aligned)
                moved = builder.mul(c, args[3])
                entries = [builder.load(builder.gep(x, [builder.add(start, moved)]), align=aligned) for start in starts]
                return [_multiply_add(builder, entry, step_y, total) for entry, total in zip(entries, sums, strict=True)]

            for t, total in enumerate(_sums_over(builder, args[6], height, vector, step)):
                builder.store(total, builder.gep(into, [builder.add(args[8], args[8].type(t))]), align=aligned)
            return context.get_dummy_value()

        return types.void(X, types.intp, types.intp, types.intp, Y, types.intp, types.intp, out, types.intp), build

    return tile


_dot_8, _dot_4, _dot_1 = _dot_tile(8), _dot_tile(4), _dot_tile(1)


@njit(cache=True, nogil=True)
def dots(X, i, apart, stride, Y, j, count, out, k, n):
    """out[k + t] = sum_c X[i + t * apart + c * stride] Y[j + c] for t < n, c < count; count > 0."""
    t = 0
    while n - t >= 8:
        _dot_8(X, i + t * apart, apart, stride, Y, j, count, out, k + t)
        t += 8
    while n - t >= 4:
        _dot_4(X, i + t * apart, apart, stride, Y, j, count, out, k + t)
        t += 4
    while t < n:
        _dot_1(X, i + t * apart, apart, stride, Y, j, count, out, k + t)
        t += 1


@njit(cache=True, nogil=True)
def multiply(X, i, apart, s, out, k, n):
    """out[k + t] = s[0] X[i + t * apart] for t < n."""
    dots(X, i, apart, 0, s, 0, 1, out, k, n)


def _multiple_of(sign: str) -> Any:
    """A compiled function: out[j + c] += or -= S[s] X[i + c] for c < count, count > 0."""

    @intrinsic
    def tile(typing, S, s, X, i, out, j, count):
        def build(context, builder, signature, args):
            arrays, vector, aligned = _arrays(context, builder, signature, args, (0, 2, 4))
            by, x, into = (builder.bitcast(array.data, vector.as_pointer()) for array in arrays)
            factor = builder.load(builder.gep(by, [args[1]]), align=aligned)
            factor = builder.fneg(factor) if sign == "-" else factor

            def step(c, sums):
                place = builder.gep(into, [builder.add(args[5], c)])
                entry = builder.load(builder.gep(x, [builder.add(args[3], c)]), align=aligned)
                builder.store(_multiply_add(builder, factor, entry, builder.load(place, align=aligned)), place, align=aligned)
                return []

            _sums_over(builder, args[6], 0, vector, step)
            return context.get_dummy_value()

        return types.void(S, types.intp, X, types.intp, out, types.intp, types.intp), build

    return tile


add_multiple, take_multiple = _multiple_of("+"), _multiple_of("-")


@intrinsic
def spread_rows(typing, base, i, weights, k, X, out, j, count):
    """out[j + c] = base[i + c] + weights[k + c] X[c] for c < count, count > 0; base and weights are flat, one number for all lanes."""

    def build(context, builder, signature, args):
        arrays, vector, aligned = _arrays(context, builder, signature, args, (0, 2, 4, 5))
        x, into = (builder.bitcast(array.data, vector.as_pointer()) for array in arrays[2:])

        def step(c, sums):
            numbers = [builder.load(builder.gep(array.data, [builder.add(first, c)])) for array, first in zip(arrays[:2], (args[1], args[3]), strict=True)]
            shift, weight = (_everywhere(builder, n, vector) for n in numbers)
            entry = builder.load(builder.gep(x, [c]), align=aligned)
            builder.store(_multiply_add(builder, weight, entry, shift), builder.gep(into, [builder.add(args[6], c)]), align=aligned)
            return []

        _sums_over(builder, args[7], 0, vector, step)
        return context.get_dummy_value()

    return types.void(base, types.intp, weights, types.intp, X, out, types.intp, types.intp), build


@intrinsic
def largest_entry(typing, X, count, out):
    """out[0] = the largest |X[c]| for c < count, count > 0; NaN entries count for nothing."""

    def build(context, builder, signature, args):
        (source, result), vector, aligned = _arrays(context, builder, signature, args, (0, 2))
        x, into = (builder.bitcast(array.data, vector.as_pointer()) for array in (source, result))
        size_of = _of_vector(builder, "fabs", vector)

        def step(c, sums):
            size = builder.call(size_of, [builder.load(builder.gep(x, [c]), align=aligned)])
            return [builder.select(builder.fcmp_ordered(">", size, sums[0]), size, sums[0])]

        builder.store(_sums_over(builder, args[1], 1, vector, step)[0], into, align=aligned)
        return context.get_dummy_value()

    return types.void(X, types.intp, out), build


@intrinsic
def take_length(typing, work, first, growth, j, dead, low, high):
    """The length of a vector whose square is work[first], and whose square was work[first + 1] before others were taken from it.

    Puts the inverse of the length in work[first + 2]. Where every lane is usual, multiplies growth[j] by the length, takes it into the longest and the shortest
    so far, work[first + 3] and work[first + 4], and returns True. Not usual are lengths up to ``dead`` of the longest or of what was before, and
    whatever leaves the range from low to high.
    """

    def build(context, builder, signature, args):
        arrays, vector, aligned = _arrays(context, builder, signature, args, (0, 2))
        rows, grown = (builder.bitcast(array.data, vector.as_pointer()) for array in arrays)
        squared, before_at, by, most, least = (builder.gep(rows, [builder.add(args[1], args[1].type(n))]) for n in range(5))
        place = builder.gep(grown, [args[3]])
        square, before, longest, shortest, old = (builder.load(at, align=aligned) for at in (squared, before_at, most, least, place))
        dead, low, high = (_everywhere(builder, x, vector) for x in args[4:])
        root = _of_vector(builder, "sqrt", vector)
        length, before = builder.call(root, [square]), builder.call(root, [before])
        new = builder.fmul(old, length)
        longer = builder.select(builder.fcmp_ordered(">", length, longest), length, longest)
        shorter = builder.select(builder.fcmp_ordered("<", length, shortest), length, shortest)
        usual = ir.Constant(ir.VectorType(ir.IntType(1), ROWS), [ir.IntType(1)(1)] * ROWS)
        for x, bound in ((length, low), (new, low), (length, builder.fmul(dead, before)), (length, builder.fmul(dead, longer)), (high, length), (high, new)):
            usual = builder.and_(usual, builder.fcmp_ordered(">", x, bound))
        all_usual = builder.icmp_unsigned("==", builder.bitcast(usual, ir.IntType(ROWS)), ir.IntType(ROWS)((1 << ROWS) - 1))
        one = ir.Constant(vector, [vector.element(1.0)] * ROWS)
        builder.store(builder.fdiv(one, length), by, align=aligned)
        for x, was, at in ((longer, longest, most), (shorter, shortest, least), (new, old, place)):
            builder.store(builder.select(all_usual, x, was), at, align=aligned)
        return all_usual

    number = work.dtype
    return types.boolean(work, types.intp, growth, types.intp, number, number, number), build


@intrinsic
def reflect(typing, v, square, least, end, k, by):
    """The reflection 1 + by v v' that takes a vector to (end[k], 0 .. 0): v[0] holds its first entry and becomes that of v, square[0] is its square.

    A vector whose square is below ``least`` is left as it is and counts as zero.
    """

    def build(context, builder, signature, args):
        arrays, vector, aligned = _arrays(context, builder, signature, args, (0, 1, 3, 5))
        head, squares, ends, factors = (builder.bitcast(array.data, vector.as_pointer()) for array in arrays)
        zero, one = (ir.Constant(vector, [vector.element(value)] * ROWS) for value in (0.0, 1.0))
        floor = _everywhere(builder, args[2], vector)
        first, total = builder.load(head, align=aligned), builder.load(squares, align=aligned)
        length = builder.call(_of_vector(builder, "sqrt", vector), [total])
        towards = builder.select(builder.fcmp_ordered(">", first, zero), builder.fneg(length), length)
        turned = builder.fsub(first, towards)
        factor = builder.fdiv(one, builder.fmul(towards, turned))
        short = builder.fcmp_ordered("<", total, floor)
        builder.store(turned, head, align=aligned)
        builder.store(builder.select(short, zero, towards), builder.gep(ends, [args[4]]), align=aligned)
        builder.store(builder.select(short, zero, factor), factors, align=aligned)
        return context.get_dummy_value()

    return types.void(v, square, least, end, types.intp, by), build


def _update_tile(height: int) -> Any:
    """A compiled function: out[j + t * apart + c] += S[s + t] X[c] + R[s + t] Y[c] for t < ``height``, c < count."""

    @intrinsic
    def tile(typing, S, X, R, Y, s, out, j, apart, count):
        def build(context, builder, signature, args):
            arrays, vector, aligned = _arrays(context, builder, signature, args, (0, 1, 2, 3, 5))
            by_x, x, by_y, y, into = (builder.bitcast(array.data, vector.as_pointer()) for array in arrays)
            rows = [(builder.add(args[4], args[4].type(t)), builder.add(args[6], builder.mul(args[7], args[6].type(t)))) for t in range(height)]
            scales = [[builder.load(builder.gep(array, [at]), align=aligned) for array in (by_x, by_y)] for at, _ in rows]

            def step(c, sums):
                entry_x, entry_y = (builder.load(builder.gep(array, [c]), align=aligned) for array in (x, y))
                for (scale_x, scale_y), (_, start) in zip(scales, rows, strict=True):
                    place = builder.gep(into, [builder.add(start, c)])
                    now = _multiply_add(builder, scale_x, entry_x, builder.load(place, align=aligned))
                    builder.store(_multiply_add(builder, scale_y, entry_y, now), place, align=aligned)
                return []

            _sums_over(builder, args[8], 0, vector, step)
            return context.get_dummy_value()

        return types.void(S, X, R, Y, types.intp, out, types.intp, types.intp, types.intp), build

    return tile


_update_4, _update_1 = _update_tile(4), _update_tile(1)


@njit(cache=True, nogil=True)
def add_outer_products(S, X, R, Y, s, out, j, apart, count, n):
    """out[j + t * apart + c] += S[s + t] X[c] + R[s + t] Y[c] for t < n, c < count; count > 0."""
    t = 0
    while n - t >= 4:
        _update_4(S, X, R, Y, s + t, out, j + t * apart, apart, count)
        t += 4
    while t < n:
        _update_1(S, X, R, Y, s + t, out, j + t * apart, apart, count)
        t += 1


@intrinsic
def narrow(typing, diagonal, squares, bracket, count):
    """Replace bracket [2, ROWS], low and high, by that quarter of it which has the largest eigenvalue of a symmetric tridiagonal matrix.

    diagonal [count, ROWS]; squares [count, ROWS] of the entries beside it, squares[i] between i and i + 1, the last of them anything finite.
    A shift x lies above all eigenvalues where the pivots of x - T are positive (Golub & Van Loan, section 8.4); a pivot of zero counts as negative.
    """

    def build(context, builder, signature, args):
        arrays, vector, aligned = _arrays(context, builder, signature, args, (0, 1, 2))
        on, off, ends = (builder.bitcast(array.data, vector.as_pointer()) for array in arrays)
        constant = lambda value: ir.Constant(vector, [vector.element(value)] * ROWS)  # noqa: E731
        zero, one = constant(0.0), constant(1.0)
        second = builder.gep(ends, [args[3].type(1)])
        low, high = (builder.load(place, align=aligned) for place in (ends, second))
        width = builder.fmul(builder.fsub(high, low), constant(1.0 / (POINTS + 1)))
        at = [_multiply_add(builder, constant(p + 1.0), width, low) for p in range(POINTS)]

        def step(c, sums):
            entry, square = (builder.load(builder.gep(array, [c]), align=aligned) for array in (on, off))
            fractions, flags = [], []
            for p in range(POINTS):
                pivot = builder.fsub(builder.fsub(at[p], entry), sums[p])
                fractions.append(builder.fdiv(square, pivot))
                flags.append(builder.select(builder.fcmp_ordered(">", pivot, zero), sums[POINTS + p], one))   # NaN is not above
            return fractions + flags

        steps = zero
        for flag in _sums_over(builder, args[3], 2 * POINTS, vector, step)[POINTS:]:
            steps = builder.fadd(steps, flag)
        low = _multiply_add(builder, steps, width, low)
        builder.store(low, ends, align=aligned)
        builder.store(builder.fadd(low, width), second, align=aligned)
        return context.get_dummy_value()

    return types.void(diagonal, squares, bracket, types.intp), build
