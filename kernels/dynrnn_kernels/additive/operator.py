"""The forced sequence as one differentiable operator, and the rule that chooses its backend."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dynrnn_kernels.additive import cpu, reference
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.blas import one_blas_thread

BACKENDS = ("reference", "cpu")


def choose_backend(device: torch.device, backend: str | None = None) -> str:
    """The backend to use: the argument, else the environment's DYNRNN_BACKEND, else ``cpu`` on a CPU and ``reference`` elsewhere."""
    wanted = backend or os.environ.get("DYNRNN_BACKEND") or ("cpu" if device.type == "cpu" else "reference")
    if wanted not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, got {wanted!r}")
    if wanted == "cpu" and device.type != "cpu":
        raise ValueError(f"backend 'cpu' needs tensors on the CPU, these are on {device}")
    return wanted


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Contiguous arrays, all of them: each other layout would be compiled anew."""
    return [x.detach().contiguous().numpy() for x in tensors]


class _ForcedSequenceCpu(torch.autograd.Function):
    @staticmethod
    def forward(flat: Tensor, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, layout: Any) -> Tensor:
        out = torch.empty_like(target, memory_format=torch.contiguous_format)
        arrays = _arrays(flat, z0, target, weight, u, out)
        with one_blas_thread():
            cpu.forward(arrays[0], layout, *arrays[1:])
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.layout = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gout: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat, z0, target, _, u, _ = ctx.saved_tensors
        grad, gz0, gtarget, gu = (torch.zeros(x.shape, dtype=x.dtype) for x in (flat, z0, target, u))
        arrays = _arrays(*ctx.saved_tensors, gout, gz0, gtarget, gu, grad)
        with one_blas_thread():
            cpu.backward(arrays[0], ctx.layout, *arrays[1:])
        return grad, gz0, gtarget, None, gu, None


def forced_sequence(
    map: AdditiveMap, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None = None, *, backend: str | None = None
) -> Tensor:
    """T steps of the map, each after a pull towards its target: ``z[t+1] = F(z[t] + weight[t] (target[t] - z[t]), u[t])``.

    z0 [F, B, M], target [F, B, T, M], weight broadcastable to target, u [F, B, T, K], where u[t] acts in the step from t to t+1.
    Returns z[1..T], the predictions before forcing, [F, B, T, M]. Differentiable once in the map's tensors, z0, target and u; the
    weight has no gradient. An entry of weight zero is never read from ``target``. Cost O(F B T M H), memory O(F B T M).
    """
    if choose_backend(z0.device, backend) == "reference":
        return reference.forced_sequence(map, z0, target, weight, u)
    F, B, T, M = target.shape
    inputs = z0.new_zeros(F, B, T, map.input_dim) if u is None else u
    return _ForcedSequenceCpu.apply(pack(map), z0, target, weight.to(target.dtype).expand(F, B, T, M), inputs, layout_of(map))
