"""The largest singular value of ROWS small matrices at once, by a direct method: bidiagonal form by reflections, then bisection.

No iteration that could converge slowly: equal or close singular values, at which power iteration stalls, cost the same. Golub & Van Loan,
Matrix Computations, sections 5.1, 8.4 and 8.6. The relative error is a small multiple of M eps. O(M^3): 4/3 M^3 multiply-adds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.lanes import add_multiple, add_outer_products, dots, largest_entry, multiply, narrow, reflect
from dynrnn_kernels.additive.tile import ROWS


@njit(cache=True, nogil=True, error_model="numpy")
def scale_down(J, one_row, scale):
    """J / its largest entry, lane by lane, so that squares neither overflow nor vanish; a matrix without a normal number becomes zero."""
    kind = J.dtype.type
    tiny = kind(np.finfo(J.dtype).tiny)
    largest_entry(J, J.shape[0], scale)
    for r in range(ROWS):
        one_row[0, r] = kind(1) / scale[0, r] if scale[0, r] >= tiny else kind(0)
    multiply(J, 0, 1, one_row, J, 0, J.shape[0])


@njit(cache=True, nogil=True)
def bidiagonal(J, M, work, diagonal, beside):
    """The bidiagonal form of J [M * M, ROWS], which is destroyed: diagonal and what stands above it [M, ROWS]. work [5 M + 4, ROWS].

    A reflection of columns, v, and the one of rows after it, x, change the rest in one pass: J + f w' + g x', with f = by v, w' = v'J and
    g = by (J x + f w'x).
    """
    least = J.dtype.type(np.finfo(J.dtype).tiny / np.finfo(J.dtype).eps)       # a square of full precision
    v, w, x, f, g = work[:M], work[M : 2 * M], work[2 * M : 3 * M], work[3 * M : 4 * M], work[4 * M : 5 * M]
    square, by, through, one = work[5 * M : 5 * M + 1], work[5 * M + 1 : 5 * M + 2], work[5 * M + 2 : 5 * M + 3], work[5 * M + 3 : 5 * M + 4]
    for r in range(ROWS):
        one[0, r] = 1
    for k in range(M - 1):
        here, rest = k * M + k, M - 1 - k
        multiply(J, here, M, one, v, 0, rest + 1)
        dots(v, 0, 1, 1, v, 0, rest + 1, square, 0, 1)
        reflect(v, square, least, diagonal, k, by)
        dots(J, here + 1, 1, M, v, 0, rest + 1, w, 0, rest)
        multiply(v, 0, 1, by, f, 0, rest + 1)
        multiply(J, here + 1, 1, one, x, 0, rest)
        add_multiple(f, 0, w, 0, x, 0, rest)
        dots(x, 0, 1, 1, x, 0, rest, square, 0, 1)
        reflect(x, square, least, beside, k, by)
        dots(w, 0, 1, 1, x, 0, rest, through, 0, 1)
        dots(J, here + M + 1, M, 1, x, 0, rest, g, 1, rest)
        add_multiple(through, 0, f, 1, g, 1, rest)
        multiply(g, 1, 1, by, g, 1, rest)
        add_outer_products(f, w, g, x, 1, J, here + M + 1, M, rest, rest)
    for r in range(ROWS):                                                      # a row assigned whole takes seconds to compile
        diagonal[M - 1, r] = J[M * M - 1, r]
        beside[M - 1, r] = 0


@njit(cache=True, nogil=True)
def largest_of_bidiagonal(d, e, M, work, out):
    """out [ROWS] = the largest singular value of the matrix with diagonal d and e above it [M, ROWS], by bisection on its square. work [2 M + 2, ROWS]."""
    kind = d.dtype.type
    zero = kind(0)
    alpha, beta, bracket = work[:M], work[M : 2 * M], work[2 * M : 2 * M + 2]
    low, high = bracket[0], bracket[1]
    for r in range(ROWS):
        low[r] = high[r] = zero
    for i in range(M):
        before = max(i - 1, 0)                                                 # e is zero at the end, so at i = 0 its factor must be, too
        has = kind(min(i, 1))
        for r in range(ROWS):
            above = has * e[before, r]
            alpha[i, r] = d[i, r] * d[i, r] + above * above
            next_to = d[i, r] * e[i, r]
            beta[i, r] = next_to * next_to
            radius = abs(next_to) + abs(has * d[before, r] * e[before, r])
            low[r] = low[r] if alpha[i, r] <= low[r] else alpha[i, r]          # eigenvalues lie above every diagonal entry, and in Gershgorin's discs
            high[r] = high[r] if alpha[i, r] + radius <= high[r] else alpha[i, r] + radius
    bits = 2 - np.log2(np.finfo(d.dtype).eps)                                  # high <= 3 low: the bracket's width over low is 2 at first, eps / 2 at last
    for _ in range(int(np.ceil(bits / 2))):
        narrow(alpha, beta, bracket, M)
    for r in range(ROWS):
        out[r] = np.sqrt(low[r] + kind(0.5) * (high[r] - low[r]))


@njit(cache=True, nogil=True)
def work_rows(M):
    """Rows of scratch that ``largest_singular_values`` wants."""
    return 7 * M + 5


@njit(cache=True, nogil=True)
def largest_singular_values(J, M, work, out):
    """out [ROWS] = ||J||_2 of J [M * M, ROWS], one matrix a lane, row by row; J is destroyed. NaN where J is not finite. work [work_rows, ROWS]."""
    scale, d, e, rest = work[:1], work[1 : M + 1], work[M + 1 : 2 * M + 1], work[2 * M + 1 :]
    scale_down(J, rest[:1], scale)
    bidiagonal(J, M, rest, d, e)
    largest_of_bidiagonal(d, e, M, rest, out)
    for r in range(ROWS):
        out[r] *= scale[0, r]
