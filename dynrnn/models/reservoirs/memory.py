"""The residual reservoir memory network: a linear memory beside nonlinear units."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import check_int, unknown_name
from dynrnn.models.reservoirs.base import Size
from dynrnn.models.reservoirs.drawing import random_orthogonal
from dynrnn.models.reservoirs.residual import BRANCHES
from dynrnn.models.reservoirs.single import SingleReservoir
from dynrnn.models.reservoirs.sparsity import sparse_where_it_pays
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.reservoir import Layer

READOUTS = ("reservoir", "all")


class ResidualMemoryNetwork(SingleReservoir):
    """Residual reservoir memory network (Pinna, Ceni and Gallicchio 2025, arXiv:2508.09925): a linear ring of units m feeds nonlinear ones.

        m[t+1] = r C m[t] + V x[t] + V_u u[t+1]
        h[t+1] = alpha O h[t] + beta tanh(W h[t] + W_m m[t+1] + W_in x[t] + D u[t+1] + b),      x[t+1] = W_out h[t+1] + b_out

    C shifts m by one place along the ring. h takes the memory of the same step, m[t+1]; that of the step before, as some write, would delay it by one.

    Parameters beyond those of :class:`ResidualESN`
    ----------
    memory_dim : units n_m of m. memory_radius : r, 1 by default: the ring forgets nothing. memory_scaling : of W_m (0.1); memory_input_scaling : of V and V_u
        (1); all uniform within it. Each may be one per fit. V : weights of your own, [n_m, N] or [fit, n_m, N].
    readout : ``reservoir`` (h alone, as published) or ``all`` (m and h).

    With r = 1 m holds the last n_m samples and no more: m is a linear function of x[t] + x[t - n_m] + x[t - 2 n_m] + ... for each place of the ring, so that
    samples n_m steps apart cannot be told from one another; sequences of up to n_m samples are held exactly where (V, C V, C^2 V, ...) is well conditioned.
    Such a memory has no echo state property, and a mean of x other than zero makes it grow without bound: standardise, or take r below 1. m has no bias for
    the same reason. A step is O(values of W + n n_m + n N).

    >>> ResidualMemoryNetwork(observed_dim=1, reservoir_dim=50, memory_dim=20, random_state=0).latent_dim
    71
    """

    family = "residual-memory-network"
    sizes: ClassVar[dict[str, tuple[float, float, float]]] = {
        "spectral_radius": (0.9, 0.0, 1e6), "beta": (0.1, 1e-12, 1e6), "alpha": (0.9, 0.0, 1e6), "input_scaling": (1.0, 0.0, 1e6),
        "memory_scaling": (0.1, 0.0, 1e6), "memory_input_scaling": (1.0, 0.0, 1e6), "memory_radius": (1.0, 0.0, 1.0), "bias_scaling": (0.0, 0.0, 1e6),
        "density": (0.1, 1e-12, 1.0),
    }
    fixed_by: ClassVar[dict[str, tuple[str, ...]]] = SingleReservoir.fixed_by | {"V": ("memory_input_scaling",)}
    alpha: Tensor
    beta: Tensor
    memory_radius: Tensor
    V: Tensor
    V_u: Tensor
    W_m: Tensor

    def __init__(
        self, observed_dim: int, reservoir_dim: int, memory_dim: int, *, branch: str = "random", readout: str = "reservoir", alpha: Size = None,
        beta: Size = None, spectral_radius: Size = None, input_scaling: Size = None, memory_scaling: Size = None, memory_input_scaling: Size = None,
        memory_radius: Size = None, bias_scaling: Size = None, density: Size = None, topology: str = "uniform", rescaling: str = "circular-law",
        W: Any = None, W_in: Any = None, V: Any = None, input_dim: int = 0, n_fits: int = 1, random_state: int | None = None, init: str | None = None,
    ):
        for name, value, known in (("branch", branch, BRANCHES), ("readout", readout, READOUTS)):
            if value not in known:
                raise unknown_name(name, value, known)
        given = {
            "spectral_radius": spectral_radius, "beta": beta, "alpha": alpha, "input_scaling": input_scaling, "memory_scaling": memory_scaling,
            "memory_input_scaling": memory_input_scaling, "memory_radius": memory_radius, "bias_scaling": bias_scaling, "density": density,
        }
        if alpha is None and beta is not None:
            given["alpha"] = 1 - np.asarray(beta, dtype=np.float64)
        self.memory_dim, self.readout_kind = check_int("memory_dim", memory_dim, low=1), readout
        self._build(
            observed_dim, reservoir_dim, given, branch=branch, input_dim=input_dim, topology=topology, rescaling=rescaling, n_fits=n_fits,
            weights={"W": W, "W_in": W_in, "V": V}, random_state=random_state, init=init, memory_dim=self.memory_dim,
        )

    def _own_config(self) -> dict[str, Any]:
        return super()._own_config() | {"memory_dim": self.memory_dim, "branch": self.branch_kind, "readout": self.readout_kind}

    @property
    def readout_units(self) -> slice:
        return slice(self.memory_dim if self.readout_kind == "reservoir" else 0, self.n_units)

    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        m = self.memory_dim
        return super()._fixed_shapes() | {"V": (m, self.observed_dim), "V_u": (m, self.input_dim), "W_m": (self.reservoir_dim, m)}

    def _draw_fit(self, rng: np.random.Generator, fit: int, given: set[str]) -> dict[str, np.ndarray]:
        out = super()._draw_fit(rng, fit, given)
        scales = {"V": "memory_input_scaling", "V_u": "memory_input_scaling", "W_m": "memory_scaling"}
        for (name, scale), of_it in zip(scales.items(), rng.spawn(3), strict=True):
            out[name] = self.size(scale, fit) * of_it.uniform(-1, 1, self._fixed_shapes()[name])
        return out

    def _draw_branch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"orthogonal": random_orthogonal(rng, self.reservoir_dim)} if self.branch_kind == "random" else {}

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        return self.alpha, self.beta

    def memory_matrix(self) -> Tensor:
        """r C written out, [F, n_m, n_m]."""
        return self.memory_radius[:, None, None] * torch.eye(self.memory_dim, dtype=torch.float64).roll(1, 0)

    def additive_map(self) -> AdditiveMap:
        """The closed loop on (x, m, h): what m[t+1] adds to h is written out in terms of m, x and u."""
        F, N, m, n = self.n_fits, self.observed_dim, self.memory_dim, self.reservoir_dim
        ring, gain, W_m, K = self.memory_matrix(), self.keep_and_gain()[1], self.W_m, self.input_dim
        zeros = lambda *shape: torch.zeros(F, *shape, dtype=torch.float64)  # noqa: E731
        read = zeros(N, m + n)
        read[:, :, self.readout_units] = self.W_out
        A = zeros(N + m + n, N + m + n)
        A[:, N : N + m, :N], A[:, N : N + m, N : N + m], A[:, N + m :, N + m :] = self.V, ring, self.branch_matrix()
        A[:, :N] = read @ A[:, N:]
        W1 = torch.cat([read[:, :, m:], zeros(m, n), torch.eye(n, dtype=torch.float64).expand(F, n, n)], 1)
        a = A.diagonal(dim1=1, dim2=2).clone()
        A.diagonal(dim1=1, dim2=2).zero_()
        W2 = torch.cat([self.W_in + W_m @ self.V, W_m @ ring, self.W], 2)
        return AdditiveMap(
            a=a, A=sparse_where_it_pays(A), W1=sparse_where_it_pays(gain[:, None, None] * W1), h1=torch.cat([self.b_out, zeros(m + n)], 1),
            W2=sparse_where_it_pays(W2), h2=self.b, D=self.D + W_m @ self.V_u if K else None,
            C=torch.cat([read[:, :, :m] @ self.V_u, self.V_u, zeros(n, K)], 1) if K else None, phi="tanh",
        )

    def layers(self, fit: int) -> tuple[Layer, ...]:
        (nonlinear,), m = super().layers(fit), self.memory_dim
        array = lambda x: x[fit].detach().numpy()  # noqa: E731
        ring = Layer(
            np.concatenate([array(self.V), np.zeros((m, m))], 1), np.full(m, float(self.memory_radius[fit])), np.ones(m), np.zeros(m),
            source=np.roll(np.arange(m), 1), D=array(self.V_u) if self.input_dim else None, linear=True,
        )
        whole = np.concatenate([array(self.W_in), array(self.W_m), array(self.W)], 1)
        return ring, Layer(whole, nonlinear.keep, nonlinear.gain, nonlinear.b, source=nonlinear.source, mixing=nonlinear.mixing, D=nonlinear.D)
