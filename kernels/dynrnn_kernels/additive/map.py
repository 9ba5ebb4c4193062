"""The additive map as a bundle of tensors with a leading fit axis, and the tags that tell kernels which of them are plain."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from dynrnn_kernels.additive.structure import Scalar, Structure, dense
from dynrnn_kernels.errors import KernelError

PHI_KINDS = ("relu", "clipped", "basis", "clipped_basis", "tanh", "identity")
W2_KINDS = ("dense", "identity", "selection", "centring")
DIMS = {                                                                        # those that say the sizes first
    "h1": ("fit", "latent"), "W1": ("fit", "latent", "hidden"), "a": ("fit", "latent"), "A": ("fit", "latent", "latent"), "W2": ("fit", "hidden", "latent"),
    "h2": ("fit", "hidden"), "C": ("fit", "latent", "input"), "D": ("fit", "hidden", "input"), "slope": ("fit", "basis"),
    "threshold": ("fit", "hidden", "basis"),
}


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
        ``centring`` (v = z - mean of z, H = M). A, W1 and W2 may each be a structure (``structure.py``: scalar, permutation, block,
        circulant, sparse), a may be a ``Scalar`` or None. A tag never changes a result: it says that a matrix need not be multiplied out.
    """

    a: Tensor | Scalar | None
    W1: Tensor | Structure
    h1: Tensor
    phi: str = "relu"
    w2: str = "dense"
    A: Tensor | Structure | None = None
    W2: Tensor | Structure | None = None
    h2: Tensor | None = None
    C: Tensor | None = None
    D: Tensor | None = None
    slope: Tensor | None = None
    threshold: Tensor | None = None

    def __post_init__(self) -> None:
        if self.phi not in PHI_KINDS:
            raise KernelError(f"phi must be one of {PHI_KINDS}, got {self.phi!r}")
        if self.w2 not in W2_KINDS:
            raise KernelError(f"w2 must be one of {W2_KINDS}, got {self.w2!r}")
        if (self.w2 == "dense") != (self.W2 is not None):
            raise KernelError("W2 is given exactly when w2 = 'dense'")
        if any(("basis" in self.phi) != (given is not None) for given in (self.slope, self.threshold)):
            raise KernelError("slope and threshold are given exactly when phi is a basis")
        if self.phi == "clipped" and self.h2 is None:
            raise KernelError("a clipped phi needs h2")
        self._check_shapes()
        M, H = self.latent_dim, self.hidden_dim
        if self.w2 in ("identity", "centring") and H != M:
            raise KernelError(f"w2 = {self.w2!r} needs as many hidden as latent units, got {H} and {M}")
        if self.w2 == "selection" and H > M:
            raise KernelError(f"w2 = 'selection' takes the last of the latent units, and cannot take {H} of {M}")

    def _check_shapes(self) -> None:
        """Kernels go by sizes alone and would read past a tensor that is too small: every field against those before it."""
        sizes: dict[str, int] = {}
        for name, dims in DIMS.items():
            part = getattr(self, name)
            if part is None:
                continue
            if name == "a" and isinstance(part, Scalar):
                dims = ("fit", "latent", "latent")
            shape = tuple(part.shape)
            right = len(shape) == len(dims)
            for dim, size in zip(dims, shape):
                right = right and sizes.setdefault(dim, size) == size
            if not right:
                known = ", ".join(f"{dim} = {sizes[dim]}" for dim in dict.fromkeys(dims) if dim in sizes)
                raise KernelError(f"{name} must have shape ({', '.join(dims)}) with {known} as the tensors before it have them, got {shape}")

    @property
    def n_fits(self) -> int:
        return self.h1.shape[0]

    @property
    def latent_dim(self) -> int:
        return self.h1.shape[1]

    @property
    def hidden_dim(self) -> int:
        return self.W1.shape[2]

    @property
    def input_dim(self) -> int:
        given = self.C if self.C is not None else self.D
        return 0 if given is None else given.shape[2]

    def parts(self) -> dict[str, Tensor | Structure]:
        """The tensors and structures that are there, by name, in the order of the fields."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if isinstance(value, Tensor | Structure)}

    def tensors(self) -> dict[str, Tensor]:
        """The same, with the values of a structure under its name: what the map's numbers are."""
        return {name: part.values if isinstance(part, Structure) else part for name, part in self.parts().items()}

    def with_tensors(self, tensors: dict[str, Tensor]) -> AdditiveMap:
        """The same map with other tensors in the places of the old ones; a structure keeps its form and takes them as its values."""
        parts, new = self.parts(), {}
        for name, x in tensors.items():                                         # no comprehension: torch.compile loses the names bound in it
            part = parts.get(name)
            new[name] = part.with_values(x) if isinstance(part, Structure) else x
        return replace(self, **new)

    def written_out(self) -> AdditiveMap:
        """The same map without structures: a [F, M], and A, W1, W2 dense where they are given. Differentiable."""
        matrices = {name: part.dense() for name, part in self.parts().items() if name != "a" and isinstance(part, Structure)}
        return replace(self, **matrices | {"a": self.diagonal()})

    def to(self, dtype: torch.dtype) -> AdditiveMap:
        return self.with_tensors({name: value.to(dtype) for name, value in self.tensors().items()})

    def diagonal(self) -> Tensor:
        """a written out, [F, M]."""
        if self.a is None:
            return torch.zeros_like(self.h1)
        return self.a.values.expand_as(self.h1) if isinstance(self.a, Scalar) else self.a

    def dense_A(self) -> Tensor:
        """A with its diagonal, [F, M, M]."""
        full = torch.diag_embed(self.diagonal())
        return full if self.A is None else full + dense(self.A)

    def dense_W1(self) -> Tensor:
        """W1 written out, [F, M, H]."""
        return dense(self.W1)

    def dense_W2(self) -> Tensor:
        """W2 written out whatever the tag, [F, H, M]."""
        if self.W2 is not None:
            return dense(self.W2)
        F, M, H = self.n_fits, self.latent_dim, self.hidden_dim
        eye = torch.eye(M, dtype=self.h1.dtype, device=self.h1.device)
        if self.w2 == "centring":
            eye = eye - 1.0 / M
        return eye[M - H :].expand(F, H, M)
