"""How Triton kernels run, in words that need no Triton: which kernel, at which sizes, and how exact its products are."""

from __future__ import annotations

from typing import NamedTuple

from dynrnn_kernels.errors import KernelError

PRECISIONS = ("ieee", "tf32x3", "tf32")
KERNELS = {"lane": (1,), "tile": (16,), "stream": (1, 16)}                      # sequences that a program of each may have
MOST_WARPS = 16
MOST_GRID = 65_535                                                              # of CUDA, along all axes of a grid but the first


class Config(NamedTuple):
    """kernel is ``lane``, ``tile`` or ``stream``; sequences a program, hidden columns at once, warps."""

    kernel: str
    rows: int
    hidden: int
    warps: int


def check_config(config: Config) -> None:
    """KernelError for what no kernel can be launched with, whatever the map."""
    if config.kernel not in KERNELS:
        raise KernelError(f"config.kernel must be one of {tuple(KERNELS)}, got {config.kernel!r}")
    if config.rows not in KERNELS[config.kernel]:
        raise KernelError(f"config.rows must be {' or '.join(map(str, KERNELS[config.kernel]))} for kernel {config.kernel!r}, got {config.rows}")
    for name, value, most in (("hidden", config.hidden, 2**20), ("warps", config.warps, MOST_WARPS)):                # 2**20: Triton's largest block
        if not 1 <= value <= most or value & (value - 1):
            raise KernelError(f"config.{name} must be a power of two from 1 to {most:,}, got {value}")
    if config.rows > 1 and config.hidden < 16:
        raise KernelError(f"config.hidden must be at least 16 where tensor cores multiply (config.rows = {config.rows}), got {config.hidden}")


def check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise KernelError(f"precision must be one of {PRECISIONS}, got {precision!r}")


def check_fits(n_fits: int) -> None:
    if n_fits > MOST_GRID:
        raise KernelError(f"{n_fits:,} fits (with what vmap maps over) are too many for one launch of backend 'triton', which takes {MOST_GRID:,}; split them")


def check_launching(backend: str, precision: str, config: Config | None) -> None:
    """KernelError for a precision or a configuration that is none, or that is not for this backend."""
    check_precision(precision)
    if config is not None:
        check_config(config)
    if backend != "triton" and (precision != "ieee" or config is not None):
        raise KernelError(
            f"precision = {precision!r} and config = {config} are for backend 'triton'; backend {backend!r} always computes in full precision and "
            "has nothing to configure: leave them out"
        )
