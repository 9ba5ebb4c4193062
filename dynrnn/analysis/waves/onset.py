"""Units in the order in which they become active, so that dense networks can be looked at as if their units had places; and what that order makes of chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, unknown_name

ORDERS = ("position", "onset")


def given_order(order: Any, n_fits: int, n: int, n_channels: int) -> np.ndarray | None:
    """The order of n units for every fit [F, n], or None where onsets are to decide."""
    if isinstance(order, str):
        if order not in ORDERS:
            raise unknown_name("order", order, ORDERS)
        if order == "onset" and n_channels > 1:
            raise ArgumentError("order='onset' sorts units, and those of several channels would lose their places by it: leave n_channels at 1.")
        return None if order == "onset" else np.tile(np.arange(n), (n_fits, 1))
    given = np.asarray(order)
    if given.dtype.kind not in "iu" or given.shape not in ((n,), (n_fits, n)) or not (np.sort(given, -1) == np.arange(n)).all():
        raise ArgumentError(
            f"order must be 'position', 'onset', or the numbers 0 to {n - 1} of the units of a ring, each once, of shape ({n},) or ({n_fits}, {n}); "
            f"got {given.dtype} of shape {given.shape}. Of another result take found.order.isel(trial=0)."
        )
    return np.broadcast_to(given, (n_fits, n))


def onset_order(x: np.ndarray) -> np.ndarray:
    """Units of x [time, unit] by the time of their first largest value; those of one time, and those that never change, stay in their order, the latter last.

    >>> onset_order(np.array([[0.0, 5, 1, 0], [0, 2, 1, 3], [4, 0, 1, 1]])).tolist()
    [1, 3, 0, 2]
    """
    return np.argsort(np.where(np.ptp(x, axis=0) > 0, x.argmax(0), len(x)), kind="stable")


def scattered(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """x [time, channel, position] with the time course of every position, all its channels together, turned around by a lag of its own.

    Every unit does what it did, at another time: what is left of a wave is chance, and what sorting makes of it.
    """
    T, _, n = x.shape
    return x[(np.arange(T)[:, None] - rng.integers(0, T, n)) % T, :, np.arange(n)].transpose(0, 2, 1)
