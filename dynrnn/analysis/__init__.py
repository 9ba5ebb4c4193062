"""Learned dynamics taken apart; every function gives an xr.Dataset with the dim ``fit`` first."""

from __future__ import annotations

import importlib
from typing import Any

# Every public name and the module of this package that it lives in; modules load on first use.
# No module bears a public name: loading it would put the module in the function's place.
_PUBLIC = {
    "fixed_points": "_fixed_points",
    "count_regions": "piecewise.arrangement",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dynrnn.analysis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dynrnn.analysis.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
