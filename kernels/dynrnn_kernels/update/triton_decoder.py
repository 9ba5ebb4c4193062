"""The affine decoder x = B z + b on the device: pseudo-inverse of B and the penalty on its condition number.

Both come from the eigenvectors of the smaller Gram matrix of B, in float64, by Jacobi's rotations. All of them is one program without a
word from the host, which torch's decompositions want. Squaring doubles B's condition number, so that in float64 training the rank is decided at
about 1e-8 of the largest singular value, where the compiled update on a CPU, which has all of B's digits, goes down to 1e-16 times its size. In
float32 training both decide at size times 1.2e-7, and the singular values here are the more accurate ones.
"""

from __future__ import annotations

import triton
import triton.language as tl

SWEEPS = tl.constexpr(15)                                                       # six to ten are what it takes


@triton.jit
def decoder_row(base, long, short, M: tl.constexpr, N: tl.constexpr, WIDE: tl.constexpr):
    """The entries of B [N, M] at index ``long`` of its longer axis and ``short`` of the other, in float64."""
    if WIDE:
        return tl.load(base + short * M + long, mask=short < N, other=0.0).to(tl.float64)
    else:
        return tl.load(base + long * M + short, mask=short < M, other=0.0).to(tl.float64)


@triton.jit
def rank_floor(roots, N: tl.constexpr, M: tl.constexpr, SHORT: tl.constexpr, DOUBLE: tl.constexpr):
    """The eigenvalue of the Gram matrix up to which it counts as zero: (largest singular value * max(N, M) * eps)^2, or what float64 can tell."""
    eps: tl.constexpr = 2.220446049250313e-16 if DOUBLE else 1.1920928955078125e-07
    size: tl.constexpr = M if M > N else N
    by_kind: tl.constexpr = size * eps * size * eps
    by_gram: tl.constexpr = 4 * SHORT * 2.220446049250313e-16
    return tl.max(roots, 0) * (by_kind if by_kind > by_gram else by_gram)


@triton.jit
def rotated(X, partner, c, s):
    """Rows i and partner(i) of X turned against each other."""
    other = tl.gather(X, tl.broadcast_to(partner[:, None], X.shape), 0)
    return c[:, None] * X - s[:, None] * other


@triton.jit
def diagonalise(G, SHORT: tl.constexpr, BS: tl.constexpr):
    """Eigenvalues [BS] and eigenvectors (rows of [BS, BS]) of the symmetric G, whose entries from SHORT on are zero.

    Jacobi's method with all disjoint pairs of a round turned at once, in the order of a round robin: in round r, i meets (r - i) mod n for an
    odd n; with an even number of players the last one meets whoever would meet himself (Golub & Van Loan, Matrix Computations, 8.5). NaN
    ends it at once.
    """
    i = tl.arange(0, BS)
    n: tl.constexpr = SHORT - 1 + SHORT % 2
    eye = i[:, None] == i[None, :]
    V = tl.where(eye, 1.0, 0.0).to(tl.float64)
    most = SHORT * 2.220446049250313e-16
    size = tl.sum(tl.sum(G * G, 1), 0)
    off = tl.sum(tl.sum(tl.where(eye, 0.0, G * G), 1), 0)
    sweep = 0
    while (sweep < SWEEPS) & (off > most * most * size):
        for r in range(n):
            partner = tl.where(i < n, (r - i + n) % n, i)
            if SHORT > n:
                partner = tl.where((i < n) & (partner == i), n, tl.where(i == n, r * (SHORT // 2) % n, partner))
            pair = (i[None, :] == partner[:, None]) & (i != partner)[:, None]
            own = tl.sum(tl.where(eye, G, 0.0), 1)
            across = tl.sum(tl.where(pair, G, 0.0), 1)
            other = tl.sum(tl.where(pair, own[None, :], 0.0), 1)
            tau = (other - own) / (2 * tl.where(across == 0, 1.0, across))
            sign = tl.where((tau > 0) | ((tau == 0) & (i < partner)), 1.0, -1.0)
            tangent = tl.where(across == 0, 0.0, sign / (tl.abs(tau) + tl.sqrt(1 + tau * tau)))
            c = 1 / tl.sqrt(1 + tangent * tangent)
            s = tangent * c
            G = rotated(tl.trans(rotated(G, partner, c, s)), partner, c, s)
            V = rotated(V, partner, c, s)
        off = tl.sum(tl.sum(tl.where(eye, 0.0, G * G), 1), 0)
        sweep += 1
    return tl.sum(tl.where(eye, G, 0.0), 1), V


@triton.jit
def pick(vectors, values, i, at):
    """The eigenvector number ``at`` and the singular value that goes with it."""
    chosen = i == at
    root = tl.sum(tl.where(chosen, values, 0.0), 0)
    return tl.sum(tl.where(chosen[:, None], vectors, 0.0), 0), tl.sqrt(tl.maximum(root, 0.0, propagate_nan=tl.PropagateNan.ALL))


@triton.jit(do_not_specialize=["P", "start"])
def decoder_kernel(
    theta, weight, inverse, penalty, penalty_gradient, P, start,
    M: tl.constexpr, N: tl.constexpr, CONDITIONED: tl.constexpr, BS: tl.constexpr,
):
    """inverse [F, M, N] = pinv(B); with CONDITIONED also penalty [F] = weight (1 - s_max / (s_min + 1e-8))^2 and its gradient. Grid (fits,)."""
    f = tl.program_id(0).to(tl.int64)
    WIDE: tl.constexpr = M > N
    SHORT: tl.constexpr = N if WIDE else M
    LONG: tl.constexpr = M if WIDE else N
    base = theta + f * P + start
    i = tl.arange(0, BS)
    gram = tl.full((BS, BS), 0.0, tl.float64)
    for k in range(LONG):
        row = decoder_row(base, k, i, M, N, WIDE)
        gram += row[:, None] * row[None, :]
    values, vectors = diagonalise(gram, SHORT, BS)
    kept = values > rank_floor(values, N, M, SHORT, theta.dtype.element_ty == tl.float64)
    for k in range(LONG):
        along = tl.sum(vectors * decoder_row(base, k, i, M, N, WIDE)[None, :], 1)
        column = tl.sum(vectors * tl.where(kept, along / tl.where(kept, values, 1.0), along * 0)[:, None], 0)
        tl.store(inverse + f * M * N + (k * N + i if WIDE else i * N + k), column, mask=i < SHORT)
    if CONDITIONED:
        on = i < SHORT
        wide, largest = pick(vectors, values, i, tl.argmax(tl.where(on, values, -float("inf")), 0))
        thin, smallest = pick(vectors, values, i, tl.argmin(tl.where(on, values, float("inf")), 0))
        low = smallest + 1e-8
        ratio = largest / low
        much = tl.load(weight + f).to(tl.float64)
        slope = -2 * much * (1 - ratio)
        tl.store(penalty + f, much * (1 - ratio) * (1 - ratio))
        for k in range(LONG):
            row = decoder_row(base, k, i, M, N, WIDE)
            up = tl.sum(row * wide, 0) / largest
            down = tl.sum(row * thin, 0) / tl.where(smallest > 0, smallest, 1.0)
            change = slope * (up * wide / low - largest / (low * low) * down * thin)
            tl.store(penalty_gradient + f * N * M + (i * M + k if WIDE else k * M + i), tl.where(much > 0, change, 0.0), mask=on)
