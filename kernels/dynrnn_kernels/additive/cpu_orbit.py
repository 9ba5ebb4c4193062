"""A few long orbits on a CPU: one state at a time, with the lanes of a vector along the hidden units.

The kernels of cpu.py take eight states of one fit at once, which a single orbit leaves seven eighths empty. Here a step costs M H / 4 vector
operations (of eight numbers) instead of 2 M H. For constant inputs and phi without transcendental functions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS
from dynrnn_kernels.threads import in_threads

RELU, CLIPPED, IDENTITY = (PHI_KINDS.index(name) for name in ("relu", "clipped", "identity"))
DENSE, CENTRING = W2_KINDS.index("dense"), W2_KINDS.index("centring")


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def follow(phi, w2, a, W1, h1, A, columns, shift, h2, z, n_steps, path):
    """z [M] becomes the state n_steps later. columns [M, H] is W2 transposed, shift [H] = D u, h1 [M] has C u in it; A [0, 0] where there is none.

    path [n_steps, M]: the states on the way, from the first on; [0, M] where nobody wants them.
    """
    M, H = W1.shape
    v, after = np.empty(H, z.dtype), np.empty(M, z.dtype)
    for t in range(n_steps):
        if path.shape[0] > 0:
            path[t] = z
        for h in range(H):
            v[h] = shift[h]
        if w2 == DENSE:
            for m in range(M):
                x = z[m]
                for h in range(H):
                    v[h] += columns[m, h] * x
        else:
            mean = z.mean() if w2 == CENTRING else z.dtype.type(0)
            for h in range(H):
                v[h] += z[M - H + h] - mean
        if phi == RELU:
            for h in range(H):
                x = v[h] + h2[h]
                v[h] = x if not x <= 0 else 0                                   # NaN stays
        elif phi == CLIPPED:
            for h in range(H):
                x, y = v[h] + h2[h], v[h]
                v[h] = (x if not x <= 0 else 0) - (y if not y <= 0 else 0)
        else:
            for h in range(H):
                v[h] += h2[h]
        for m in range(M):
            total = z.dtype.type(0)
            for h in range(H):
                total += W1[m, h] * v[h]
            after[m] = a[m] * z[m] + h1[m] + total
        if A.shape[0] > 0:
            for m in range(M):
                total = z.dtype.type(0)
                for n in range(M):
                    total += A[m, n] * z[n]
                after[m] += total
        for m in range(M):
            z[m] = after[m]


@njit(cache=True, nogil=True)
def follow_of_thread(thread, n_threads, phi, w2, a, W1, h1, A, columns, shift, h2, z, n_steps, path):
    """Every n_threads-th orbit; arrays have the fit axis in front, z [F, B, M], path [F, B, n_steps or 0, M]."""
    B = z.shape[1]
    for item in range(thread, z.shape[0] * B, n_threads):
        f, b = item // B, item % B
        follow(phi, w2, a[f], W1[f], h1[f], A[f], columns[f], shift[f], h2[f], z[f, b], n_steps, path[f, b])


def orbits(phi, w2, arrays, n_steps, path):
    """All orbits on threads. ``arrays``: a, W1, h1, A, columns, shift, h2 and z, which is changed in place; C-contiguous and of one dtype, as is ``path``.
    The bits of an orbit depend on its own numbers alone."""
    z = arrays[-1]
    in_threads(follow_of_thread, z.shape[0] * z.shape[1], PHI_KINDS.index(phi), W2_KINDS.index(w2), *arrays, n_steps, path)
