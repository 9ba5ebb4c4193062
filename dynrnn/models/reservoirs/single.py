"""Reservoirs of one layer, which are additive maps."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import check_int, unknown_name
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.reservoirs.base import Reservoir, Size
from dynrnn.models.reservoirs.drawing import RESCALINGS, draw_weights, rescaled
from dynrnn.models.reservoirs.sparsity import sparse_where_it_pays
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.reservoir import Layer


class SingleReservoir(Reservoir, AdditiveModel):
    """A reservoir of one layer.

        h[t+1] = keep O h[t] + gain tanh(W h[t] + W_in x[t] + D u[t+1] + b),      x[t+1] = W_out h[t+1] + b_out
    """

    fixed_by: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("spectral_radius", "density"), "W_in": ("input_scaling",)}
    branch_kind = "identity"
    W: Tensor
    orthogonal: Tensor
    W_in: Tensor
    b: Tensor
    D: Tensor

    def _build(
        self, observed_dim: int, reservoir_dim: int, given: dict[str, Size], *, topology: str, rescaling: str, weights: dict[str, Any],
        branch: str = "identity", memory_dim: int = 0, **options: Any,
    ) -> None:
        """Called by families in place of ``__init__``; ``given`` are the values of ``sizes``, ``weights`` fixed weights, None where the user gave none."""
        check_int("observed_dim", observed_dim, low=1)
        self.reservoir_dim = check_int("reservoir_dim", reservoir_dim, low=1)
        if rescaling not in RESCALINGS:
            raise unknown_name("rescaling", rescaling, RESCALINGS)
        self.topology, self.rescaling, self.branch_kind = topology if weights.get("W") is None else "given", rescaling, branch
        self._begin(observed_dim, memory_dim + self.reservoir_dim, given, weights, **options)

    def _fixed_shapes(self) -> dict[str, tuple[int, ...]]:
        n = self.reservoir_dim
        return {"W": (n, n), "W_in": (n, self.observed_dim), "b": (n,), "D": (n, self.input_dim)} | (
            {"orthogonal": (n, n)} if self.branch_kind == "random" else {}
        )

    def _draw_fit(self, rng: np.random.Generator, fit: int, given: set[str]) -> dict[str, np.ndarray]:
        N, K, n = self.observed_dim, self.input_dim, self.reservoir_dim
        of_W, of_in, of_b, of_u, of_branch = rng.spawn(5)
        out = {
            "W_in": self.size("input_scaling", fit) * of_in.uniform(-1, 1, (n, N)), "b": self.size("bias_scaling", fit) * of_b.uniform(-1, 1, n),
            "D": self.size("input_scaling", fit) * of_u.uniform(-1, 1, (n, K)),
        }
        if "W" not in given:
            out["W"] = self._draw_W(of_W, fit)
        return out | self._draw_branch(of_branch)

    def _draw_W(self, rng: np.random.Generator, fit: int) -> np.ndarray:
        drawn = draw_weights(rng, self.reservoir_dim, self.topology, self.size("density", fit))
        return rescaled(drawn, self.size("spectral_radius", fit), self.rescaling)

    def _draw_branch(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The matrix of the branch, where it has one of its own: ``{"orthogonal": ...}``."""
        return {}

    def _recurrent(self) -> Tensor:
        """W as it acts, [F, n, n]."""
        return self.W

    def keep_and_gain(self) -> tuple[Tensor, Tensor]:
        """What is kept of O h, and what the new part counts, [F]."""
        raise NotImplementedError

    def branch(self) -> str | Tensor:
        """O: ``identity``, ``cycle``, or a matrix [F, n, n]."""
        return self.orthogonal if self.branch_kind == "random" else self.branch_kind

    def _own_config(self) -> dict[str, Any]:
        return {"reservoir_dim": self.reservoir_dim, "topology": self.topology, "rescaling": self.rescaling}

    def branch_matrix(self) -> Tensor:
        """keep O written out, [F, n, n]."""
        n, keep, branch = self.reservoir_dim, self.keep_and_gain()[0], self.branch()
        if isinstance(branch, str):
            eye = torch.eye(n, dtype=torch.float64)
            branch = (eye if branch == "identity" else eye.roll(1, 0)).expand(self.n_fits, n, n)
        return keep[:, None, None] * branch

    def additive_map(self) -> AdditiveMap:
        """The closed loop on (x, h); matrices mostly of zeros are structures."""
        N, n, F = self.observed_dim, self.reservoir_dim, self.n_fits
        kept, gain = self.branch_matrix(), self.keep_and_gain()[1]
        A = torch.zeros(F, N + n, N + n, dtype=torch.float64)
        A[:, N:, N:], A[:, :N, N:] = kept, self.W_out @ kept
        W1 = gain[:, None, None] * torch.cat([self.W_out, torch.eye(n, dtype=torch.float64).expand(F, n, n)], 1)
        a = A.diagonal(dim1=1, dim2=2).clone()
        A.diagonal(dim1=1, dim2=2).zero_()
        h1 = torch.cat([self.b_out, torch.zeros(F, n, dtype=torch.float64)], 1)
        return AdditiveMap(
            a=a, A=sparse_where_it_pays(A) if A.any() else None, W1=sparse_where_it_pays(W1), h1=h1,
            W2=sparse_where_it_pays(torch.cat([self.W_in, self._recurrent()], 2)), h2=self.b, D=self.D if self.input_dim else None, phi="tanh",
        )

    def driven_map(self) -> AdditiveMap:
        """The units alone, under the input (x, u): the map whose contraction is the echo state property."""
        N, whole = self.observed_dim, self.additive_map().written_out()
        A, W2 = whole.dense_A(), whole.dense_W2()
        C, D = A[:, N:, :N], W2[:, :, :N]
        if self.input_dim:
            C = torch.cat([C, torch.zeros_like(C[:, :, :0]) if whole.C is None else whole.C[:, N:]], 2)
            D = torch.cat([D, self.D if whole.D is None else whole.D], 2)
            C = torch.cat([C, torch.zeros(*C.shape[:2], D.shape[2] - C.shape[2], dtype=C.dtype)], 2)
        inner = A[:, N:, N:].clone()
        a = inner.diagonal(dim1=1, dim2=2).clone()
        inner.diagonal(dim1=1, dim2=2).zero_()
        return AdditiveMap(a=a, A=inner, W1=whole.dense_W1()[:, N:], h1=whole.h1[:, N:], W2=W2[:, :, N:], h2=whole.h2, C=C, D=D, phi="tanh")

    def layers(self, fit: int) -> tuple[Layer, ...]:
        n, (keep, gain), branch = self.reservoir_dim, self.keep_and_gain(), self.branch()
        array = lambda x: x[fit].detach().numpy()  # noqa: E731
        whole = np.concatenate([array(self.W_in), array(self._recurrent())], 1)
        return (
            Layer(
                whole, np.full(n, float(keep[fit])), np.full(n, float(gain[fit])), array(self.b), D=array(self.D) if self.input_dim else None,
                source=np.roll(np.arange(n), 1) if self.branch_kind == "cycle" else None, mixing=array(branch) if isinstance(branch, Tensor) else None,
            ),
        )
