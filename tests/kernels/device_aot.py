"""Compiles the kernels of the device update for compute capability 9.0, but for the recurrence's, which ``triton_aot.py`` compiles; a JSON object each.

    python tests/kernels/device_aot.py few|all
"""

from __future__ import annotations

import json
import sys
from itertools import product

import numpy as np
import torch
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.update import device
from dynrnn_kernels.update.problem import AFFINE, IDENTITY, Problem, State
from tests.kernels.triton_aot import Device, compile_only, compiled, resources, zero_map


def update(map: AdditiveMap, N: int, observation: int, B: int, T: int, dtype: torch.dtype) -> device.DeviceUpdate:
    """An update of one fit on nothing but zeros, with every feature: inputs, noise, missing samples, a bias, a condition penalty."""
    lay, flat = layout_of(map), pack(map)
    M, S = lay.M, lay.size
    P = S + (N * M + N if observation == AFFINE else (M - N) * N)
    kind = torch.zeros(0, dtype=dtype).numpy().dtype

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, dtype=kind)

    problem = Problem(
        fill=np.arange(S), constant=zeros(S), observation=observation, obs_weight=S, obs_bias=S + N * M if observation == AFFINE else -1,
        data=zeros(2, 10 * T, N), inputs=zeros(2, 10 * T, lay.K), has_missing=True, channel_mean=zeros(1, N), noise_level=zeros(1) + 1,
        gate=zeros(1, T), unit=zeros(M), trainable=zeros(P), decay=zeros(1, P), decay_to=zeros(P), condition=zeros(1) + 1, clip=zeros(1), max_refused=9,
    )
    whole = [np.zeros(1, dtype=np.int64) for _ in range(4)]
    state = State(zeros(1, P), zeros(1, P), zeros(1, P), whole[0], np.ones(1, dtype=np.bool_), *whole[1:])
    assert flat.shape[1] == S
    return device.DeviceUpdate(lay, problem, state, device.Source(np.array([9 * T, 18 * T]), np.array([0]), 1), B, T, "cpu")


def report(map: AdditiveMap, N: int, observation: int, B: int, T: int, dtype: torch.dtype) -> None:
    device.launch_update(update(map, N, observation, B, T, dtype).arrays)
    case = f"M={map.latent_dim} H={map.hidden_dim} N={N} observation={observation} K={map.input_dim} {map.phi} {dtype}"
    for name, kernel in compiled:
        print(json.dumps({"case": case, "kernel": name, "B": B, "hash": kernel.hash, **resources(kernel)}), flush=True)
    compiled.clear()


def main(which: str) -> None:
    driver.set_active(Device())
    device.choose_backend = lambda *_: "triton"                                 # on CPU tensors, since nothing is launched
    JITFunction.run = compile_only(JITFunction.run)
    for name in ("forward", "adjoint", "partial_gradients"):
        setattr(device.recurrence, name, lambda *_, **__: None)
    single, double = torch.float32, torch.float64
    if which == "few":
        for B, T in ((3, 7), (16, 30)):
            report(zero_map(3, 50, "clipped", "dense", 2, False, single), 2, IDENTITY, B, T, single)
        report(zero_map(20, 100, "relu", "dense", 0, False, single), 30, AFFINE, 16, 20, single)
        return
    for (M, H, N), dtype in product(((3, 5, 3), (3, 5, 1), (20, 100, 3), (20, 100, 5), (20, 100, 20), (64, 100, 64), (128, 500, 100)), (single, double)):
        if M <= 64 or dtype == single:
            report(zero_map(M, H, "relu", "dense", 2, True, dtype), N, IDENTITY, 16, 200, dtype)
    affine = ((1, 5, 1), (3, 5, 3), (3, 5, 60), (20, 100, 5), (20, 100, 300), (30, 50, 30), (64, 50, 64), (64, 50, 500))
    for (M, H, N), dtype in product(affine, (single, double)):
        report(zero_map(M, H, "relu", "dense", 0, False, dtype), N, AFFINE, 16, 200, dtype)
    report(zero_map(20, 100, "clipped_basis", "dense", 2, True, single), 5, IDENTITY, 16, 200, single)


if __name__ == "__main__":
    main(sys.argv[1])
