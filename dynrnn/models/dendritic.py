"""The dendritic PLRNN, plain and clipped."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import check_bool, check_int
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.initialisation import uniform_fan
from dynrnn.models.plrnn import diagonal_and_rest
from dynrnn_kernels.additive import AdditiveMap


class DendriticPLRNN(AdditiveModel):
    """Dendritic PLRNN: each unit passes through a basis of ramps (Brenner et al. 2022, arXiv:2207.02542).

        z[t+1] = A z[t] + W phi(z[t]) + h + C u[t+1],     phi(z)_i = sum_b alpha_b relu(z_i - H_ib)
        clipped:                                          phi(z)_i = sum_b alpha_b [relu(z_i - H_ib) - relu(z_i)]

    Parameters: A (fit, M), W (fit, M, M) with zero diagonal (full if ``mean_centred``, where phi takes z - mean(z)), h (fit, M),
    alpha (fit, n_bases), H (fit, M, n_bases), C (fit, M, K). ``init``: ``gtf`` (h = 0) or ``dendplrnn`` (h uniform within
    1/sqrt(M)); alpha is uniform within 1/sqrt(n_bases). Thresholds are uniform over the range of the data with
    observation='identity' (set by ``fit``; over +-2.5 until then), standard normal with 'affine'.
    """

    family = "dendritic-plrnn"
    initialisations = ("gtf", "dendplrnn")
    pulled_to: ClassVar[dict[str, float]] = {"A": 1.0, "W": 0.0, "h": 0.0, "alpha": 0.0, "C": 0.0}
    unit_rows = ("A", "W", "h")
    A: Tensor
    W: Tensor
    h: Tensor
    alpha: Tensor
    H: Tensor
    C: Tensor

    def __init__(self, observed_dim: int, latent_dim: int, n_bases: int, *, clipped: bool = False, mean_centred: bool = False, **options: Any):
        super().__init__(observed_dim, latent_dim, **options)
        self.n_bases = check_int("n_bases", n_bases, low=1)
        self.clipped, self.mean_centred = check_bool("clipped", clipped), check_bool("mean_centred", mean_centred)
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        return {"n_bases": self.n_bases, "clipped": self.clipped, "mean_centred": self.mean_centred}

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M, n = self.latent_dim, self.n_bases
        A, W = diagonal_and_rest(rng, M)
        return {
            "A": A,
            "W": W,
            "h": uniform_fan(rng, (M,), M) if self.init == "dendplrnn" else np.zeros(M),
            "alpha": uniform_fan(rng, (n,), n),
            "H": rng.standard_normal((M, n)) if self.observation == "affine" else rng.uniform(-2.5, 2.5, (M, n)),
        }

    def adapt_to_data(self, low: np.ndarray, high: np.ndarray) -> None:
        """Stretch the thresholds from +-2.5 to the data's range: unit by unit where the unit is a channel, the widest range elsewhere."""
        if self.observation == "affine":
            return
        M, N = self.latent_dim, self.observed_dim
        low = np.concatenate([low, np.full(M - N, low.min())])
        high = np.concatenate([high, np.full(M - N, high.max())])
        centre, half = torch.tensor((low + high) / 2), torch.tensor((high - low) / 2)
        with torch.no_grad():
            self.H.copy_((centre[:, None] + self.H.double() / 2.5 * half[:, None]).to(self.H.dtype))

    def frozen_entries(self) -> dict[str, np.ndarray]:
        return {} if self.mean_centred else {"W": np.eye(self.latent_dim, dtype=bool)}

    def additive_map(self) -> AdditiveMap:
        return AdditiveMap(
            a=self.A, W1=self.W, h1=self.h, C=self.C if self.input_dim else None, slope=self.alpha, threshold=self.H,
            phi="clipped_basis" if self.clipped else "basis", w2="centring" if self.mean_centred else "identity",
        )
