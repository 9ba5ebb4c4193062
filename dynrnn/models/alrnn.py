"""The almost-linear RNN."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import check_int
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.initialisation import normalised_positive_definite
from dynrnn_kernels.additive import AdditiveMap


class ALRNN(AdditiveModel):
    """Almost-linear RNN: all but the last ``n_relu`` latent units are linear (Brenner et al. 2024, arXiv:2410.14240).

        z[t+1] = A z[t] + W phi(z[t]) + h + C u[t+1],      phi = identity on M - P units, relu on the last P

    The first ``observed_dim`` units are read out. The signs of the P relu units are the model's symbols: at most 2**P regions,
    each with its own affine map.

    Parameters: A (fit, M), W (fit, M, M) with its diagonal, h (fit, M), C (fit, M, K).
    ``init``: ``alrnn`` (A the diagonal of a normalised positive-definite matrix, W normal with sd 0.01, h = 0).

    >>> ALRNN(observed_dim=3, latent_dim=20, n_relu=2, random_state=0).parameters_per_fit     # 20 + 400 + 20, L 17 x 3
    491
    """

    family = "alrnn"
    initialisations = ("alrnn",)
    pulled_to: ClassVar[dict[str, float]] = {"A": 1.0, "W": 0.0, "h": 0.0, "C": 0.0}
    unit_rows = ("A", "W", "h")
    A: Tensor
    W: Tensor
    h: Tensor
    C: Tensor

    def __init__(self, observed_dim: int, latent_dim: int, n_relu: int, **options: Any):
        super().__init__(observed_dim, latent_dim, **options)
        self.n_relu = check_int("n_relu", n_relu, low=0, high=self.latent_dim)
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        return {"n_relu": self.n_relu}

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M = self.latent_dim
        return {"A": np.diag(normalised_positive_definite(rng, M)), "W": 0.01 * rng.standard_normal((M, M)), "h": np.zeros(M)}

    def additive_map(self) -> AdditiveMap:
        split = self.latent_dim - self.n_relu                                   # never a negative index: P = 0 is legal
        linear, relu = self.W[..., :split], self.W[..., split:]                 # [F, M, M-P], [F, M, P]
        return AdditiveMap(
            a=self.A, A=torch.cat([linear, torch.zeros_like(relu)], -1), W1=relu, h1=self.h, C=self.C if self.input_dim else None,
            phi="relu", w2="selection",
        )
