"""The shallow PLRNN, plain and clipped."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from dynrnn.errors import check_bool, check_int
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.initialisation import normalised_positive_definite, uniform_fan
from dynrnn_kernels.additive import AdditiveMap


class ShallowPLRNN(AdditiveModel):
    """Shallow piecewise-linear RNN (Hess et al. 2023, arXiv:2306.04406): one hidden layer in every step, few latent units.

        z[t+1] = A z[t] + W1 relu(W2 z[t] + h2) + h1 + C u[t+1]
        clipped:          W1 [relu(W2 z[t] + h2) - relu(W2 z[t])]                  orbits are bounded where max|A| < 1

    Parameters: A (fit, M), W1 (fit, M, H), W2 (fit, H, M), h1 (fit, M), h2 (fit, H), C (fit, M, K).
    ``init``: ``gtf`` (A the diagonal of a normalised positive-definite matrix), ``cns`` (A uniform on 0.5-0.9),
    ``near-identity`` (A uniform on 0.95-1, for finely sampled flows); W1, W2 uniform within 1/sqrt(columns);
    h2 zero, or uniform within 1/sqrt(H) when clipped or ``cns``.

    >>> ShallowPLRNN(observed_dim=5, latent_dim=5, hidden_dim=250, observation="affine").parameters_per_fit
    2785
    """

    family = "shallow-plrnn"
    initialisations = ("gtf", "cns", "near-identity")
    pulled_to: ClassVar[dict[str, float]] = {"A": 1.0, "W1": 0.0, "W2": 0.0, "h1": 0.0, "h2": 0.0, "C": 0.0}
    unit_rows = ("A", "W1", "h1")
    A: Tensor
    W1: Tensor
    W2: Tensor
    h1: Tensor
    h2: Tensor
    C: Tensor

    def __init__(self, observed_dim: int, latent_dim: int, hidden_dim: int, *, clipped: bool = False, **options: Any):
        super().__init__(observed_dim, latent_dim, **options)
        self.hidden_dim = check_int("hidden_dim", hidden_dim, low=1)
        self.clipped = check_bool("clipped", clipped)
        self._fill_parameters()

    def _own_config(self) -> dict[str, Any]:
        return {"hidden_dim": self.hidden_dim, "clipped": self.clipped}

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        M, H = self.latent_dim, self.hidden_dim
        if self.init == "gtf":
            A = np.diag(normalised_positive_definite(rng, M))
        else:
            A = rng.uniform(*((0.5, 0.9) if self.init == "cns" else (0.95, 1.0)), M)
        spread = self.clipped or self.init == "cns"
        return {
            "A": A,
            "W1": uniform_fan(rng, (M, H), H),
            "W2": uniform_fan(rng, (H, M), M),
            "h1": np.zeros(M),
            "h2": uniform_fan(rng, (H,), H) if spread else np.zeros(H),
        }

    def additive_map(self) -> AdditiveMap:
        return AdditiveMap(
            a=self.A, W1=self.W1, W2=self.W2, h1=self.h1, h2=self.h2, C=self.C if self.input_dim else None,
            phi="clipped" if self.clipped else "relu",
        )
