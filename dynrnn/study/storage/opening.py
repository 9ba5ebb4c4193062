"""One way to open a storage, from one line of text that carries no password."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage

from dynrnn.errors import ArgumentError
from dynrnn.study.storage import sqlite
from dynrnn.study.storage.guard import Guard
from dynrnn.study.storage.leases import Leases

VARIABLE = "DYNRNN_STORAGE"
PATIENCE = 300.0


class StudyStorage:
    """An open storage. ``optuna`` is what Optuna's own functions take, ``leases`` says who works on what, ``guard`` retries and cleans messages."""

    def __init__(self, source: str, optuna: BaseStorage, leases: Leases, guard: Guard, close: Callable[[], None]) -> None:
        self._close = close
        self.source = source
        self.optuna = optuna
        self.leases = leases
        self.guard = guard

    def describe(self) -> str:
        """The storage in words without secrets, for logs and manifests."""
        return self.guard.place

    def __repr__(self) -> str:
        return f"StudyStorage({self.describe()})"

    def close(self) -> None:
        """Close connections to a database; the storage must be opened again to go on."""
        self._close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the storage for itself; the text it opens it from has no password in it.
        return open_storage, (self.source,)


def open_storage(source: str | os.PathLike[str] | None = None, *, patience: float = PATIENCE) -> StudyStorage:
    """Open the storage of studies, and make it where there is none."""
    text = os.fspath(source) if source is not None else f"env:{VARIABLE}"
    path = sqlite.url_path(text) or Path(text)
    if path.suffix in sqlite.SUFFIXES:
        guard = Guard(sqlite.describe(path), patience)
        optuna, leases, close = sqlite.open_sqlite(path, guard)
        return StudyStorage(text, optuna, leases, guard, close)
    raise ArgumentError(f"no storage is known by {text!r}.")
