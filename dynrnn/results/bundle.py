"""Tensors and their configuration as one folder without pickle: safetensors, JSON, and a manifest that vouches for both.

    lorenz.dynrnn/
      model.safetensors  the tensors
      config.json        what they mean
      MANIFEST.json      format version, library versions, sha256 and size of each file; sealed by its own sha256

The folder is written beside its place, forced to disk and renamed, so that a writer killed at any moment leaves the old one or the new.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from dynrnn.errors import ArgumentError, FileFormatError, RunFolderError
from dynrnn.results._files import (
    MAX_JSON_BYTES,
    digest_of,
    dump_json,
    json_value,
    parse_json,
    read_bytes,
    read_sealed,
    replace_directory,
    resolve_directory,
    seal,
    temporary_sibling,
    write_bytes,
    writing,
)

KIND = "dynrnn-bundle"
FORMAT_VERSION = 1
MANIFEST, TENSORS, CONFIG = "MANIFEST.json", "model.safetensors", "config.json"
MAX_BYTES = 32 * 2**30
MAX_TENSORS = 100_000

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}


def write_bundle(path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Path:
    """Write tensors (by name, any device) and a JSON-able ``config`` as the folder ``path``; returns it.

    An older bundle there is replaced in one step: whoever reads finds the old or the new. Anything else there is refused.

    Raises
    ------
    ArgumentError : a config that JSON cannot hold, or a tensor that safetensors cannot (sparse, quantised, complex128).
    RunFolderError : ``path`` is something else, or the disk refuses; the old bundle is intact then.

    Cost: O(bytes), all of them in memory once more while they are written.

    >>> import tempfile, torch
    >>> folder = write_bundle(tempfile.mkdtemp() + "/tiny.dynrnn", {"A": torch.eye(2)}, {"latent_dim": 2})
    >>> tensors, config = read_bundle(folder)
    >>> tensors["A"].trace().item(), config
    (2.0, {'latent_dim': 2})
    """
    folder = Path(path)
    if folder.exists() and not (folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise RunFolderError(f"{folder} exists and is no bundle of dynrnn, so it is not replaced. Choose another path, or delete it.")
    files = {TENSORS: _pack(tensors), CONFIG: dump_json(json_value(dict(config), "config"))}
    manifest = {
        "format": KIND,
        "format_version": FORMAT_VERSION,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "libraries": library_versions(),
        "files": {name: {"sha256": digest_of(data), "size": len(data)} for name, data in files.items()},
    }
    beside = temporary_sibling(folder)
    try:
        with writing(folder):
            for name, data in files.items():
                write_bytes(beside / name, data)
            write_bytes(beside / MANIFEST, seal(manifest))
            replace_directory(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def read_bundle(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and the config of a bundle, after its manifest, sizes, checksums and headers were verified.

    Raises FileFormatError, and nothing else, for a folder that is missing, damaged, foreign or of another format version.
    """
    folder = Path(path)
    for _ in range(10):
        place = resolve_directory(folder)
        before = _identity(place)
        try:
            return _read(place, folder)
        except FileFormatError:
            # a writer may have put a new bundle in place while the old one was read
            if _identity(resolve_directory(folder)) == before:
                raise
    raise FileFormatError(f"{folder} is being replaced faster than it can be read. Wait for its writer to end.")


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked manifest alone: when it was written, by which libraries, the sha256 of each file."""
    return _manifest(resolve_directory(Path(path)), Path(path))


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on."""
    versions = {"python": platform.python_version()}
    for name in ("dynrnn", "torch", "numpy", "scipy", "xarray", "zarr", "safetensors"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _manifest(place: Path, folder: Path) -> dict[str, Any]:
    if not place.is_dir():
        what = "is a file, not a folder" if place.exists() else "does not exist"
        raise FileFormatError(f"{folder} {what}. A bundle is a folder with {MANIFEST}, {TENSORS} and {CONFIG}, as dynrnn.save writes it.")
    manifest = read_sealed(place / MANIFEST, KIND, FORMAT_VERSION)
    files = manifest.get("files")
    entries = list(files.values()) if isinstance(files, dict) and set(files) == {TENSORS, CONFIG} else [None]
    if not all(isinstance(entry, dict) and set(entry) == {"sha256", "size"} for entry in entries):
        raise FileFormatError(f"{place / MANIFEST} does not list the files of a bundle: it was not written by dynrnn.")
    return manifest


def _read(place: Path, folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    manifest = _manifest(place, folder)
    contents = {}
    for name, entry in manifest["files"].items():
        file = place / name
        data = read_bytes(file, MAX_BYTES if name == TENSORS else MAX_JSON_BYTES)
        if len(data) != entry["size"]:
            raise FileFormatError(f"{file} has {len(data):,} bytes, its manifest says {entry['size']}: copy it again.")
        if digest_of(data) != entry["sha256"]:
            raise FileFormatError(f"{file} is damaged: its sha256 is not the one in {MANIFEST}. Restore it from a copy.")
        contents[name] = data
    _check_header(contents[TENSORS], place / TENSORS)
    try:
        tensors = safetensors.torch.load(contents[TENSORS])
    except Exception as error:
        raise FileFormatError(f"{place / TENSORS} is no valid safetensors file: {error}") from None
    return tensors, parse_json(contents[CONFIG], place / CONFIG)


def _check_header(data: bytes, file: Path) -> None:
    """The header of a safetensors file: known types, and shapes that take exactly the bytes they claim."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MAX_JSON_BYTES):
        raise FileFormatError(f"{file} is no safetensors file: its header claims {size:,} of {len(data):,} bytes.")
    header = parse_json(data[8 : 8 + size], file)
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise FileFormatError(f"{file} declares {len(header):,} tensors, more than the {MAX_TENSORS:,} allowed.")
    for name, entry in header.items():
        try:
            start, stop = entry["data_offsets"]
            n_bytes = math.prod(entry["shape"]) * _BITS[entry["dtype"]] // 8
            sound = 0 <= start <= stop <= len(data) - 8 - size and stop - start == n_bytes
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise FileFormatError(f"{file}: tensor {name!r} has a shape, type or place that does not fit the file.")


def _pack(tensors: Mapping[str, torch.Tensor]) -> bytes:
    plain = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise ArgumentError(f"tensor name {name!r} is not a string.")
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_quantized:
            raise ArgumentError(f"{name!r} is no dense tensor, so a bundle cannot hold it.")
        # a clone, since safetensors refuses tensors that share memory
        plain[name] = tensor.detach().cpu().contiguous().clone()
    try:
        return safetensors.torch.save(plain)
    except Exception as error:
        kinds = json.dumps({name: str(tensor.dtype) for name, tensor in plain.items()})
        raise ArgumentError(f"the tensors {kinds} cannot be stored as safetensors: {error}") from None


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        stat = place.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
