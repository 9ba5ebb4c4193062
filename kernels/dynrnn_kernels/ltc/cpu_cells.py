"""The sums over synapses in vector registers, forward and reverse: nearly all of the time goes here, and in it to the exponential of each sigmoid.

Targets lie in the contiguous axis, padded to whole vectors, and a source's four arrays beside each other: as far apart as a whole
number of pages they would take each other's place in the cache. The sigmoid is s = 1 / (1 + 2^y), y = scale v + shift: the exponent of 2 is a
rounded number, and the rest, at most a half, goes through a polynomial. Vectors are said to the compiler: left to itself it asks at each source whether any two
of ten arrays overlap, which takes longer than the numbers of a small network.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, log
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from dynrnn_kernels.ltc.layout import LANES

intrinsic: Any = extending.intrinsic    # which takes the argument ``typing`` away, unknown to type checkers
LN2 = log(2)
INDEX = ir.IntType(32)
TAYLOR = [LN2**k / factorial(k) for k in range(13)]                             # of 2^f: 2e-16 at |f| = 1/2
_interpolate: Any = np.polynomial.chebyshev.chebinterpolate                      # whose type asks for a number where it wants an array
_NODES = _interpolate(lambda x: 2 ** (x / 2), 5)
CHEBYSHEV = [float(c) for c in np.polynomial.chebyshev.cheb2poly(_NODES) * 2.0 ** np.arange(6)]                              # 6e-8, with fewer terms


class Vectors:
    """What is said about vectors of LANES numbers of one kind."""

    def __init__(self, context: Any, builder: Any, number: Any):
        self.builder, self.double = builder, isinstance(number, ir.DoubleType)
        self.type, self.align, self.place = ir.VectorType(number, LANES), 8 if self.double else 4, ir.VectorType(number, LANES).as_pointer()

    def constant(self, value: float) -> Any:
        return ir.Constant(self.type, [self.type.element(value)] * LANES)

    def load(self, data: Any, at: Any) -> Any:
        return self.builder.load(self.builder.bitcast(self.builder.gep(data, [at]), self.place), align=self.align)

    def store(self, x: Any, data: Any, at: Any) -> None:
        self.builder.store(x, self.builder.bitcast(self.builder.gep(data, [at]), self.place), align=self.align)

    def everywhere(self, data: Any, at: Any) -> Any:
        """One number in every lane."""
        unset, first = ir.Constant(self.type, ir.Undefined), ir.Constant(ir.VectorType(INDEX, LANES), [INDEX(0)] * LANES)
        return self.builder.shuffle_vector(self.builder.insert_element(unset, self.builder.load(self.builder.gep(data, [at])), INDEX(0)), unset, first)

    def multiply_add(self, x: Any, y: Any, total: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(x, y, flags=("contract",)), total, flags=("contract",))

    def sum(self, x: Any) -> Any:
        """Of all lanes, by halves."""
        n = LANES
        while n > 1:
            n //= 2
            halves = [self.builder.shuffle_vector(x, x, ir.Constant(ir.VectorType(INDEX, n), [INDEX(first + i) for i in range(n)])) for first in (0, n)]
            x = self.builder.fadd(*halves)
        return self.builder.extract_element(x, INDEX(0))

    def sigmoid(self, y: Any) -> Any:
        """1 / (1 + 2^y); NaN stays. Held above 2^-60 (double: 2^-200), far below a rounding: products of less would be subnormal, and slow."""
        builder, bound = self.builder, 200.0 if self.double else 60.0
        whole, place, bias, magic = (64, 52, 0x3FF0000000000000, 6755399441055744.0) if self.double else (32, 23, 0x3F800000, 12582912.0)
        y = builder.select(builder.fcmp_ordered("<", y, self.constant(-bound)), self.constant(-bound), y)
        y = builder.select(builder.fcmp_ordered(">", y, self.constant(bound)), self.constant(bound), y)
        shifted = builder.fadd(y, self.constant(magic))                         # the nearest whole number is in the last bits now
        f = builder.fsub(y, builder.fsub(shifted, self.constant(magic)))
        terms = TAYLOR if self.double else CHEBYSHEV
        p = self.constant(terms[-1])
        for c in reversed(terms[:-1]):
            p = self.multiply_add(p, f, self.constant(c))
        bits = ir.VectorType(ir.IntType(whole), LANES)
        constant = lambda n: ir.Constant(bits, [bits.element(n)] * LANES)  # noqa: E731
        power = builder.add(builder.shl(builder.bitcast(shifted, bits), constant(place)), constant(bias))
        one = self.constant(1.0)
        return builder.fdiv(one, self.multiply_add(builder.bitcast(power, self.type), p, one))


def _over(body: Callable[..., None], wanted: int) -> Callable[..., Any]:
    """The code of an intrinsic on ``wanted`` arrays and then whole numbers: body(builder, vectors, data of the arrays, numbers)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if any(array.layout != "C" for array in signature.args[:wanted]):
            raise TypeError("sums over synapses take contiguous arrays")
        data = [context.make_array(kind)(context, builder, value).data for kind, value in zip(signature.args[:wanted], args)]
        body(builder, Vectors(context, builder, data[0].type.pointee), data, args[wanted:])
        return context.get_dummy_value()

    return build


@intrinsic
def gather(typing, v, synapses, s, pull, leak, sources, P, row):
    """pull += sum_j w E s, leak += sum_j w s over sources j: v [sources], synapses [sources, 4, P], pull, leak [P]. Sigmoids of source j go to s[j row:]."""

    def body(builder: Any, V: Vectors, data: list, numbers: tuple) -> None:
        v, synapses, s, pull, leak = data
        n, P, row = numbers
        of = lambda q, j, i: builder.add(builder.mul(builder.add(builder.mul(j, n.type(4)), n.type(q)), P), i)  # noqa: E731
        sums = [cgutils.alloca_once(builder, V.type) for _ in range(2)]
        with cgutils.for_range(builder, builder.udiv(P, P.type(LANES)), intp=P.type) as block:
            i = builder.mul(block.index, P.type(LANES))
            for total, into in zip(sums, (pull, leak), strict=True):
                builder.store(V.load(into, i), total)
            with cgutils.for_range(builder, n, intp=n.type) as source:
                j = source.index
                value = V.sigmoid(V.multiply_add(V.load(synapses, of(0, j, i)), V.everywhere(v, j), V.load(synapses, of(1, j, i))))
                V.store(value, s, builder.add(builder.mul(j, row), i))
                for total, q in zip(sums, (3, 2), strict=True):
                    builder.store(V.multiply_add(V.load(synapses, of(q, j, i)), value, builder.load(total)), total)
            for total, into in zip(sums, (pull, leak), strict=True):
                V.store(builder.load(total), into, i)

    return types.void(v, synapses, s, pull, leak, types.intp, types.intp, types.intp), _over(body, 5)


@intrinsic
def scatter(typing, v, synapses, s, by_pull, by_leak, grad, gv, sources, P):
    """Reverse of ``gather`` from dL/dpull and dL/dleak [P]: adds to gv [sources] and to grad [sources, 4, P], where scale and shift lack the factor -ln 2."""

    def body(builder: Any, V: Vectors, data: list, numbers: tuple) -> None:
        v, synapses, s, by_pull, by_leak, grad, gv = data
        n, P = numbers
        total = cgutils.alloca_once(builder, V.type)
        with cgutils.for_range(builder, n, intp=n.type) as source:
            j = source.index
            x = V.everywhere(v, j)
            builder.store(V.constant(0.0), total)
            with cgutils.for_range(builder, builder.udiv(P, P.type(LANES)), intp=P.type) as block:
                i = builder.mul(block.index, P.type(LANES))
                at = [builder.add(builder.mul(builder.add(builder.mul(j, n.type(4)), n.type(q)), P), i) for q in range(4)]
                scale, _, w, wE = (V.load(synapses, place) if q != 1 else None for q, place in enumerate(at))
                value, p, q = V.load(s, builder.add(builder.mul(j, P), i)), V.load(by_pull, i), V.load(by_leak, i)
                by_s = V.multiply_add(wE, p, builder.fmul(w, q, flags=("contract",)))
                slope = builder.fmul(by_s, builder.fsub(value, builder.fmul(value, value, flags=("contract",)), flags=("contract",)), flags=("contract",))
                builder.store(V.multiply_add(slope, scale, builder.load(total)), total)
                V.store(V.multiply_add(slope, x, V.load(grad, at[0])), grad, at[0])
                V.store(builder.fadd(slope, V.load(grad, at[1])), grad, at[1])
                V.store(V.multiply_add(q, value, V.load(grad, at[2])), grad, at[2])
                V.store(V.multiply_add(p, value, V.load(grad, at[3])), grad, at[3])
            place = builder.gep(gv, [j])
            factor = V.type.element(-LN2)
            builder.store(builder.fadd(builder.load(place), builder.fmul(factor, V.sum(builder.load(total)))), place)

    return types.void(v, synapses, s, by_pull, by_leak, grad, gv, types.intp, types.intp), _over(body, 7)
