"""What every update draws: windows and observation noise, each a pure function of (random_state, fit, update)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.streams import stream
from dynrnn_kernels.threads import side_by_side

WINDOW_BLOCK = 64             # updates whose windows come from one stream
NOISE_BLOCK_NUMBERS = 2**18   # about as many noise values come from one stream


class Sampler:
    """Windows (trial, first sample) uniform over all that fit into the recording, and standard normal noise."""

    def __init__(self, recording: xr.Dataset, fit_numbers: np.ndarray, batch_size: int, sequence_length: int, noisy: bool, random_state: int):
        self.fit_numbers, self.random_state = [int(k) for k in fit_numbers], random_state
        self.batch_size, self.steps, self.noisy = batch_size, sequence_length + 1, noisy
        self.channels = recording.sizes[recording.observed.dims[-1]]
        starts = np.maximum(recording.n_time.values.astype(np.int64) - sequence_length, 0)
        self.ends = np.cumsum(starts)
        self.noise_block = max(1, min(WINDOW_BLOCK, NOISE_BLOCK_NUMBERS // (batch_size * self.steps * self.channels)))
        self._kept: dict[tuple[str, int], tuple[int, np.ndarray]] = {}

    def windows(self, first: int, last: int) -> np.ndarray:
        """[n, F, B, 2] int64 for updates first..last-1."""
        return self._collect("windows", WINDOW_BLOCK, first, last)

    def noise(self, first: int, last: int) -> np.ndarray:
        """[n, F, T + 1, B, N] float32, of no length where no fit has noise."""
        if not self.noisy:
            return np.empty((0, len(self.fit_numbers), self.steps, self.batch_size, self.channels), dtype=np.float32)
        return self._collect("noise", self.noise_block, first, last)

    def _collect(self, purpose: str, block: int, first: int, last: int) -> np.ndarray:
        """Fits side by side on as many threads as there are: with noise to draw, it takes a third of a small update."""

        def of_fit(k: int) -> np.ndarray:
            parts = [
                self._block(purpose, k, b)[max(first - b * block, 0) : min(last - b * block, block)] for b in range(first // block, (last - 1) // block + 1)
            ]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return np.stack(side_by_side(of_fit, self.fit_numbers), 1)

    def _block(self, purpose: str, fit: int, block: int) -> np.ndarray:
        kept = self._kept.get((purpose, fit))
        if kept is not None and kept[0] == block:
            return kept[1]
        rng = stream(self.random_state, purpose, fit, block)
        if purpose == "noise":
            values = rng.standard_normal((self.noise_block, self.steps, self.batch_size, self.channels), dtype=np.float32)
        else:
            which = rng.integers(0, self.ends[-1], (WINDOW_BLOCK, self.batch_size))
            trial = np.searchsorted(self.ends, which, side="right")
            values = np.stack([trial, which - np.where(trial > 0, self.ends[trial - 1], 0)], -1)
        self._kept[purpose, fit] = (block, values)
        return values
