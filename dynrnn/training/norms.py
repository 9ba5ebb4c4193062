"""Estimates of how fast errors grow over a window, from the Jacobians at the data (Hess et al. 2023, arXiv:2306.04406).

Each takes the maps as flat vectors [F, size] with their layout and the states [F, B, T, M] of B windows, and returns one number a window. ``backend``
is that of spectral norms (``choose_backend``); what torch computes it computes where the tensors lie. Fit k's has the bits that it has alone: the CPU's
kernels see to it, and torch's routines are called fit by fit.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dynrnn_kernels.additive import AdditiveMap, jacobian
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.norms import map_of, mean_norms, spectral_norms


def _all_norms(flat: Tensor, lay: Layout, states: Tensor, backend: str | None) -> np.ndarray:
    F, B, T, M = states.shape
    return spectral_norms(flat, lay, states.reshape(F, B * T, M), backend=backend).cpu().numpy().reshape(F, B, T)


def product_upper_bound(
    flat: Float[Tensor, "fit S"], lay: Layout, states: Float[Tensor, "fit B T M"], *, backend: str | None = None
) -> Float[np.ndarray, "fit B"]:
    """Geometric mean over time of the spectral norms: the T-th root of a bound on the product's norm."""
    norms = _all_norms(flat, lay, states, backend)
    return np.exp(np.log(np.maximum(norms, np.finfo(norms.dtype).tiny)).mean(-1, dtype=np.float64))


def batch_maximum(
    flat: Float[Tensor, "fit S"], lay: Layout, states: Float[Tensor, "fit B T M"], *, backend: str | None = None
) -> Float[np.ndarray, "fit B"]:
    """Largest spectral norm over time."""
    return _all_norms(flat, lay, states, backend).max(-1)


def arithmetic_mean(
    flat: Float[Tensor, "fit S"], lay: Layout, states: Float[Tensor, "fit B T M"], *, backend: str | None = None
) -> Float[np.ndarray, "fit B"]:
    """Spectral norm of the mean over time."""
    return mean_norms(flat, lay, states, backend=backend).cpu().numpy()


def explog_approx(
    flat: Float[Tensor, "fit S"], lay: Layout, states: Float[Tensor, "fit B T M"], *, backend: str | None = None
) -> Float[np.ndarray, "fit B"]:
    """Spectral norm of ``exp(mean_t log J_t)``, in float64 torch: the slowest by far, since every J is diagonalised."""
    F, B, T, M = states.shape
    each = [jacobian(map_of(flat[k : k + 1], lay), states[k].reshape(1, B * T, M)).reshape(B, T, M, M) for k in range(F)]
    return np.stack([norm_of_mean_logarithm(J).cpu().numpy() if bool(torch.isfinite(J).all()) else np.full(B, np.nan) for J in each])


def norm_of_mean_logarithm(J: Float[Tensor, "B T M M"]) -> Float[Tensor, " B"]:
    """``||exp(mean_t log J_t)||``, with the principal logarithm by eigenvectors; zero eigenvalues are lifted to the smallest number."""
    values, vectors = torch.linalg.eig(J.double())
    tiny = torch.finfo(torch.float64).tiny
    values = torch.where(values.abs() < tiny, torch.full_like(values, tiny), values)
    logarithm = vectors @ torch.diag_embed(values.log()) @ torch.linalg.pinv(vectors)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(logarithm.mean(1)), ord=2)


def jacobian_upper_bound(map: AdditiveMap) -> Float[Tensor, fit]:
    """``||A|| + ||W1|| max|phi'| ||W2||``, which needs no data (max|A| where A is diagonal)."""
    outer = map.diagonal().abs().amax(-1) if map.A is None else torch.linalg.matrix_norm(map.dense_A(), ord=2)
    slope = torch.ones_like(outer) if map.slope is None else map.slope.abs().sum(-1)
    return outer + slope * torch.linalg.matrix_norm(map.dense_W1(), ord=2) * torch.linalg.matrix_norm(map.dense_W2(), ord=2)


def upper_bound_of_all(
    flat: Float[Tensor, "fit S"], lay: Layout, states: Float[Tensor, "fit B T M"] | None = None, *, backend: str | None = None
) -> Float[np.ndarray, "fit one"]:
    """``jacobian_upper_bound`` of each fit, NaN where a number of its map is not finite."""
    each = [map_of(flat[k : k + 1], lay) if bool(torch.isfinite(flat[k]).all()) else None for k in range(flat.shape[0])]
    return np.stack([np.full(1, np.nan) if map is None else jacobian_upper_bound(map).cpu().numpy() for map in each])


JACOBIAN_NORMS = {
    "product_upper_bound": product_upper_bound,
    "arithmetic_mean": arithmetic_mean,
    "explog_approx": explog_approx,
    "batch_maximum": batch_maximum,
    "jacobian_upper_bound": upper_bound_of_all,
}
