"""A tree of results as one folder: labelled datasets in zarr v3 groups, and a commit record that alone says what counts.

    results.zarr/
      COMMIT.json        which folder holds each group, the root's attrs, the sha256 of every metadata file; sealed by its own sha256
      zarr.json          a plain zarr group, so that other readers find their way
      metrics/ ...       a group; when it is replaced, metrics.2/ is written first, then the record, then metrics/ is removed

A writer killed at any moment leaves the old record with the old data or the new one with the new. There is one writer at a time.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from dynrnn.errors import ArgumentError, FileFormatError, RunFolderError
from dynrnn.results._dataset import check_name, read_dataset, write_dataset
from dynrnn.results._files import (
    MAX_JSON_BYTES,
    digest_of,
    dump_json,
    fsync_directory,
    fsync_tree,
    json_value,
    parse_json,
    read_bytes,
    read_sealed,
    replace_directory,
    replace_file,
    seal,
    temporary_sibling,
    writing,
)
from dynrnn.results._metadata import check_group

RECORD = "COMMIT.json"
KIND = "dynrnn-results"
FORMAT_VERSION = 1
MAX_BYTES = 8 * 2**30

_GROUP = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_ROOT = "_root"


def write_results(path: str | os.PathLike[str], tree: xr.DataTree | Mapping[str, xr.Dataset]) -> Path:
    """Write a whole tree of results, in place of what the folder held before; returns the folder.

    Every dtype of the formats (bool, integers, floats, complex, strings), coords, dims, names and nested JSON attrs come back unchanged
    from :func:`read_results`; big-endian numbers come back native, tuples in attrs as lists. Chunks carry a crc32c.

    Parameters
    ----------
    path : folder to write, by custom ``results.zarr`` in a run's folder.
    tree : an ``xr.DataTree``, or datasets by group name (``{"metrics": ds}``; ``"/"`` is the root).

    Raises
    ------
    ArgumentError : something that the format cannot hold (its name is given); nothing is written then.
    RunFolderError : the folder holds something else, or the disk refuses. What was committed before is intact.

    Cost: O(bytes), on disk old and new together until the commit.

    >>> import tempfile, xarray as xr
    >>> folder = write_results(tempfile.mkdtemp() + "/results.zarr", {"metrics": xr.Dataset({"d_stsp": ("fit", [0.1, 0.2])})})
    >>> read_results(folder)["metrics"]["d_stsp"].values.tolist()
    [0.1, 0.2]
    """
    folder = Path(path)
    if not isinstance(tree, xr.DataTree):
        for variable in (variable for dataset in tree.values() for variable in dataset.variables):
            check_name(variable, "variable")
        tree = xr.DataTree.from_dict({str(name): dataset for name, dataset in tree.items()})
    root = tree.to_dataset(inherit=False)
    groups = {_check_group_name(name): child for name, child in tree.children.items()}
    if root.variables:
        root.attrs = {}
        groups = {_ROOT: xr.DataTree(root), **groups}
    old = _begin(folder)
    _commit(folder, old, groups, attrs=json_value(dict(tree.attrs), "attrs of the root"), keep={})
    return folder


def write_group(path: str | os.PathLike[str], name: str, dataset: xr.Dataset) -> Path:
    """Write or replace one group of the results at ``path`` (created when missing), leaving the others; returns the folder.

    Atomic as :func:`write_results` is: a reader sees the whole old group or the whole new one. Same errors, same cost.
    """
    folder = Path(path)
    group = _check_group_name(name.strip("/"))
    for variable in dataset.variables:
        check_name(variable, "variable")
    old = _begin(folder)
    keep = {key: entry for key, entry in old.get("groups", {}).items() if key != group}
    _commit(folder, old, {group: xr.DataTree(dataset)}, attrs=old.get("attrs", {}), keep=keep)
    return folder


def write_root_attrs(path: str | os.PathLike[str], attrs: Mapping[str, Any]) -> Path:
    """Replace the attrs of the root (see ``schema.stamp``), leaving the groups; atomic."""
    folder = Path(path)
    old = _begin(folder)
    _commit(folder, old, {}, attrs=json_value(dict(attrs), "attrs of the root"), keep=old.get("groups", {}))
    return folder


def read_results(path: str | os.PathLike[str], *, lazy: bool = False, max_bytes: int = MAX_BYTES) -> xr.DataTree:
    """The tree of results at ``path``, every checksum verified.

    Parameters
    ----------
    path : folder written by :func:`write_results` or :func:`write_group`.
    lazy : leave the arrays on disk until they are used (checksums are then verified at that time); a group that is replaced meanwhile
        raises ``FileFormatError``. Coordinates of dims are always loaded.
    max_bytes : memory that the whole tree may declare, 8 GiB by default; with ``lazy`` it is not limited.

    Raises
    ------
    FileFormatError : missing, foreign, damaged or too large; names path, array and chunk. Metadata are checked before zarr opens them:
        zarr 3 only, a list of allowed codecs and data types.
    """
    folder = Path(path)
    for _ in range(10):
        record = read_record(folder)
        try:
            return _read_tree(folder, record, lazy, max_bytes)
        except FileFormatError:
            # a writer may have replaced a group since the record was read; then the new record names other folders
            if read_record(folder) == record:
                raise
    raise FileFormatError(f"{folder} is being replaced faster than it can be read. Wait for its writer to end.")


def _read_tree(folder: Path, record: Mapping[str, Any], lazy: bool, max_bytes: int) -> xr.DataTree:
    nodes: dict[str, xr.Dataset] = {}
    for group, entry in record["groups"].items():
        base = folder / entry["directory"]
        for below, digests in entry["nodes"].items():
            allowed = {path: [digest] for path, digest in digests.items()}
            dataset, n_bytes = read_dataset(base / below, allowed, lazy=lazy, max_bytes=max_bytes)
            max_bytes -= n_bytes
            name = "/".join(part for part in ("" if group == _ROOT else group, below) if part)
            nodes[name or "/"] = dataset if lazy else dataset.load()
    root = nodes.pop("/", xr.Dataset()).assign_attrs(record["attrs"])
    try:
        return xr.DataTree.from_dict({"/": root, **nodes})
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(f"the groups in {folder} do not fit together: {error}") from None


def read_record(folder: Path) -> dict[str, Any]:
    """The checked commit record of a results folder, its root metadata checked along."""
    if not (folder / RECORD).exists():
        what = "holds no committed results" if folder.is_dir() else "does not exist"
        raise FileFormatError(f"{folder} {what} (no {RECORD}). Give the results.zarr of a run, or write it first.")
    path = folder / RECORD
    record = read_sealed(path, KIND, FORMAT_VERSION)
    if not _sound(record):
        raise FileFormatError(f"{path} does not list groups as this format does: it was not written by dynrnn.")
    raw = read_bytes(folder / "zarr.json", MAX_JSON_BYTES)
    if digest_of(raw) not in record["root"]:
        check_group(parse_json(raw, folder / "zarr.json"), folder / "zarr.json")
        raise FileFormatError(f"{folder / 'zarr.json'} was changed after it was written. Restore it from a copy.")
    return record


def _sound(record: Mapping[str, Any]) -> bool:
    """Whether a record names only folders below its own and well-formed digests (it may come from a stranger, seal and all)."""
    groups = record.get("groups")
    if not (isinstance(groups, dict) and isinstance(record.get("attrs"), dict) and isinstance(record.get("root"), list)):
        return False
    if type(record.get("generation")) is not int:
        return False
    for group, entry in groups.items():
        if not (group == _ROOT or _GROUP.fullmatch(group)) or not isinstance(entry, dict):
            return False
        generation, nodes = entry.get("generation"), entry.get("nodes")
        if type(generation) is not int or entry.get("directory") != _directory(group, generation) or not isinstance(nodes, dict):
            return False
        for below, digests in nodes.items():
            if below and not all(_GROUP.fullmatch(part) for part in below.split("/")):
                return False
            if not (isinstance(digests, dict) and all(isinstance(value, str) for value in digests.values())):
                return False
    return True


def _directory(group: str, generation: int) -> str:
    return group if generation == 1 else f"{group}.{generation}"


def _check_group_name(name: object) -> str:
    name = check_name(name, "group")
    if not _GROUP.fullmatch(name):
        raise ArgumentError(f"group {name!r} cannot be stored: start with a letter and use letters, digits, '-' and '_' only.")
    return name


def _begin(folder: Path) -> dict[str, Any]:
    """The record that a write starts from, empty for a new folder; a folder of something else is refused, a damaged one too."""
    if (folder / RECORD).exists():
        try:
            return read_record(folder)
        except FileFormatError as error:
            raise RunFolderError(f"{error} It is left as it is; delete or rename {folder} to write there.") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(f"{folder} exists and holds no results of dynrnn. Choose another path, or delete it.")
    return {}


def _commit(folder: Path, old: Mapping[str, Any], new: Mapping[str, xr.DataTree], *, attrs: Any, keep: Mapping[str, Any]) -> None:
    """Data first, forced to disk; then the record, in one rename; then what the record no longer names is removed."""
    home = folder if old else temporary_sibling(folder)
    root = dump_json({"zarr_format": 3, "node_type": "group", "attributes": attrs})
    generation = old.get("generation", 0) + 1
    groups = dict(keep)
    try:
        with writing(folder):
            for group, tree in new.items():
                # a first write gets the plain name, so that other zarr readers find it; a replacement one that lazy readers never saw
                number = generation if group in old.get("groups", {}) or (home / group).exists() else 1
                base = home / _directory(group, number)
                beside = home / f".{base.name}.tmp"
                shutil.rmtree(beside, ignore_errors=True)
                digests = {}
                for relative, node in tree.subtree_with_keys:
                    below = relative.strip("./")
                    for part in filter(None, below.split("/")):
                        _check_group_name(part)
                    digests[below] = write_dataset(beside / below, node.to_dataset(inherit=False))
                fsync_tree(beside)
                if number > 1:
                    # a writer killed before its record leaves this number behind; it was never committed
                    shutil.rmtree(base, ignore_errors=True)
                os.rename(beside, base)
                groups[group] = {"directory": base.name, "generation": number, "nodes": digests}
            # the courtesy copy of the attrs in zarr.json follows the record, so until then the present copy is legal too
            present = [digest_of(read_bytes(home / "zarr.json", MAX_JSON_BYTES))] if old else []
            record = {"format": KIND, "format_version": FORMAT_VERSION, "generation": generation, "attrs": attrs, "groups": groups}
            record["root"] = list(dict.fromkeys([digest_of(root), *present]))
            if old:
                fsync_directory(home)
                replace_file(home / RECORD, seal(record))
                replace_file(home / "zarr.json", root)
            else:
                replace_file(home / "zarr.json", root)
                replace_file(home / RECORD, seal(record))
                replace_directory(home, folder)
    finally:
        if home is not folder:
            shutil.rmtree(home, ignore_errors=True)
    _sweep(folder, {*old.get("groups", {}), *groups}, {entry["directory"] for entry in groups.values()})


def _sweep(folder: Path, groups: set[str], named: set[str]) -> None:
    """Remove earlier generations of the groups, those of killed writers included; nobody else's folders."""
    for item in folder.iterdir():
        group, dot, number = item.name.removeprefix(".").removesuffix(".tmp").partition(".")
        if group in groups and item.name not in named and (number.isdigit() or not dot):
            shutil.rmtree(item, ignore_errors=True)
