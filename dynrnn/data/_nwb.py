"""Neurodata Without Borders, through pynapple: continuous series as they are, spike times counted in bins."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynrnn.errors import ArgumentError, FileFormatError


def read_nwb(path: Path, *, key: str | None, bin_size: Any, max_bytes: int) -> tuple[Any, dict[str, Any]]:
    """One object of the file; each interval of its time support is a trial."""
    missing = [name for name in ("pynapple", "pynwb") if importlib.util.find_spec(name) is None]
    if missing:
        raise FileFormatError(f"{path} needs {' and '.join(missing)}, which is not installed: pip install 'dynrnn[neuro]'.")
    if path.stat().st_size > max_bytes:
        raise FileFormatError(f"{path} holds {path.stat().st_size:,} bytes, above max_bytes={max_bytes:,}. Raise it if memory allows.")
    nap = importlib.import_module("pynapple")
    kinds = (nap.Tsd, nap.TsdFrame, nap.TsGroup, nap.Ts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb and pynapple warn of namespaces and of fields that they skip
        file = None
        try:
            file = nap.load_file(str(path))
            found = {name: file[name] for name in file.keys()}  # noqa: SIM118  # not a mapping
            series = {name: item for name, item in found.items() if isinstance(item, kinds)}
            name = _choose(path, key, series, found)
            spikes = isinstance(series[name], (nap.TsGroup, nap.Ts))
            if spikes and bin_size is None:
                raise ArgumentError(f"{path}: {name!r} holds spike times; say how to count them with bin_size= (seconds), e.g. 0.02.")
            if not spikes and bin_size is not None:
                raise ArgumentError(f"{path}: {name!r} is a sampled series, not spike times: leave bin_size out.")
            trials = _frames(series[name], bin_size)
        except (ArgumentError, FileFormatError):
            raise
        except Exception as error:  # h5py, hdmf and pynapple raise whatever a damaged byte leads them to
            raise FileFormatError(f"{path} is no NWB file, or is damaged: {type(error).__name__}: {error}") from error
        finally:
            if file is not None:
                file.close()
    attrs: dict[str, Any] = {"key": name}
    if bin_size is not None:
        attrs["bin_size"] = float(bin_size)
    return (trials[0] if len(trials) == 1 else trials), attrs


def _choose(path: Path, key: str | None, series: dict[str, Any], found: dict[str, Any]) -> str:
    listed = ", ".join(f"{name} ({type(item).__name__})" for name, item in found.items()) or "none"
    if key is None and len(series) == 1:
        return next(iter(series))
    if key is None:
        raise FileFormatError(f"{path} holds {len(series)} series or sets of spike times ({listed}). Say which with key=.")
    if key not in series:
        why = "is neither a series nor spike times" if key in found else "is not in it"
        raise FileFormatError(f"{path}: {key!r} {why}. It holds: {listed}.")
    return key


def _frames(item: Any, bin_size: Any) -> list[pd.DataFrame]:
    """One frame a trial, the index its times in seconds, the columns units or channels."""
    frames = []
    for epoch in item.time_support:
        part = item.restrict(epoch)
        if bin_size is not None:
            part = part.count(float(bin_size))
        values = np.asarray(part.values, dtype=float)
        values = values[:, None] if values.ndim == 1 else values
        columns = list(part.columns) if hasattr(part, "columns") else [0]
        names = pd.Index(columns, name="channel" if bin_size is None else "unit")
        frames.append(pd.DataFrame(values, index=np.asarray(part.times()), columns=names))
    return frames
