"""Objects of all fits as one padded dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

Column = tuple[dict[str, int], Any, str]           # dims after (fit, object) with their lengths, what pads it, what it is


def padded(rows: Sequence[Sequence[Mapping[str, Any]]], dim: str, columns: Mapping[str, Column], fit: np.ndarray) -> xr.Dataset:
    """``rows[fit][object][column]`` as variables (fit, ``dim``, ...), with ``valid`` False on padding, and nothing ``virtual``."""
    n = max((len(own) for own in rows), default=0)
    out = xr.Dataset(coords={"fit": fit})
    for name, (extra, fill, says) in columns.items():
        shape = (len(rows), n, *extra.values())
        if isinstance(fill, str):
            width = max((len(row[name]) for own in rows for row in own), default=1)
            values = np.full(shape, fill, dtype=f"<U{max(width, 1)}")
        else:
            values = np.full(shape, fill)
        for f, own in enumerate(rows):
            for i, row in enumerate(own):
                value = np.asarray(row[name])
                values[(f, i, *(slice(length) for length in value.shape))] = value
        out[name] = (("fit", dim, *extra), values, {"long_name": says} | ({} if isinstance(fill, (str, bool)) else {"units": "1"}))
    valid = np.arange(n) < np.array([len(own) for own in rows], dtype=np.int64)[:, None]
    out["valid"] = (("fit", dim), valid, {"long_name": "the row holds an object"})
    out["virtual"] = (("fit", dim), np.zeros_like(valid), {"long_name": "never: there are no regions to lie outside of"})
    return out
