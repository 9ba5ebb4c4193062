"""The queue of a study's trials, shared by any number of workers through its storage.

A trial is a unit of work with a number. Whoever takes it holds a lease; a worker that dies loses it, and the next one goes on with the *same* trial: same
number, same parameters, its checkpoint in its folder. So no trial is lost between a failure and a second try, and none is counted twice.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dynrnn.errors import ArgumentError, check_int
from dynrnn.study.claims import Claim
from dynrnn.study.identity import enter_study, unsaid
from dynrnn.study.sampling import Make, NumberedSampler, ask
from dynrnn.study.storage import Lease, StudyStorage
from dynrnn.study.storage.leases import Watch
from dynrnn.study.storage.owners import new_owner

OWNER = "dynrnn:owner"
STUDY_DIRECTIONS = {"minimize": StudyDirection.MINIMIZE, "maximize": StudyDirection.MAXIMIZE}


def check_lease(lease: Any) -> float:
    """A lease in seconds; ArgumentError for what is none."""
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not math.isfinite(lease) or lease <= 0:
        raise ArgumentError(f"lease must be a number of seconds above 0, got {lease!r}. 60 suits workers on one or more machines.")
    return float(lease)


class TrialQueue:
    """Trials to be worked on, each by one worker at a time.

    storage       an open storage (`open_storage`)
    study_name    the study's name in it; the study is made where there is none
    space         name of each parameter and Optuna's distribution of it, at least one
    sampler       makes Optuna's sampler from a seed (`sampler_named`); its answers are a function of random_state and the trial's number
    random_state  whole number from 0 up
    n_trials      trials in all, over every worker and session: completed, pruned, failed and running ones count. Workers that create trials in the same instant
                  may exceed it by one each
    lease         seconds without a sign of life after which a worker counts as dead (60); workers of this machine whose process has ended count at once
    max_attempts  a trial that lost so many workers becomes a failure (3)
    directions    "minimize" or "maximize" for each objective (one, "minimize")
    batch         trials that are proposed together (1), from what had ended before the batch and nothing else, so that parameters do not depend on how many
                  workers there are nor on which is first; a batch begins when the one before has ended
    attributes    JSON values that say what the study is of; written with it, and compared when it is opened again

    ArgumentError for arguments out of range; StudyError where the storage holds another study of that name, with what differs; StorageError where the
    storage fails.
    Optuna's samplers read every finished trial: asking costs O(trials x parameters).

    >>> import tempfile, optuna
    >>> from dynrnn.study import TrialQueue, open_storage, sampler_named
    >>> folder = tempfile.TemporaryDirectory()
    >>> storage = open_storage(folder.name + "/study.db")
    >>> space = {"x": optuna.distributions.FloatDistribution(-1.0, 1.0)}
    >>> queue = TrialQueue(storage, "parabola", space, sampler=sampler_named("tpe"), random_state=0, n_trials=3)
    >>> for claim in queue:
    ...     with claim.keep_alive():
    ...         done = claim.finish([claim.params["x"] ** 2])
    >>> [trial.state.name for trial in queue.trials()]
    ['COMPLETE', 'COMPLETE', 'COMPLETE']
    >>> storage.close(); folder.cleanup()
    """

    def __init__(
        self,
        storage: StudyStorage,
        study_name: str,
        space: Mapping[str, BaseDistribution],
        *,
        sampler: Make,
        random_state: int,
        n_trials: int,
        lease: float = 60.0,
        max_attempts: int = 3,
        directions: Sequence[str] = ("minimize",),
        batch: int = 1,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.storage = storage
        self.study_name = study_name
        self.space = dict(space)
        self.n_trials = check_int("n_trials", n_trials, low=1)
        self.max_attempts = check_int("max_attempts", max_attempts, low=1)
        self.lease = check_lease(lease)
        self.batch = check_int("batch", batch, low=1)
        self.sampler = NumberedSampler(sampler, random_state)
        self.directions = tuple(directions)
        self.n_objectives = len(directions)
        self.study_id = enter_study(storage, study_name, self.space, directions, random_state, attributes or {})
        self._watch = Watch(self.lease)

    def study(self) -> optuna.Study:
        """Optuna's study, fresh: it remembers the history of the first question put to it."""
        return optuna.Study(self.study_name, self.storage.optuna, sampler=self.sampler)

    def trials(self) -> list[FrozenTrial]:
        """All trials, in order of number. They are shared with the storage's memory: do not change them."""
        return self.storage.optuna.get_all_trials(self.study_id, deepcopy=False)

    @property
    def finished(self) -> bool:
        """Whether n_trials trials have ended and none is being worked on."""
        trials = self.trials()
        return len(trials) >= self.n_trials and all(trial.state.is_finished() for trial in trials)

    def next(self) -> Claim | None:
        """The next trial to work on: first one that lost its worker, in order of number, then a new one; None where everything is finished or in live hands."""
        while True:
            trials = self.trials()
            dead = self._dead(trials)
            if not dead and (len(trials) >= self.n_trials or not self._may_begin(len(trials), trials)):
                return None
            claim = self._take(*dead[0]) if dead else self._create()
            if claim is not None:
                return claim

    def _may_begin(self, number: int, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the batches before that of this trial have ended."""
        return self.batch == 1 or all(trial.state.is_finished() for trial in trials[: number - number % self.batch])

    def _asked(self, trial: FrozenTrial) -> bool:
        return self.space.keys() <= trial.params.keys()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every trial has ended (True) or one needs a worker (False); False as well after ``timeout`` seconds."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            trials = self.trials()
            if self._dead(trials) or (len(trials) < self.n_trials and self._may_begin(len(trials), trials)):
                return False
            if len(trials) >= self.n_trials and all(trial.state.is_finished() for trial in trials):
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, max(0.05, min(self.lease / 12, 1.0))))

    def __iter__(self) -> Iterator[Claim]:
        """Claims until every trial has ended, those included whose workers die while we wait."""
        while True:
            claim = self.next()
            if claim is not None:
                yield claim
            elif self.wait():
                return

    def _dead(self, trials: Sequence[FrozenTrial]) -> list[tuple[FrozenTrial, Lease]]:
        """Trials without a living worker, in order of number. The watch has to see every running one."""
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        leases = self.storage.leases.read(self.study_id) if running else {}
        self._watch.forget({trial._trial_id for trial in running})
        dead = []
        for trial in running:
            # Killed between creation and lease: who created it is known, unless that was another program.
            unleased = Lease(trial._trial_id, 0, str(trial.system_attrs.get(OWNER) or "unknown"))
            lease = leases.get(trial._trial_id, unleased)
            if self._watch.dead(lease) and (self._asked(trial) or self._may_begin(trial.number, trials)):
                dead.append((trial, lease))
        return dead

    def _take(self, trial: FrozenTrial, lease: Lease) -> Claim | None:
        owner = new_owner()
        losses = lease.losses + bool(lease.owner)
        if not self.storage.leases.take(self.study_id, trial._trial_id, lease.generation, owner, losses):
            return None
        claim = self._claim(trial._trial_id, lease.generation + 1, owner, losses)
        if claim is not None and losses >= self.max_attempts:
            claim.fail(f"its worker was lost {losses} times")
            return None
        return claim

    def _create(self) -> Claim | None:
        owner = new_owner()
        template = optuna.trial.create_trial(state=TrialState.RUNNING, system_attrs={OWNER: owner})
        trial_id = self.storage.optuna.create_new_trial(self.study_id, template)
        if not self.storage.leases.take(self.study_id, trial_id, 0, owner, 0):
            return None
        return self._claim(trial_id, 1, owner, 0)

    def _claim(self, trial_id: int, generation: int, owner: str, losses: int) -> Claim | None:
        """The claim on a trial whose lease was just taken, asked for the parameters that it lacks; None where it ended in the meantime."""
        store = self.storage.optuna
        trial = store.get_trial(trial_id)
        try:
            if not trial.state.is_finished():
                trials = self.trials()
                if not self._asked(trial) and not self._may_begin(trial.number, trials):
                    self.storage.leases.release(self.study_id, trial_id, generation, owner)     # two workers began trials at once, and a batch ends between
                    return None
                with self._known(trial, trials) as (study, asked):
                    params = ask(study, asked, self.space, lambda name, value, distribution: store.set_trial_param(trial_id, name, value, distribution))
                return Claim(self, trial, params, generation, owner, losses)
        except optuna.exceptions.UpdateFinishedTrialError:
            pass
        self.storage.leases.drop(self.study_id, trial_id)
        return None

    @contextlib.contextmanager
    def _known(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> Iterator[tuple[optuna.Study, FrozenTrial]]:
        """The study as a sampler may know it, and the trial in it: everything, or with batches what had ended before this one's, in memory."""
        if self.batch == 1:
            yield self.study(), trial
            return
        memory = optuna.storages.InMemoryStorage()
        with unsaid():
            study_id = memory.create_new_study([STUDY_DIRECTIONS[way] for way in self.directions], self.study_name)
        for before in trials[: trial.number - trial.number % self.batch]:
            memory.create_new_trial(study_id, before)
        memory_id = memory.create_new_trial(study_id)
        asked = copy.copy(trial)
        asked._trial_id = memory_id
        yield optuna.Study(self.study_name, memory, sampler=self.sampler), asked
        for key, value in memory.get_trial(memory_id).system_attrs.items():         # what samplers note for later generations
            self.storage.optuna.set_trial_system_attr(trial._trial_id, key, value)
