"""Leases: who works on a trial, told apart by a generation that only grows.

A worker that takes a trial writes generation g + 1 in place of g, and one of several that try succeeds (compare and swap). It shows
that it is alive by counting a beat up. Nobody compares clocks of two machines: a watcher remembers the beat and its *own* monotonic time when it first
saw it, and calls the lease dead if the beat stays the same for longer than the lease lasts (`Watch`). What a dead worker does when it
wakes is refused, since its generation is gone. A trial without a lease is of generation 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dynrnn.study.storage.owners import known_dead


@dataclass(frozen=True)
class Lease:
    """The state of one trial's lease: ``owner`` is empty where its worker gave it back; ``losses`` counts the workers that it lost."""

    trial_id: int
    generation: int
    owner: str
    beat: int = 0
    losses: int = 0


@runtime_checkable
class Leases(Protocol):
    """What a storage must offer; every method is one atomic step, and none raises for having come too late."""

    def read(self, study_id: int) -> dict[int, Lease]:
        """The newest lease of each trial of the study that has one, by trial id."""
        ...

    def take(self, study_id: int, trial_id: int, generation: int, owner: str, losses: int) -> bool:
        """Go from ``generation`` to the next one, for ``owner``; False where another was quicker."""
        ...

    def renew(self, study_id: int, trial_id: int, generation: int, owner: str) -> bool:
        """Count the beat up; False where the lease is no longer the owner's."""
        ...

    def release(self, study_id: int, trial_id: int, generation: int, owner: str) -> bool:
        """Give the trial back, so that the next worker need not wait; False where it was no longer the owner's."""
        ...

    def drop(self, study_id: int, trial_id: int) -> None:
        """Forget the leases of a finished trial."""
        ...


class Watch:
    """Tells which leases are dead. ``duration`` is in seconds; ``clock`` is a monotonic clock of this process.

    A worker whose process is known to have ended on this machine, or that gave its trial back, is dead at once. Every call is O(1).
    """

    def __init__(self, duration: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.duration = duration
        self._clock = clock
        self._seen: dict[int, tuple[Lease, float]] = {}

    def dead(self, lease: Lease) -> bool:
        now = self._clock()
        known, since = self._seen.get(lease.trial_id, (None, now))
        if known != lease:
            self._seen[lease.trial_id] = (lease, now)
            since = now
        return not lease.owner or known_dead(lease.owner) or now - since > self.duration

    def forget(self, alive: Container[int]) -> None:
        """Drop what is remembered of trials that are not in ``alive``."""
        self._seen = {trial_id: seen for trial_id, seen in self._seen.items() if trial_id in alive}
