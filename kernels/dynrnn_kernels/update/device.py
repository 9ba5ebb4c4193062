"""Whole updates on a device: windows drawn, loss, gradient and optimiser step, for all fits at once and without a word to the host.

The same update as ``cpu.py``, as Triton kernels over tensors that stay on the device; on CUDA one update is captured as a graph and replayed.
README.md in this folder says what is launched. Draws are the device's own (triton_draw.py): like those of a CPU they are a pure function of a
key, the fit's number and the update's, but they are other numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from triton import cdiv

from dynrnn_kernels.additive import triton as recurrence
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.triton import launch, padded
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.update import triton_book
from dynrnn_kernels.update.device_arrays import MOST_BLOCK, NAMES, DeviceArrays, Source, check_device_update, samples_of_block
from dynrnn_kernels.update.problem import Problem, State
from dynrnn_kernels.update.triton_decoder import decoder_kernel
from dynrnn_kernels.update.triton_draw import draw_kernel
from dynrnn_kernels.update.triton_loss import affine_loss_kernel, identity_loss_kernel
from dynrnn_kernels.update.triton_step import fill_kernel, gradient_kernel, step_kernel
from dynrnn_kernels.update.triton_targets import affine_target_kernel, identity_target_kernel, partly_seen_kernel

WARM_UPS = 2

__all__ = ["MOST_BLOCK", "DeviceUpdate", "Source", "check_device_update", "launch_update"]


def launch_update(a: DeviceArrays) -> None:
    """The kernels of one update, in their order."""
    F, B, T, P, N, lay = a.F, a.B, a.T, a.P, a.N, a.lay
    launch(fill_kernel, (cdiv(lay.size, 256), F), a.theta, a.fill, a.constant, a.flat, lay.size, P, BLOCK=256, warps=4)
    launch_draws(a)
    launch_targets(a)
    recurrence.forward(a.flat, lay, a.z0, a.target, a.weight, a.u, a.rows, a.z, precision=a.precision)
    grid, sizes = (a.loss_blocks, F), dict(M=lay.M, N=N, BR=a.loss_rows, BM=padded(lay.M), warps=4)
    if a.affine:
        given = (a.theta, a.x, a.z, a.gz, a.observation, a.losses, a.counts, B, T, P, a.start)
        launch(affine_loss_kernel, grid, *given, BIASED=a.biased, **sizes)
    else:
        launch(identity_loss_kernel, grid, a.x, a.z, a.gz, a.losses, a.counts, B, T, **sizes)
    recurrence.adjoint(a.flat, lay, a.z0, a.target, a.weight, a.u, a.rows, a.z, a.gz, a.G, a.zt, a.gz0, a.gtarget, a.covered, precision=a.precision)
    recurrence.partial_gradients(a.flat, lay, a.zt, a.G, a.u, a.covered, a.partial, a.slopes)
    launch(
        gradient_kernel, (a.blocks, F), a.theta, a.trainable, a.decay, a.decay_to, a.first_entry, a.entries, a.partial,
        a.slopes, a.observation, a.penalty_gradient, a.z0, a.gz0, a.counts, a.grad, a.squares, a.pulls,
        lay.size, P, B, a.partial.shape[1], a.slopes.shape[1], a.most, a.loss_blocks, a.start, a.n_observation,
        lay=lay, N=N, OBSERVATION=a.kind, CONDITIONED=a.conditioned, BLOCK=128, ROWS=16, warps=4,
    )
    launch(
        step_kernel, (F,), a.book, a.theta, a.first, a.second, a.grad, a.squares, a.pulls, a.penalty, a.losses,
        a.counts, a.clip, a.rate, a.results[0], a.results[1], P, a.blocks, a.loss_blocks, a.max_refused,
        CONDITIONED=a.conditioned, BLOCK=1024, warps=8,
    )


def launch_draws(a: DeviceArrays) -> None:
    B, T, N, K = a.B, a.T, a.N, a.lay.K
    BT = samples_of_block(max(N, K))
    launch(
        draw_kernel, (B, cdiv(T + 1, BT), a.F), a.book, a.key, a.fits, a.ends, a.data, a.inputs, a.noise_level, a.windows, a.x, a.u,
        a.n_trials, a.n_trials.bit_length(), a.n_time, B, T, N=N, K=K, NOISY=a.noisy, BT=BT, BN=padded(N), BK=padded(K), warps=4,
    )


def launch_targets(a: DeviceArrays) -> None:
    F, B, T, P, N, M = a.F, a.B, a.T, a.P, a.N, a.lay.M
    given = (a.book, a.alpha, a.gate, a.unit, a.channel_mean, a.theta)
    into = (a.target, a.weight, a.z0, B, T, P, a.start)
    if not a.affine:
        BT = samples_of_block(N)
        sizes = dict(M=M, N=N, BT=BT, BN=padded(N), BL=padded(M - N), warps=8 if M > N else 4)
        launch(identity_target_kernel, (B, cdiv(T, BT), F), *given, a.x, *into, **sizes)
        return
    small = padded(min(M, N))
    given_decoder = (a.theta, a.condition, a.inverse, a.penalty, a.penalty_gradient, P, a.start)
    launch(decoder_kernel, (F,), *given_decoder, M=M, N=N, CONDITIONED=a.conditioned, BS=small, warps=max(1, small * small // 256))
    sizes = dict(M=M, N=N, BIASED=a.biased, BM=padded(M))
    launch(affine_target_kernel, (cdiv(B * T, a.loss_rows), 1, F), *given, a.inverse, a.x, *into, BR=a.loss_rows, warps=4, **sizes)
    if a.missing:
        warps = max(1, min(16, sizes["BM"] ** 2 // 256))
        launch(partly_seen_kernel, (B * T, 1, F), a.theta, a.x, *into[:2], B, T, P, a.start, BN=padded(N), warps=warps, **sizes)


class DeviceUpdate:
    """The updates of a fit; ``state`` is copied to ``device`` and read back by ``fetch``. ``capture=False`` launches the kernels one by one on CUDA too.
    precision : ``ieee``, ``tf32x3`` or ``tf32``, see ``forced_sequence``."""

    def __init__(
        self, lay: Layout, problem: Problem, state: State, source: Source, B: int, T: int, device: torch.device | str, *,
        first_update: int = 0, capture: bool = True, precision: str = "ieee",
    ):
        device = torch.device(device)
        choose_backend(device, "triton")
        self.arrays = DeviceArrays(lay, problem, state, source, B, T, device, first_update, precision)
        self._graph = self._captured() if capture and device.type == "cuda" else None

    def _captured(self) -> torch.cuda.CUDAGraph:
        """One update as a graph. Kernels are compiled and warmed up on a side stream first, and what that changed is put back."""
        a = self.arrays
        changed = (a.book, a.theta, a.first, a.second)
        before = [x.clone() for x in changed]
        with torch.cuda.device(a.device):
            side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    launch_update(a)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                launch_update(a)
            for x, old in zip(changed, before):
                x.copy_(old)
        return graph

    def run(self, alpha: np.ndarray, learning_rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As many updates as ``alpha`` and ``learning_rate`` [n, F] have rows; returns loss and gradient norm [n, F], NaN for a stopped fit."""
        a, n = self.arrays, len(alpha)
        if alpha.shape != (n, a.F) or learning_rate.shape != (n, a.F) or not 1 <= n <= MOST_BLOCK:
            raise KernelError(f"alpha and learning_rate are [n, {a.F}] with n from 1 to {MOST_BLOCK}, got {alpha.shape} and {learning_rate.shape}")
        a.alpha[:n] = torch.as_tensor(alpha).to(a.alpha)
        a.rate[:n] = torch.as_tensor(learning_rate).to(a.rate)
        a.results[:, :n] = torch.nan
        a.book[:, triton_book.NAMES.index("place")] = 0
        for _ in range(n):
            if self._graph is None:
                launch_update(a)
            else:
                self._graph.replay()
        loss, norm = a.results[:, :n].cpu().numpy().copy()
        return loss, norm

    def fetch(self, state: State, parameters: bool = True) -> None:
        """Copy what the device has into ``state``: its counts, and unless told otherwise the parameters and moments."""
        a = self.arrays
        book = a.book.cpu().numpy()
        for name in NAMES:
            getattr(state, name)[:] = book[:, triton_book.NAMES.index(name)]
        if parameters:
            for into, value in ((state.theta, a.theta), (state.first, a.first), (state.second, a.second)):
                into[:] = value.cpu().numpy()
