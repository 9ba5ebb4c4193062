"""Multipliers of a cycle: eigenvalues of a product of Jacobians that is never formed, so that they neither overflow nor underflow."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Complex, Float

SWEEPS = 30                               # moduli apart by more than a factor exp(27 / 30) a period are then separated to rounding
SPLIT = 1e-13                             # of a factor's size: what may be left below the diagonal blocks
HUGE = 700.0                              # exp of more would not be a double


def product_eigenvalues(J: Float[np.ndarray, "k M M"]) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """ln|mu| and arg mu of ``J[k-1] ... J[0]``, largest modulus first, of a complex pair the positive argument first.

    Orthogonal iteration through the factors, ``J[t] Q = Q' R[t]``, until the product is block triangular in the basis Q; a block is a group of
    moduli too close to be separated, and its own small product is scaled by the logarithm of its size. Backward stable in the factors, as the
    periodic Schur form is (Bojanczyk, Golub & Van Dooren 1992). A modulus that is zero to rounding of its factor is -inf. O(sweeps k M^3).
    """
    k, M, _ = J.shape
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((M, M)))[0]           # generic, so that no mode is missed
    R, turn = np.empty_like(J), np.eye(M)
    for _ in range(SWEEPS):
        start = Q
        for t in range(k):
            Q, R[t] = np.linalg.qr(J[t] @ Q)
        turn = start.T @ Q
        if np.abs(np.tril(turn, -1)).max(initial=0) < SPLIT:
            break
    zero = np.abs(np.diagonal(R, axis1=1, axis2=2)) <= 4 * M * np.finfo(float).eps * np.abs(J).max(axis=(1, 2))[:, None]
    R[:, np.arange(M), np.arange(M)] = np.where(zero, 0, np.diagonal(R, axis1=1, axis2=2))
    left = [np.abs(turn[i:, :i] @ R[-1, :i, :i]).max() for i in range(1, M)]        # a change of the last factor by so much makes it triangular
    cuts = [0, *(i for i in range(1, M) if left[i - 1] <= SPLIT * np.abs(J[-1]).max()), M]
    log, angle = np.empty(M), np.empty(M)
    for low, high in pairwise(cuts):
        log[low:high], angle[low:high] = _block(turn[low:high, low:high], R[:, low:high, low:high])
    order = np.lexsort((-angle, -np.round(log, 10)))
    return log[order], angle[order]


def _block(turn: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    product, scale = np.eye(len(turn)), 0.0
    for factor in R:
        product = factor @ product
        size = np.abs(product).max()
        if size == 0:
            return np.full(len(turn), -np.inf), np.zeros(len(turn))
        product, scale = product / size, scale + np.log(size)
    mu = np.linalg.eigvals(turn @ product).astype(np.complex128)
    mu[np.abs(mu) < 1e-14] = 0                                                      # of a product of size 1
    with np.errstate(divide="ignore"):
        return np.log(np.abs(mu)) + scale, np.angle(mu)


def as_complex(log: Float[np.ndarray, "*batch"], angle: Float[np.ndarray, "*batch"]) -> Complex[np.ndarray, "*batch"]:
    """exp(log + i angle), moduli cut at e^700; exactly real where the angle says so."""
    size = np.exp(np.minimum(log, HUGE))
    real = np.where(np.abs(angle) < 1, size, -size)
    plain = np.sin(angle) ** 2 < 1e-24
    return np.where(plain, real, size * np.cos(angle)) + 1j * np.where(plain, 0, size * np.sin(angle))
