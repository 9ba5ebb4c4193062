"""What a step of the additive recurrence is made of, on a chunk of ROWS batch rows: arrays [units, ROWS], or flat where a loop runs over all of it."""

from __future__ import annotations

from numba import njit

from dynrnn_kernels.additive.tile import ROWS
from dynrnn_kernels.elementwise import tanh_in_place

RELU, CLIPPED, BASIS, CLIPPED_BASIS, TANH, IDENTITY = range(6)
W2_DENSE, W2_IDENTITY, W2_SELECTION, W2_CENTRING = range(4)


@njit(cache=True, nogil=True)
def matrix(flat, offset, rows, columns):
    """A tensor of the map, empty where it has none. Reshaping costs as much as a small product: keep it out of loops over time."""
    if offset < 0:
        return flat[:0].reshape((0, columns))
    return flat[offset : offset + rows * columns].reshape((rows, columns))


@njit(cache=True, nogil=True)
def spread(vector, out):
    """out[i, r] = vector[i]: a bias for every row of the chunk, so that loops below run over one long array."""
    for i in range(out.shape[0]):
        for r in range(ROWS):
            out[i, r] = vector[i]


@njit(cache=True, nogil=True)
def activate(kind, slope, threshold, x, b, y):
    """y = phi(p + h2) over flat [H * ROWS] arrays: x is p, b is h2 spread over the rows. After it, x includes h2 unless phi is clipped."""
    zero = x.dtype.type(0)
    if kind == CLIPPED:
        for i in range(x.size):
            y[i] = max(x[i] + b[i], zero) - max(x[i], zero)
        return
    if kind == RELU:
        for i in range(x.size):
            x[i] += b[i]
        for i in range(x.size):
            y[i] = max(x[i], zero)
    elif kind == TANH:
        for i in range(x.size):
            x[i] += b[i]
            y[i] = x[i]
        tanh_in_place(y)
    elif kind == IDENTITY:
        for i in range(x.size):
            x[i] += b[i]
            y[i] = x[i]
    else:
        for i in range(x.size):
            x[i] += b[i]
            base = max(x[i], zero) if kind == CLIPPED_BASIS else zero
            value = zero
            for n in range(slope.size):
                value += slope[n] * (max(x[i] - threshold[i // ROWS, n], zero) - base)
            y[i] = value


@njit(cache=True, nogil=True)
def back_through(kind, slope, threshold, x, b, y, q, total):
    """From q = dL/dphi: x becomes dL/dp, and dL/dh2 is added to total; x and y come as ``activate`` leaves them."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if kind == CLIPPED:
        for i in range(x.size):
            upper = q[i] if x[i] + b[i] > zero else zero
            lower = q[i] if x[i] > zero else zero
            total[i] += upper
            x[i] = upper - lower
    elif kind == RELU:
        for i in range(x.size):
            x[i] = q[i] if x[i] > zero else zero
            total[i] += x[i]
    elif kind == TANH:
        for i in range(x.size):
            x[i] = q[i] * (one - y[i] * y[i])
            total[i] += x[i]
    elif kind == IDENTITY:
        for i in range(x.size):
            x[i] = q[i]
            total[i] += x[i]
    else:
        for i in range(x.size):
            base = one if kind == CLIPPED_BASIS and x[i] > zero else zero
            rise = zero
            for n in range(slope.size):
                rise += slope[n] * ((one if x[i] > threshold[i // ROWS, n] else zero) - base)
            x[i] = q[i] * rise
            total[i] += x[i]


@njit(cache=True, nogil=True)
def unit_slopes(kind, slope, threshold, x, b, y, d):
    """d = phi'(p + h2) of flat arrays; x and y come as ``activate`` leaves them. A unit at its kink counts as off."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if kind == CLIPPED:
        for i in range(x.size):
            d[i] = (one if x[i] + b[i] > zero else zero) - (one if x[i] > zero else zero)
    elif kind == RELU:
        for i in range(x.size):
            d[i] = one if x[i] > zero else zero
    elif kind == TANH:
        for i in range(x.size):
            d[i] = one - y[i] * y[i]
    elif kind == IDENTITY:
        for i in range(x.size):
            d[i] = one
    else:
        for i in range(x.size):
            base, rise = one if kind == CLIPPED_BASIS and x[i] > zero else zero, zero
            for n in range(slope.size):
                rise += slope[n] * ((one if x[i] > threshold[i // ROWS, n] else zero) - base)
            d[i] = rise


@njit(cache=True, nogil=True)
def force(now, weight, target, forced):
    """forced = now + weight (target - now), over flat arrays."""
    for i in range(now.size):
        forced[i] = now[i] + weight[i] * (target[i] - now[i])


@njit(cache=True, nogil=True)
def add_scaled(scale, x, shift, out):
    """out += scale x + shift, over flat arrays."""
    for i in range(x.size):
        out[i] += scale[i] * x[i] + shift[i]


@njit(cache=True, nogil=True)
def add_times(x, y, out):
    """out += x y, over flat arrays."""
    for i in range(x.size):
        out[i] += x[i] * y[i]


@njit(cache=True, nogil=True)
def add_to(x, out):
    """out += x, over flat arrays."""
    for i in range(x.size):
        out[i] += x[i]


@njit(cache=True, nogil=True)
def basis_of(flat, lay):
    """Slopes [n_bases] and thresholds [H, n_bases], empty where phi is no basis."""
    return flat[max(lay.slope, 0) : max(lay.slope, 0) + lay.n_bases], matrix(flat, lay.threshold, lay.H, lay.n_bases)


@njit(cache=True, nogil=True)
def basis_gradient(kind, slope, threshold, x, q, gslope, gthreshold):
    """Add the gradients of slopes and thresholds, where x = p + h2 and q = dL/dphi, flat [H * ROWS]."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        base = max(x[i], zero) if kind == CLIPPED_BASIS else zero
        for n in range(slope.size):
            over = x[i] - threshold[i // ROWS, n]
            gslope[n] += q[i] * (max(over, zero) - base)
            if over > zero:
                gthreshold[i // ROWS, n] -= q[i] * slope[n]


@njit(cache=True, nogil=True)
def add_rows(source, offset, grad):
    """grad[offset:] += sum over the rows of the chunk."""
    for m in range(source.shape[0]):
        for r in range(ROWS):
            grad[offset + m] += source[m, r]
