"""Optuna's pruners by name. Each is made for a number of rungs at which quality is judged."""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner

PRUNERS: dict[str, Callable[[int], BasePruner | None]] = {
    "none": lambda n_rungs: None,
    "median": lambda n_rungs: MedianPruner(n_startup_trials=5),
    "halving": lambda n_rungs: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": lambda n_rungs: HyperbandPruner(min_resource=1, max_resource=n_rungs, reduction_factor=2),
}
