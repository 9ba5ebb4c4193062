"""Arrays in NumPy's and MATLAB's files; sizes are read from the headers before any data, and nothing is unpickled."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, FileFormatError


def _choose(path: Path, key: str | None, names: Sequence[str], shapes: Sequence[str]) -> str:
    listed = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes)) or "none"
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        raise FileFormatError(f"{path} holds {len(names)} arrays: {listed}. Say which with key=.")
    if key not in names:
        raise FileFormatError(f"{path} has no array {key!r}; it holds: {listed}.")
    return key


def _afford(path: Path, n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        raise FileFormatError(
            f"{path} declares {n_bytes:,} bytes of data, above max_bytes={max_bytes:,}. Raise max_bytes if that is right and memory allows."
        )


def read_npy(path: Path, *, key: str | None, bin_size: Any, max_bytes: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The array of an .npy file."""
    if key is not None:
        raise ArgumentError(f"key={key!r} does not apply to .npy: the file is one array.")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # reads the header only
        if not isinstance(mapped, np.ndarray):
            raise ValueError("it holds an archive, not an array")
    except (ValueError, OSError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path} is no NumPy array of numbers, or is damaged: {error}.") from error
    _afford(path, mapped.nbytes, max_bytes)
    return np.asarray(mapped), {}


def read_npz(path: Path, *, key: str | None, bin_size: Any, max_bytes: int) -> tuple[np.ndarray, dict[str, Any]]:
    """One array of an .npz archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {item.filename.removesuffix(".npy"): item.file_size for item in archive.infolist()}
        name = _choose(path, key, list(sizes), [f"({size:,} bytes)" for size in sizes.values()])
        _afford(path, sizes[name], max_bytes)
        with np.load(path, allow_pickle=False) as data:
            array = data[name]
    except FileFormatError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise whatever a damaged byte leads them to
        raise FileFormatError(f"{path} is no archive of NumPy arrays of numbers, or is damaged: {error}.") from error
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"{path}: member {name!r} is no NumPy array.")
    return array, {"key": name}


def read_mat(path: Path, *, key: str | None, bin_size: Any, max_bytes: int) -> tuple[Any, dict[str, Any]]:
    """One variable of a MATLAB file up to version 7: a numeric array, or a cell array of them, one trial a cell."""
    from scipy import io

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns of variables that it skips; those are not asked for
            listing = io.whosmat(path)
            name = _choose(path, key, [item[0] for item in listing], [str(item[1]) for item in listing])
            shape = next(item[1] for item in listing if item[0] == name)
            _afford(path, 8 * math.prod(shape), max_bytes)
            value = io.loadmat(path, variable_names=[name])[name]
    except NotImplementedError as error:
        raise FileFormatError(
            f"{path} is a MATLAB file of version 7.3, which is HDF5 and needs a reader of its own that dynrnn lacks. "
            "Save it with save(..., '-v7'), or read it with h5py and pass the array (axes reversed) to dr.as_recording."
        ) from error
    except FileFormatError:
        raise
    except Exception as error:  # scipy's parser raises whatever a damaged byte leads it to
        raise FileFormatError(f"{path} is no MATLAB file, or is damaged: {type(error).__name__}: {error}.") from error
    if value.dtype.kind == "O" and all(isinstance(cell, np.ndarray) and cell.dtype.kind in "biuf" for cell in value.ravel()):
        return list(value.ravel()), {"key": name}
    if value.dtype.kind not in "biufc":
        raise FileFormatError(f"{path}: variable {name!r} is a {value.dtype} structure, not a numeric array. Save the array itself.")
    return value, {"key": name}
