"""Maps whose fixed points, cycles and slow sets are known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.models.additive import AdditiveModel
from dynrnn_kernels.additive import AdditiveMap


def henon(z: Tensor) -> Tensor:
    return torch.stack([1 - 1.4 * z[..., 0] ** 2 + z[..., 1], 0.3 * z[..., 0]], -1)


def logistic(r: float):
    return lambda z: r * z * (1 - z)


def fold(epsilon: float):
    """x' = x + epsilon + x^2 beside a contracting direction."""
    return lambda z: torch.stack([z[..., 0] + epsilon + z[..., 0] ** 2, 0.5 * z[..., 1]], -1)


class TanhRNN(AdditiveModel):
    """z' = tanh(W z + h), g = 2.5."""

    family = "tanh-in-tests"
    initialisations = ("normal",)
    pulled_to: ClassVar[dict[str, float]] = {}
    unit_rows = ()
    W: Tensor
    h: Tensor

    def __init__(self, dim: int, **options):
        super().__init__(dim, dim, **options)
        self._fill_parameters()

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M = self.latent_dim
        return {"W": 2.5 * rng.standard_normal((M, M)) / M**0.5, "h": 0.3 * rng.standard_normal(M)}

    def additive_map(self) -> AdditiveMap:
        M = self.latent_dim
        zero, eye = torch.zeros_like(self.h), torch.eye(M, dtype=self.h.dtype).expand(self.n_fits, M, M)
        return AdditiveMap(a=zero, W1=eye, W2=self.W, h1=zero, h2=self.h, C=self.C if self.input_dim else None, phi="tanh")
