"""The Euler state network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.models.reservoirs.base import Size
from dynrnn.models.reservoirs.single import SingleReservoir


class EulerStateNetwork(SingleReservoir):
    """Euler state network (Gallicchio 2022, arXiv:2203.09382): forward Euler of a nearly conservative equation.

        h[t+1] = h[t] + epsilon tanh((W - W' - gamma I) h[t] + W_in x[t] + D u[t+1] + b),      x[t+1] = W_out h[t+1] + b_out

    Parameters beyond those of :class:`ESN`: epsilon (0.01), gamma (0.001), recurrent_scaling (1): W is uniform within it. Each may be one per fit.

    The step is not stable because the equation is: at the origin its eigenvalues are 1 + epsilon (i w - gamma), i w those of W - W', and
    ``largest_modulus()`` says how far they go: 1.025 with the published defaults at 200 units, where only the saturation of tanh bounds orbits.

    >>> model = EulerStateNetwork(observed_dim=1, reservoir_dim=200, random_state=0)
    >>> round(float(model.largest_modulus()[0]), 3), model.is_stable().tolist()
    (1.025, [False])
    """

    family = "euler-state-network"
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {
        "epsilon": (0.01, 1e-12, 1e6), "gamma": (0.001, 0.0, 1e6), "recurrent_scaling": (1.0, 0.0, 1e6), "input_scaling": (1.0, 0.0, 1e6),
        "bias_scaling": (0.0, 0.0, 1e6),
    }
    fixed_by: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("recurrent_scaling",), "W_in": ("input_scaling",)}
    epsilon: Tensor
    gamma: Tensor

    def __init__(
        self, observed_dim: int, reservoir_dim: int, *, epsilon: Size = None, gamma: Size = None, recurrent_scaling: Size = None,
        input_scaling: Size = None, bias_scaling: Size = None, W: Any = None, W_in: Any = None, input_dim: int = 0, n_fits: int = 1,
        random_state: int | None = None, init: str | None = None,
    ):
        given = {"epsilon": epsilon, "gamma": gamma, "recurrent_scaling": recurrent_scaling, "input_scaling": input_scaling, "bias_scaling": bias_scaling}
        self._build(
            observed_dim, reservoir_dim, given, input_dim=input_dim, topology="uniform", rescaling="radius", weights={"W": W, "W_in": W_in}, n_fits=n_fits,
            random_state=random_state, init=init,
        )

    def _own_config(self) -> dict[str, Any]:
        return {"reservoir_dim": self.reservoir_dim}

    def _draw_W(self, rng: np.random.Generator, fit: int) -> np.ndarray:
        return self.size("recurrent_scaling", fit) * rng.uniform(-1, 1, (self.reservoir_dim, self.reservoir_dim))

    def _recurrent(self) -> Tensor:
        return self.W - self.W.mT - self.gamma[:, None, None] * torch.eye(self.reservoir_dim, dtype=torch.float64)

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        return torch.ones_like(self.epsilon), self.epsilon

    def largest_modulus(self) -> Tensor:
        """Largest modulus of an eigenvalue of the step of h at the origin, b = 0, no input: [fit]. O(n^3)."""
        w = torch.linalg.eigvals(self.W - self.W.mT).imag
        return torch.sqrt((1 - self.epsilon * self.gamma)[:, None] ** 2 + (self.epsilon[:, None] * w) ** 2).amax(1)

    def is_stable(self) -> Tensor:
        """Whether small states die out, [fit]."""
        return self.largest_modulus() < 1
