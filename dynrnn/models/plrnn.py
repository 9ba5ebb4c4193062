"""The piecewise-linear RNN, plain and mean-centred."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from dynrnn.errors import check_bool
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.initialisation import normalised_positive_definite, uniform_fan
from dynrnn_kernels.additive import AdditiveMap


def diagonal_and_rest(rng: np.random.Generator, M: int) -> tuple[np.ndarray, np.ndarray]:
    """A [M] and W [M, M] with zero diagonal out of one normalised positive-definite matrix."""
    AW = normalised_positive_definite(rng, M)
    A = np.diag(AW).copy()
    return A, AW - np.diag(A)


class PLRNN(AdditiveModel):
    """Piecewise-linear RNN (Durstewitz 2017, PLoS Comput Biol 13:e1005542); mean-centred form of Brenner et al. 2022, arXiv:2207.02542.

        z[t+1] = A z[t] + W relu(z[t]) + h + C u[t+1]            mean_centred: relu(z - mean(z))

    A is diagonal, W has a zero diagonal unless ``mean_centred``. The signs of the units are the model's 2**M regions.

    Parameters: A (fit, M), W (fit, M, M), h (fit, M), C (fit, M, K).
    ``init``: ``gtf`` (A, W from a normalised positive-definite matrix, h = 0) or ``dendplrnn`` (the same, h uniform within 1/sqrt(M)).

    >>> PLRNN(observed_dim=3, latent_dim=5, random_state=0).parameters_per_fit     # A 5, W 20, h 5, L 2 x 3
    36
    """

    family = "plrnn"
    initialisations = ("gtf", "dendplrnn")
    pulled_to: ClassVar[dict[str, float]] = {"A": 1.0, "W": 0.0, "h": 0.0, "C": 0.0}
    unit_rows = ("A", "W", "h")
    A: Tensor
    W: Tensor
    h: Tensor
    C: Tensor

    def __init__(self, observed_dim: int, latent_dim: int, *, mean_centred: bool = False, **options: Any):
        super().__init__(observed_dim, latent_dim, **options)
        self.mean_centred = check_bool("mean_centred", mean_centred)
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        return {"mean_centred": self.mean_centred}

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M = self.latent_dim
        A, W = diagonal_and_rest(rng, M)
        return {"A": A, "W": W, "h": uniform_fan(rng, (M,), M) if self.init == "dendplrnn" else np.zeros(M)}

    def frozen_entries(self) -> dict[str, np.ndarray]:
        return {} if self.mean_centred else {"W": np.eye(self.latent_dim, dtype=bool)}

    def additive_map(self) -> AdditiveMap:
        return AdditiveMap(
            a=self.A, W1=self.W, h1=self.h, C=self.C if self.input_dim else None, phi="relu", w2="centring" if self.mean_centred else "identity"
        )
