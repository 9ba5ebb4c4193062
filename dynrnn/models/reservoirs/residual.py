"""The residual echo state network, and with alpha = 1 - beta the edge-of-stability one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from dynrnn.errors import unknown_name
from dynrnn.models.reservoirs.base import Size
from dynrnn.models.reservoirs.drawing import random_orthogonal
from dynrnn.models.reservoirs.single import SingleReservoir

BRANCHES = ("random", "cycle", "identity")


class ResidualESN(SingleReservoir):
    """Residual echo state network, one layer of arXiv:2508.21172 (2025); by default ES2N, alpha = 1 - beta (Ceni and Gallicchio 2025, IEEE TNNLS 36, 7555).

        h[t+1] = alpha O h[t] + beta tanh(W h[t] + W_in x[t] + D u[t+1] + b),      x[t+1] = W_out h[t+1] + b_out

    O is orthogonal: ``branch`` = ``random``, ``cycle`` (a shift along a ring), or ``identity``.

    Parameters beyond those of :class:`ESN`: beta, 0.1 by default; alpha, 1 - beta by default; both may be one per fit. W is dense and uniform, scaled by
    the circular law, as published; ``topology`` and ``rescaling`` as in ``ESN``.

    Along an input states are forgotten for sure where alpha + beta ||W|| < 1. The eigenvalues of dh'/dh lie in a ring about the radius alpha of
    half-width beta ||W||.

    >>> ResidualESN(observed_dim=1, reservoir_dim=100, beta=0.05, random_state=0).alpha.tolist()
    [0.95]
    """

    family = "residual-esn"
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {
        "spectral_radius": (0.9, 0.0, 1e6), "beta": (0.1, 1e-12, 1e6), "alpha": (0.9, 0.0, 1e6), "input_scaling": (1.0, 0.0, 1e6),
        "bias_scaling": (0.0, 0.0, 1e6), "density": (0.1, 1e-12, 1.0),
    }
    alpha: Tensor
    beta: Tensor

    def __init__(
        self, observed_dim: int, reservoir_dim: int, *, branch: str = "random", alpha: Size = None, beta: Size = None, spectral_radius: Size = None,
        input_scaling: Size = None, bias_scaling: Size = None, density: Size = None, topology: str = "uniform", rescaling: str = "circular-law",
        W: Any = None, W_in: Any = None, input_dim: int = 0, n_fits: int = 1, random_state: int | None = None, init: str | None = None,
    ):
        if branch not in BRANCHES:
            raise unknown_name("branch", branch, BRANCHES)
        given = {
            "spectral_radius": spectral_radius, "beta": beta, "alpha": alpha, "input_scaling": input_scaling, "bias_scaling": bias_scaling,
            "density": density,
        }
        if alpha is None and beta is not None:
            given["alpha"] = 1 - np.asarray(beta, dtype=np.float64)
        self._build(
            observed_dim, reservoir_dim, given, branch=branch, input_dim=input_dim, topology=topology, rescaling=rescaling,
            weights={"W": W, "W_in": W_in}, n_fits=n_fits, random_state=random_state, init=init,
        )

    def _own_config(self) -> dict[str, Any]:
        return super()._own_config() | {"branch": self.branch_kind}

    def _draw_branch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"orthogonal": random_orthogonal(rng, self.reservoir_dim)} if self.branch_kind == "random" else {}

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        return self.alpha, self.beta
