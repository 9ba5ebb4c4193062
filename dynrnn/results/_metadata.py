"""The metadata of a zarr node is judged here, as plain JSON, before zarr is asked to open it.

zarr and its codecs interpret what the metadata name, and some codecs of the wider world run code (a pickle filter). So only zarr format 3,
a short list of codecs and data types, and sizes within a budget pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dynrnn.errors import FileFormatError

ITEM_BYTES: dict[str, int] = {
    "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "string": 64,
}
"""Data types that a store may hold; for strings the bytes are a guess, used to size chunks and budgets."""

MAX_CHUNK_BYTES = 512 * 2**20
MAX_DIMS = 32
MAX_CHUNKS = 10**6

_ARRAY_KEYS = {
    "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "attributes",
    "dimension_names", "storage_transformers",
}
_GROUP_KEYS = {"zarr_format", "node_type", "attributes", "consolidated_metadata"}
_CODECS: dict[str, set[str]] = {"bytes": {"endian"}, "vlen-utf8": set(), "zstd": {"level", "checksum"}, "crc32c": set()}


@dataclass(frozen=True)
class ArrayInfo:
    """What the checked metadata of one array say."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    data_type: str
    dims: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.data_type]

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunks) * ITEM_BYTES[self.data_type]


def check_group(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The attributes of a zarr v3 group."""
    _check_node(document, path, "group", _GROUP_KEYS)
    if document.get("consolidated_metadata") is not None:
        _refuse(path, "it carries consolidated metadata, which this format never has")
    return _attributes(document, path)


def check_array(document: Mapping[str, Any], path: Path) -> ArrayInfo:
    """The shape, chunks and type of a zarr v3 array that is safe to open."""
    _check_node(document, path, "array", _ARRAY_KEYS)
    shape = _sizes(document.get("shape"), path, "shape", low=0)
    data_type = document.get("data_type")
    if not isinstance(data_type, str) or data_type not in ITEM_BYTES:
        _refuse(path, f"data type {_short(data_type)} is not allowed")
    grid = _named(document.get("chunk_grid"), path, "chunk grid", {"regular": {"chunk_shape"}})
    chunks = _sizes(grid["configuration"].get("chunk_shape"), path, "chunk shape", low=1)
    if len(chunks) != len(shape):
        _refuse(path, f"chunk shape {chunks} does not fit shape {shape}")
    keys = _named(document.get("chunk_key_encoding"), path, "chunk key encoding", {"default": {"separator"}})
    if keys["configuration"].get("separator", "/") != "/":
        _refuse(path, "its chunk keys are not separated by '/'")
    if document.get("storage_transformers"):
        _refuse(path, "it asks for storage transformers")
    _check_codecs(document.get("codecs"), data_type, path)
    dims = document.get("dimension_names")
    dims = [] if dims is None and not shape else dims
    if not isinstance(dims, list) or len(dims) != len(shape) or not all(isinstance(dim, str) and dim for dim in dims):
        _refuse(path, "its dimensions have no names")
    info = ArrayInfo(shape, chunks, data_type, tuple(dims), _attributes(document, path))
    if info.chunk_bytes > MAX_CHUNK_BYTES:
        _refuse(path, f"one chunk would take {info.chunk_bytes:,} bytes, more than the {MAX_CHUNK_BYTES:,} allowed")
    per_axis = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    if max(per_axis, default=0) > MAX_CHUNKS or math.prod(per_axis) > MAX_CHUNKS:
        _refuse(path, f"shape {shape} in chunks {chunks} would be more than {MAX_CHUNKS:,} files")
    return info


def _check_codecs(codecs: Any, data_type: str, path: Path) -> None:
    if not isinstance(codecs, list) or not 1 <= len(codecs) <= 4:
        _refuse(path, "its list of codecs is missing")
    names = [_named(codec, path, "codec", _CODECS)["name"] for codec in codecs]
    first = "vlen-utf8" if data_type == "string" else "bytes"
    if names != [first, "zstd", "crc32c"]:
        _refuse(path, f"its codecs are {names}, not {[first, 'zstd', 'crc32c']}")
    if first == "bytes" and codecs[0].get("configuration", {}).get("endian", "little") != "little":
        _refuse(path, "its bytes are not little-endian")


def _check_node(document: Mapping[str, Any], path: Path, kind: str, keys: set[str]) -> None:
    if document.get("zarr_format") != 3 or isinstance(document.get("zarr_format"), bool):
        _refuse(path, f"it is of zarr format {_short(document.get('zarr_format'))}, only 3 is read")
    if document.get("node_type") != kind:
        _refuse(path, f"it is a {_short(document.get('node_type'))}, not the {kind} that the record names")
    unknown = sorted(set(document) - keys)
    if unknown:
        _refuse(path, f"it has the unknown entries {[_short(key) for key in unknown[:5]]}")


def _named(value: Any, path: Path, what: str, allowed: Mapping[str, set[str]]) -> dict[str, Any]:
    """A ``{"name": ..., "configuration": {...}}`` whose name and keys are in the table; values are numbers, strings or lists of numbers."""
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in allowed:
        _refuse(path, f"{what} {_short(name if name is not None else value)} is not allowed")
    configuration = value.get("configuration", {})
    if not isinstance(configuration, dict) or not set(configuration) <= allowed[name] or not set(value) <= {"name", "configuration"}:
        _refuse(path, f"{what} {name!r} has a configuration that is not known")
    return {"name": name, "configuration": configuration}


def _sizes(value: Any, path: Path, what: str, low: int) -> tuple[int, ...]:
    whole = isinstance(value, list) and len(value) <= MAX_DIMS and all(type(size) is int and low <= size < 2**62 for size in value)
    if not whole:
        _refuse(path, f"its {what} is {_short(value)}")
    return tuple(value)


def _attributes(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        _refuse(path, "its attributes are not an object")
    return attributes


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(path: Path, why: str) -> NoReturn:
    raise FileFormatError(f"{path} was refused before it was opened: {why}. It is damaged or was not written by dynrnn.")
