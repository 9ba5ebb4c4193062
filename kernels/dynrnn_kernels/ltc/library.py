"""The registered operators under the differentiable one: shapes for torch.compile, batching for vmap, and the table of who computes.

They carry no gradient of their own (``operator.py`` has it); all tensors are packed as ``cpu.forward`` says. ``layout`` is a Layout, ``config`` a Config, its
kernel as a number, or empty for the rule's choice.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc import cpu
from dynrnn_kernels.ltc.config import KERNELS, Config
from dynrnn_kernels.ltc.layout import Layout
from dynrnn_kernels.operators import register

TENSORS = ("flat", "z0", "target", "weight", "u", "dt", "rows")
OPTIONS = "int[] layout, str backend, int[] config"

class Backend(NamedTuple):
    """Who computes, on contiguous tensors [F, ...] packed as ``cpu.forward`` says.

    forward : (flat, z0, target, weight, u, dt, rows, layout, config, out) fills out.
    backward : (flat, z0, target, weight, u, dt, rows, out, gout, keep_gtarget, layout, config) -> gradients of flat, z0, target (empty, [F, 0, 0], unless
        kept) and u.
    """

    forward: Callable[..., None]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


def device_kernels() -> Any:
    """The Triton kernels, imported when they are first used."""
    return importlib.import_module("dynrnn_kernels.ltc.triton")


def _arrays(*tensors: Tensor) -> list:
    return [x.detach().numpy() for x in tensors]


def _cpu_forward(*args: Any) -> None:
    *tensors, layout, _, out = args
    flat, *arrays = _arrays(*tensors, out)
    cpu.forward(flat, Layout._make(layout), *arrays)


def _cpu_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, _ = args
    flat, z0, target, _, u = tensors[:5]
    grad, gz0, gu = (torch.zeros_like(x) for x in (flat, z0, u))
    gtarget = target.new_zeros(target.shape if keep_gtarget else (len(target), 0, 0))
    arrays = _arrays(*tensors, gz0, gtarget, gu, grad)
    cpu.backward(arrays[0], Layout._make(layout), *arrays[1:])
    return grad, gz0, gtarget, gu


def _config(numbers: list[int]) -> Config | None:
    return Config(KERNELS[numbers[0]], *numbers[1:]) if numbers else None


def _triton_forward(*args: Any) -> None:
    flat, z0, target, weight, u, dt, rows, layout, config, out = args
    weight = weight.expand(target.shape).contiguous()
    device_kernels().forward(flat, Layout._make(layout), z0, target, weight, u, dt, rows, out, config=_config(config))


def _triton_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    flat, z0, target, weight, u, dt, rows, out, gout, keep_gtarget, layout, config = args
    given = z0, target, weight.expand(target.shape).contiguous(), u, dt, rows, out, gout
    grad, gz0, gtarget, gu = device_kernels().backward(flat, Layout._make(layout), *given, config=_config(config))
    return grad, gz0, gtarget if keep_gtarget else gtarget.new_empty((len(gtarget), 0, 0)), gu


COMPUTE = {"cpu": Backend(_cpu_forward, _cpu_backward), "triton": Backend(_triton_forward, _triton_backward)}


def backends() -> tuple[str, ...]:
    """Names of all that compute, the reference first."""
    return "reference", *COMPUTE


def _of(backend: str) -> Backend:
    if backend not in COMPUTE:
        raise KernelError(f"backend must be one of {tuple(COMPUTE)} for a compiled kernel, got {backend!r}")
    return COMPUTE[backend]


def _forward(*args: Any) -> Tensor:
    *tensors, layout, backend, config = args
    out = torch.empty_like(tensors[2])
    _of(backend).forward(*tensors, layout, config, out)
    return out


def _backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, backend, config = args
    return _of(backend).backward(*tensors, keep_gtarget, layout, config)


forward, backward = register("ltc", TENSORS, OPTIONS, ("rows",), _forward, _backward)
