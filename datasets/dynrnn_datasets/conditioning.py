"""Trace conditioning and trace patterning as endless streams: a stimulus, a gap without one, and what it announced (Rafiee et al. 2023; Javed et al. 2023)."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ._checks import generator, span, whole
from .errors import DatasetError

BLOCK = 256    # trials that are drawn together: a block is a pure function of (random_state, its number), so that a position is two numbers


class Position(NamedTuple):
    """Where a stream stands: the block of trials, and the step within it."""

    block: int = 0
    offset: int = 0


class TracePatterning:
    """Of ``n_bits`` bits of the conditioned stimulus (CS) ``n_on`` are on together; half of all such patterns, drawn once, announce the unconditioned
    stimulus (US).

    A trial starts with a pattern, each of them equally likely, on for ``cs_duration`` steps. If the pattern is a valid one, the US comes ``isi`` steps after
    the CS began, for ``us_duration`` steps. The next trial starts ``iti`` steps after the US was or would have been due. Both are drawn uniformly, bounds
    included. Distractor j = 1, 2, ... is on with probability 1 / (10 j) at any step, whatever else happens.

    What is to be predicted is the discounted sum of the US of later steps; see ``discounted_return``. With gamma = 0.9 a US of one step that is due in k
    steps is worth 0.9^(k - 1).

    random_state: a whole number. start: where to begin, a ``position`` of another stream with the same arguments.

    Cost: O(steps) time; a block of 256 trials is in memory. DatasetError for arguments that cannot be.

    >>> stream = TracePatterning(isi=(4, 6), iti=(10, 20), random_state=0)
    >>> whole = TracePatterning(isi=(4, 6), iti=(10, 20), random_state=0).draw(50)
    >>> parts = xr.concat([stream.draw(20), stream.draw(30)], "time")
    >>> bool((parts.inputs == whole.inputs).all()), whole.sizes["input"]
    (True, 12)
    """

    name = "trace-patterning"

    def __init__(
        self, *, isi: tuple[int, int] = (24, 36), iti: tuple[int, int] = (80, 120), n_bits: int = 6, n_on: int = 3, n_distractors: int = 5,
        cs_duration: int = 1, us_duration: int = 1, random_state: int = 0, start: tuple[int, int] = (0, 0),
    ):
        self.isi, self.iti = span("isi", isi, 1), span("iti", iti, 1)
        self.n_bits, self.n_distractors = whole("n_bits", n_bits, 1), whole("n_distractors", n_distractors, 0)
        self.n_on, self.random_state = whole("n_on", n_on, 1, self.n_bits), whole("random_state", random_state, 0)
        self.us_duration = whole("us_duration", us_duration, 1, self.iti[0])              # or it would reach into the next trial
        self.cs_duration = whole("cs_duration", cs_duration, 1, self.isi[0] + self.iti[0])
        self.patterns = np.array(list(combinations(range(self.n_bits), self.n_on)))
        self.valid = self._draw_valid()
        self._position = Position(whole("block of start", start[0], 0), whole("offset of start", start[1], 0))
        self._held = (-1, {})
        if self._position.offset > self._block(self._position.block)["inputs"].shape[0]:
            raise DatasetError(f"start {tuple(start)} lies outside its block: it is no position of a stream with these arguments.")

    @property
    def position(self) -> tuple[int, int]:
        """Where the next sample lies; plain numbers, so that JSON can hold it."""
        return self._position.block, self._position.offset

    @property
    def input_names(self) -> list[str]:
        return [*(f"cs {k}" for k in range(self.n_bits)), *(f"distractor {k}" for k in range(1, self.n_distractors + 1)), "us"]

    def draw(self, n_steps: int) -> xr.Dataset:
        """The next ``n_steps`` samples: ``inputs`` (time, input), the bits of the CS, distractors, the US; ``cumulant`` (time), the US; ``trial`` (time), the
        trial's number; ``since`` (time), steps since its CS began; ``announced`` (time), whether its pattern is a valid one."""
        wanted, parts = whole("n_steps", n_steps, 1), []
        while wanted:
            block = self._block(self._position.block)
            rows = slice(self._position.offset, self._position.offset + wanted)
            taken = {name: values[rows] for name, values in block.items()}
            n = len(taken["since"])
            parts.append(taken)
            wanted -= n
            self._position = Position(self._position.block, rows.start + n) if wanted == 0 else Position(self._position.block + 1, 0)
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        data = {name: ("time", values) for name, values in joined.items() if name != "inputs"}
        settings = {name: getattr(self, name) for name in ("isi", "iti", "n_bits", "n_on", "n_distractors", "cs_duration", "us_duration")}
        about: dict[str, Any] = {"system": self.name, "dt": 1.0, "parameters": json.dumps(settings), "random_state": self.random_state}
        return xr.Dataset({"inputs": (("time", "input"), joined["inputs"]), **data}, coords={"input": self.input_names}, attrs=about)

    def _draw_valid(self) -> np.ndarray:
        """Which patterns announce the US: half of them, the smaller half if their number is odd; a pattern that is the only one does."""
        n = len(self.patterns)
        valid = np.zeros(n, bool)
        valid[generator(self.random_state, 0).permutation(n)[: max(1, n // 2)]] = True
        return valid

    def _block(self, number: int) -> dict[str, np.ndarray]:
        """All samples of BLOCK trials; the block that was used last is kept."""
        if self._held[0] != number:
            self._held = (number, self._drawn(number))
        return self._held[1]

    def _drawn(self, number: int) -> dict[str, np.ndarray]:
        rng = generator(self.random_state, 1, number)
        isi, iti = rng.integers(*self.isi, BLOCK, endpoint=True), rng.integers(*self.iti, BLOCK, endpoint=True)
        which = rng.integers(0, len(self.patterns), BLOCK)
        length = isi + iti
        onset = np.cumsum(length) - length
        inputs = np.zeros((length.sum(), self.n_bits + self.n_distractors + 1))
        for step in range(self.cs_duration):
            inputs[(onset + step)[:, None], self.patterns[which]] = 1
        for k in range(self.n_distractors):
            inputs[:, self.n_bits + k] = rng.random(len(inputs)) < 1 / (10 * (k + 1))
        announced = self.valid[which]
        for step in range(self.us_duration):
            inputs[(onset + isi + step)[announced], -1] = 1
        trial = np.repeat(np.arange(BLOCK), length)
        return {
            "inputs": inputs, "cumulant": inputs[:, -1].copy(), "trial": number * BLOCK + trial, "since": np.arange(len(inputs)) - onset[trial],
            "announced": announced[trial],
        }


class TraceConditioning(TracePatterning):
    """One stimulus that always announces the US: the patterning task with one bit, by default with the times of Rafiee et al. (2023), gamma = 0.9 to be used.

    The CS is on for 4 steps, the US for 2; isi 7 to 13 from the CS's beginning to the US's, iti 80 to 129 from there to the next CS. No distractors by default.

    >>> data = TraceConditioning(random_state=0).draw(1_000)
    >>> onset = np.flatnonzero(np.diff(data.inputs[:, 0], prepend=0) > 0)
    >>> us = np.flatnonzero(np.diff(data.cumulant, prepend=0) > 0)
    >>> sorted(set((us - onset[: len(us)]).tolist()))[0] >= 7
    True
    """

    name = "trace-conditioning"

    def __init__(
        self, *, isi: tuple[int, int] = (7, 13), iti: tuple[int, int] = (80, 129), n_distractors: int = 0, cs_duration: int = 4, us_duration: int = 2,
        random_state: int = 0, start: tuple[int, int] = (0, 0),
    ):
        super().__init__(
            isi=isi, iti=iti, n_bits=1, n_on=1, n_distractors=n_distractors, cs_duration=cs_duration, us_duration=us_duration, random_state=random_state,
            start=start,
        )


def discounted_return(cumulant: np.ndarray, gamma: float = 0.9, after: float = 0.0) -> np.ndarray:
    """G[t] = c[t+1] + gamma c[t+2] + ..., along the last axis; ``after`` is G at the last sample, which the array does not tell.

    Its absence is felt as gamma^(steps to the end). O(time).

    >>> discounted_return(np.array([0.0, 0, 0, 1, 0]), 0.5).tolist()
    [0.25, 0.5, 1.0, 0.0, 0.0]
    """
    from scipy.signal import lfilter

    if not 0 <= gamma < 1:
        raise DatasetError(f"gamma must be at least 0 and below 1, got {gamma!r}: the sum has no end otherwise.")
    c = np.asarray(cumulant, float)
    later = np.concatenate([np.full((*c.shape[:-1], 1), float(after)), c[..., :0:-1]], -1)
    return np.flip(np.asarray(lfilter([1.0], [1.0, -gamma], later, axis=-1)), -1)
