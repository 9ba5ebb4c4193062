"""Which backend computes: nothing here belongs to one recurrence."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection

import torch

from dynrnn_kernels.errors import KernelError

TRITON_INSTALLED = importlib.util.find_spec("triton") is not None               # looked for once: it costs as much as a small kernel
BACKENDS = ("reference", "cpu", "triton")


def choose_backend(device: torch.device, backend: str | None = None, known: Collection[str] = BACKENDS) -> str:
    """The backend to use, of those ``known``: the argument, else the environment's DYNRNN_BACKEND, else ``cpu`` on a CPU and ``triton`` on CUDA.

    ``reference`` computes on any device, but never unasked: it is many times slower than what a user of a device expects. On a CPU ``triton``
    runs in Triton's interpreter, for tests: it wants TRITON_INTERPRET=1 and is slow.
    """
    wanted = backend or os.environ.get("DYNRNN_BACKEND") or {"cpu": "cpu", "cuda": "triton"}.get(device.type)
    if wanted is None:
        raise KernelError(f"no kernels run on a device of type {device.type!r}; move the tensors to a CPU or CUDA, or name backend='reference'")
    if wanted not in known:
        raise KernelError(f"backend must be one of {tuple(known)}, got {wanted!r}")
    if wanted == "cpu" and device.type != "cpu":
        raise KernelError(f"backend 'cpu' needs tensors on the CPU, these are on {device}; move them there or name another backend")
    if wanted == "triton" and not TRITON_INSTALLED:
        raise KernelError("backend 'triton', which CUDA tensors take, needs the package triton: install triton, or name backend='reference'")
    if wanted == "triton" and device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise KernelError("backend 'triton' needs tensors on a CUDA device, these are on the CPU; move them there, or name backend 'cpu'")
    if wanted == "triton" and device.type not in ("cpu", "cuda"):
        raise KernelError(f"backend 'triton' needs tensors on a CUDA device, these are on {device}; move them there, or name backend='reference'")
    return wanted
