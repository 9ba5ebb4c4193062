"""Compiles what choose() picks for compute capability 9.0, on a machine without a GPU, and prints what ptxas made of it, a JSON object a kernel.

    python tests/kernels/triton_aot.py few|all|spilling|tangents|"all tangents"|influence|"all influence"

The launching code runs as it is, on CPU tensors; only the last step, Triton's own launch, stops after compiling. In a process of its own: the
kernels must not have been imported for the interpreter.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from dynrnn_kernels.additive import AdditiveMap, triton_tangent
from dynrnn_kernels.additive import triton as kernels
from dynrnn_kernels.additive.config import PRECISIONS
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.influence import triton as influence

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
SIZES = [(3, 50), (20, 100), (30, 500), (64, 1000)]
FEW = [
    (3, 50, "clipped", 1, torch.float32), (3, 50, "clipped", 16, torch.float32), (20, 100, "relu", 16, torch.float64),
    (20, 100, "clipped", 40_000, torch.float32), (64, 1000, "relu", 16, torch.float32),
]
compiled: list = []


class Device:
    """Stands in for the driver of a card that is not there."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def compile_only(run):
    def instead(self, *args, grid, warmup, **kwargs):
        compiled.append((self.fn.__name__, run(self, *args, grid=grid, warmup=True, **kwargs)))

    return instead


def zero_map(M: int, H: int, phi: str, w2: str, K: int, dense_A: bool, dtype: torch.dtype) -> AdditiveMap:
    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(1, *shape, dtype=dtype)

    basis = "basis" in phi
    return AdditiveMap(
        a=zeros(M), W1=zeros(M, H), h1=zeros(M), phi=phi, w2=w2, A=zeros(M, M) if dense_A else None, W2=zeros(H, M) if w2 == "dense" else None,
        h2=None if basis else zeros(H), C=zeros(M, K) if K else None, D=zeros(H, K) if K else None,
        slope=zeros(20) if basis else None, threshold=zeros(H, 20) if basis else None,
    )


def resources(kernel) -> dict[str, int]:
    """Registers, stack (spilled values are there too) and shared memory."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        text = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack, local = (int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK", "LOCAL"))
    return {"registers": registers, "stack": stack + local, "shared": kernel.metadata.shared}


def report(map: AdditiveMap, B: int, precision: str = "ieee") -> None:
    """Compile every kernel that a forward, a reverse pass and the norms of B sequences of two steps would launch."""
    lay, flat = layout_of(map), pack(map)
    M, N = lay.M, 2 * B
    rows = torch.stack([torch.arange(B) * 2, torch.full((B,), 2)], 1)
    z0, x, u = flat.new_zeros(1, B, M), flat.new_zeros(1, N, M), flat.new_zeros(1, N, lay.K)
    config = kernels.choose(lay, B, 1, flat.dtype, precision)
    kernels.forward(flat, lay, z0, x, x, u, rows, x, precision=precision)
    kernels.backward(flat, lay, z0, x, x, u, rows, x, x, precision=precision)
    kernels.spectral_norms(flat, lay, x, u)
    case = f"M={M} H={lay.H} phi={map.phi} w2={map.w2} K={lay.K} A={map.A is not None} {flat.dtype} {precision} {tuple(config)}"
    for name, kernel in compiled:
        print(json.dumps({"case": case, "kernel": name, "B": B, "hash": kernel.hash, **resources(kernel)}), flush=True)
    compiled.clear()


def report_tangents(map: AdditiveMap, S: int, k: int, n_steps: int) -> None:
    """Compile the kernel that would carry k vectors of S segments, with a second trajectory and the path of the first."""
    lay, flat = layout_of(map), pack(map)
    M = lay.M
    z, Q, u = flat.new_zeros(1, S, M), flat.new_zeros(1, S, k, M), flat.new_zeros(1, 1, n_steps, lay.K)
    whole, each = torch.ones(1, dtype=torch.int64), flat.new_zeros(1, S)
    config = triton_tangent.choose_tangent(lay, k, flat.dtype)
    triton_tangent.carry(flat, lay, z, Q, z, u, whole, flat.new_ones(1), flat.new_zeros(1, S, k), each, each, whole.expand(1, S), flat.new_zeros(1, n_steps, M))
    case = f"M={M} H={lay.H} k<={kernels.padded(k)} phi={map.phi} w2={map.w2} K={lay.K} A={map.A is not None} {flat.dtype} {tuple(config)}"
    for name, kernel in compiled:
        print(json.dumps({"case": case, "kernel": name, "S": S, "k": k, "hash": kernel.hash, **resources(kernel)}), flush=True)
    compiled.clear()


def report_influence(map: AdditiveMap, B: int, T: int) -> None:
    """Compile the two kernels that would carry the influence of B sequences of T steps."""
    lay, flat = layout_of(map), pack(map)
    z0, x, u = flat.new_zeros(1, B, lay.M), flat.new_zeros(1, B, T, lay.M), flat.new_zeros(1, B, T, lay.K)
    influence.gradients(lay, flat, z0, x, x, x, u, x, 0, 0)
    case = f"M={lay.M} H={lay.H} phi={map.phi} w2={map.w2} K={lay.K} A={map.A is not None} {flat.dtype}"
    for name, kernel in compiled:
        print(json.dumps({"case": case, "kernel": name, "B": B, "T": T, "hash": kernel.hash, **resources(kernel)}), flush=True)
    compiled.clear()


def main(which: str) -> None:
    driver.set_active(Device())
    JITFunction.run = compile_only(JITFunction.run)
    if which == "spilling":
        report(zero_map(128, 100, "relu", "dense", 300, True, torch.float32), 16)
        report(zero_map(40, 20, "clipped_basis", "dense", 3, True, torch.float64), 16)
        return
    if which == "tangents":
        for S, k, n_steps in ((1, 3, 1), (16, 4, 100)):
            report_tangents(zero_map(3, 50, "clipped", "dense", 0, False, torch.float64), S, k, n_steps)
        report_tangents(zero_map(50, 500, "clipped", "dense", 0, False, torch.float64), 16, 50, 10)
        report_tangents(zero_map(20, 2, "relu", "selection", 0, True, torch.float64), 16, 20, 10)
        return
    if which == "all tangents":
        kinds = product([(3, 50), (20, 100), (64, 1000)], ("clipped", "tanh", "clipped_basis"), (torch.float32, torch.float64), ((0, False), (3, True)))
        for (M, H), phi, dtype, (K, dense_A) in kinds:
            report_tangents(zero_map(M, H, phi, "dense", K, dense_A, dtype), 16, M, 10)
        report_tangents(zero_map(30, 500, "clipped", "dense", 0, True, torch.float64), 16, 7, 10)
        for M, w2, dtype in product((3, 20, 64), ("identity", "selection", "centring"), (torch.float32, torch.float64)):
            report_tangents(zero_map(M, max(1, M // 10) if w2 == "selection" else M, "relu", w2, 2, True, dtype), 16, M, 10)
        report_tangents(zero_map(128, 500, "relu", "dense", 0, True, torch.float32), 16, 64, 10)
        return
    if which == "influence":
        for B, T in ((1, 1), (16, 65)):
            report_influence(zero_map(3, 50, "clipped", "dense", 0, False, torch.float32), B, T)
        report_influence(zero_map(20, 100, "clipped", "dense", 0, False, torch.float32), 16, 65)
        report_influence(zero_map(20, 2, "relu", "selection", 0, True, torch.float32), 16, 65)
        return
    if which == "all influence":
        for (M, H), phi, dtype in product([(3, 50), (20, 100), (30, 500), (64, 1000)], ("clipped", "tanh", "clipped_basis"), (torch.float32, torch.float64)):
            for K, dense_A in ((0, False), (3, True)):
                report_influence(zero_map(M, H, phi, "dense", K, dense_A, dtype), 16, 65)
        for M, w2, dtype in product((3, 20, 64), ("identity", "selection", "centring"), (torch.float32, torch.float64)):
            report_influence(zero_map(M, max(1, M // 10) if w2 == "selection" else M, "relu", w2, 2, True, dtype), 16, 65)
        report_influence(zero_map(128, 500, "relu", "dense", 0, True, torch.float32), 16, 65)
        for (M, H, dtype), (K, dense_A) in product(((5, 2000, torch.float64), (33, 400, torch.float64), (100, 50, torch.float32)), ((0, False), (3, True))):
            report_influence(zero_map(M, H, "basis", "dense", K, dense_A, dtype), 16, 65)                                # spilled under other rules
        return
    if which == "few":
        for M, H, phi, B, dtype in FEW:
            report(zero_map(M, H, phi, "dense", 0, False, dtype), B)
        report(zero_map(20, 2, "relu", "selection", 0, True, torch.float32), 16)
        return
    for (M, H), phi, precision in product(SIZES, ("clipped", "relu"), PRECISIONS):
        for K, dense_A in ((0, False), (3, True)):
            report(zero_map(M, H, phi, "dense", K, dense_A, torch.float32), 600_000 // M, precision)
    for M, w2, B, dtype in product((3, 20, 64), ("identity", "selection", "centring"), (16, 60_000), (torch.float32, torch.float64)):
        report(zero_map(M, max(1, M // 10) if w2 == "selection" else M, "relu", w2, 2, True, dtype), B)
    for (M, H), phi, dtype in product([*SIZES, (20, 50), (128, 500)], ("clipped", "relu", "clipped_basis", "tanh"), (torch.float32, torch.float64)):
        if M <= 64 or dtype == torch.float32:
            for K, dense_A in ((0, False), (3, True)):
                report(zero_map(M, H, phi, "dense", K, dense_A, dtype), 16)


if __name__ == "__main__":
    main(sys.argv[1])
