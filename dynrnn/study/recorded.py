"""What workers record of a trial beside its values. Other programs write into a storage too: what is not of its kind is read as if it were not there."""

from __future__ import annotations

import math
from typing import Any

from optuna.trial import FrozenTrial


def seconds_of(trial: FrozenTrial) -> float:
    """Of training, up to the trial's end; NaN where nobody said.

    >>> import optuna
    >>> [seconds_of(optuna.trial.create_trial(value=0.0, user_attrs=attrs)) for attrs in ({"seconds": 1.5}, {"seconds": "long"}, {})]
    [1.5, nan, nan]
    """
    return _number(trial.user_attrs.get("seconds"))


def reason_of(trial: FrozenTrial) -> str:
    """Why it failed; empty where nobody said."""
    return str(trial.user_attrs.get("reason", ""))


def per_fit_of(trial: FrozenTrial) -> dict[str, list[float]]:
    """Each fit's value by objective."""
    found = _table(trial, "per_fit")
    return {name: [_number(v) for v in values] for name, values in found.items() if isinstance(values, list | tuple)}


def floor_of(trial: FrozenTrial) -> dict[str, float]:
    """What the truth itself scores, by objective; those that are finite."""
    return {name: _number(value) for name, value in _table(trial, "floor").items() if math.isfinite(_number(value))}


def _table(trial: FrozenTrial, key: str) -> dict[str, Any]:
    found = trial.user_attrs.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float:
    try:
        return float(value)                                                         # infinities are stored as texts, which JSON can hold
    except (TypeError, ValueError, OverflowError):
        return math.nan
