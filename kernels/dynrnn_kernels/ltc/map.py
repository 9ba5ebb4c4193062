"""The liquid time-constant map as a bundle of tensors with a leading fit axis."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError

SOLVERS = ("semi-implicit", "euler", "rk4")
DIMS = {
    "cm": ("fit", "latent"), "gleak": ("fit", "latent"), "vleak": ("fit", "latent"),
    **dict.fromkeys(("w", "sigma", "mu", "E"), ("fit", "latent", "latent")),
    **dict.fromkeys(("w_in", "sigma_in", "mu_in", "E_in"), ("fit", "latent", "input")),
    **dict.fromkeys(("input_w", "input_b"), ("fit", "input")),
}
INPUTS = ("w_in", "sigma_in", "mu_in", "E_in", "input_w", "input_b")
POSITIVE = ("cm", "gleak", "w", "w_in")


@dataclass(frozen=True)
class LTCMap:
    """M leaky units with synapses that open with the state of the unit they come from, for F fits at once:

        cm_i dv_i/dt = gleak_i (vleak_i - v_i) + sum_j w_ij s_ij(v_j) (E_ij - v_i) + sum_k w_in_ik s_in_ik(x_k) (E_in_ik - v_i)

    with s_ij(v) = 1 / (1 + exp(-sigma_ij (v - mu_ij))), the same for s_in, and x = input_w u + input_b.

    Tensors (the six of inputs are None where there are none): cm, gleak, vleak [F, M]; w, sigma, mu, E [F, M, M], to unit i from unit j;
    w_in, sigma_in, mu_in, E_in [F, M, K]; input_w, input_b [F, K]. cm > 0 and gleak, w, w_in >= 0 are the caller's care: a model gets them by softplus.

    One step covers the elapsed time ``dt`` in ``unfolds`` equal parts of ``solver``: ``semi-implicit`` (the states that open synapses are the old ones, the
    driving forces E - v have the new ones; bounded whatever the step), or ``euler`` or ``rk4``, explicit, and bounded by nothing but a small step.
    """

    cm: Tensor
    gleak: Tensor
    vleak: Tensor
    w: Tensor
    sigma: Tensor
    mu: Tensor
    E: Tensor
    w_in: Tensor | None = None
    sigma_in: Tensor | None = None
    mu_in: Tensor | None = None
    E_in: Tensor | None = None
    input_w: Tensor | None = None
    input_b: Tensor | None = None
    unfolds: int = 6
    dt: float = 1.0
    solver: str = "semi-implicit"

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise KernelError(f"solver must be one of {SOLVERS}, got {self.solver!r}")
        if not isinstance(self.unfolds, int) or self.unfolds < 1:
            raise KernelError(f"unfolds must be a whole number of at least 1, got {self.unfolds!r}")
        if not 0 < self.dt < float("inf"):
            raise KernelError(f"dt must be an elapsed time above 0, got {self.dt}")
        if len({getattr(self, name) is None for name in INPUTS}) > 1:
            raise KernelError(f"{', '.join(INPUTS)} are given all or not at all")
        sizes: dict[str, int] = {}
        for name, dims in DIMS.items():
            part = getattr(self, name)
            if part is None:
                continue
            right = part.ndim == len(dims) and all(sizes.setdefault(dim, size) == size for dim, size in zip(dims, part.shape))
            if not right:
                known = ", ".join(f"{dim} = {sizes[dim]}" for dim in dict.fromkeys(dims) if dim in sizes)
                raise KernelError(f"{name} must have shape ({', '.join(dims)}) with {known} as the tensors before it have them, got {tuple(part.shape)}")

    @property
    def n_fits(self) -> int:
        return self.cm.shape[0]

    @property
    def latent_dim(self) -> int:
        return self.cm.shape[1]

    @property
    def input_dim(self) -> int:
        return 0 if self.w_in is None else self.w_in.shape[2]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name, in the order of the fields."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def with_tensors(self, tensors: dict[str, Tensor]) -> LTCMap:
        """The same map with other tensors in the places of the old ones."""
        return replace(self, **tensors)

    def to(self, dtype: torch.dtype) -> LTCMap:
        return self.with_tensors({name: value.to(dtype) for name, value in self.tensors().items()})
