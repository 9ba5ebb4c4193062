"""A study and what came of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from dynrnn.errors import ArgumentError, StudyError, check_int
from dynrnn.models.base import Model
from dynrnn.models.storage import load
from dynrnn.streams import check_random_state
from dynrnn.study.recorded import reason_of, seconds_of
from dynrnn.study.task import Task, load_task
from dynrnn.study.trial import run_trial
from dynrnn.study.workers import open_queue, trial_folder
from dynrnn.training.resume import TRAINING


class Rerun(NamedTuple):
    """``values`` as in the study, ``per_fit`` the objectives of each fit, ``same`` whether parameters are those that the study kept, to the bit (None with
    other seeds), ``folder`` where the run lies."""

    values: list[float] | None
    per_fit: dict[str, list]
    same: bool | None
    folder: Path


class Study:
    """The study in a folder; ``Study(path)`` opens one that ``optimize`` or ``dynrnn study`` made."""

    def __init__(self, path: str | os.PathLike[str], task: Task | None = None):
        self.path = Path(path)
        self.task = load_task(self.path) if task is None else task

    @property
    def optuna(self) -> optuna.Study:
        """Optuna's own study, for its functions and plots."""
        return open_queue(self.path, self.task).study()

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial: state, objectives, parameters, seconds, and the reason of a failure; by number."""
        rows = []
        for trial in self._trials():
            values = trial.values or [np.nan] * len(self.task.objectives)
            rows.append({
                "number": trial.number, "state": trial.state.name.lower(), **dict(zip(self.task.objectives, values)), **trial.params,
                "seconds": seconds_of(trial), "reason": reason_of(trial),
            })
        columns: Any = ["number", "state", *self.task.objectives, *self.task.space, "seconds", "reason"]
        return pd.DataFrame(rows, columns=columns).set_index("number")

    @property
    def best(self) -> FrozenTrial:
        """The best complete trial of a study with one objective. StudyError where there is none yet."""
        if len(self.task.objectives) > 1:
            raise StudyError("a study of several objectives has no best trial but a front of them: study.front.")
        return self.front[0]

    @property
    def front(self) -> list[FrozenTrial]:
        """Complete trials that no other one beats in every objective, by the first objective. O(trials^2)."""
        complete = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all()]
        if not complete:
            reasons = sorted({reason_of(t) for t in self._trials()} - {""})
            raise StudyError(f"{self.path} has no trial that was completed yet. {'Failed because: ' + '; '.join(reasons[:3]) if reasons else ''}".rstrip())
        sign = np.array([1.0 if way == "minimize" else -1.0 for way in self.task.directions])
        values = np.array([trial.values for trial in complete]) * sign
        beaten = [bool(((values <= row).all(1) & (values < row).any(1)).any()) for row in values]
        kept = [(tuple(row), trial) for row, trial, lost in zip(values, complete, beaten) if not lost]
        front = [trial for _, trial in sorted(kept, key=lambda pair: (pair[0], pair[1].number))]
        return front[:1] if len(self.task.objectives) == 1 else front

    def setting(self, number: int) -> dict[str, Any]:
        """All of a trial's setting, fixed and varied."""
        return self.task.setting | self._trial(number).params

    def load(self, number: int | None = None) -> Model:
        """The trained ensemble of a trial; of the best one where none is named."""
        return load(trial_folder(self.path, self.best.number if number is None else number) / "checkpoints" / "last")

    def rerun(self, number: int, *, n_seeds: int | None = None, random_state: int | None = None) -> Rerun:
        """Run a trial again from nothing, in ``reruns/``: with the study's seeds it must come out the same to the bit; with other ones it tells how good the
        setting is where it was not chosen.

        n_seeds, random_state : of the study where not given. ArgumentError for a trial that there is not.
        """
        if self.task.function is not None:
            raise ArgumentError("this study tries a function of a script; call that with the trial's params instead.")
        trial = self._trial(number)
        if not self.task.space.keys() <= trial.params.keys():
            raise StudyError(f"trial {number} of {self.path} has not begun, so it has no setting to run again. Let a worker take it, or name another trial.")
        S = self.task.n_seeds if n_seeds is None else check_int("n_seeds", n_seeds, low=1)
        seed = self.task.random_state if random_state is None else check_random_state(random_state)
        folder = self.path / "reruns" / f"{number:05d}-seed{seed}-fits{S}"
        shutil.rmtree(folder / "checkpoints" / TRAINING, ignore_errors=True)        # of an earlier rerun, on whose state this one shall not rest
        outcome = run_trial(self.task, trial.params, folder, n_seeds=S, random_state=seed)
        same = None
        if seed == self.task.random_state and trial.state == TrialState.COMPLETE:
            old, new = (load(place / "checkpoints" / "last").state_dict() for place in (trial_folder(self.path, number), folder))
            n = min(S, self.task.n_seeds)
            same = all(bool((old[name][:n] == new[name][:n]).all()) for name in old)
        return Rerun(outcome.values, (outcome.about or {}).get("per_fit", {}), same, folder)

    def report(self) -> Path:
        """Write ``report.html`` into the folder: history, importances, front, best attractors; one file that needs no network. Returns its path."""
        from dynrnn.study.page import write_page

        return write_page(self)

    def _trials(self) -> list[FrozenTrial]:
        queue = open_queue(self.path, self.task)
        try:
            return list(queue.trials())
        finally:
            queue.storage.close()

    def _trial(self, number: int) -> FrozenTrial:
        trials = self._trials()
        check_int("number", number, low=0)
        if number >= len(trials):
            known = f"has trials 0 to {len(trials) - 1}" if trials else "has no trial yet"
            raise ArgumentError(f"{self.path} {known}; there is no trial {number}.")
        return trials[number]

    def __repr__(self) -> str:
        states = self.trials.state.value_counts().to_dict()
        return f"Study({self.path}: {self.task.setting.get('model', 'function')}, {', '.join(f'{n} {state}' for state, n in states.items()) or 'no trial yet'})"
