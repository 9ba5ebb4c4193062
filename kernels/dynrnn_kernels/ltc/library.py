"""The registered operators under the differentiable one: shapes for torch.compile, batching for vmap, and the table of who computes.

They carry no gradient of their own (``operator.py`` has it); all tensors are packed as ``cpu.forward`` says. ``layout`` is a Layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc import cpu
from dynrnn_kernels.ltc.layout import Layout
from dynrnn_kernels.operators import register

TENSORS = ("flat", "z0", "target", "weight", "u", "dt", "rows")
OPTIONS = "int[] layout, str backend"

class Backend(NamedTuple):
    """Who computes, on contiguous tensors [F, ...] packed as ``cpu.forward`` says.

    forward : (flat, z0, target, weight, u, dt, rows, layout, out) fills out.
    backward : (flat, z0, target, weight, u, dt, rows, out, gout, keep_gtarget, layout) -> gradients of flat, z0, target (empty, [F, 0, 0], unless
        kept) and u.
    """

    forward: Callable[..., None]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


def _arrays(*tensors: Tensor) -> list:
    return [x.detach().numpy() for x in tensors]


def _cpu_forward(*args: Any) -> None:
    *tensors, layout, out = args
    flat, *arrays = _arrays(*tensors, out)
    cpu.forward(flat, Layout._make(layout), *arrays)


def _cpu_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout = args
    flat, z0, target, _, u = tensors[:5]
    grad, gz0, gu = (torch.zeros_like(x) for x in (flat, z0, u))
    gtarget = target.new_zeros(target.shape if keep_gtarget else (len(target), 0, 0))
    arrays = _arrays(*tensors, gz0, gtarget, gu, grad)
    cpu.backward(arrays[0], Layout._make(layout), *arrays[1:])
    return grad, gz0, gtarget, gu


COMPUTE = {"cpu": Backend(_cpu_forward, _cpu_backward)}


def backends() -> tuple[str, ...]:
    """Names of all that compute, the reference first."""
    return "reference", *COMPUTE


def _of(backend: str) -> Backend:
    if backend not in COMPUTE:
        raise KernelError(f"backend must be one of {tuple(COMPUTE)} for a compiled kernel, got {backend!r}")
    return COMPUTE[backend]


def _forward(*args: Any) -> Tensor:
    *tensors, layout, backend = args
    out = torch.empty_like(tensors[2])
    _of(backend).forward(*tensors, layout, out)
    return out


def _backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, backend = args
    return _of(backend).backward(*tensors, keep_gtarget, layout)


forward, backward = register("ltc", TENSORS, OPTIONS, ("rows",), _forward, _backward)
