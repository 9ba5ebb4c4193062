"""Who computes a block of updates: the compiled kernel, torch (around compiled recurrences or plain ones), or Triton kernels on a device."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
import xarray as xr

from dynrnn.errors import ArgumentError
from dynrnn.models.base import Model
from dynrnn.streams import philox_key
from dynrnn.training.draws import Sampler
from dynrnn.training.parameters import flat_parameters
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import Layout, layout_of
from dynrnn_kernels.influence import sequence
from dynrnn_kernels.update import AFFINE, IDENTITY, Draws, Problem, State

MAX_BLOCK = 1024
NOISE_BYTES = 2**26          # noise held at once on the host


@runtime_checkable
class Updates(Protocol):
    """Called with the first update and alpha and learning rate [n, F]: n updates, returning loss and gradient norm [n, F].

    ``state`` then has the counts; its parameters and moments are as of the last ``fetch``. ``largest`` is the most updates of a call.
    """

    largest: int

    def __call__(self, first: int, alpha: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def fetch(self) -> None: ...


class HostUpdates:
    """``run`` is run_updates or run_updates_reference, ``shape`` the layout or the function to maps that it takes first."""

    def __init__(self, run: Callable, shape: Any, problem: Problem, state: State, sampler: Sampler, T: int):
        self.run, self.shape, self.problem, self.state, self.sampler, self.T = run, shape, problem, state, sampler, T
        noise_bytes = 4 * len(state.theta) * sampler.batch_size * (T + 1) * sampler.channels if sampler.noisy else 1
        self.largest = max(1, min(MAX_BLOCK, NOISE_BYTES // noise_bytes))

    def __call__(self, first: int, alpha: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        last = first + len(alpha)
        draws = Draws(self.sampler.windows(first, last), self.sampler.noise(first, last), alpha.astype(np.float32), rate)
        loss, norm = np.empty(alpha.shape), np.empty(alpha.shape)
        self.run(self.shape, self.problem, self.state, draws, self.T, loss, norm)
        return loss, norm

    def fetch(self) -> None:
        """All is here already."""


class DeviceUpdates:
    """Windows and noise are drawn on the device: for one random_state other numbers than the host's, but just as much a pure function of
    (random_state, fit, update)."""

    def __init__(self, lay: Layout, problem: Problem, state: State, sampler: Sampler, T: int, precision: str, done: int):
        device = device_kernels()
        source = device.Source(sampler.ends, np.array(sampler.fit_numbers), philox_key(sampler.random_state))
        self.state, self.largest = state, min(MAX_BLOCK, device.MOST_BLOCK)
        self.updates = device.DeviceUpdate(lay, problem, state, source, sampler.batch_size, T, training_device(), first_update=done, precision=precision)

    def __call__(self, first: int, alpha: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss, norm = self.updates.run(alpha, rate)
        self.updates.fetch(self.state, parameters=False)
        return loss, norm

    def fetch(self) -> None:
        self.updates.fetch(self.state)


def device_kernels() -> Any:
    """The launching module, imported when it is first used: Triton need not be there."""
    return importlib.import_module("dynrnn_kernels.update.device")


def training_device() -> torch.device:
    """The CPU where Triton's interpreter is asked for, else CUDA; ArgumentError where there is neither."""
    if importlib.util.find_spec("triton") is None:
        raise ArgumentError("backend 'triton' needs the package triton, which is not installed here; install it, or use backend='cpu'.")
    if os.environ.get("TRITON_INTERPRET") == "1":                               # then all kernels are interpreted, whatever their tensors lie on
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    raise ArgumentError(
        "backend 'triton' trains on a CUDA device, and torch sees none (torch.cuda.is_available() is False); use backend='cpu', "
        "or set TRITON_INTERPRET=1 before Python starts to run tiny problems in Triton's interpreter."
    )


def check_device_influence(model: Model) -> None:
    """ArgumentError or KernelError, before any work, if the device cannot carry the influence of this model's numbers, in float32."""
    training_device()
    lay = layout_of(cast(AdditiveMap, model.map()).written_out())
    sequence.device_influence().hidden_of_block(lay, torch.float32)


def check_device_updates(model: Model, recording: xr.Dataset, sequence_length: int, batch_size: int) -> None:
    """ArgumentError or KernelError, before any work, if the device cannot train this."""
    training_device()
    lay = flat_parameters(model, written_out=True).layout
    if lay is None:
        raise ArgumentError(
            f"backend 'triton' computes whole updates of maps whose entries are parameters or constants, and those of {model.family} are not: "
            "use backend='cpu', which pulls them back through torch."
        )
    n_windows = int(np.maximum(recording.n_time.values.astype(np.int64) - sequence_length, 0).sum())
    device_kernels().check_device_update(
        lay, AFFINE if model.observation == "affine" else IDENTITY, model.observed_dim, batch_size, sequence_length,
        model.n_fits, n_windows,
    )
