"""Files that are whole or absent: atomic writes, fsync, directory replacement, and JSON records that carry their own checksum.

Everything that a reader trusts is written beside its final place, forced to disk and renamed into it, so that a process killed at any
moment leaves the old state or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError, DynrnnError, FileFormatError, RunFolderError

MAX_JSON_BYTES = 16 * 2**20
SEAL = "sha256"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal (disk full, read-only, no permission) into one typed error that names the path."""
    try:
        yield
    except DynrnnError:                                                             # it says what failed already
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunFolderError(
            f"could not write {path}: {reason}. What was committed before is intact; free space or choose another folder, then try again."
        ) from None


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable; a no-op where directories cannot be opened (Windows)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(path: Path) -> None:
    """Force every file below ``path``, then every directory, to disk."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            fsync_file(Path(folder, name))
        fsync_directory(Path(folder))


def write_bytes(path: Path, data: bytes) -> None:
    """A new file, forced to disk."""
    with open(path, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in place of ``path`` in one step: a reader sees the old bytes or the new ones."""
    with writing(path):
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            write_bytes(beside, data)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def temporary_sibling(path: Path) -> Path:
    """A fresh empty directory beside ``path``, on the same file system, to be filled and renamed into place."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
        beside.mkdir()
        return beside


def previous_of(path: Path) -> Path:
    """Where the old directory waits during the two renames of a replacement; readers look there when ``path`` is missing."""
    return path.parent / f".{path.name}.previous"


def replace_directory(filled: Path, path: Path) -> None:
    """Rename the complete directory ``filled`` to ``path``; at every moment the old or the new one is found by ``resolve_directory``."""
    with writing(path):
        fsync_tree(filled)
        previous = previous_of(path)
        if path.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.rename(path, previous)
        os.rename(filled, path)
        fsync_directory(path.parent)
        shutil.rmtree(previous, ignore_errors=True)


def resolve_directory(path: Path) -> Path:
    """``path``, or the copy that a writer killed between its two renames left beside it."""
    previous = previous_of(path)
    return previous if not path.exists() and previous.is_dir() else path


def json_value(value: Any, where: str) -> Any:
    """``value`` as plain JSON (numpy scalars and arrays become numbers and lists, tuples lists); ArgumentError names what cannot be."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return json_value(value.item(), where)
    if isinstance(value, np.ndarray):
        return json_value(value.tolist(), where)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ArgumentError(f"{where}: key {key!r} is not a string, so it cannot be stored as JSON. Use str(key).")
        return {key: json_value(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ArgumentError(f"{where} is a {type(value).__name__}, which JSON cannot hold. Store numbers, strings, lists or dicts of these.")


def dump_json(document: Any) -> bytes:
    """The one spelling of a document: reading and dumping again gives the same bytes, the order of keys included."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; FileFormatError otherwise."""
    try:
        if path.is_symlink() or not path.is_file():
            kind = "a link" if path.is_symlink() else "missing"
            raise FileFormatError(f"{path} is {kind}: this is not a complete folder written by dynrnn. Copy the whole folder again.")
        if path.stat().st_size > limit:
            raise FileFormatError(f"{path} has {path.stat().st_size:,} bytes, more than the {limit:,} allowed: dynrnn did not write it.")
        return path.read_bytes()
    except FileFormatError:
        raise
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} could not be read: {error}.") from None


def parse_json(raw: bytes, path: Path) -> dict[str, Any]:
    """A JSON object from bytes; FileFormatError for anything else, however deep or broken."""
    try:
        document = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError, MemoryError):
        raise FileFormatError(f"{path} is not valid JSON: it is damaged or was not written by dynrnn.") from None
    if not isinstance(document, dict):
        raise FileFormatError(f"{path} does not hold a JSON object: it is damaged or was not written by dynrnn.")
    return document


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    return parse_json(read_bytes(path, limit), path)


def seal(document: Mapping[str, Any]) -> bytes:
    """A record with the sha256 of itself, so that any changed byte is noticed."""
    body = dict(document)
    body[SEAL] = hashlib.sha256(dump_json(dict(document))).hexdigest()
    return dump_json(body)


def read_sealed(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The record at ``path`` if every byte is as written and it is of the ``kind`` and format ``version`` wanted."""
    raw = read_bytes(path, MAX_JSON_BYTES)
    document = parse_json(raw, path)
    digest = document.pop(SEAL, None)
    try:
        intact = seal(document) == raw
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        state = "was changed after it was written" if isinstance(digest, str) else "carries no checksum"
        raise FileFormatError(f"{path} {state}: it is damaged or was not written by dynrnn. Restore it from a copy.")
    if document.get("format") != kind:
        raise FileFormatError(f"{path} is of the kind {document.get('format')!r}, not {kind!r}: another sort of folder is meant.")
    if document.get("format_version") != version:
        raise FileFormatError(
            f"{path} has format version {document.get('format_version')!r}, this dynrnn reads {version}. Install the version that wrote it."
        )
    return document


def digest_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
