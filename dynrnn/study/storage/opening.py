"""One way to open a storage, from one line of text that carries no password."""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.storages import BaseStorage

from dynrnn.errors import ArgumentError, StorageError
from dynrnn.study.storage import journal, postgres, sqlite
from dynrnn.study.storage.guard import Guard
from dynrnn.study.storage.leases import Leases

VARIABLE = "DYNRNN_STORAGE"
PATIENCE = 300.0
_KINDS = (
    "a path that ends in .db (SQLite, for one machine), a path that ends in .journal (for a shared file system), or env:NAME or file:PATH, "
    "where a PostgreSQL URL is kept (for many machines)"
)


class StudyStorage:
    """An open storage. ``optuna`` is what Optuna's own functions take, ``leases`` says who works on what, ``guard`` retries and cleans messages.

    Sent to another process it is opened there again, from the same text. Open it after a fork, not before.
    """

    def __init__(self, source: str, guard: Guard, optuna: BaseStorage, leases: Leases, close: Callable[[], None]) -> None:
        self.source = source
        self.optuna = optuna
        self.leases = leases
        self.guard = guard
        self._close = close

    def describe(self) -> str:
        """The storage in words without secrets, for logs and manifests."""
        return self.guard.place

    def __repr__(self) -> str:
        return f"StudyStorage({self.describe()})"

    def close(self) -> None:
        """Close the connections to a database; the next use makes new ones."""
        self._close()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_storage, (self.source,)


def open_storage(source: str | os.PathLike[str] | None = None, *, patience: float = PATIENCE) -> StudyStorage:
    """Open the storage of studies, and make it where there is none.

    source    ``runs/study.db`` or ``sqlite:///runs/study.db``: SQLite on a local disk, for one machine; refused on a network file system.
              ``runs/study.journal``: a journal, for machines that share a file system.
              ``env:NAME``: the text in that variable; ``file:PATH``: the first line of that file, which only its owner may read. So a PostgreSQL URL
              (``postgresql://user:password@host/database``, for many machines) is given; typed out it must have no password, since others see it in
              the list of processes. None: ``env:DYNRNN_STORAGE``.
    patience  seconds for which a lost connection or a busy database is tried again, with growing pauses, before StorageError (300; at opening at most 5)

    ArgumentError where the text is none of these; StorageError where the storage cannot be reached or written, or must not be used; StudyError where a
    file is no study or another version's. No message, repr or log of the storage holds the password. Opening costs O(records) for a journal, O(1) otherwise.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> storage = open_storage(folder.name + "/study.journal")
    >>> storage.describe()
    'journal /.../study.journal'
    >>> folder.cleanup()
    """
    if isinstance(patience, bool) or not math.isfinite(patience) or patience < 0:
        raise ArgumentError(f"patience must be a number of seconds from 0 up, got {patience!r}.")
    text = os.fspath(source) if source is not None else f"env:{VARIABLE}"
    place = place_of(text)
    if isinstance(place, sa.URL):
        guard = Guard(postgres.describe(place), patience, postgres.secrets_of(place))
        return StudyStorage(text, guard, *postgres.open_postgres(place, guard))
    if place.suffix in sqlite.SUFFIXES:
        guard = Guard(sqlite.describe(place), patience)
        return StudyStorage(text, guard, *sqlite.open_sqlite(place, guard))
    guard = Guard(journal.describe(place), patience)
    return StudyStorage(text, guard, *journal.open_journal(place, guard))


def place_of(text: str) -> sa.URL | Path:
    """The database's URL, or the path of the SQLite file or the journal, that the text of a storage names; nothing is opened but what ``file:`` names.

    ArgumentError where it names none; StorageError where what ``file:`` names cannot be used.
    """
    if not isinstance(text, str) or not text.strip():
        raise ArgumentError(f"the storage is empty text. Name {_KINDS}.")
    kept = _kept(text)
    value, where = (text, "the storage") if kept is None else (kept, f"what {text} holds")
    if "://" in value and not value.startswith("sqlite:"):
        url = _url(value, where)
        if kept is None and postgres.has_secret(url):
            raise ArgumentError(
                "the storage's URL has a password, which others see in the list of processes and in the shell's history. Put the URL into the environment "
                f"variable {VARIABLE}, or into a file that only you can read (chmod 600), and name that: env:{VARIABLE} or file:PATH."
            )
        return url
    path = sqlite.url_path(value) or Path(value)
    if path.suffix not in (*sqlite.SUFFIXES, *journal.SUFFIXES):
        # A URL with a slip of the pen may hold a password, so it is not repeated.
        shown = f" {value!r}" if kept is None and not set("@:") & set(value) else ""
        raise ArgumentError(f"{where}{shown} is no storage that is known. Name {_KINDS}.")
    return path


def _kept(text: str) -> str | None:
    """What the variable or file named by env:NAME or file:PATH holds; None for any other text."""
    kind, _, name = text.partition(":")
    if kind == "env":
        value = os.environ.get(name, "").strip()
        if not value:
            raise ArgumentError(f"the environment variable {name} is not set, so there is no storage. Set it, or name {_KINDS}.")
        return value
    if kind != "file":
        return None
    path, problem, mode, value = Path(name), "", 0, ""
    try:
        with open(path, encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            value = stream.readline(8192).strip()
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "it is no text"
    # Raised out here, since what could not be decoded would go along with the error.
    if problem:
        raise StorageError(f"{path}, which should hold the storage's URL, cannot be read: {problem}.")
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise StorageError(f"{path} holds the storage's URL and can be read by others (mode {stat.S_IMODE(mode):o}). Close it first: chmod 600 {path}")
    if not value:
        raise ArgumentError(f"the first line of {path} is empty, so there is no storage. Write the URL there.")
    return value


def _url(text: str, where: str) -> sa.URL:
    """The URL; ArgumentError in words of our own, since a parser's message may repeat a password."""
    url = None
    with contextlib.suppress(Exception):
        url = sa.make_url(text)
    if url is None:
        raise ArgumentError(
            f"{where} cannot be read as a URL. It looks like postgresql://user:password@host:5432/database; in a password, @ : / are written %40 %3A %2F."
        )
    if url.drivername not in postgres.SCHEMES:
        raise ArgumentError(f"{where} is a URL of the kind {url.drivername!r}, and only postgresql:// is known. Name {_KINDS}.")
    return url
