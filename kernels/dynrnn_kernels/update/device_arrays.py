"""What a device update works on: a fit's constants, its state and the scratch between kernels, as tensors on the device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from triton import cdiv

from dynrnn_kernels.additive import triton as recurrence
from dynrnn_kernels.additive.config import MOST_GRID, check_precision
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.triton import padded
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.update import triton_book
from dynrnn_kernels.update.problem import AFFINE, Problem, State

MOST_BLOCK = 1024            # updates whose strengths, rates, losses and norms are on the device at once
MOST_DECODER = 64            # of latent units or channels, whichever are fewer: its Gram matrix lies in registers
MOST_WIDE = 128              # channels of an identity decoder with more latent units than channels: L lies in registers
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
        ("fits", F, MOST_GRID), ("samples in a batch", B * T, 2**30),
        ("samples in a sequence", T, MOST_GRID * samples_of_block(max(N, lay.K)) - 1),
    ):
        if size > most:
            raise KernelError(f"{size:,} {what} are too many for backend 'triton', which takes {most:,}; use backend 'cpu'")


def samples_of_block(columns: int) -> int:
    """Samples that one program draws or makes targets of: its block lies in registers."""
    return min(64, max(1, 1024 // padded(columns)))


def entries_of(fill: np.ndarray, n_parameters: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The inverse of ``fill``: parameter p is the map's entries[first[p]:first[p + 1]]; and how many the most are."""
    entries = np.argsort(fill, kind="stable")[(fill < 0).sum() :]
    first = np.searchsorted(fill[entries], np.arange(n_parameters + 1))
    return first, entries, int(np.diff(first).max(initial=0))


class DeviceArrays:
    """Made once: a captured graph keeps the addresses."""

    def __init__(
        self, lay: Layout, problem: Problem, state: State, source: Source, B: int, T: int, device: torch.device, first_update: int, precision: str
    ):
        check_precision(precision)
        self.precision = precision                                              # of the recurrence's products
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
