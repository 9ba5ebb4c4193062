"""What pulls parameters besides the data: quadratic pulls towards fixed values, and the decoder's condition number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynrnn.errors import ArgumentError
from dynrnn.models.base import Model
from dynrnn.training.forcing import PerFit, per_fit
from dynrnn.training.parameters import FlatParameters


@dataclass(frozen=True)
class Regularisation:
    """Weights of the regularisers; each a number or one per fit. All are added to the mean squared error of standardised data.

    latent : ``weight (||1 - A||^2 + sum of squares of the map's other weights and biases)``, towards the identity map (Hess et al. 2023).
    manifold, manifold_fraction : manifold-attractor regularisation (Schmidt et al. 2021, arXiv:1910.03471): of the last
        ``floor(fraction M)`` latent units, A is pulled to 1, their rows of W and h to 0, so that they can hold a memory.
    observation : with observation='identity' ``weight ||L||^2``; with 'affine' ``weight (1 - s_max / s_min)^2`` of the decoder's singular values.
    """

    latent: PerFit = 0.0
    manifold: PerFit = 0.0
    manifold_fraction: float = 0.5
    observation: PerFit = 0.0

    def __post_init__(self) -> None:
        for name in ("latent", "manifold", "observation"):
            value = getattr(self, name)
            per_fit(name, value, np.size(value), low=0.0)
        if not 0.0 <= self.manifold_fraction <= 1.0:
            raise ArgumentError(f"manifold_fraction must lie within [0, 1], got {self.manifold_fraction!r}.")

    def pulls(self, model: Model, flat: FlatParameters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Quadratic weights [F, P], what they pull to [P], and the weight of the condition number [F]."""
        F = model.n_fits
        weight, goal = np.zeros((F, flat.size)), np.zeros(flat.size)
        for name, value in model.pulled_to.items():
            if name in flat.offsets:
                weight[:, flat.slice(name)] += per_fit("latent", self.latent, F)[:, None]
                goal[flat.slice(name)] = value
        held = int(self.manifold_fraction * model.latent_dim)
        for name in model.unit_rows:
            start, shape = flat.offsets[name]
            row = int(np.prod(shape[1:]))
            first = start + (model.latent_dim - held) * row
            weight[:, first : start + model.latent_dim * row] += per_fit("manifold", self.manifold, F)[:, None]
        observation = per_fit("observation", self.observation, F)
        if model.observation == "affine":
            return weight, goal, observation
        if "L" in flat.offsets:
            weight[:, flat.slice("L")] += observation[:, None]
        return weight, goal, np.zeros(F)
