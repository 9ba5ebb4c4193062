"""How the Triton kernels of this recurrence run, in words that need no Triton."""

from __future__ import annotations

from typing import NamedTuple

from dynrnn_kernels.additive.config import MOST_WARPS
from dynrnn_kernels.errors import KernelError

KERNELS = ("lane", "stream")
MOST_SOURCES = 1024


class Config(NamedTuple):
    """``lane`` keeps all synapses in registers over a whole sequence, ``stream`` loads those from ``sources`` units at once, at each unfold again; warps."""

    kernel: str
    sources: int
    warps: int


def check_launching(backend: str, config: Config | None) -> None:
    """KernelError for a configuration that is none, or that is not for this backend."""
    if config is None:
        return
    if backend != "triton":
        raise KernelError(f"config = {config} is for backend 'triton'; backend {backend!r} has nothing to configure: leave it out")
    if config.kernel not in KERNELS:
        raise KernelError(f"config.kernel must be one of {KERNELS}, got {config.kernel!r}")
    for name, value, most in (("sources", config.sources, MOST_SOURCES), ("warps", config.warps, MOST_WARPS)):
        if not 1 <= value <= most or value & (value - 1):
            raise KernelError(f"config.{name} must be a power of two from 1 to {most:,}, got {value}")
