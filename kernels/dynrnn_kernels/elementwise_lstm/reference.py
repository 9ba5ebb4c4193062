"""The same network in plain torch, one fit: states by the equations, gradients by autograd through all of time. The truth beside the kernel."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(A: Tensor, O: Tensor, R: Tensor, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
    """y [T, P] and the last c [n], for x [T, D] from c [n]; parameters as in ``arrays``."""
    outputs = []
    for xt in x:
        one = torch.ones(1, dtype=x.dtype)
        (z, f) = (A[:, k, 0] * c + A[:, k, 1:] @ torch.cat([one, xt]) for k in range(2))
        z, f = torch.tanh(z), torch.sigmoid(f)
        c = f * c + (1 - f) * z
        h = torch.sigmoid(O @ torch.cat([one, xt, c])) * c
        outputs.append(R @ torch.cat([h, one]))
    return torch.stack(outputs), c
