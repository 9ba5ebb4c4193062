"""What an objective may return. NaN, infinities, None and wrong counts are failures with a reason: Optuna would keep -inf as the best value for ever."""

from __future__ import annotations

import math
from numbers import Complex, Real
from typing import Any


def check_values(values: Any, n_objectives: int) -> tuple[list[float], str]:
    """The values as floats and "", or an empty list and why they cannot be used.

    >>> check_values([1, 2.5], 2)
    ([1.0, 2.5], '')
    >>> check_values([float("-inf")], 1)
    ([], 'objective 0 is -inf, not a finite number')
    """
    if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__") or getattr(values, "ndim", None) == 0:
        values = [values]
    given = list(values)
    if len(given) != n_objectives:
        return [], f"{len(given)} values were returned for {n_objectives} objective{'s' if n_objectives > 1 else ''}"
    numbers: list[float] = []
    for i, value in enumerate(given):
        number = as_number(value)
        if number is None:
            return [], f"objective {i} is {value!r}"[:200] + ", not a real number"
        if not math.isfinite(number):
            return [], f"objective {i} is {number}, not a finite number"
        numbers.append(number)
    return numbers, ""


def as_number(value: Any) -> float | None:
    """A real scalar as a float (numpy's and torch's too); None for anything else, strings and complex numbers included."""
    if isinstance(value, bool | str | bytes) or (isinstance(value, Complex) and not isinstance(value, Real)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
