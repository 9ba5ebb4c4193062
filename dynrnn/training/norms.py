"""Estimates of how fast errors grow over a window, from the Jacobians at the data (Hess et al. 2023, arXiv:2306.04406)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dynrnn_kernels.additive import AdditiveMap


def product_upper_bound(J: Float[Tensor, "fit B T M M"]) -> Float[Tensor, "fit B"]:
    """Geometric mean over time of the spectral norms: the T-th root of a bound on the product's norm."""
    norms = torch.linalg.matrix_norm(J, ord=2)
    return norms.clamp_min(torch.finfo(J.dtype).tiny).log().mean(-1).exp()


def arithmetic_mean(J: Float[Tensor, "fit B T M M"]) -> Float[Tensor, "fit B"]:
    """Spectral norm of the mean over time."""
    return torch.linalg.matrix_norm(J.mean(2), ord=2)


def explog_approx(J: Float[Tensor, "fit B T M M"]) -> Float[Tensor, "fit B"]:
    """Spectral norm of ``exp(mean_t log J_t)``, with the principal logarithm by eigenvectors; zero eigenvalues are lifted to the smallest number."""
    values, vectors = torch.linalg.eig(J.double())
    tiny = torch.finfo(torch.float64).tiny
    values = torch.where(values.abs() < tiny, torch.full_like(values, tiny), values)
    logarithm = vectors @ torch.diag_embed(values.log()) @ torch.linalg.pinv(vectors)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(logarithm.mean(2)), ord=2).to(J.dtype)


def batch_maximum(J: Float[Tensor, "fit B T M M"]) -> Float[Tensor, "fit B"]:
    """Largest spectral norm over time."""
    return torch.linalg.matrix_norm(J, ord=2).amax(-1)


def jacobian_upper_bound(map: AdditiveMap) -> Float[Tensor, fit]:
    """``||A|| + ||W1|| max|phi'| ||W2||``, which needs no data (max|A| where A is diagonal)."""
    outer = map.diagonal().abs().amax(-1) if map.A is None else torch.linalg.matrix_norm(map.dense_A(), ord=2)
    slope = torch.ones_like(outer) if map.slope is None else map.slope.abs().sum(-1)
    return outer + slope * torch.linalg.matrix_norm(map.dense_W1(), ord=2) * torch.linalg.matrix_norm(map.dense_W2(), ord=2)


JACOBIAN_NORMS = {
    "product_upper_bound": product_upper_bound,
    "arithmetic_mean": arithmetic_mean,
    "explog_approx": explog_approx,
    "batch_maximum": batch_maximum,
    "jacobian_upper_bound": jacobian_upper_bound,
}
