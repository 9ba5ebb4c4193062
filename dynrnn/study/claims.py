"""A trial in the hands of one worker."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from dynrnn.errors import ArgumentError, StorageError
from dynrnn.study.values import as_number, check_values

if TYPE_CHECKING:
    from dynrnn.study.queue import TrialQueue

_log = logging.getLogger("dynrnn.study")
REASON = "reason"


class Claim:
    """The right to work on one trial, until it is finished, given back or lost.

    ``number``, ``params`` and ``user_attrs`` are the trial's; ``attempt`` is the generation of the lease, 1 for a trial's first worker, and ``losses`` how
    many of the workers before died; ``lost`` (a threading.Event) is set once another worker has the trial. No method raises for having come too late: those
    that write return False, and the worker goes on with its next trial.
    """

    def __init__(self, queue: TrialQueue, trial: FrozenTrial, params: dict[str, Any], generation: int, owner: str, losses: int) -> None:
        self.number = trial.number
        self.params = params
        self.user_attrs = dict(trial.user_attrs)
        self.attempt = generation
        self.losses = losses
        self.lost = threading.Event()
        self._queue = queue
        self._trial_id = trial._trial_id
        self._owner = owner

    def __repr__(self) -> str:
        return f"Claim(number={self.number}, attempt={self.attempt}, params={self.params})"

    def report(self, step: int, value: float) -> bool:
        """Store a value on the way (NaN where it is no number); a step that is reported again is overwritten, as a trial that is resumed does."""
        number = as_number(value)
        return self._write(lambda: self._optuna.set_trial_intermediate_value(self._trial_id, int(step), float("nan") if number is None else number))

    def should_prune(self, pruner: BasePruner) -> bool:
        """Whether the pruner would stop the trial after what it has reported; ArgumentError for several objectives, for which Optuna has no pruning."""
        if self._queue.n_objectives > 1:
            raise ArgumentError("pruning compares values of one objective, and this study has several. Stop trials by their own divergence instead.")
        return bool(pruner.prune(self._queue.study(), self._optuna.get_trial(self._trial_id)))

    def set_attrs(self, **attrs: Any) -> bool:
        """Store JSON values with the trial (user attributes)."""
        done = all(self._write(lambda key=key, value=value: self._optuna.set_trial_user_attr(self._trial_id, key, value)) for key, value in attrs.items())
        if done:
            self.user_attrs.update(attrs)
        return done

    def renew(self) -> bool:
        """Show that this worker lives; False where another one has the trial."""
        if not self.lost.is_set() and not self._queue.storage.leases.renew(*self._key, self._owner):
            self.lost.set()
        return not self.lost.is_set()

    @contextlib.contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Renew the lease from a daemon thread, four times in its duration, while the block runs; a clean stop (Ctrl-C, exit) gives the trial back at once.

        The lease must be longer than the longest call of the block that keeps Python's other threads from running.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(stop,), name=f"trial-{self.number}", daemon=True)
        thread.start()
        try:
            yield
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            stop.set()
            self.release()
            raise
        finally:
            stop.set()
            thread.join(timeout=self._queue.lease)

    def finish(self, values: Any) -> bool:
        """Record the values (one for each objective). What is not finite, no number or of the wrong count makes the trial a failure with that reason."""
        numbers, problem = check_values(values, self._queue.n_objectives)
        if problem:
            return self.fail(problem)
        return self._end(TrialState.COMPLETE, numbers)

    def fail(self, reason: str) -> bool:
        """Record that the trial failed, and why (the attribute "reason")."""
        return self.renew() and self.set_attrs(**{REASON: str(reason)[:2000]}) and self._end(TrialState.FAIL, None)

    def prune(self, value: float | None = None) -> bool:
        """Record that the trial was pruned at this value (none where it is not finite, or for several objectives)."""
        numbers, problem = check_values([value], self._queue.n_objectives)
        return self._end(TrialState.PRUNED, None if problem else numbers)

    def release(self) -> bool:
        """Give the trial back unfinished: the next worker takes it at once, and no lost worker is counted."""
        self.lost.set()
        try:
            return self._queue.storage.leases.release(*self._key, self._owner)
        except StorageError as error:
            _log.warning("trial %d could not be given back and waits for its lease to end: %s", self.number, error)
            return False

    @property
    def _optuna(self) -> Any:
        return self._queue.storage.optuna

    @property
    def _key(self) -> tuple[int, int, int]:
        return self._queue.study_id, self._trial_id, self.attempt

    def _write(self, step: Callable[[], object]) -> bool:
        if self.lost.is_set():
            return False
        try:
            step()
        except UpdateFinishedTrialError:
            self.lost.set()
            return False
        return True

    def _end(self, state: TrialState, values: list[float] | None) -> bool:
        """Fenced by the generation: who lost the lease records nothing. Between the check and the record the storage itself refuses a second result."""
        if not self.renew():
            return False
        done = self._write(lambda: self._optuna.set_trial_state_values(self._trial_id, state, values)) or self._recorded(state, values)
        self.lost.set()
        try:
            self._queue.storage.leases.drop(self._queue.study_id, self._trial_id)
        except StorageError as error:  # the result is in; a lease of a trial that has ended says nothing
            _log.warning("trial %d: its lease could not be removed: %s", self.number, error)
        return done

    def _recorded(self, state: TrialState, values: list[float] | None) -> bool:
        """Whether what the storage has is what we wrote: the answer may have been lost with a connection after the commit."""
        trial = self._optuna.get_trial(self._trial_id)
        return trial.state == state and trial.values == values

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(self._queue.lease / 4) and not self.lost.is_set():
            try:
                self.renew()
            except StorageError as error:
                # Nobody else can take the trial either while the storage is away; finish() decides once it is back.
                _log.warning("trial %d: the lease could not be renewed: %s", self.number, error)
