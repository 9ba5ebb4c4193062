"""Angles between covariant vectors and between the spaces that they span, from their coefficients in orthonormal frames."""

from __future__ import annotations

import numpy as np

GROUPS = ("expanding", "neutral", "contracting")
PAIRS = ((0, 1), (0, 2), (1, 2))
N_BLOCKS = 16


def grouped(growth: np.ndarray, dt: float, flow: bool, neutral: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean growth per time [k] of one fit, its standard error over N_BLOCKS blocks, and each vector's group; growth [n, k] per step.

    Neutral is a mean within ``neutral``; by default one within two standard errors, or that comes to less than a tenth of an e-folding over
    the whole stretch; of a flow also the one nearest to zero, that of its direction. Blocks overstate the error of a quantity that is bounded, which is
    the safe side here.
    """
    n = len(growth)
    mean = growth.mean(0) / dt
    blocks = np.array([part.mean(0) for part in np.array_split(growth, min(N_BLOCKS, n))]) / dt
    error = blocks.std(0, ddof=1) / np.sqrt(len(blocks)) if len(blocks) > 1 else np.full(len(mean), np.inf)
    zero = np.abs(mean) <= neutral if neutral is not None else (np.abs(mean) <= 2 * error) | (np.abs(mean) * n * dt < 0.1)
    if flow and neutral is None and len(mean):
        zero[np.abs(mean).argmin()] = True
    return mean, error, np.where(zero, 1, np.where(mean > 0, 0, 2))


def pair_angles(C: np.ndarray) -> np.ndarray:
    """Angle [n, k, k] between the lines along every two columns of C [n, k, k], 0 to pi / 2; small ones are exact to rounding too."""
    k = C.shape[-1]
    rows = np.swapaxes(C, -1, -2)
    out = np.zeros_like(C)
    for i in range(k):
        along = np.einsum("njr,nr->nj", rows, rows[:, i])
        rest = rows - along[..., None] * rows[:, None, i]
        out[:, i] = np.arctan2(np.linalg.norm(rest, axis=-1), np.abs(along))
        out[:, i, i] = 0.0
    return (out + np.swapaxes(out, -1, -2)) / 2


def smallest_principal_angle(C: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Between the spans of two sets of columns [n] (Bjoerck and Golub 1973, Math. Comp. 27, 579): its sine is the smallest singular value of what
    the projection on the one leaves of the other's basis, its cosine the largest of the product of the bases."""
    a, b = np.linalg.qr(C[..., first])[0], np.linalg.qr(C[..., second])[0]
    overlap = np.swapaxes(a, -1, -2) @ b
    if b.shape[-1] > a.shape[-1]:
        a, b, overlap = b, a, np.swapaxes(overlap, -1, -2)
    cosine = np.linalg.svd(overlap, compute_uv=False)[..., 0]
    sine = np.linalg.svd(b - a @ overlap, compute_uv=False)[..., -1]
    return np.arctan2(sine, cosine)
