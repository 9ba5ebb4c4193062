"""Leases as small files in a folder beside a journal, for a shared file system.

The lease of generation g on trial t is the file ``t.g``. It is made complete by a hard link, which succeeds for one of several makers, on NFS too; its
owner alone rewrites it, by rename, to count the beat up. Generations stay until the trial has ended, so that a maker with a stale view cannot make one
again. NFS may show a beat late by as long as it keeps attributes (60 s as a rule): lease=180 or more suits it. A view that is too old can only cause work
to be done twice, never a second result.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from dynrnn.study.storage.guard import Guard
from dynrnn.study.storage.leases import Lease


class FileLeases:
    """Each step lists the folder: O(trials in work)."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self._folder = folder
        self._guard = guard

    def read(self, study_id: int) -> dict[int, Lease]:
        def look() -> dict[int, Lease]:
            leases = (self._lease(study_id, trial_id, max(generations)) for trial_id, generations in self._generations().items())
            return {lease.trial_id: lease for lease in leases if lease is not None}

        return self._guard(look)

    def take(self, study_id: int, trial_id: int, generation: int, owner: str, losses: int) -> bool:
        return self._guard(lambda: self._take(study_id, Lease(trial_id, generation + 1, owner, 0, losses)))

    def renew(self, study_id: int, trial_id: int, generation: int, owner: str) -> bool:
        return self._guard(lambda: self._rewrite(study_id, trial_id, generation, owner, release=False))

    def release(self, study_id: int, trial_id: int, generation: int, owner: str) -> bool:
        return self._guard(lambda: self._rewrite(study_id, trial_id, generation, owner, release=True))

    def drop(self, study_id: int, trial_id: int) -> None:
        def remove() -> None:
            for generation in self._generations().get(trial_id, []):
                self._path(trial_id, generation).unlink(missing_ok=True)

        self._guard(remove)

    def _path(self, trial_id: int, generation: int) -> Path:
        return self._folder / f"{trial_id}.{generation}"

    def _generations(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for name in os.listdir(self._folder):
            trial, _, generation = name.partition(".")
            if trial.isdigit() and generation.isdigit():
                found.setdefault(int(trial), []).append(int(generation))
        return found

    def _lease(self, study_id: int, trial_id: int, generation: int) -> Lease | None:
        """The lease in a file; None where it is another study's or was dropped. A damaged file has an unknown owner, so that time decides."""
        try:
            document = json.loads(self._path(trial_id, generation).read_bytes()[:4096])
            of, owner, beat, losses = document["study"], document["owner"], document["beat"], document["losses"]
            return Lease(trial_id, generation, str(owner), int(beat), int(losses)) if of == study_id else None
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return Lease(trial_id, generation, "unknown")

    def _take(self, study_id: int, lease: Lease) -> bool:
        path = self._path(lease.trial_id, lease.generation)
        with self._written(study_id, lease) as beside:
            try:
                os.link(beside, path)
            except FileExistsError:
                # Over NFS the answer to a link that succeeded may be lost; the second name tells.
                if os.stat(beside).st_nlink != 2:
                    return False
            except OSError:  # a file system without hard links
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return False
                os.replace(beside, path)
        return max(self._generations().get(lease.trial_id, [0])) == lease.generation

    def _rewrite(self, study_id: int, trial_id: int, generation: int, owner: str, *, release: bool) -> bool:
        generations = self._generations().get(trial_id, [0])
        lease = self._lease(study_id, trial_id, generation)
        if max(generations) != generation or lease is None or lease.owner != owner:
            return False
        with self._written(study_id, Lease(trial_id, generation, "" if release else owner, lease.beat + 1, lease.losses)) as beside:
            os.replace(beside, self._path(trial_id, generation))
        return True

    @contextlib.contextmanager
    def _written(self, study_id: int, lease: Lease) -> Iterator[Path]:
        """A complete file under a name of its own, gone after the block whatever happened in it."""
        beside = self._folder / f"new-{uuid.uuid4().hex[:16]}"
        try:
            beside.write_text(json.dumps({"study": study_id, "owner": lease.owner, "beat": lease.beat, "losses": lease.losses}))
            yield beside
        finally:
            beside.unlink(missing_ok=True)
