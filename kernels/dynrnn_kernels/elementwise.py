"""Hyperbolic tangents of arrays in vector registers: Numba calls the C library once a number, which takes longer than the products of a small network."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic    # which takes the argument ``typing`` away, unknown to type checkers
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10      # ln 2 = high + low; products of high with small whole numbers are exact
LN2_HIGH_SINGLE, LN2_LOW_SINGLE = 0.693359375, -2.12194440054690581e-4


@intrinsic
def power_of_two(typing, shifted):
    """2^k for shifted = k + 3 2^(p - 1), the number whose last bits hold k: its bits move to the exponent's place. p = 52 or 23."""

    def build(context, builder, signature, args):
        double = isinstance(args[0].type, ir.DoubleType)
        whole, place, one = (ir.IntType(64), 52, 0x3FF0000000000000) if double else (ir.IntType(32), 23, 0x3F800000)
        moved = builder.shl(builder.bitcast(args[0], whole), whole(place))
        return builder.bitcast(builder.add(moved, whole(one)), args[0].type)

    return shifted(shifted), build


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def tanh_double(x):
    """x = tanh x in place, flat float64: -e / (2 + e) with e = e^(-2|x|) - 1 by Taylor's series on [-ln 2 / 2, ln 2 / 2]; within 3 roundings. NaN stays."""
    magic = 6755399441055744.0
    for i in range(x.size):
        v = x[i]
        y = max(-2 * abs(v), -40.0)
        shifted = y * 1.4426950408889634 + magic
        k = shifted - magic
        r = (y - k * LN2_HIGH) - k * LN2_LOW
        p = r * (1 / 6227020800.0) + 1 / 479001600.0
        p = p * r + 1 / 39916800.0
        p = p * r + 1 / 3628800.0
        p = p * r + 1 / 362880.0
        p = p * r + 1 / 40320.0
        p = p * r + 1 / 5040.0
        p = p * r + 1 / 720.0
        p = p * r + 1 / 120.0
        p = p * r + 1 / 24.0
        p = p * r + 1 / 6.0
        p = p * r + 0.5
        p = p * r * r + r
        scale = power_of_two(shifted)
        e = scale * p + (scale - 1)
        t = -e / (2 + e)
        t = t if v > 0 else -t
        x[i] = t if v == v else v


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def tanh_single(x):
    """The same for float32."""
    one, magic = np.float32(1), np.float32(12582912.0)
    for i in range(x.size):
        v = x[i]
        y = max(np.float32(-2) * abs(v), np.float32(-20))
        shifted = y * np.float32(1.442695) + magic
        k = shifted - magic
        r = (y - k * np.float32(LN2_HIGH_SINGLE)) - k * np.float32(LN2_LOW_SINGLE)
        p = r * np.float32(1 / 5040.0) + np.float32(1 / 720.0)
        p = p * r + np.float32(1 / 120.0)
        p = p * r + np.float32(1 / 24.0)
        p = p * r + np.float32(1 / 6.0)
        p = p * r + np.float32(0.5)
        p = p * r * r + r
        scale = power_of_two(shifted)
        e = scale * p + (scale - one)
        t = -e / (np.float32(2) + e)
        t = t if v > 0 else -t
        x[i] = t if v == v else v


def _tanh(x):
    raise NotImplementedError


@extending.overload(_tanh)
def _tanh_of(x):
    if x.dtype == types.float64:
        return lambda x: tanh_double(x)
    return lambda x: tanh_single(x)


@njit(cache=True, nogil=True)
def tanh_in_place(x):
    """x = tanh x, flat float32 or float64."""
    _tanh(x)
