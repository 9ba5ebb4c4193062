"""One xr.Dataset as one zarr v3 group: every variable an array, order and coordinates noted in the group's own metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from dynrnn.errors import ArgumentError, FileFormatError
from dynrnn.results._arrays import StoredArray, create_array, encode, lazy_variable
from dynrnn.results._files import MAX_JSON_BYTES, digest_of, json_value, parse_json, read_bytes
from dynrnn.results._metadata import ITEM_BYTES, check_array, check_group

NOTE = "_dynrnn"
_SPELLING = re.compile(r"[OT]|[<>]U\d{1,6}|")
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f]")


def check_name(name: object, what: str) -> str:
    """A name that is a safe folder name and comes back as it went."""
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"{what} {name!r} must be a non-empty string to be stored.")
    if _FORBIDDEN.search(name) or name.startswith((".", "__")) or name in ("zarr.json", NOTE) or len(name.encode()) > 200:
        raise ArgumentError(f"{what} {name!r} cannot be stored: use letters, digits, spaces, '-' and '_', no '.' or '__' in front.")
    return name


def write_dataset(folder: Path, dataset: xr.Dataset) -> dict[str, str]:
    """Write ``dataset`` as the group ``folder`` and return the sha256 of each metadata file by its path below ``folder``."""
    encoded: dict[str, tuple[np.ndarray, str]] = {}
    spellings: dict[str, str] = {}
    for key, variable in dataset.variables.items():
        name = check_name(key, "variable")
        for dim in variable.dims:
            check_name(dim, "dimension")
        if name in dataset.xindexes and len(dataset.xindexes.get_all_coords(name)) > 1:
            raise ArgumentError(f"coordinate {name!r} is a multi-index, which cannot be stored. Call reset_index({name!r}) first.")
        values, data_type, spelling = encode(np.asarray(variable.values), f"variable {name!r}")
        encoded[name] = (values, data_type)
        if spelling:
            spellings[name] = spelling
    note = {"variables": list(encoded), "coords": [str(name) for name in dataset.coords], "strings": spellings}
    attributes = json_value(dict(dataset.attrs), "attrs")
    if NOTE in attributes:
        raise ArgumentError(f"attrs[{NOTE!r}] is used by the file format itself. Choose another name.")
    zarr.create_group(store=str(folder), zarr_format=3, attributes={**attributes, NOTE: note})
    for name, (values, data_type) in encoded.items():
        variable = dataset.variables[name]
        own = json_value(dict(variable.attrs), f"attrs of variable {name!r}")
        array = create_array(folder, name, values.shape, data_type, [str(dim) for dim in variable.dims], own)
        if values.size:
            array[...] = values
    return {path: digest_of((folder / path).read_bytes()) for path in ["zarr.json", *(f"{name}/zarr.json" for name in encoded)]}


def read_dataset(
    folder: Path, digests: Mapping[str, list[str]], *, lazy: bool, max_bytes: int, committed: tuple[str, int] | None = None
) -> tuple[xr.Dataset, int]:
    """The group ``folder`` as a lazy dataset, and the bytes that it is about to take in memory (``lazy``: its indexes alone).

    ``digests`` are the allowed sha256 of each metadata file; what they do not name is not looked at. ``committed`` (dim, length) cuts
    that dim to the part that the record vouches for.
    """
    attributes = check_group(read_metadata(folder, "zarr.json", digests), folder / "zarr.json")
    note = _check_note(attributes.pop(NOTE, None), folder)
    variables: dict[str, xr.Variable] = {}
    total = 0
    for name in note["variables"]:
        path = folder / name / "zarr.json"
        info = check_array(read_metadata(folder, f"{name}/zarr.json", digests), path)
        shape = info.shape
        if committed is not None:
            shape = tuple(committed[1] if dim == committed[0] else size for dim, size in zip(info.dims, shape, strict=True))
            if any(length > size for length, size in zip(shape, info.shape, strict=True)):
                raise FileFormatError(f"array {name!r} in {folder} is shorter than the {committed[1]:,} steps that its record vouches for.")
        spelling = note["strings"].get(name, "") if info.data_type == "string" else ""
        if not lazy or info.dims == (name,):
            total += math.prod(shape) * max(ITEM_BYTES[info.data_type], 4 * int(spelling[2:] or 0))
        if total > max_bytes:
            raise FileFormatError(
                f"{path} was refused before it was opened: with array {name!r} of shape {info.shape} the store declares {total:,} bytes, "
                f"more than max_bytes={max_bytes:,}. Raise max_bytes, or read it lazily with lazy=True."
            )
        variables[name] = lazy_variable(StoredArray(folder / name, info, spelling, shape), info.attributes)
    try:
        coords = {name: variables[name] for name in note["coords"]}
        data = {name: variable for name, variable in variables.items() if name not in coords}
        return xr.Dataset(data, coords=coords, attrs=attributes), total
    except FileFormatError:
        raise
    except Exception as error:
        raise FileFormatError(f"the arrays in {folder} do not fit together: {error}") from None


def read_metadata(folder: Path, path: str, digests: Mapping[str, list[str]]) -> dict[str, Any]:
    """A metadata file whose sha256 is one that the commit record names."""
    full = folder / path
    if path not in digests:
        raise FileFormatError(f"{full} is not named in the commit record: the folder is damaged or was not written by dynrnn.")
    for directory in (full.parent, folder):
        if directory.is_symlink():
            raise FileFormatError(f"{directory} is a link: a folder written by dynrnn has none. Copy the files themselves.")
    raw = read_bytes(full, MAX_JSON_BYTES)
    document = parse_json(raw, full)
    if digest_of(raw) not in digests[path]:
        # the allow-lists have the more telling message where somebody put another codec or shape in
        (check_group if document.get("node_type") == "group" else check_array)(document, full)
        raise FileFormatError(f"{full} was changed after it was written (its sha256 is not the recorded one). Restore it from a copy.")
    return document


def _check_note(note: Any, folder: Path) -> dict[str, Any]:
    """The format's own entry in a group's attributes, with safe names only."""
    keys = {"variables": list, "coords": list, "strings": dict}
    sound = isinstance(note, dict) and all(isinstance(note.get(key), kind) for key, kind in keys.items())
    if sound:
        try:
            names = [check_name(name, "variable") for name in note["variables"]]
            sound = len(set(names)) == len(names) and set(note["coords"]) <= set(names)
            sound = sound and all(isinstance(text, str) and _SPELLING.fullmatch(text) for text in note["strings"].values())
        except (ArgumentError, TypeError):
            sound = False
    if not sound:
        raise FileFormatError(f"{folder / 'zarr.json'} does not list its variables: it was not written by dynrnn.")
    return note
