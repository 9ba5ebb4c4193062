"""SQLite on a local disk: the storage of one machine, for any number of its processes.

The file is made whole: tables and settings are written beside it and linked into place, so that a worker killed in between leaves nothing, and workers that
start at once find one file. Write-ahead logging lets readers and one writer go on together and needs one flush a commit; every commit is
flushed (synchronous=FULL). A writer waits up to ``TIMEOUT`` seconds for another. While workers run, two more files lie beside the database (-wal and -shm):
copy a study when nobody has it open.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage, get_storage

from dynrnn.errors import StorageError, StudyError
from dynrnn.study.storage.connector import Connector
from dynrnn.study.storage.filesystems import filesystem_of, is_network
from dynrnn.study.storage.guard import Guard, guarded
from dynrnn.study.storage.table_leases import METADATA, TableLeases

SUFFIXES = (".db", ".sqlite", ".sqlite3")
TIMEOUT = 30.0
_HEADER = b"SQLite format 3\x00"


def open_sqlite(path: Path, guard: Guard) -> tuple[BaseStorage, TableLeases, Callable[[], None]]:
    """Optuna's storage on the file, made where there is none, and the leases in it."""
    kind = filesystem_of(path)
    if is_network(kind):
        raise StorageError(
            f"{path} lies on a file system of the network ({kind}), where SQLite's locks do not hold and a study can be destroyed. "
            "Use a journal there (the name ends in .journal), PostgreSQL for many machines, or a local disk."
        )
    guard(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    if not path.exists():
        guard(lambda: _make(path))
    _check(path, guard)
    rdb = guard(lambda: _connect(path))
    guard(lambda: METADATA.create_all(rdb.engine))
    return guarded(get_storage(rdb), guard), TableLeases(rdb.engine, guard), rdb.engine.dispose


def _connect(path: Path, *, new: bool = False) -> RDBStorage:
    """Optuna's storage with connections of ours, so that no sign in a path is taken for a part of a URL."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=TIMEOUT, check_same_thread=False)
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    connector = Connector(connect)
    with connector.opening():
        try:
            return RDBStorage("sqlite:///study", engine_kwargs={"creator": connector, "poolclass": sa.pool.QueuePool}, skip_table_creation=not new)
        except RuntimeError as error:
            raise StudyError(f"{path} was written by another version of Optuna: {str(error).strip()}") from None


def _make(path: Path) -> None:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        rdb = _connect(beside, new=True)
        METADATA.create_all(rdb.engine)
        rdb.remove_session()
        with rdb.engine.connect() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
        rdb.engine.dispose()
        try:
            os.link(beside, path)
        except FileExistsError:
            pass  # another worker was quicker, with the same empty tables
        except OSError:  # a file system without hard links
            if not path.exists():
                os.rename(beside, path)
    finally:
        for leftover in path.parent.glob(f"{beside.name}*"):
            leftover.unlink(missing_ok=True)


def _check(path: Path, guard: Guard) -> None:
    """StudyError unless the file is a database of Optuna's; nothing in it is changed."""

    def look() -> tuple[bytes, set[str]]:
        with open(path, "rb") as stream:
            header = stream.read(len(_HEADER))
        if header != _HEADER:
            return header, set()
        with contextlib.closing(sqlite3.connect(path, timeout=TIMEOUT)) as connection:
            return header, {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    try:
        header, tables = guard(look)
    except StorageError as error:
        raise StudyError(f"{path} is no study that can be read. {error}") from None
    if header != _HEADER:
        found = "is empty" if not header else f"is no SQLite database (it begins with {header[:8]!r})"
        raise StudyError(f"{path} {found}, so it is no study. Name another file; a new one is made where none exists.")
    if not {"studies", "trials", "alembic_version"} <= tables:
        some = ", ".join(sorted(tables)[:5]) or "none"
        raise StudyError(f"{path} is a SQLite database of something else (its tables: {some}), not a study. Name another file.")


def describe(path: Path) -> str:
    return f"SQLite {path}"


def url_path(text: str) -> Any:
    """The path of sqlite:///relative or sqlite:////absolute; None for anything else."""
    return Path(text.removeprefix("sqlite:///")) if text.startswith("sqlite:///") and len(text) > len("sqlite:///") else None
