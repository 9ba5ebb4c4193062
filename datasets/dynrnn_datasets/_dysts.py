"""Flows of the package dysts (Gilpin 2021, NeurIPS Datasets and Benchmarks): its equations and parameters, integrated by scipy's LSODA.

Of dysts' metadata only equations, parameters, the initial state and the period are used; its tabulated exponents are estimates.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .errors import DatasetError, UnknownDatasetError, nearest

PREFIX = "dysts:"


def _flows() -> Any:
    try:
        return importlib.import_module("dysts.flows")
    except ImportError as error:
        raise DatasetError(
            f"datasets named 'dysts:...' need the package dysts, which could not be imported ({error}). "
            "Install it with: pip install 'dynrnn[datasets]'."
        ) from error


class DystsFlow:
    """One flow of dysts with its parameters; hashable by name and parameters."""

    method = "LSODA"  # switches to a stiff method by itself: many of the flows are stiff
    spread = 1e-3  # small: some attractors have narrow basins; chaos and the random transient do the rest
    bound = 1e8  # some of its variables are clocks
    mean = None
    scale = None
    lyapunov_max = None

    def __init__(self, name: str, changes: dict[str, Any]) -> None:
        flows = _flows()
        from dysts.base import DynSys, DynSysDelay  # type: ignore[import-not-found]

        def known(base: type) -> dict[str, type]:
            kinds = {key: item for key, item in vars(flows).items() if isinstance(item, type)}
            return {key: kind for key, kind in kinds.items() if issubclass(kind, base) and kind is not base}

        table = known(DynSys)
        if name in known(DynSysDelay):
            raise DatasetError(f"{PREFIX}{name} is a delay equation: its state is a function, so it is not a flow of finite dimension.")
        if name not in table:
            raise UnknownDatasetError(f"dysts has no flow {name!r}.{nearest(name, table)} It has {len(table)}; see dysts.flows.")
        self._system = table[name]()
        defaults = dict(self._system.params)
        for key, value in changes.items():
            if key not in defaults:
                names = ", ".join(sorted(defaults))
                raise DatasetError(f"{PREFIX}{name} has no parameter {key!r}.{nearest(key, defaults)} Parameters: {names}.")
            try:
                array = np.asarray(value, dtype=float)
            except (TypeError, ValueError):
                array = np.asarray(np.nan)
            shape = np.shape(defaults[key])
            if array.shape != shape or not np.isfinite(array).all():
                wanted = f"a finite array of shape {shape}" if shape else "a finite number"
                raise DatasetError(f"parameter {key!r} of {PREFIX}{name} must be {wanted}, got {value!r}.")
            defaults[key] = float(value) if array.ndim == 0 else array
        self.parameters = defaults
        self._arguments = [defaults[key] for key in sorted(defaults)]
        self.initial = tuple(np.atleast_1d(self._system.ic).astype(float).tolist())
        self.dim = len(self.initial)
        self.dt = float(self._system.period) / 100  # 100 samples a period, as in Gilpin 2023, Phys. Rev. Research 5, 043252
        self.transient = 20 * float(self._system.period)
        self.source = f"dysts.flows.{name}: {getattr(self._system, 'citation', 'no citation given')}"
        self._key = (name, repr(sorted((key, np.asarray(value).tolist()) for key, value in defaults.items())))
        self.channels = tuple(f"x{i}" for i in range(self.observe(np.asarray(self.initial)[None]).shape[1]))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DystsFlow) and self._key == other._key

    def rate(self, t: float, z: np.ndarray) -> np.ndarray:
        return np.asarray(self._system._rhs(*z, t, *self._arguments), dtype=float)

    def observe(self, path: np.ndarray) -> np.ndarray:
        """Angles and clocks grow without bound; dysts maps them to bounded coordinates."""
        bounded = getattr(self._system, "_postprocessing", None)
        return path if bounded is None else np.stack(np.broadcast_arrays(*bounded(*path.T)), axis=-1).astype(float)
