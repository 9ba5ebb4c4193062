"""What rounding can have done, as bounds: signs of eigenvalues and norms of matrices that are proven, not computed.

u = 2^-53. A sum or product of n terms in any order is off by at most gamma(n) = n u / (1 - n u) times that of the moduli (Higham 2002, Accuracy and
Stability of Numerical Algorithms, 3.1 and 3.5), with fused multiply-adds as well. A Cholesky factorisation that runs through in floating point on Q - c I,
with c = gamma(n + 1) / (1 - gamma(n + 1)) trace(Q), proves that Q is positive definite (Rump 2006, BIT 46, 433). Overflow is a failure, and underflow lies
far below every bound since matrices are scaled to a unit diagonal first.
"""

from __future__ import annotations

import numpy as np

UNIT = 2.0**-53


def gamma(n: int) -> float:
    """n u / (1 - n u)."""
    return n * UNIT / (1 - n * UNIT)


def margin_of_definiteness(Q: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Smallest eigenvalue of symmetric Q (..., n, n) after scaling to a unit diagonal, less all that rounding can have done; > 0 is a proof that Q > 0.

    error (..., n, n): an entrywise bound on what Q is off by. Scaling is by powers of 2, which rounds nothing and leaves the signs of eigenvalues. The
    result is -inf where a diagonal entry is not positive, and never above 0 where the Cholesky factorisation stops. Cost O(n^3) each.
    """
    n = Q.shape[-1]
    diagonal = np.diagonal(Q, axis1=-2, axis2=-1)
    out = np.full(Q.shape[:-2], -np.inf)
    good = np.isfinite(Q).all((-2, -1)) & np.isfinite(error).all((-2, -1)) & (diagonal > 0).all(-1)
    if not good.any():
        return out
    Q, error, diagonal = Q[good], error[good], diagonal[good]
    t = np.exp2(-np.round(np.log2(diagonal) / 2))
    scale = t[..., :, None] * t[..., None, :]
    Q, error = Q * scale, error * scale
    trace = np.trace(Q, axis1=-2, axis2=-1)
    # of Rump's c twice: once it is his, once more than what subtracting from the diagonal rounds; the largest row sum bounds the error's norm
    slack = 1.01 * error.sum(-1).max(-1) + 2.1 * gamma(n + 1) * trace
    lowest = np.linalg.eigvalsh(Q)[..., 0] - slack - gamma(n + 1) * trace
    proven = np.array([_factors(one - by * np.eye(n)) for one, by in zip(Q, slack)])
    out[good] = np.where(proven, lowest, np.minimum(lowest, 0.0))
    return out


def _factors(Q: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(np.linalg.cholesky(Q)).all())
    except np.linalg.LinAlgError:
        return False


def norm_bound(B: np.ndarray, error: np.ndarray) -> float:
    """A number that ||B||_2 is proven not to exceed, for every B within ``error`` of the one given: [[s, B], [B', s]] is positive definite."""
    m, n = B.shape
    if m == 0 or n == 0 or not (np.abs(B) + error).any():
        return 0.0
    if not np.isfinite(B).all():
        return np.inf
    size = float(np.linalg.norm(B, 2))
    bound = max(size, float(error.max()))
    excess = 1.1 * float(max(error.sum(0).max(), error.sum(1).max())) + 4 * gamma(m + n + 1) * (m + n) * bound
    for _ in range(60):
        s = bound + excess
        whole = np.block([[s * np.eye(m), B], [B.T, s * np.eye(n)]])
        off = np.block([[np.zeros((m, m)), error], [error.T, np.zeros((n, n))]])
        if margin_of_definiteness(whole[None], off[None])[0] > 0:
            return s
        excess *= 2
    return np.inf
