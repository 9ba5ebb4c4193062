"""The additive map as a bundle of tensors with a leading fit axis, and the tags that tell kernels which of them are plain."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

PHI_KINDS = ("relu", "clipped", "basis", "clipped_basis", "tanh", "identity")
W2_KINDS = ("dense", "identity", "selection", "centring")


@dataclass(frozen=True)
class AdditiveMap:
    """``z' = a * z + A z + W1 phi(W2 z + D u + h2) + C u + h1``, for F fits at once.

    phi is elementwise: ``relu``; ``clipped`` = relu(v) - relu(v - h2); ``basis`` = sum_b slope_b relu(v - threshold_b), and
    ``clipped_basis`` with relu(v) subtracted from each term; ``tanh``; ``identity``.

    Tensors (None where a model has no such term)
        a [F, M] diagonal of A, A [F, M, M] what is added to that diagonal, W1 [F, M, H], W2 [F, H, M],
        h1 [F, M], h2 [F, H], C [F, M, K], D [F, H, K], slope [F, n_bases], threshold [F, H, n_bases].

    Tags
        phi as above. w2: ``dense`` (W2 is given), ``identity`` (H = M), ``selection`` (v = the last H units),
        ``centring`` (v = z - mean of z, H = M). A tag never changes a result: it says that W2 need not be multiplied out.
    """

    a: Tensor
    W1: Tensor
    h1: Tensor
    phi: str = "relu"
    w2: str = "dense"
    A: Tensor | None = None
    W2: Tensor | None = None
    h2: Tensor | None = None
    C: Tensor | None = None
    D: Tensor | None = None
    slope: Tensor | None = None
    threshold: Tensor | None = None

    def __post_init__(self) -> None:
        if self.phi not in PHI_KINDS:
            raise ValueError(f"phi must be one of {PHI_KINDS}, got {self.phi!r}")
        if self.w2 not in W2_KINDS:
            raise ValueError(f"w2 must be one of {W2_KINDS}, got {self.w2!r}")
        if (self.w2 == "dense") != (self.W2 is not None):
            raise ValueError("W2 is given exactly when w2 = 'dense'")
        if ("basis" in self.phi) != (self.slope is not None and self.threshold is not None):
            raise ValueError("slope and threshold are given exactly when phi is a basis")
        if self.phi == "clipped" and self.h2 is None:
            raise ValueError("a clipped phi needs h2")
        M, H = self.latent_dim, self.hidden_dim
        if self.w2 in ("identity", "centring") and H != M:
            raise ValueError(f"w2 = {self.w2!r} needs as many hidden as latent units, got {H} and {M}")

    @property
    def n_fits(self) -> int:
        return self.a.shape[0]

    @property
    def latent_dim(self) -> int:
        return self.a.shape[1]

    @property
    def hidden_dim(self) -> int:
        return self.W1.shape[2]

    @property
    def input_dim(self) -> int:
        given = self.C if self.C is not None else self.D
        return 0 if given is None else given.shape[2]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name, in the order of the fields."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def with_tensors(self, tensors: dict[str, Tensor]) -> AdditiveMap:
        """The same map with other tensors in the places of the old ones."""
        return replace(self, **tensors)

    def to(self, dtype: torch.dtype) -> AdditiveMap:
        return self.with_tensors({name: value.to(dtype) for name, value in self.tensors().items()})

    def dense_A(self) -> Tensor:
        """A with its diagonal, [F, M, M]."""
        full = torch.diag_embed(self.a)
        return full if self.A is None else full + self.A

    def dense_W2(self) -> Tensor:
        """W2 written out whatever the tag, [F, H, M]."""
        if self.W2 is not None:
            return self.W2
        F, M, H = self.n_fits, self.latent_dim, self.hidden_dim
        eye = torch.eye(M, dtype=self.a.dtype, device=self.a.device)
        if self.w2 == "centring":
            eye = eye - 1.0 / M
        return eye[M - H :].expand(F, H, M)
