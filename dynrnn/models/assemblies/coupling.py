"""Metrics of all areas as a differentiable matrix, and the couplings that are skew in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Metric:
    """P = U diag(t^2) U', blockwise by area: t [F, M] positive, U [F, M, M] orthogonal and block-diagonal, None for the identity."""

    t: Tensor
    U: Tensor | None = None

    def similar(self, X: Tensor, k: int) -> Tensor:
        """P^(k/2) X P^(-k/2), [F, M, M]."""
        if self.U is None:
            return X * (self.t**k)[:, :, None] / (self.t**k)[:, None]
        return self.power(k) @ X @ self.power(-k)

    def power(self, k: int) -> Tensor:
        """P^(k/2), symmetric, [F, M, M]."""
        if self.U is None:
            return torch.diag_embed(self.t**k)
        out = (self.U * (self.t**k)[:, None]) @ self.U.mT
        return (out + out.mT) / 2


def coupling(B: Tensor, metric: Metric) -> Tensor:
    """L = B - P^-1 B' P [F, M, M]: P L + L' P = P B - B' P + B' P - P B = 0 for every B, so that L turns states and changes no length in P."""
    return B - metric.similar(B.mT, -2)


def bounded_coupling(L: Tensor, metric: Metric, limit: Tensor) -> Tensor:
    """L times a number per fit, below 1, with which its norm in P stays below ``limit`` [F], whatever L is.

    The norm enters by the Schatten norm of order 16 of S = P^(1/2) L P^(-1/2), (tr (S'S)^8)^(1/16), which is never below it, at most M^(1/16) above it,
    and differentiable. O(M^3).
    """
    S = metric.similar(L, 1)
    size = torch.linalg.matrix_norm(S.detach())[:, None, None].clamp_min(1e-150)
    X = (S / size).mT @ (S / size)
    for _ in range(2):
        X = X @ X
    norm = size[:, 0, 0] * ((X * X).sum((1, 2)) + 1e-200) ** (1 / 16)          # never 0: the root has no slope there
    return L / torch.sqrt(1 + (norm / limit) ** 2)[:, None, None]


def skew_blocks(flat: Tensor, areas: tuple[int, ...]) -> list[Tensor]:
    """Skew matrices [F, n, n] of all areas from their entries below the diagonal, [F, sum of n (n - 1) / 2]."""
    out, end = [], 0
    for n in areas:
        rows, columns = torch.tril_indices(n, n, -1)
        start, end = end, end + len(rows)
        K = flat.new_zeros(flat.shape[0], n, n)
        K[:, rows, columns] = flat[:, start:end]
        out.append(K - K.mT)
    return out


def orthogonal(flat: Tensor, areas: tuple[int, ...]) -> Tensor:
    """Block-diagonal orthogonal [F, M, M] by Cayley's transform (I - K)^-1 (I + K) of skew matrices K, which misses those with an eigenvalue -1 alone."""
    blocks = []
    for K in skew_blocks(flat, areas):
        eye = torch.eye(K.shape[-1], dtype=K.dtype, device=K.device)
        blocks.append(torch.linalg.solve(eye - K, eye + K))
    return block_diagonal(blocks)


def block_diagonal(blocks: list[Tensor]) -> Tensor:
    """[F, M, M] of blocks [F, n, n]."""
    M = sum(block.shape[-1] for block in blocks)
    out, end = blocks[0].new_zeros(blocks[0].shape[0], M, M), 0
    for block in blocks:
        start, end = end, end + block.shape[-1]
        out[:, start:end, start:end] = block
    return out
