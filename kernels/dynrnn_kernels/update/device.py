"""Whole updates on a device: windows drawn, loss, gradient and optimiser step, for all fits at once and without a word to the host.

The same update as ``cpu.py``, as Triton kernels over tensors that stay on the device; on CUDA one update is captured as a graph and replayed.
README.md in this folder says what is launched. Draws are the device's own (triton_draw.py): like those of a CPU they are a pure function of a
key, the fit's number and the update's, but they are other numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from triton import cdiv

from dynrnn_kernels.additive import choose_backend
from dynrnn_kernels.additive import triton as recurrence
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.triton import launch, padded
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.update import triton_book
from dynrnn_kernels.update.problem import AFFINE, Problem, State
from dynrnn_kernels.update.triton_decoder import decoder_kernel
from dynrnn_kernels.update.triton_draw import draw_kernel
from dynrnn_kernels.update.triton_loss import affine_loss_kernel, identity_loss_kernel
from dynrnn_kernels.update.triton_step import fill_kernel, gradient_kernel, step_kernel
from dynrnn_kernels.update.triton_targets import affine_target_kernel, identity_target_kernel, partly_seen_kernel

MOST_BLOCK = 1024            # updates whose strengths, rates, losses and norms are on the device at once
MOST_DECODER = 64            # of latent units or channels, whichever are fewer: its Gram matrix lies in registers
MOST_WIDE = 128              # channels of an identity decoder with more latent units than channels: L lies in registers
WARM_UPS = 2
NAMES = ("taken", "refused", "refused_in_row", "reason", "active")              # of the book's fields, those that a State has too


class Source(NamedTuple):
    """Where draws come from."""

    ends: np.ndarray         # [trials] int64: windows up to each trial's end
    fits: np.ndarray         # [F] int64: the fits' numbers
    key: int                 # of 64 bits


def check_device_update(lay: Layout, observation: int, N: int, B: int, T: int, F: int, n_windows: int, dtype: torch.dtype = torch.float32) -> None:
    """KernelError for sizes that the device update cannot take, before any work."""
    recurrence.choose(lay, B, F, dtype)
    small = min(lay.M, N)
    if observation == AFFINE and small > MOST_DECODER:
        raise KernelError(
            f"an affine decoder with min(latent_dim, channels) = {small} does not fit backend 'triton', whose pseudo-inverse takes at most {MOST_DECODER}; "
            "use backend 'cpu'"
        )
    if observation != AFFINE and lay.M > N and N > MOST_WIDE:
        raise KernelError(f"{N} channels do not fit backend 'triton' with an identity decoder; at most {MOST_WIDE} do, or use backend 'cpu'")
    for what, size, most in (
        ("windows of the recording", n_windows, 2**32 - 1), ("numbers of noise in an update", B * (T + 1) * N, 2**32 - 1),
        ("fits", F, 65_535), ("samples in a batch", B * T, 2**31 - 1),
    ):
        if size > most:
            raise KernelError(f"{size:,} {what} are too many for backend 'triton', which takes {most:,}; use backend 'cpu'")


def entries_of(fill: np.ndarray, n_parameters: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The inverse of ``fill``: parameter p is the map's entries[first[p]:first[p + 1]]; and how many the most are."""
    entries = np.argsort(fill, kind="stable")[(fill < 0).sum() :]
    first = np.searchsorted(fill[entries], np.arange(n_parameters + 1))
    return first, entries, int(np.diff(first).max(initial=0))


class DeviceUpdate:
    """The updates of a fit, with everything that they touch on ``device``; ``state`` is copied there and read back by ``fetch``.

    Memory O(F (B T (8 M + N + K) + P + splits S)), made once. ``capture=False`` launches the kernels one by one on CUDA too.
    """

    def __init__(
        self, lay: Layout, problem: Problem, state: State, source: Source, B: int, T: int, device: torch.device | str, *,
        first_update: int = 0, capture: bool = True,
    ):
        device = torch.device(device)
        choose_backend(device, "triton")
        F, P = state.theta.shape
        N, M = problem.data.shape[2], lay.M
        kind = torch.as_tensor(state.theta).dtype
        check_device_update(lay, problem.observation, N, B, T, F, int(source.ends[-1]), kind)
        self.lay, self.F, self.P, self.B, self.T, self.N, self.device = lay, F, P, B, T, N, device
        self.kind, self.affine = problem.observation, problem.observation == AFFINE
        self.start, self.biased = problem.obs_weight, self.affine and problem.obs_bias >= 0
        if self.biased and problem.obs_bias != self.start + N * M:
            raise KernelError("backend 'triton' wants the decoder's bias b right behind its B among the parameters; use backend 'cpu'")
        self.n_observation = N * M + (N if self.biased else 0) if self.affine else (M - N) * N
        self.conditioned = self.affine and bool((problem.condition > 0).any())
        self.noisy, self.missing, self.max_refused = bool((problem.noise_level > 0).any()), problem.has_missing, problem.max_refused
        self.n_trials, self.n_time = problem.data.shape[:2]
        self._place_constants(problem, source, kind)
        self._place_state(state, first_update)
        self._place_scratch(kind)
        self._graph = self._captured() if capture and device.type == "cuda" else None

    def _place_constants(self, problem: Problem, source: Source, kind: torch.dtype) -> None:
        def floats(x: np.ndarray) -> Tensor:
            return torch.tensor(np.ascontiguousarray(x), dtype=kind, device=self.device)

        def whole(x: np.ndarray) -> Tensor:
            return torch.tensor(np.ascontiguousarray(x), dtype=torch.int64, device=self.device)

        self.data, self.inputs = floats(problem.data), floats(problem.inputs)
        self.channel_mean, self.noise_level, self.gate, self.unit = map(floats, (problem.channel_mean, problem.noise_level, problem.gate, problem.unit))
        self.trainable, self.decay, self.decay_to = floats(problem.trainable), floats(problem.decay), floats(problem.decay_to)
        self.condition, self.clip, self.constant, self.fill = floats(problem.condition), floats(problem.clip), floats(problem.constant), whole(problem.fill)
        first, entries, self.most = entries_of(problem.fill, self.P)
        self.first_entry, self.entries = whole(first), whole(entries)
        self.ends, self.fits = whole(source.ends), whole(source.fits)
        self.key = whole(np.array([source.key], dtype=np.uint64).view(np.int64))
        begin = np.arange(self.B) * self.T
        self.rows = whole(np.stack([begin, np.full(self.B, self.T)], 1))

    def _place_state(self, state: State, first_update: int) -> None:
        self.theta, self.first, self.second = (torch.tensor(x, device=self.device) for x in (state.theta, state.first, state.second))
        book = np.zeros((self.F, len(triton_book.NAMES)), dtype=np.int64)
        for name in NAMES:
            book[:, triton_book.NAMES.index(name)] = getattr(state, name)
        book[:, triton_book.NAMES.index("update")] = first_update
        self.book = torch.tensor(book, device=self.device)

    def _place_scratch(self, kind: torch.dtype) -> None:
        F, B, T, N, M = self.F, self.B, self.T, self.N, self.lay.M

        def room(*shape: int, dtype: torch.dtype = kind) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=self.device)

        self.results = torch.zeros(2, MOST_BLOCK, F, dtype=torch.float64, device=self.device)   # losses, norms
        self.alpha = torch.zeros(MOST_BLOCK, F, dtype=kind, device=self.device)
        self.rate = torch.zeros(MOST_BLOCK, F, dtype=torch.float64, device=self.device)
        self.windows = room(F, B, 2, dtype=torch.int64)
        self.x, self.u = room(F, B, T + 1, N), room(F, B * T, self.lay.K)
        self.target, self.weight = (torch.zeros(F, B * T, M, dtype=kind, device=self.device) for _ in range(2))
        self.z, self.gz, self.G, self.zt, self.gtarget = (room(F, B * T, M) for _ in range(5))
        self.z0, self.gz0, self.flat = room(F, B, M), room(F, B, M), room(F, self.lay.size)
        self.covered = torch.ones(B * T, dtype=torch.int8, device=self.device)
        self.partial, self.slopes = recurrence.empty_partials(self.lay, F, B * T, kind, self.device)
        self.loss_rows = min(64, max(8, 2048 // padded(M)))                     # samples of a block, whose states lie in registers
        self.loss_blocks, self.blocks = cdiv(B * T, self.loss_rows), cdiv(self.P, 128)
        self.losses, self.counts = room(F, self.loss_blocks, dtype=torch.float64), room(F, self.loss_blocks, dtype=torch.int32)
        self.observation = room(F, self.loss_blocks, self.n_observation if self.affine else 0)
        self.inverse = room(F, M, N) if self.affine else room(0)
        self.penalty, self.penalty_gradient = room(F, dtype=torch.float64), room(F, N * M if self.conditioned else 0, dtype=torch.float64)
        self.grad = room(F, self.P)
        self.squares, self.pulls = (room(F, self.blocks, dtype=torch.float64) for _ in range(2))

    def launch_update(self) -> None:
        """The kernels of one update, in their order."""
        F, B, T, P, N, lay = self.F, self.B, self.T, self.P, self.N, self.lay
        launch(fill_kernel, (cdiv(lay.size, 256), F), self.theta, self.fill, self.constant, self.flat, lay.size, P, BLOCK=256, warps=4)
        wide = padded(max(N, lay.K))
        BT = min(64, max(1, 1024 // wide))
        launch(
            draw_kernel, (B, cdiv(T + 1, BT), F), self.book, self.key, self.fits, self.ends, self.data, self.inputs, self.noise_level, self.windows,
            self.x, self.u, self.n_trials, self.n_trials.bit_length(), self.n_time, B, T,
            N=N, K=lay.K, NOISY=self.noisy, BT=BT, BN=padded(N), BK=padded(lay.K), warps=4,
        )
        self._launch_targets()
        recurrence.forward(self.flat, lay, self.z0, self.target, self.weight, self.u, self.rows, self.z)
        grid, sizes = (self.loss_blocks, F), dict(M=lay.M, N=N, BR=self.loss_rows, BM=padded(lay.M), warps=4)
        if self.affine:
            given = (self.theta, self.x, self.z, self.gz, self.observation, self.losses, self.counts, B, T, P, self.start)
            launch(affine_loss_kernel, grid, *given, BIASED=self.biased, **sizes)
        else:
            launch(identity_loss_kernel, grid, self.x, self.z, self.gz, self.losses, self.counts, B, T, **sizes)
        recurrence.adjoint(
            self.flat, lay, self.z0, self.target, self.weight, self.u, self.rows, self.z, self.gz, self.G, self.zt, self.gz0, self.gtarget, self.covered
        )
        recurrence.partial_gradients(self.flat, lay, self.zt, self.G, self.u, self.covered, self.partial, self.slopes)
        launch(
            gradient_kernel, (self.blocks, F), self.theta, self.trainable, self.decay, self.decay_to, self.first_entry, self.entries, self.partial,
            self.slopes, self.observation, self.penalty_gradient, self.z0, self.gz0, self.counts, self.grad, self.squares, self.pulls,
            lay.size, P, B, self.partial.shape[1], self.slopes.shape[1], self.most, self.loss_blocks, self.start, self.n_observation,
            lay=lay, N=N, OBSERVATION=self.kind, CONDITIONED=self.conditioned, BLOCK=128, ROWS=16, warps=4,
        )
        launch(
            step_kernel, (F,), self.book, self.theta, self.first, self.second, self.grad, self.squares, self.pulls, self.penalty, self.losses,
            self.counts, self.clip, self.rate, self.results[0], self.results[1], P, self.blocks, self.loss_blocks, self.max_refused,
            CONDITIONED=self.conditioned, BLOCK=1024, warps=8,
        )

    def _launch_targets(self) -> None:
        F, B, T, P, N, M = self.F, self.B, self.T, self.P, self.N, self.lay.M
        given = (self.book, self.alpha, self.gate, self.unit, self.channel_mean, self.theta)
        into = (self.target, self.weight, self.z0, B, T, P, self.start)
        if not self.affine:
            BT = min(64, max(1, 1024 // padded(N)))
            sizes = dict(M=M, N=N, BT=BT, BN=padded(N), BL=padded(M - N), warps=8 if M > N else 4)
            launch(identity_target_kernel, (B, cdiv(T, BT), F), *given, self.x, *into, **sizes)
            return
        small = padded(min(M, N))
        given_decoder = (self.theta, self.condition, self.inverse, self.penalty, self.penalty_gradient, P, self.start)
        launch(decoder_kernel, (F,), *given_decoder, M=M, N=N, CONDITIONED=self.conditioned, BS=small, warps=max(1, small * small // 256))
        sizes = dict(M=M, N=N, BIASED=self.biased, BM=padded(M))
        launch(affine_target_kernel, (cdiv(B * T, self.loss_rows), 1, F), *given, self.inverse, self.x, *into, BR=self.loss_rows, warps=4, **sizes)
        if self.missing:
            warps = max(1, min(16, sizes["BM"] ** 2 // 256))
            launch(partly_seen_kernel, (B * T, 1, F), self.theta, self.x, *into[:2], B, T, P, self.start, BN=padded(N), warps=warps, **sizes)

    def _captured(self) -> torch.cuda.CUDAGraph:
        """One update as a graph. Kernels are compiled and warmed up on a side stream first, and what that changed is put back."""
        changed = (self.book, self.theta, self.first, self.second)
        before = [x.clone() for x in changed]
        with torch.cuda.device(self.device):
            side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    self.launch_update()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                self.launch_update()
            for x, old in zip(changed, before):
                x.copy_(old)
        return graph

    def run(self, alpha: np.ndarray, learning_rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As many updates as ``alpha`` and ``learning_rate`` [n, F] have rows; returns loss and gradient norm [n, F], NaN for a stopped fit."""
        n = len(alpha)
        if alpha.shape != (n, self.F) or learning_rate.shape != (n, self.F) or not 1 <= n <= MOST_BLOCK:
            raise KernelError(f"alpha and learning_rate are [n, {self.F}] with n from 1 to {MOST_BLOCK}, got {alpha.shape} and {learning_rate.shape}")
        self.alpha[:n] = torch.as_tensor(alpha).to(self.alpha)
        self.rate[:n] = torch.as_tensor(learning_rate).to(self.rate)
        self.results[:, :n] = torch.nan
        self.book[:, triton_book.NAMES.index("place")] = 0
        for _ in range(n):
            if self._graph is None:
                self.launch_update()
            else:
                self._graph.replay()
        loss, norm = self.results[:, :n].cpu().numpy().copy()
        return loss, norm

    def fetch(self, state: State, parameters: bool = True) -> None:
        """Copy what the device has into ``state``: its counts, and unless told otherwise the parameters and moments."""
        book = self.book.cpu().numpy()
        for name in NAMES:
            getattr(state, name)[:] = book[:, triton_book.NAMES.index(name)]
        if parameters:
            for into, value in ((state.theta, self.theta), (state.first, self.first), (state.second, self.second)):
                into[:] = value.cpu().numpy()
