"""One place for what a storage may throw: transient faults are tried again with growing pauses, the rest becomes a StorageError without secrets."""

from __future__ import annotations

import abc
import errno
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sqlalchemy.exc
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage

from dynrnn.errors import StorageError, StudyError

_log = logging.getLogger("dynrnn.study")
_jitter = random.Random()  # of its own: a wait must not move the numbers that somebody else draws
_Result = TypeVar("_Result")

# What a database says while it restarts, moves or is crowded; SQLSTATE classes 08 (connection), 40 (deadlock) and 57 (shutdown) count as well.
_PASSING = (
    "server closed the connection", "connection refused", "connection timed out", "connection reset", "could not connect", "the connection is lost",
    "terminating connection", "consuming input failed", "ssl connection has been closed", "is starting up", "is shutting down", "recovery mode",
    "not yet accepting connections", "too many clients", "remaining connection slots", "database is locked", "timeout expired", "no route to host",
    "no such file or directory\n\tis the server",
)  # fmt: skip
_FULL = ("disk is full", "no space left", "disk i/o error", "file too large", "could not extend file", "quota exceeded")
_PASSING_CODES = ("08", "40", "57P", "53300")


class Guard:
    """Runs steps on a storage that may fail.

    ``patience`` is how many seconds a transient fault is tried again before StorageError says so; ``place`` names the storage without secrets, and each of
    ``secrets`` is struck out of every message. KeyError, DuplicatedStudyError and UpdateFinishedTrialError are answers, not faults, and pass.
    """

    def __init__(self, place: str, patience: float, secrets: tuple[str, ...] = ()) -> None:
        self.place = place
        self.patience = patience
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, step: Callable[[], _Result], patience: float | None = None) -> _Result:
        patience = self.patience if patience is None else patience
        began, pause = time.monotonic(), 0.05
        while True:
            fault: StorageError | None = None
            try:
                return step()
            except (StorageError, DuplicatedStudyError, UpdateFinishedTrialError, KeyError, sqlalchemy.exc.IntegrityError):
                raise
            except Exception as error:
                cause = fault_behind(error)
                if cause is None:
                    raise
                waited = time.monotonic() - began
                again = is_passing(cause) and waited + pause < patience
                fault = self._error(cause, waited)
            # Raised out here, so that no chained traceback carries the driver's own words, which may hold what was sent.
            if not again:
                raise fault
            if pause > 1.0:
                _log.warning("%s; trying again for %.0f s more.", str(fault).splitlines()[0], patience - waited)
            time.sleep(pause * _jitter.uniform(0.5, 1.0))
            pause = min(2 * pause, 10.0)

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _error(self, cause: BaseException, waited: float) -> StorageError:
        said = self.clean(" ".join(_words(cause).split())) or type(cause).__name__
        if any(word in said.lower() for word in _FULL) or getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "The disk is full or a quota is reached: free space, then start again; what was recorded before is intact."
        elif is_passing(cause):
            advice = f"It did not come back within {waited:.0f} s of trying; what was recorded before is intact. Start the worker again when it is there."
        else:
            advice = "What was recorded before is intact. Check that the storage exists, that you may write to it, and that nothing else changed it."
        return StorageError(f"the storage {self.place} failed: {said}. {advice}")


def fault_behind(error: BaseException) -> BaseException | None:
    """The driver's, database's or operating system's error in a chain of causes; None where the program itself is wrong."""
    for one in _chain(error):
        if isinstance(one, sqlalchemy.exc.SQLAlchemyError | sqlite3.Error | OSError):
            return one
    return None


def is_passing(fault: BaseException) -> bool:
    """Whether the fault may be over soon: a lost or refused connection, a lock held by others, a stale handle of a network file system."""
    if isinstance(fault, sqlalchemy.exc.DBAPIError):
        code = str(getattr(fault.orig, "sqlstate", None) or "")
        return fault.connection_invalidated or code.startswith(_PASSING_CODES) or any(word in _words(fault).lower() for word in _PASSING)
    return isinstance(fault, sqlalchemy.exc.TimeoutError) or getattr(fault, "errno", None) in (errno.ESTALE, errno.EINTR, errno.ETIMEDOUT)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _words(fault: BaseException) -> str:
    """The driver's message alone: SQLAlchemy's own adds the statement and its parameters."""
    return str(fault.orig if isinstance(fault, sqlalchemy.exc.DBAPIError) else fault)


class GuardedStorage(BaseStorage):
    """An Optuna storage whose every call goes through a guard; Optuna, its samplers and pruners take it for the storage itself."""

    def __init__(self, inner: BaseStorage, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    def __repr__(self) -> str:
        return f"<storage {self._guard.place}>"

    def __getstate__(self) -> Any:
        raise TypeError("a storage is not sent between processes: open it again there, dynrnn.study.open_storage(...).")


def _forwarding(name: str) -> Callable[..., Any]:
    def call(self: GuardedStorage, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._guard(lambda: getattr(self._inner, name)(*args, **kwargs))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, KeyError) or not name.startswith("get_"):          # a study or trial that there is not; a value that is refused
                raise
            said = f"{type(error).__name__}: {self._guard.clean(str(error))}"
            raise StudyError(f"{self._guard.place} holds what cannot be read ({said}): another version wrote it, or it was changed or damaged.") from None

    call.__name__, call.__doc__ = name, getattr(BaseStorage, name).__doc__
    return call


for _name in [name for name, value in vars(BaseStorage).items() if callable(value) and not name.startswith("_")]:
    setattr(GuardedStorage, _name, _forwarding(_name))
abc.update_abstractmethods(GuardedStorage)


def guarded(inner: BaseStorage, guard: Guard) -> BaseStorage:
    """``inner`` behind the guard."""
    return GuardedStorage(inner, guard)  # type: ignore[abstract]  # its methods were set above
