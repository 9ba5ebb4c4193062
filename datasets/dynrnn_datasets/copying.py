"""The copy task as one long stream of sequences of bits (Irie et al. 2024, after Graves et al. 2014); ``tasks.copy_task`` has that of Arjovsky et al."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ._checks import generator, whole


def copy_stream(n_sequences: int, max_length: int = 20, *, random_state: int = 0, first: int = 0) -> xr.Dataset:
    """Sequences ``first`` to first + n_sequences - 1 of an endless stream: L bits, L uniform on 1 to max_length, then L blanks, at which the bits are asked
    for again.

    Returns ``inputs`` (time, input), one-hot over 0, 1 and blank; ``answer`` (time), the bit, -1 where nothing is asked; ``asked`` (time),
    true at the blanks; ``start`` (time), true at the first sample of a sequence, where a network's state is to begin anew. Who guesses is right half of the
    time.

    A sequence is a pure function of (random_state, its number), so that a stream goes on with another ``first``. O(samples). DatasetError for sizes that
    cannot be.

    >>> task = copy_stream(2, 3, random_state=1)
    >>> task.inputs.values.argmax(1).tolist(), task.answer.values[task.asked].tolist(), task.start.values.nonzero()[0].tolist()
    ([1, 0, 0, 2, 2, 2, 0, 2], [1, 0, 0, 0], [0, 6])
    """
    n, longest = whole("n_sequences", n_sequences, 1), whole("max_length", max_length, 1)
    first, random_state = whole("first", first, 0), whole("random_state", random_state, 0)
    shown, asked, start, answer = [], [], [], []
    block, length, bits = -1, np.zeros(0, int), np.zeros((0, longest), int)
    for k in range(first, first + n):
        if k // 1024 != block:                                      # sequences are drawn 1024 at a time
            block = k // 1024
            rng = generator(random_state, block)
            length, bits = rng.integers(1, longest, 1024, endpoint=True), rng.integers(0, 2, (1024, longest))
        L = length[k % 1024]
        own = bits[k % 1024, :L]
        shown += [own, np.full(L, 2)]
        answer += [np.full(L, -1), own]
        asked += [np.zeros(L, bool), np.ones(L, bool)]
        start.append(np.arange(2 * L) == 0)
    about = {"system": "copy-stream", "dt": 1.0, "parameters": json.dumps({"max_length": longest}), "random_state": random_state}
    return xr.Dataset(
        {
            "inputs": (("time", "input"), np.eye(3)[np.concatenate(shown)]), "answer": ("time", np.concatenate(answer)),
            "asked": ("time", np.concatenate(asked)), "start": ("time", np.concatenate(start)),
        },
        coords={"input": ["0", "1", "blank"]}, attrs=about,
    )
