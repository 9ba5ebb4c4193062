"""``read_recording``: a recording from a file, the reader chosen by the file's suffix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from dynrnn.errors import ArgumentError, FileFormatError, RecordingError

from ._arrays_files import read_mat, read_npy, read_npz
from ._nwb import read_nwb
from ._tables import read_table
from .recording import as_recording

_READERS: dict[str, Callable[..., Any]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".npy": read_npy,
    ".npz": read_npz,
    ".mat": read_mat,
    ".nwb": read_nwb,
}
_ELSEWHERE = {
    ".zarr": "stores are read by dynrnn.results; pass the Dataset that it returns to dr.as_recording",
    ".edf": "read it with mne or neo and pass the array with its dims to dr.as_recording",
    ".xlsx": "save the sheet as .csv",
    ".pkl": "unpickling a file can run any code in it; save arrays as .npz",
    ".pt": "unpickling a file can run any code in it; save arrays as .npz",
    ".h5": "HDF5 has no one layout; pass the array that you want to dr.as_recording",
}


def read_recording(
    path: str | PathLike[str],
    key: str | None = None,
    dt: float | int | None = None,
    dims: Sequence[str] | None = None,
    bin_size: float | int | None = None,
    units: str | None = None,
    max_bytes: int = 2**32,
    elapsed: bool = False,
) -> xr.Dataset:
    """The recording in a file, in the form of ``as_recording``; attribute ``source`` holds the file's name, ``key`` what was read in it.

    Parameters
    ----------
    path : .csv or .tsv (a header of channel names; a column named time or t is the time), .npy, .npz, .mat (up to version 7), .nwb (extra
        ``neuro``: continuous series as they are; spikes are counted in bins by pynapple).
    key : which array or object, where the file holds several; the error lists them.
    dt, dims, units : as for ``as_recording``; ``dims`` names the axes of a bare array in its own order.
    bin_size : seconds; needed for spike times, and recorded in the attributes.
    max_bytes : a file whose arrays would take more memory is refused before they are read (4 GiB).
    elapsed : keep the times of samples that are uneven, as ``as_recording`` does it; the file must have them.

    Raises FileFormatError naming the path: unknown suffix, missing package, damaged, foreign or empty file; RecordingError for its
    contents. Nothing in a file is ever unpickled. Cost O(file).

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savetxt(f"{folder}/a.csv", [[0.0, 1.0], [0.5, 2.0]], delimiter=",", header="time,x", comments="")
    ...     read_recording(f"{folder}/a.csv").attrs["dt"]
    0.5
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        hint = _ELSEWHERE.get(path.suffix.lower(), "convert it, or pass its array to dr.as_recording")
        raise FileFormatError(f"{path} is not read: no reader for the suffix {path.suffix!r} (known: {known}). Instead: {hint}.")
    if not path.is_file():
        why = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileFormatError(f"{path} {why}. Check the path; relative ones start at {Path.cwd()}.")
    if path.stat().st_size == 0:
        raise FileFormatError(f"{path} is empty (0 bytes): it was perhaps never finished writing.")
    if bin_size is not None and reader is not read_nwb:
        raise ArgumentError(f"bin_size applies to spike times in .nwb files, not to {path.suffix}.")
    if bin_size is not None and not (0 < bin_size < float("inf")):
        raise ArgumentError(f"bin_size must be a positive number of seconds, got {bin_size!r}.")
    found, attrs = reader(path, key=key, bin_size=bin_size, max_bytes=max_bytes)
    try:
        recording = as_recording(found, dt=dt, dims=dims, units=units, elapsed=elapsed or None)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from error
    recording.attrs.update({"source": path.name, **attrs})
    return recording
