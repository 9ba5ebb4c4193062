"""Lyapunov spectra of known systems, computed with this package and shipped with how they came about.

``spectra.json`` is written by ``python studies/reference_spectra.py``; libraries' own metadata are not used: some of it does not even have the right sum.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .errors import UnknownDatasetError, nearest

FILE = Path(__file__).with_name("spectra.json")


@cache
def _read() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text())


def spectra() -> list[str]:
    """Names of the systems that have one."""
    return sorted(_read())


def reference_spectrum(name: str) -> xr.Dataset:
    """The spectrum of a known system, natural logarithm per unit of its time.

    name : see ``spectra()``: ``"lorenz63"``, ``"henon"``, ...
    Returns ``value`` and ``standard_error`` (exponent), ``kaplan_yorke`` with its ``kaplan_yorke_standard_error``, and how they were computed in the
    attributes: ``equation``, ``parameters`` (JSON), ``n_segments``, ``time_measured`` (in all), ``dt``, ``step_error``, ``sum_of_divergence`` (what the sum
    must be, where that is known), ``computed_by``.

    >>> found = reference_spectrum("lorenz63")
    >>> found.value.sizes["exponent"], bool(abs(found.value.sum() + 41 / 3) < 1e-3)
    (3, True)
    """
    known = _read()
    if name not in known:
        raise UnknownDatasetError(f"no spectrum of {name!r} is kept here.{nearest(name, known)}")
    entry = dict(known[name])
    value, error = np.array(entry.pop("value")), np.array(entry.pop("standard_error"))
    dimension, dimension_error = entry.pop("kaplan_yorke"), entry.pop("kaplan_yorke_standard_error")
    per_time = {"units": "nat / time"}
    return xr.Dataset(
        {
            "value": ("exponent", value, {"long_name": "Lyapunov exponent"} | per_time),
            "standard_error": ("exponent", error, {"long_name": "standard error"} | per_time),
            "kaplan_yorke": ((), dimension, {"long_name": "Kaplan-Yorke dimension", "units": "1"}),
            "kaplan_yorke_standard_error": ((), dimension_error, {"long_name": "standard error", "units": "1"}),
        },
        coords={"exponent": np.arange(1, len(value) + 1)},
        attrs={key: json.dumps(x) if isinstance(x, dict) else x for key, x in entry.items()},
    )
