"""Polynomial maps in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from dynrnn_kernels.polynomial.map import PolynomialMap


def _factors(map: PolynomialMap, z: Tensor, u: Tensor | None) -> Tensor:
    """The factors of each monomial, [F, B, P, order]."""
    parts = [z, *([] if u is None else [u.expand(*z.shape[:-1], -1)]), torch.ones_like(z[..., :1])]
    return torch.cat(parts, -1)[..., map.table]


def features(map: PolynomialMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """The monomials, [F, B, P]."""
    return _factors(map, z, u).prod(-1)


def step(map: PolynomialMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """One step of every line of samples: z [F, B, M], u [F, B, K] -> [F, B, M]."""
    N = map.b.shape[1]
    x = map.b[:, None] + features(map, z, u) @ map.W.mT
    return torch.cat([x + z[..., :N] if map.increment else x, z[..., :-N]], -1)[..., : map.latent_dim]


def jacobian(map: PolynomialMap, z: Tensor, u: Tensor | None = None) -> Tensor:
    """The derivative of a step, in closed form: that of a monomial by one of its factors is the product of the others. [F, B, M, M]; O(F B P order^2)."""
    F, B, M = z.shape
    N, factors = map.b.shape[1], _factors(map, z, u)
    slopes = z.new_zeros(F, B, factors.shape[2], M + map.input_dim + 1)
    for k in range(factors.shape[3]):
        others = torch.cat([factors[..., :k], factors[..., k + 1 :]], -1).prod(-1, keepdim=True)
        slopes.scatter_add_(3, map.table[:, k].view(1, 1, -1, 1).expand_as(others), others)
    J = z.new_zeros(F, B, M, M)
    J[:, :, :N] = torch.einsum("fnp,fbpm->fbnm", map.W, slopes[..., :M])
    if map.increment:
        J[:, :, :N, :N] += torch.eye(N, dtype=z.dtype, device=z.device)
    J[:, :, N:, : M - N] = torch.eye(M - N, dtype=z.dtype, device=z.device)
    return J
