"""A lock between processes and machines that share a folder: a symbolic link whose target names the holder, made by one atomic step on NFS, too.

It has the name that Optuna's own journal lock has, so that Optuna's tools and ours exclude each other. A holder that was killed on this machine is seen at
once, any other after ``grace`` seconds of this process's own clock without a change. Links cannot be made by ordinary users on Windows; use SQLite or
PostgreSQL there.
"""

from __future__ import annotations

import os
import random
import time
import zlib
from pathlib import Path
from types import TracebackType

from dynrnn.study.storage.owners import known_dead, new_owner

GRACE = 30.0
_jitter = random.Random()


class FileLock:
    """Held inside a ``with`` block. OSError where the folder cannot be written; never a lock that two hold while both run."""

    def __init__(self, path: Path, grace: float = GRACE) -> None:
        self._path = path
        self._grace = grace
        self._owner = ""

    def __enter__(self) -> FileLock:
        owner, pause = new_owner(), 0.001
        seen, since = "", time.monotonic()
        while True:
            try:
                os.symlink(owner, self._path)
                self._owner = owner
                return self
            except FileExistsError:
                holder = _holder(self._path)
            if holder is None:                                                      # let go in between
                continue
            now = time.monotonic()
            if holder != seen:
                seen, since = holder, now
            if known_dead(holder) or now - since > self._grace:
                self._break(holder, owner)
                continue
            time.sleep(pause * _jitter.uniform(0.5, 1.0))
            pause = min(2 * pause, 0.05)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A holder that slept beyond the grace may find the lock to be another's.
        if _holder(self._path) == self._owner:
            self._path.unlink(missing_ok=True)

    def _break(self, holder: str, owner: str) -> None:
        """Remove a dead holder's lock. Of those who want to, the one that makes the mark may, and looks again first; a dead breaker's mark is passed over."""
        name = f"{self._path.name}.{zlib.crc32(holder.encode()):08x}"
        marks = [self._path.with_name(f"{name}.{i}") for i in range(8)]
        for mark in marks:
            try:
                os.symlink(owner, mark)
            except FileExistsError:
                breaker = _holder(mark)
                if breaker is not None and known_dead(breaker):
                    continue
                time.sleep(0.01)
                return
            if _holder(self._path) == holder:
                self._path.unlink(missing_ok=True)
            for stale in marks[: marks.index(mark) + 1]:
                stale.unlink(missing_ok=True)
            return


def _holder(path: Path) -> str | None:
    """Who has it; None where nobody has. What is no link (another program's lock, a copy of one) is held by somebody unknown."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return "unknown"
