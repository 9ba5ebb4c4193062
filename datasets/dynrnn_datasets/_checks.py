"""Whole numbers, spans of them, and generators, with this package's error."""

from __future__ import annotations

import operator

import numpy as np

from .errors import DatasetError


def whole(name: str, value: object, low: int, high: int | None = None) -> int:
    """``value`` as an int within [low, high]."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what is no number raises
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < low or (high is not None and number > high):
        bound = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise DatasetError(f"{name} must be a whole number {bound}, got {value!r}.")
    return number


def span(name: str, value: object, low: int) -> tuple[int, int]:
    """(first, last), bounds included."""
    try:
        first, last = value  # type: ignore[misc]  # what is no pair raises
    except (TypeError, ValueError):
        raise DatasetError(f"{name} must be two whole numbers, the least and the largest, got {value!r}.") from None
    first = whole(f"the least {name}", first, low)
    return first, whole(f"the largest {name}", last, first)


def generator(random_state: int, *key: int) -> np.random.Generator:
    """A counter-based generator that is a pure function of the numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(random_state, spawn_key=key)))
