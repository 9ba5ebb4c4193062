"""Compiles the Triton kernels of the liquid time-constant recurrence for compute capability 9.0, on a machine without a GPU; a JSON object each.

    python tests/kernels/ltc_aot.py few|all
"""

from __future__ import annotations

import json
import sys
from itertools import product

import torch
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from dynrnn_kernels.ltc import triton as kernels
from dynrnn_kernels.ltc.layout import layout_of, pack
from tests.kernels.ltc_maps import random_ltc_map
from tests.kernels.triton_aot import Device, compile_only, compiled, resources


def report(M: int, K: int, dtype: torch.dtype, B: int, T: int, unfolds: int) -> None:
    """Compile every kernel that a forward and a reverse pass of B sequences of T steps would launch."""
    map = random_ltc_map(torch.Generator(), 1, M, K, True, unfolds).to(dtype)
    lay, flat, N = layout_of(map), pack(map), B * T
    rows = torch.stack([torch.arange(B) * T, torch.full((B,), T)], 1)
    z0, x, u, dt = flat.new_zeros(1, B, M), flat.new_zeros(1, N, M), flat.new_zeros(1, N, K), flat.new_ones(1, N)
    kernels.forward(flat, lay, z0, x, x, u, dt, rows, x)
    kernels.backward(flat, lay, z0, x, x, u, dt, rows, x, x)
    case = f"M={M} K={K} {dtype} {tuple(kernels.choose(lay, dtype))}"
    for name, kernel in compiled:
        print(json.dumps({"case": case, "kernel": name, "B": B, "unfolds": unfolds, "hash": kernel.hash, **resources(kernel)}), flush=True)
    compiled.clear()


def main(which: str) -> None:
    driver.set_active(Device())
    JITFunction.run = compile_only(JITFunction.run)
    for B, T, unfolds in ((1, 1, 1), (16, 200, 6)):
        report(20, 1, torch.float32, B, T, unfolds)
    if which == "few":
        return
    for M, K, dtype in product((3, 16, 20, 32, 50, 64, 100, 128, 256, 500, 512, 1024), (0, 3, 40), (torch.float32, torch.float64)):
        report(M, K, dtype, 16, 2, 6)


if __name__ == "__main__":
    main(sys.argv[1])
