"""A journal file on a shared file system: every change to a study is one line of JSON, appended under a lock.

Optuna's own file backend is destroyed by one half-written line (a full disk, a killed writer): the next record is glued to it and no load succeeds again.
This one cuts a torn tail off, under the lock, before it appends, does not read what has no line end yet, and takes back what it could not write whole.
Every record is flushed to disk. Reading costs what was added since the last time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from dynrnn.errors import StorageError, StudyError
from dynrnn.study.storage.file_leases import FileLeases
from dynrnn.study.storage.guard import Guard, guarded
from dynrnn.study.storage.lock import FileLock

SUFFIXES = (".journal",)
_BLOCK = 65536
_LAST_OPERATION = 10  # what Optuna 5 writes and reads


class JournalFile(BaseJournalBackend):
    """Optuna's protocol of a journal: records by their running number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._read = (0, 0)  # how many records were read, and where the next one begins

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        number, offset = self._read if self._read[0] <= log_number_from else (0, 0)
        with open(self._path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size < offset:
                raise StorageError(f"{self._path} got shorter while it was in use: it was replaced by another copy. Start the worker again.")
            stream.seek(offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                record = _record(line)
                if record is None:
                    raise StorageError(f"{self._path} is damaged in line {number + 1:,}: no record of a study. Restore it from a copy, or cut that line out.")
                number, offset = number + 1, offset + len(line)
                self._read = (number, offset)
                if number > log_number_from:
                    yield record

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        data = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with self._lock, _appending(self._path) as handle:
            end = _whole(handle)
            try:
                written = os.write(handle, data)
                while written < len(data):
                    written += os.write(handle, data[written:])
                os.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, end)
                raise


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
    try:
        yield handle
    finally:
        os.close(handle)


def _whole(handle: int) -> int:
    """Cut the file after its last line end, and say where that is."""
    end = start = os.fstat(handle).st_size
    while start > 0:
        size = min(_BLOCK, start)
        os.lseek(handle, start - size, os.SEEK_SET)
        found = os.read(handle, size).rfind(b"\n")
        start -= size
        if found >= 0:
            start += found + 1
            break
    if start < end:
        os.ftruncate(handle, start)
    return start


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("worker_id"), str):
        return None
    operation = record.get("op_code")
    return record if isinstance(operation, int) and 0 <= operation <= _LAST_OPERATION else None


def open_journal(path: Path, guard: Guard) -> tuple[BaseStorage, FileLeases, Callable[[], None]]:
    """Optuna's storage on the file, made where there is none, and the leases in a folder beside it."""
    folder = path.with_name(path.name + ".leases")
    if path.exists():
        guard(lambda: _check(path, folder))
    # The folder first: an empty journal beside it is one whose maker was killed, and no file of somebody else.
    guard(lambda: folder.mkdir(parents=True, exist_ok=True))
    guard(lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)))
    try:
        inner = guard(lambda: JournalStorage(JournalFile(path)))
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        said = f"{type(error).__name__} {error}"
        raise StudyError(f"{path} has a record that cannot be read ({said}): another version of Optuna wrote it, or it is damaged.") from None
    return guarded(inner, guard), FileLeases(folder, guard), lambda: None


def _check(path: Path, folder: Path) -> None:
    if not path.is_file():
        raise StudyError(f"{path} is no file. Name the journal of a study, or a new one.")
    with open(path, "rb") as stream:
        first = stream.readline(1 << 20)
    if first.endswith(b"\n") and _record(first) is not None:
        return
    if not first.endswith(b"\n") and len(first) < 1 << 20 and folder.is_dir():
        return
    found = "is empty" if not first else f"is no journal (it begins with {first[:8]!r})"
    raise StudyError(f"{path} {found}, so it is no study. Name another file; a new one is made where none exists.")


def describe(path: Path) -> str:
    return f"journal {path}"
