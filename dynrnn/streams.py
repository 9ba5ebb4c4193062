"""Random numbers as a pure function of (random_state, purpose, fit, block): nothing is carried from one draw to the next.

Fit k of an ensemble therefore draws what it would draw alone, and a run that is taken up again draws what it would have drawn.
"""

from __future__ import annotations

import secrets

import numpy as np

from dynrnn.errors import ArgumentError

PURPOSES = {"parameters": 1, "windows": 2, "noise": 3, "initial state": 4, "device": 5, "inputs": 6, "gradient": 7}


def check_random_state(random_state: object) -> int:
    """``random_state`` as a whole number; None draws one from the operating system, which is then recorded like any other."""
    if random_state is None:
        return secrets.randbits(63)
    if isinstance(random_state, bool) or not isinstance(random_state, (int, np.integer)) or random_state < 0:
        raise ArgumentError(f"random_state must be a whole number from 0 up, or None, got {random_state!r}.")
    return int(random_state)


def stream(random_state: int, purpose: str, fit: int, block: int = 0) -> np.random.Generator:
    """The generator of this purpose, fit and block (Philox, counter-based).

    >>> a, b = stream(0, "noise", fit=3), stream(0, "noise", fit=3)
    >>> bool(a.random() == b.random())
    True
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(random_state, spawn_key=(PURPOSES[purpose], fit, block))))


def philox_key(random_state: int) -> int:
    """The key of 64 bits from which a device draws by itself; fit, update and purpose are in its generator's counter."""
    return int(np.random.SeedSequence(random_state, spawn_key=(PURPOSES["device"],)).generate_state(1, np.uint64)[0])
