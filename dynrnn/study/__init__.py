"""Searches over hyperparameters and seeds that survive what machines do to them: storages, a queue of trials, and what runs on it.

Names load on first use, so that a worker that only waits for trials does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Every public name and its module in this package.
_PUBLIC = {
    "Claim": "queue",
    "OBJECTIVES": "objectives",
    "SPACES": "space",
    "Study": "study",
    "arguments_of": "setting",
    "as_space": "space",
    "evaluate_store": "stored",
    "local_cluster": "cluster",
    "map_fits": "fits",
    "optimize": "optimize",
    "SAMPLERS": "sampling",
    "StudyStorage": "storage",
    "TrialQueue": "queue",
    "open_storage": "storage",
    "sampler_named": "sampling",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dynrnn.study' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dynrnn.study.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from dynrnn.study.cluster import local_cluster
    from dynrnn.study.fits import map_fits
    from dynrnn.study.objectives import OBJECTIVES
    from dynrnn.study.optimize import optimize
    from dynrnn.study.queue import Claim, TrialQueue
    from dynrnn.study.sampling import SAMPLERS, sampler_named
    from dynrnn.study.setting import arguments_of
    from dynrnn.study.space import SPACES, as_space
    from dynrnn.study.storage import StudyStorage, open_storage
    from dynrnn.study.stored import evaluate_store
    from dynrnn.study.study import Study
