"""A worker of a study: takes trials from the queue until none is left."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from dynrnn.errors import DynrnnError, RunFolderError, StorageError
from dynrnn.results._files import writing
from dynrnn.study.claims import Claim
from dynrnn.study.objectives import AGGREGATES
from dynrnn.study.pruners import PRUNERS
from dynrnn.study.queue import TrialQueue
from dynrnn.study.sampling import sampler_named
from dynrnn.study.setting import shape_of
from dynrnn.study.storage import open_storage
from dynrnn.study.task import Task, storage_of
from dynrnn.study.trial import Outcome, Part, run_trials

_log = logging.getLogger("dynrnn.study")
STOP_SECONDS = 1.0            # a worker that waits for trials asks so often whether it shall stop
FEWEST_FAILURES = 3           # so many trials in a row that fail by an error of the program end the worker


def open_queue(folder: Path, task: Task) -> TrialQueue:
    """The queue of the study in this folder."""
    return TrialQueue(
        open_storage(storage_of(folder, task)), task.study_name, task.space, sampler=sampler_named(task.sampler), random_state=task.random_state,
        n_trials=task.n_trials, lease=task.lease, directions=task.directions, attributes=task.identity(), batch=task.batch,
    )


def work(folder: Path, task: Task, share: int = 1, bar: Any = None, stop: Callable[[], bool] | None = None) -> int:
    """Run trials until all have ended, those of workers that die meanwhile included; returns how many this worker ended.

    share : workers that take from one batch, so that each leaves the others theirs. stop : asked between trials; True ends this worker.
    Errors of a trial are its failure, also where it trained beside others, which are then run one by one. StorageError, a full disk, and three errors in a
    row that are not dynrnn's end the worker, which gives its trials back.
    """
    queue, pruner = open_queue(folder, task), PRUNERS[task.pruner](task.n_rungs)
    ended, wrong = 0, 0
    try:
        while stop is None or not stop():
            claims = _take(queue, max(1, task.batch // share))
            if not claims:
                if queue.wait(None if stop is None else STOP_SECONDS):
                    return ended
                continue
            with contextlib.ExitStack() as alive:
                for claim in claims:
                    alive.enter_context(claim.keep_alive())
                groups, group = list(_of_one_shape(task, claims)), []
                try:
                    while groups:
                        group = groups.pop(0)
                        outcomes, error = _tried(folder, task, group, pruner)
                        if error is not None and len(group) > 1:                    # which of them it was is seen when each is alone
                            groups[:0] = [[claim] for claim in group]
                            continue
                        wrong = 0 if error is None or isinstance(error, DynrnnError) else wrong + 1
                        ended += _end(queue, folder, task, group, outcomes)
                        if bar is not None:
                            bar.update(len(group))
                        if error is not None and wrong >= FEWEST_FAILURES:
                            raise error
                except Exception as error:
                    for claim in claims:                                            # a storage's fault is no trial's; another may be that of those in hand
                        if isinstance(error, StorageError | RunFolderError) or claim not in group:
                            claim.release()
                    raise
        return ended
    finally:
        queue.storage.close()


def _take(queue: TrialQueue, most: int) -> list[Claim]:
    claims: list[Claim] = []
    while len(claims) < most and (claim := queue.next()) is not None:
        claims.append(claim)
    return claims


def _of_one_shape(task: Task, claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    if task.function is not None:
        yield from ([claim] for claim in claims)
        return
    groups: dict[tuple, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(shape_of(task.setting | claim.params), []).append(claim)
    yield from groups.values()


def trial_folder(folder: Path, number: int) -> Path:
    return folder / "trials" / f"{number:05d}"


def _run(folder: Path, task: Task, claims: Sequence[Claim], pruner: optuna.pruners.BasePruner | None) -> list[Outcome]:
    if task.function is not None:
        place = trial_folder(folder, claims[0].number)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        return [Outcome(task.function(dict(claims[0].params), task.random_state, place))]

    def watch(part: int, rung: int, quality: np.ndarray) -> bool:
        value = AGGREGATES[task.aggregate](quality, "minimize")
        claims[part].report(rung, sign * value)
        assert pruner is not None
        return claims[part].lost.is_set() or not np.isfinite(value) or claims[part].should_prune(pruner)

    sign = 1.0 if task.directions[0] == "minimize" else -1.0                        # pruners and samplers read rungs in the study's direction
    parts = [Part(dict(claim.params), trial_folder(folder, claim.number), claim) for claim in claims]
    return run_trials(task, parts, None if pruner is None else watch)


def _tried(folder: Path, task: Task, claims: Sequence[Claim], pruner: optuna.pruners.BasePruner | None) -> tuple[list[Outcome], Exception | None]:
    """What came of the trials, and the error that is their failure, if one is. Faults of the storage and the folder are not, and pass."""
    try:
        return _run(folder, task, claims, pruner), None
    except (StorageError, RunFolderError):
        raise
    except Exception as error:
        _log.warning("trials %s failed: %s: %s", [c.number for c in claims], type(error).__name__, error)
        return [Outcome(None, f"{type(error).__name__}: {error}")] * len(claims), error


def _end(queue: TrialQueue, folder: Path, task: Task, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> int:
    """Record what came of the trials; returns how many of them counted, which those that another worker has ended meanwhile do not."""
    counted = 0
    for claim, outcome in zip(claims, outcomes):
        if outcome.about is not None:
            claim.set_attrs(**outcome.about)
            _show(queue, folder, claim)
        if outcome.values is None:
            counted += claim.fail(outcome.reason)
        elif outcome.stopped:
            counted += claim.prune(outcome.values[0])
        else:
            counted += claim.finish(outcome.values)
    return counted


def _show(queue: TrialQueue, folder: Path, claim: Claim) -> None:
    """The attractor's picture, as an artifact of Optuna's that its dashboard shows."""
    picture = trial_folder(folder, claim.number) / "attractor.png"
    if not picture.exists() or claim.lost.is_set():
        return
    trial = queue.storage.optuna.get_trial(claim._trial_id)
    if any(name.startswith("artifacts:") for name in trial.system_attrs):           # a worker that was lost has put it there
        return
    with writing(folder / "artifacts"):
        (folder / "artifacts").mkdir(exist_ok=True)
        store = FileSystemArtifactStore(folder / "artifacts")
        upload_artifact(artifact_store=store, file_path=str(picture), study_or_trial=trial, storage=queue.storage.optuna)
