"""How much memory does a gradient through T steps need, beside that of its states alone (4 B T M bytes)?

Three ways: forward and backward of ``forced_sequence``; one whole update by ``run_updates``; eager torch. M = 3, H = 50. Each in a fresh
process, which first does it with T = 4, so that compilation and imports do not count. What counts is the peak of resident memory
beyond what was resident with all inputs (windows, forcing targets, incoming gradient) allocated. Sizes that would take more
than --limit, judged by the size before, are left out, for eager torch also those that would take longer than a minute.
Batch rows are computed in eights, one eight a thread, so that one row takes as much as eight and scratch grows with the threads in use.

    python kernels/benchmarks/memory.py [--quick]
"""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from peers import ALPHA, make_draws, make_map, make_problem, start, torch_loss
from timing import header, number, row, title

from dynrnn_kernels.additive import forced_sequence
from dynrnn_kernels.additive.layout import cpu_layout
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.update import run_updates

M, H = 3, 50
EXTRA = 64      # samples of the series beyond one window


@dataclass
class Settings:
    quick: bool = False
    """Short sequences only, to see that it runs."""
    limit: float = 4.0
    """Gigabytes that one process may take."""


def operator(T: int, B: int, x: np.ndarray):
    map = make_map(M, H)
    map = map.with_tensors({k: v.requires_grad_() for k, v in map.tensors().items()})
    target = torch.tensor(np.stack([x[b : b + T] for b in range(B)]))[None]
    z0, weight, gradient = target[:, :, 0].clone().requires_grad_(), torch.tensor(ALPHA), torch.ones_like(target)
    return lambda: forced_sequence(map, z0, target, weight).backward(gradient)


def update(T: int, B: int, x: np.ndarray):
    map = make_map(M, H)
    problem, state = make_problem(map, x, T)
    draws = make_draws(np.random.default_rng(1), 1, 1, M, B, T, x)

    def run() -> None:
        with one_blas_thread():
            run_updates(cpu_layout(map), problem, state, draws, T, np.empty((1, 1)), np.empty((1, 1)))

    return run


def eager(T: int, B: int, x: np.ndarray):
    p = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in start(M, H).items()}
    window = torch.tensor(np.stack([x[b : b + T + 1] for b in range(B)]))
    return lambda: torch_loss(p, window).backward()


WAYS = {"forced_sequence": operator, "run_updates": update, "eager torch": eager}


def resident(key: str) -> int:
    """VmRSS (now) or VmHWM (peak), bytes."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key))


def measure(way: str, T: int, B: int) -> tuple[float, float]:
    """Bytes at the peak beyond those before, and seconds."""
    g = np.random.default_rng(0)
    make = WAYS[way]
    make(4, B, g.standard_normal((4 + EXTRA, M), dtype=np.float32))()
    work = make(T, B, g.standard_normal((T + EXTRA, M), dtype=np.float32))
    linux = sys.platform == "linux"
    if linux:
        ctypes.CDLL(None).malloc_trim(0)                   # what the warm-up freed goes back, or it would be used again unseen
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")                                # the peak starts from what is resident now
    unit = 1 if sys.platform == "darwin" else 1024         # of ru_maxrss, whose peak cannot be set back: elsewhere a lower bound
    before = resident("VmRSS") if linux else unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    work()
    took = time.perf_counter() - began
    after = resident("VmHWM") if linux else unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(after - before), took


def main(settings: Settings) -> None:
    print(header() + "\n")
    print(title("batch", "T", "states [MB]", *[c for way in WAYS for c in (f"{way} [MB]", "of states", "[s]")]))
    fresh = multiprocessing.get_context("spawn")
    for B in (1, 16):
        last: dict[str, tuple[float, float]] = dict.fromkeys(WAYS, (0.0, 0.0))
        for T in (100, 1000) if settings.quick else (1000, 10_000, 100_000, 1_000_000):
            states, cells = 4 * B * T * M, []
            for way, (size, took) in last.items():
                last[way] = float("nan"), float("nan")
                if 10 * size < settings.limit * 1e9 and (way != "eager torch" or 10 * took < 60):
                    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
                        last[way] = pool.submit(measure, way, T, B).result()
                size, took = last[way]
                cells += [number(size / 1e6), number(size / states), number(took, 2)]
            print(row(B, f"{T:,}", number(states / 1e6), *cells), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
