"""Models whose parameters fill the map by a differentiable function: each fit's map out of its flat parameters, for autograd to pull back through."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from dynrnn.models.base import Model
from dynrnn.models.ensemble import select_model
from dynrnn_kernels.recurrences import Map


class _Map(nn.Module):
    """``map()`` as a forward pass, which functional_call runs on parameters of its choice."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self) -> Map:
        return self.model.map()


def map_of_flat(model: Model) -> Callable[[int, Tensor], Map]:
    """A function (fit, theta [P]) -> the fit's map, F = 1, in theta's dtype. Each fit goes through a model of its own: its bits depend on no other."""
    alone = [_Map(select_model(model, f)) for f in range(model.n_fits)]

    def map_of(f: int, theta: Tensor) -> Map:
        values, end = {}, 0
        for name, p in alone[f].named_parameters():
            start, end = end, end + p.numel()
            values[name] = theta[start:end].reshape(p.shape)
        return functional_call(alone[f], values, ()).to(theta.dtype)

    return map_of
